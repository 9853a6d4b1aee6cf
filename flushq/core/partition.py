"""One partition: the items that have one partition key, and the policy for these items.

The items are kept in lists, not in deques. There may be many partitions, and an empty deque takes
ten times the memory of an empty list. But when a batch is taken from a list, the entries of the
items that stay must be moved, eight bytes for each.
"""

import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from flushq.core.running_policy import RunningPolicy

T = TypeVar("T")

_UNUSED: list[Any] = []
"""The value of ``keys`` or ``weights`` if the queue does not use them. It stays empty."""


class Partition(Generic[T]):
    """The waiting items that have one partition key, and the policy for these items.

    Attributes:
        key: The partition key.
        items: The waiting items, oldest first. If an item was merged, its merged form is elsewhere
            (flushq.core.merging).
        numbers: The sequence numbers of these items in the whole queue.
        keys: For each item, the pair of its partition key and its dedupe key; empty if the queue
            has no ``dedupe_key``.
        weights: The weight that each item had when it came; empty if the queue does not weigh its
            items.
        fresh_weight: The total weight of the items that the policy was not told of yet.
        policy: The copy of the policy that this partition runs. The queue makes the copy when it
            first announces items of this partition; None before that.
        running: How many flushes of this partition run.
        is_in_line: Whether the partition stands in the line of partitions that may start a flush.
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
        """How many waiting items the policy was told of."""
        return 0 if self.policy is None else self.policy.pending

    @property
    def first(self) -> float:
        """The sequence number of the oldest item if the policy was told of it; otherwise inf."""
        is_told = self.policy is not None and self.policy.pending and self.numbers
        return self.numbers[0] if is_told else math.inf

    def release(self) -> None:
        """Forget the key, the policy and the alarm of this partition, which was removed.

        So its entries in the heaps are outdated, and do not keep the key and the policy in memory.
        """
        self.key = self.policy = None
        self.alarm = math.inf
