"""One partition: what is kept of the items of one key, and the policy that decides for them.

Its items are in lists, as there may be many partitions and a deque takes ten times the memory. So
to take a batch moves what stays behind, eight bytes for each item.
"""

import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from flushq.core.running_policy import RunningPolicy

T = TypeVar("T")

_UNUSED: list[Any] = []
"""A list that stays empty."""


class Partition(Generic[T]):
    """A partition.

    Attributes:
        key: Its key.
        items, numbers: Its items that wait, oldest first, and their numbers.
        keys, weights: Of each of these items; empty if the queue does not ask for them.
        fresh_weight: What those weigh that its policy was not told of.
        policy: Its copy of the policy. None: it was not told of any item.
        running: How many flushes of it run.
        is_due: Whether it stands in line.
        alarm: The time that the policy asked for; inf: none.
    """

    __slots__ = (
        "alarm",
        "fresh_weight",
        "is_due",
        "items",
        "key",
        "keys",
        "numbers",
        "policy",
        "running",
        "weights",
    )

    def __init__(self, key: Hashable, *, has_keys: bool, has_weights: bool) -> None:
        self.key = key
        self.items: list[T] = []
        self.numbers: list[int] = []
        self.keys: list[Hashable] = [] if has_keys else _UNUSED
        self.weights: list[float] = [] if has_weights else _UNUSED
        self.fresh_weight: float = 0
        self.policy: RunningPolicy | None = None
        self.running = 0
        self.is_due = False
        self.alarm = math.inf

    @property
    def pending(self) -> int:
        """How many items wait that its policy was told of."""
        return 0 if self.policy is None else self.policy.pending

    @property
    def first(self) -> float:
        """The number of the oldest item that its policy was told of; inf if none waits."""
        is_told = self.policy is not None and self.policy.pending and self.numbers
        return self.numbers[0] if is_told else math.inf

    def forget(self) -> None:
        """It is gone, though an entry of a heap may lead here: let go of what the user has made."""
        self.key = self.policy = None
        self.alarm = math.inf
