"""What running copies of a policy are made of: one for a queue, or one for each partition."""

from typing import Any

from flushq.policy import EVENTS, FlushPolicy, attributes_of, is_plain, overrides, running_copy


class PolicyTemplate:
    """A deep copy of a policy, which is told nothing and does not change.

    Args:
        policy: What is copied.
        max_in_flight: How many flushes may run at a time.

    Raises:
        TypeError: ``policy`` is not a FlushPolicy, or cannot be deep-copied.

    Attributes:
        policy: The copy.
        max_in_flight: How many flushes may run at a time.
        overridden: The events that it overrides.
    """

    __slots__ = ("_attributes", "max_in_flight", "overridden", "policy")

    def __init__(self, policy: FlushPolicy, max_in_flight: int) -> None:
        self.policy = running_copy(policy, max_in_flight)
        self.max_in_flight = max_in_flight
        self.overridden = frozenset(event for event in EVENTS if overrides(self.policy, event))
        self._attributes: dict[str, Any] | None = None
        if is_plain(self.policy):
            self._attributes = attributes_of(self.policy)

    def copy(self) -> FlushPolicy:
        """Another one, as :func:`~flushq.policy.running_copy` makes it.

        One that holds plain values alone is copied without the search for what must be copied.
        """
        if self._attributes is None:
            return running_copy(self.policy, self.max_in_flight)
        clone = type(self.policy).__new__(type(self.policy))
        for name, value in self._attributes.items():
            object.__setattr__(clone, name, value)
        clone.queue.max_in_flight = self.max_in_flight
        return clone
