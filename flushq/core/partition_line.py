"""The line of partitions: which of them may start the next flush.

Partitions that are due and below their own limit stand in a *line*, and the first of them starts
the next flush. One that loses either leaves the line; one that starts a flush stands behind all
others if it is due again. All others *rest*: so flush() and the drain, which make everything due,
look at those alone.

*The line is fair.* Let a partition join it behind n others, and stay due. Until it starts a flush,
at most one batch starts of each of these n, and none of any other. Proof: partitions join at the
end, and only the first starts a flush; then it leaves, and joins behind all others. So one that
joins later is not the first before this one is, and one of the n is the first at most once.
Pressure comes only while no partition stands in line.

So with m slots, and flushes of at most d seconds, it starts within ceil((n + 1) / m) * d seconds.
Proof: while it stands in line no slot stays free, so each of the m ends a flush, and starts one of
the n + 1, at least once in any d seconds. Both bounds are reached (tests/theorems/test_line.py).

Nothing here looks at all partitions for one item. One heap has the times that the policies ask for,
and one the oldest items, for pressure and for the age of what waits.
"""

import math
from collections import OrderedDict
from typing import Any, TypeVar, cast

from flushq.core.batcher import Batcher
from flushq.core.buffer import Buffer
from flushq.core.partition import Partition
from flushq.core.partition_heap import PartitionHeap
from flushq.core.partitioned_buffer import PartitionedBuffer, PartitionKey
from flushq.policy import Flush, FlushPolicy, Wait

T = TypeVar("T")


class PartitionLine(Batcher[T]):
    """A Batcher whose partitions stand in line.

    Args:
        partition_key: The partition of an item.
        limit: How many batches of one partition may run at a time.
        policy, rules: As of a Batcher.

    Attributes:
        line: The partitions that are due and below their limit.
        timers: Those whose policies have asked for a time.
    """

    def __init__(
        self, partition_key: PartitionKey[T], limit: int, policy: FlushPolicy, *rules: Any
    ) -> None:
        self._partition_key = partition_key
        super().__init__(policy, *rules)
        self._limit = limit
        self.line: OrderedDict[Partition[T], None] = OrderedDict()
        self._resting: dict[Partition[T], None] = {}
        partitions = self._items.partitions
        self.timers = PartitionHeap[T](lambda partition: partition.alarm, partitions)
        self._oldest = PartitionHeap[T](lambda partition: partition.first, partitions)

    def _new_buffer(self, *measures: Any) -> Buffer[T]:
        self._items: PartitionedBuffer[T] = PartitionedBuffer(self._partition_key, *measures)
        return cast("Buffer[T]", self._items)

    def _place(self, partition: Partition[T]) -> None:
        """Something of a partition has changed: whether it stands in line, and its time."""
        policy = partition.policy
        if policy is None or self.stopped is not None:
            return
        may_flush = policy.may_flush
        wants_to = may_flush and isinstance(policy.decision, Flush)
        is_due = wants_to or (may_flush and self._must_flush(partition))
        if is_due is not partition.is_due:
            self._move(partition, is_due=is_due)
        decision = policy.decision
        alarm = decision.until if may_flush and isinstance(decision, Wait) else math.inf
        if alarm != partition.alarm:
            partition.alarm = alarm
            self.timers.push(partition)

    def _must_flush(self, partition: Partition[T]) -> bool:
        return self.draining or partition.numbers[0] < self._barrier

    def _move(self, partition: Partition[T], *, is_due: bool) -> None:
        partition.is_due = is_due
        entered, left = (self.line, self._resting) if is_due else (self._resting, self.line)
        entered[partition] = None
        left.pop(partition, None)

    def _oldest_below_limit(self) -> Partition[T] | None:
        """The partition of the oldest item that another flush may take; few others are full."""
        oldest, full = self._oldest, []
        while (first := oldest.first) is not None and first.running >= self._limit:
            full.append(first)
            oldest.pop()
        for partition in full:
            oldest.push(partition)
        return first

    def _place_resting(self) -> None:
        for partition in [*self._resting]:
            self._place(partition)
