"""What the copies of a policy are made of: one for each partition."""

from typing import Any

from flushq.core.running_policy import OnFailure, RunningPolicy
from flushq.policy import FlushPolicy, attributes_of, is_plain, overridden_events, running_copy


class PolicyTemplate:
    """A policy that is told nothing and does not change, and its copies.

    Args:
        policy: The policy.
        max_in_flight: How many flushes each copy may start at a time.
        on_failure: Is called when a copy fails.
    """

    __slots__ = ("_attributes", "_max_in_flight", "_on_failure", "_overridden", "_policy")

    def __init__(self, policy: FlushPolicy, max_in_flight: int, on_failure: OnFailure) -> None:
        self._policy = policy
        self._max_in_flight = max_in_flight
        self._on_failure = on_failure
        self._overridden = overridden_events(policy)
        self._attributes: dict[str, Any] | None = None
        if is_plain(policy):
            self._attributes = attributes_of(policy)

    def run(self) -> RunningPolicy:
        """Another copy.

        Raises:
            Exception: It cannot be copied.
        """
        copy = self._copy()
        return RunningPolicy(copy, self._overridden, self._max_in_flight, self._on_failure)

    def _copy(self) -> FlushPolicy:
        """As running_copy() makes it; where nothing must be copied, without a search for it."""
        if self._attributes is None:
            return running_copy(self._policy, self._max_in_flight)
        clone = type(self._policy).__new__(type(self._policy))
        for name, value in self._attributes.items():
            object.__setattr__(clone, name, value)
        clone.queue.max_in_flight = self._max_in_flight
        return clone
