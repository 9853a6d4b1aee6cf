"""The line of partitions: it decides which partition may start the next flush.

Partitions that are due and below their own limit stand in a *line*, and the first partition in the
line starts the next flush. A partition leaves the line when it is not due any more, or when it
reaches its limit. A partition that starts a flush joins the line again at the end, if it is due
again. All other partitions *rest*. So flush() and the drain, which make all partitions due, look at
the resting partitions only.

*The line is fair.* Let a partition P join the line behind n others, and stay due. Until P starts a
flush, each of these n starts at most one flush, and no other partition starts one. Proof:
partitions join at the end, and only the first one starts a flush; then it leaves the line, and may
join again at the end. So a partition that joins after P does not become the first before P does,
and each of the n is the first at most once. Pressure starts a flush only if the line is empty.

So with m slots, and flushes of at most d seconds, P starts within ceil((n + 1) / m) * d seconds.
Proof: while P stands in the line, no slot stays free. So in any d seconds, each of the m slots ends
a flush and starts one of the n + 1 at least once. Tests reach both bounds
(tests/theorems/test_line.py).

No step looks at all partitions for one item. One heap has the times until which the policies want
to wait. Another heap has the number of the oldest item of each partition, for pressure and for the
age of the items that wait.
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
    """A Batcher with a line of partitions that may start a flush.

    Args:
        partition_key: The function that returns the partition of an item.
        limit: The most batches of one partition that may run at a time.
        policy, rules: The arguments of :class:`~flushq.core.batcher.Batcher`.

    Attributes:
        line: The partitions that are due and below their limit, in the order in which they joined.
        timers: The partitions whose policies want to wait until a time.
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
        """Update the place of a partition in the line, and its timer, after it has changed."""
        policy = partition.policy
        if policy is None or self.stopped is not None:
            return
        may_flush = policy.may_flush
        wants_to = may_flush and isinstance(policy.decision, Flush)
        is_in_line = wants_to or (may_flush and self._must_flush(partition))
        if is_in_line is not partition.is_in_line:
            self._move(partition, is_in_line=is_in_line)
        decision = policy.decision
        alarm = decision.until if may_flush and isinstance(decision, Wait) else math.inf
        if alarm != partition.alarm:
            partition.alarm = alarm
            self.timers.update(partition)

    def _must_flush(self, partition: Partition[T]) -> bool:
        return self.draining or partition.numbers[0] < self._barrier

    def _move(self, partition: Partition[T], *, is_in_line: bool) -> None:
        partition.is_in_line = is_in_line
        entered, left = (self.line, self._resting) if is_in_line else (self._resting, self.line)
        entered[partition] = None
        left.pop(partition, None)

    def _oldest_below_limit(self) -> Partition[T] | None:
        """Return the partition of the oldest item that a flush may take now, or None.

        Partitions at their limit are skipped. There are at most ``max_in_flight`` of them.
        """
        oldest, full = self._oldest, []
        while (first := oldest.first) is not None and first.running >= self._limit:
            full.append(first)
            oldest.pop()
        for partition in full:
            oldest.update(partition)
        return first

    def _place_resting(self) -> None:
        for partition in [*self._resting]:
            self._place(partition)
