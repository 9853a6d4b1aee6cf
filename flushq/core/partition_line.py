"""The line of partitions: it decides which partition may start the next flush.

A partition is *due* if one of these three wants it to be flushed: its policy, a call of flush(), or
the drain. A partition is *at its limit* while ``max_in_flight_per_partition`` of its flushes run.
The partitions that are due and not at their limit stand in a *line*, and the first partition in the
line starts the next flush. Then this partition leaves the line. If it is still due and not at its
limit, it joins the line again, behind all others. A partition also leaves the line when it is not
due any more. The partitions outside the line *rest*. flush() and the drain make all partitions due.
To do this, they look only at the resting partitions.

*The line is fair.* Let a partition P join the line behind n others, and stay due. Until P starts a
flush, each of these n partitions starts at most one flush, and no other partition starts a flush.
Proof: only the first partition starts a flush. Then it leaves the line, and may join the line again
at the end. So a partition that joins after P does not become the first before P does, and each of
the n partitions is the first at most once. Pressure starts a flush only if the line is empty.

So if there are m slots, and each flush takes at most d seconds, P starts a flush at most
ceil((n + 1) / m) * d seconds after it has joined the line. This is true if no throttle, hold or
suspension stops calls of flush_fn (flushq.core.starts). Proof: while P stands in the line, no slot
stays free. So in any d seconds, at least one flush ends in each of the m slots, and then a flush of
one of the n + 1 partitions starts there. The tests show that both bounds can be reached
(tests/theorems/test_line.py).

When an item comes or leaves, the queue need not look at all partitions, because it keeps two heaps.
One heap has the times until which the policies want to wait. The other heap has the sequence number
of the oldest item of each partition: there the queue finds its oldest item.
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
    """A Batcher with a line of the partitions that may start a flush.

    Args:
        partition_key: The function that returns the partition key of an item.
        limit: The most flushes of one partition that may run at a time.
        policy, rules: The policy and the other arguments of
            :class:`~flushq.core.batcher.Batcher`.

    Attributes:
        line: The partitions that may start a flush, in the order in which they joined the line.
        timers: The partitions whose policies want to wait until a given time, ordered by this time.
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
        """Move a changed partition into or out of the line; update the partition's timer."""
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
