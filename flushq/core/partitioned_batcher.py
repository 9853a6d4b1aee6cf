"""A Batcher with partitions: it decides when a batch is taken, and from which partition.

Theory of operation. A partition exists while its items wait or its flushes run. Each partition has
its own copy of the policy. Slots belong to the whole queue, and the partitions get slots in turn
(flushq.core.partition_line).
"""

import math
from collections.abc import Hashable
from typing import TypeVar

from flushq.arguments import shown
from flushq.core.batch import Batch
from flushq.core.batcher import BARRIER, DRAIN, PRESSURE
from flushq.core.caps import Weigh
from flushq.core.duplicates import DedupeKey
from flushq.core.losses import LostAs
from flushq.core.merging import Merge
from flushq.core.partition import Partition
from flushq.core.partition_line import PartitionLine
from flushq.core.partitioned_buffer import PartitionKey
from flushq.core.policy_template import PolicyTemplate
from flushq.core.running_policy import RunningPolicy
from flushq.policy import Flush, FlushPolicy

T = TypeVar("T")


class PartitionedBatcher(PartitionLine[T]):
    """A Batcher that takes each batch from one partition.

    Each partition runs a copy of the policy. The attribute ``policy`` is the template of these
    copies: it is told of no events.

    Args:
        policy: The policy. Each partition runs a deep copy of it.
        dedupe_key, weigh, max_in_flight, label, lost_as, merge, max_queue_weight: See
            :class:`~flushq.core.batcher.Batcher`.
        partition_key: The function that returns the partition key of an item.
        max_in_flight_per_partition: The most flushes of one partition that may run at a time. None:
            only ``max_in_flight`` limits them.

    Raises:
        TypeError, ValueError: An argument, or a cap of the policy, is not valid.
    """

    def __init__(
        self,
        policy: FlushPolicy,
        dedupe_key: DedupeKey[T] | None,
        weigh: Weigh[T] | None,
        max_in_flight: int,
        label: str,
        lost_as: LostAs[T] | None,
        merge: Merge[T] | None,
        max_queue_weight: float | None,
        partition_key: PartitionKey[T],
        max_in_flight_per_partition: int | None,
    ) -> None:
        limit = max_in_flight_per_partition or max_in_flight
        rules = max_in_flight, label, lost_as, merge, max_queue_weight
        super().__init__(partition_key, limit, policy, dedupe_key, weigh, *rules)
        self._partition_of: dict[Batch[T], Partition[T]] = {}
        self._template = PolicyTemplate(self.policy.copy, self._limit, self._fail_policy)
        self._chosen: Partition[T] | None = None
        self._told = 0
        self._corrected: dict[Partition[T], None] = {}

    # Items come in.

    @property
    def _announced_waiting(self) -> int:
        return self._told

    @property
    def weight(self) -> float:
        """The total weight of the items that wait."""
        return self._items.weight

    def announce(self, now: float) -> None:
        """Tell each policy of the new items in its partition; the first new item came at ``now``.

        A policy whose facts were corrected (an item was displaced or merged) decides again.
        """
        items = self._items
        self._announced_duplicates = items.duplicates
        self._unannounced = 0
        fresh = dict.fromkeys([*items.fresh])
        items.fresh.clear()
        corrected, self._corrected = self._corrected, {}
        for partition in fresh:
            if self.stopped is None:
                self._announce(partition, now)
        for partition in corrected:
            if partition not in fresh and self.stopped is None:
                self._ask_again(partition, now)

    def _announce(self, partition: Partition[T], now: float) -> None:
        policy = partition.policy or self._open(partition)
        if policy is None:
            return
        while partition in self._items.fresh:  # items that came while other policies were told
            self._items.fresh.remove(partition)
        is_first, decision = policy.pending == 0, policy.decision
        count = len(partition.numbers) - policy.pending
        weight, partition.fresh_weight = partition.fresh_weight, 0
        self._told += count
        policy.item_added(max(policy.now, now), count, weight)
        if is_first:
            self._oldest.update(partition)
        if is_first or policy.decision is not decision:
            self._place(partition)

    def _open(self, partition: Partition[T]) -> RunningPolicy | None:
        """Give a partition a copy of the policy, and return the copy.

        If the policy cannot be copied, let the queue fail, and return None.
        """
        try:
            policy = self._template.new_copy()
        except BaseException as error:
            self._fail_policy(f"raised {shown(error)} when it was copied", error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return None
        self._resting[partition] = None
        partition.policy = policy
        return policy

    # Items leave without a flush, or change.

    def displace(self) -> tuple[int, T]:
        """Displace the oldest waiting item of the queue; return (sequence number, item)."""
        partition = self._oldest.first or self._items.fresh[0]
        number, item, weight = self._items.take_oldest(partition)
        policy = partition.policy
        if policy is not None and policy.pending > 0:
            policy.displaced(weight)
            self._told -= 1
            self._corrected[partition] = None
            self._oldest.update(partition)
            self._count_displaced(is_known=True)
        else:
            self._items.fresh.popleft()
            left = max(partition.fresh_weight - weight, 0)
            partition.fresh_weight = left if partition.numbers else 0
            self._count_displaced(is_known=False)
        self._update_or_remove(partition)
        return number, item

    def _reweigh(self, number: int, key: Hashable, change: float) -> None:
        self._items.weight += change
        partition = self._items.partitions[key[0]]  # type: ignore[index]  # the key is a pair here
        policy = partition.policy
        known = 0 if policy is None else policy.pending
        if policy is not None and known and number <= partition.numbers[known - 1]:
            policy.reweighed(change)
            self._corrected[partition] = None
        else:
            partition.fresh_weight = max(partition.fresh_weight + change, 0)

    def _ask_again(self, partition: Partition[T], now: float) -> None:
        policy = partition.policy
        assert policy is not None
        policy.ask_again(max(policy.now, now))
        self._place(partition)

    # Batches go out.

    @property
    def wake_at(self) -> float:
        """The time to call :meth:`tick` if no event comes until then; inf if no call is needed."""
        if not self.started or self.stopped is not None:
            return math.inf
        first = self.timers.first
        return math.inf if first is None else first.alarm

    def tick(self, now: float) -> None:
        """Tell the policy whose Wait ends first that the time of this Wait has come."""
        partition = self.timers.first
        assert partition is not None
        assert partition.policy is not None
        partition.policy.tick(max(partition.policy.now, now))
        self._place(partition)

    def due(self, *, pressed: bool = False) -> Flush | None:
        """Choose the partition of the next flush; return its Flush, or None if no flush may start.

        The first partition in the line is chosen. If the line is empty, but the queue is under
        pressure (``pressed``), the partition of the oldest item that may be flushed is chosen.
        """
        self._chosen = None
        if not (self.started and self.stopped is None and len(self.running) < self._max_in_flight):
            return None
        if self.line:
            self._chosen = partition = next(iter(self.line))
            return self._reason_of(partition)
        if pressed:
            self._chosen = self._oldest_below_limit()
        return None if self._chosen is None else PRESSURE

    def _reason_of(self, partition: Partition[T]) -> Flush:
        if self.draining:
            return DRAIN
        if partition.numbers[0] < self._barrier:
            return BARRIER
        assert partition.policy is not None
        decision = partition.policy.decision
        assert isinstance(decision, Flush)
        return decision

    def start_flush(self, due: Flush, now: float) -> Batch[T] | None:
        """Take a batch of the partition that :meth:`due` has chosen.

        The partition leaves the line of partitions, and may join it again. See
        :meth:`Batcher.start_flush` for the return value, and for a failure of the policy.
        """
        partition, batch = self._chosen, None
        assert partition is not None
        if partition.is_in_line:
            self._move(partition, is_in_line=False)
        try:
            batch = super().start_flush(due, now)
        finally:
            if batch is not None:
                self._partition_of[batch] = partition
                partition.running += 1
            self._oldest.update(partition)
            self._update_or_remove(partition)
        return batch

    def _take(self, due: Flush, now: float) -> Batch[T]:
        partition, items = self._chosen, self._items
        assert partition is not None
        policy = partition.policy
        assert policy is not None
        oldest, most = policy.copy.queue.oldest, policy.pending
        most = most if due.up_to is None else min(most, due.up_to)
        numbers, taken, weight, weights = items.take_from(partition, most)
        count, now, left = len(taken), max(policy.now, now), len(items)
        self._told -= count
        return Batch(
            taken, count, weight, weights, due.reason, numbers[0], oldest, now, left, policy,
            partition.key, numbers,
        )  # fmt: skip

    def end_flush(self, batch: Batch[T], now: float) -> None:
        """End the flush of a batch, and update the partition of the batch.

        Remove this partition if none of its items waits and none of its flushes runs.
        """
        partition = self._partition_of.pop(batch)
        partition.running -= 1
        try:
            super().end_flush(batch, now)
        finally:
            self._update_or_remove(partition)

    # Barriers, drain, end.

    def drain(self) -> None:
        """Make all items due: those that wait and those that still come."""
        super().drain()
        self._place_resting()

    def barrier(self) -> int:
        """Make all waiting items due, and return the sequence number of the next item to come."""
        mark = super().barrier()
        self._place_resting()
        return mark

    def stop(self, why: str) -> None:
        """Do the same as :meth:`Batcher.stop`; remove each partition of which no flush runs."""
        super().stop(why)
        self._told = 0
        self._items.fresh.clear()
        for each in self.line, self._resting, self.timers, self._oldest, self._corrected:
            each.clear()
        for partition in [*self._items.partitions.values()]:
            self._update_or_remove(partition)

    @property
    def settled(self) -> int:
        """The sequence number below which every item has ended."""
        running = [batch.first_unended for batch in self.running]
        return min([*running, self._first_waiting])

    @property
    def _first_waiting(self) -> int:
        """The sequence number of the oldest waiting item, or of the next new item if none waits."""
        told = self._oldest.first
        if told is not None:
            return told.numbers[0]
        fresh = (partition.numbers[0] for partition in self._items.fresh)
        return min(fresh, default=self._items.next_number)

    @property
    def has_free_slot(self) -> bool:
        """Whether a slot is free, and a partition with waiting items may use this slot.

        If items have come since the last announce(), only the slot is checked.
        """
        if not super().has_free_slot:
            return False
        return bool(self._items.fresh) or self._oldest_below_limit() is not None

    @property
    def oldest(self) -> float:
        """The arrival time of the oldest waiting item that a policy knows of, or inf."""
        first = self._oldest.first
        return math.inf if first is None or first.policy is None else first.policy.copy.queue.oldest

    @property
    def partitions(self) -> int:
        """How many partitions exist."""
        return len(self._items.partitions)

    def _fail_policy(self, what: str, cause: BaseException | None) -> None:
        """End the queue because its policy has failed; the copies get no more events."""
        super()._fail_policy(what, cause)
        self.policy.mark_failed()
        for batch in self._partition_of:
            batch.policy.mark_failed()

    def _update_or_remove(self, partition: Partition[T]) -> None:
        """Update the line for a partition, or remove it if no item waits and no flush runs."""
        if partition.numbers or partition.running:
            self._place(partition)
            return
        self.line.pop(partition, None)
        self._resting.pop(partition, None)
        self._corrected.pop(partition, None)
        self._items.close(partition)
        partition.release()
        self.timers.trim()
        self._oldest.trim()
