"""One partition: the items with one partition key, and the policy that decides for them.

The items are in lists, because there may be many partitions, and an empty deque takes ten times the
memory of an empty list. The price: taking a batch moves eight bytes for each item that stays.
"""

import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from flushq.core.running_policy import RunningPolicy

T = TypeVar("T")

_UNUSED: list[Any] = []
"""A list that stays empty."""


class Partition(Generic[T]):
    """The items, the policy and the flushes of one partition key.

    Attributes:
        key: The partition key.
        items, numbers: The items that wait, oldest first, and the numbers of these items.
        keys, weights: The keys and the weights of these items; empty if the queue uses none.
        fresh_weight: The weight of the items that were not announced to the policy yet.
        policy: The partition's copy of the policy; None until the first items are announced.
        running: The number of flushes of this partition that run.
        is_in_line: Whether the partition stands in the line of partitions.
        alarm: The time until which the policy wants to wait; inf if there is no such time.
    """

    __slots__ = (
        "alarm",
        "fresh_weight",
        "is_in_line",
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
        self.is_in_line = False
        self.alarm = math.inf

    @property
    def pending(self) -> int:
        """The number of items that wait and were announced to the policy."""
        return 0 if self.policy is None else self.policy.pending

    @property
    def first(self) -> float:
        """The number of the oldest item that waits and was announced; inf if there is none."""
        is_told = self.policy is not None and self.policy.pending and self.numbers
        return self.numbers[0] if is_told else math.inf

    def release(self) -> None:
        """Release the user's objects: a heap may keep this partition longer than the queue does."""
        self.key = self.policy = None
        self.alarm = math.inf
