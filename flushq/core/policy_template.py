"""The template of the policies in a queue with partitions: each partition runs a copy of it."""

from typing import Any

from flushq.core.running_policy import OnFailure, RunningPolicy
from flushq.policy import FlushPolicy, attributes_of, is_plain, overridden_events, running_copy


class PolicyTemplate:
    """The object that makes a copy of the policy for each partition.

    The policy that is copied never changes, because it is told of no events.

    Args:
        policy: The policy to copy.
        max_in_flight: The most flushes of one partition that may run at a time.
        on_failure: The function to call when a copy of the policy fails.
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

    def new_copy(self) -> RunningPolicy:
        """Return a RunningPolicy that runs a new copy of the policy.

        Raises:
            Exception: The policy cannot be copied.
        """
        copy = self._copy()
        return RunningPolicy(copy, self._overridden, self._max_in_flight, self._on_failure)

    def _copy(self) -> FlushPolicy:
        """Do the same as running_copy(), but faster if no attribute needs a deep copy."""
        if self._attributes is None:
            return running_copy(self._policy, self._max_in_flight)
        clone = type(self._policy).__new__(type(self._policy))
        for name, value in self._attributes.items():
            object.__setattr__(clone, name, value)
        clone.queue.max_in_flight = self._max_in_flight
        return clone
