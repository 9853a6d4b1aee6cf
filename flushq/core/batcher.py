"""When and why a batch is taken, and what the policy and the account are told of the batch.

The rules:

* *Nothing vanishes.* A duplicate is counted, and then it is discarded or merged. Every other
  accepted item has one of six states: pending, in a running batch, delivered, dropped (by the
  failure handler), displaced (the queue was full) or lost. A lost item is ``undelivered`` (flush_fn
  was never called with it) or ``in_doubt`` (flush_fn was called, and raised or was interrupted).
* *Order.* A batch takes the oldest items, within the caps (flushq.core.buffer, flushq.core.caps).
* *Slots.* At most ``max_in_flight`` batches run at a time.
* *The policy is told everything* (flushq.core.running_policy). It is told of arrivals before any
  other event, and the times given to it never decrease. If the policy fails, the queue ends
  with a PolicyError, and the waiting items are undelivered. Displacing or merging an item is no
  event: the policy's facts are corrected at once, and the next announce() asks for a new decision.
* *The first failure decides the outcome.* No batch is taken after a failure.

Theory of operation. The buffer gives the items sequence numbers in order of acceptance, and a batch
knows the number of its first item. A barrier is a sequence number, too: flush() waits until every
item with a lower number has ended. Items can end in any order. But in a queue without partitions,
the items before the first unended item of the oldest running batch have ended. Losses can become
known in any order, too, so the lists of lost items are sorted by number.

The age of an item counts from the time at which its burst was opened (flushq.core.fairness).
If the policy decides Flush, a flush is due. Its batch is taken when a slot is free and a call may
start; so items that came after the decision can be in it. If there are several reasons, the flush
has the first of these: drain, flush (a barrier), the policy's reason, pressure (lack of room).
"""

import math
from collections.abc import Hashable
from typing import Any, NamedTuple, TypeVar

from flushq.arguments import check_count, shown
from flushq.core.account import Account
from flushq.core.batch import Batch
from flushq.core.buffer import Buffer
from flushq.core.caps import Weigh
from flushq.core.duplicates import DedupeKey
from flushq.core.losses import LostAs
from flushq.core.merging import Merge
from flushq.core.running_policy import RunningPolicy
from flushq.errors import FlushFailed, PolicyError, QueueEnded
from flushq.policy import IDLE, Flush, FlushPolicy, check_caps, overridden_events, running_copy

T = TypeVar("T")

DRAIN = Flush("drain")
BARRIER = Flush("flush")
PRESSURE = Flush("pressure")


class End(NamedTuple):
    """The class, the message and the cause of the exception that reports the end of a queue."""

    kind: type[QueueEnded]
    message: str | None
    cause: BaseException | None


class Batcher(Account[T]):
    """The part of a queue that decides when items leave the queue, and counts the items that ended.

    Args:
        policy: The policy. The batcher runs a deep copy of it.
        dedupe_key: The function that returns the key of an item. None: there are no duplicates.
        weigh: The function that returns the weight of an item. None: every item weighs 0.
        max_in_flight: The most batches that may run at a time.
        label: The prefix of the messages of exceptions.
        lost_as: The function that returns the entry for a lost item. None: list the item itself.
        merge: The function that merges a duplicate into the waiting item. None: discard duplicates.
        max_queue_weight: The most weight that all waiting items may have. Admission enforces it.

    Raises:
        TypeError, ValueError: An argument, or a cap of the policy, has a wrong type or value.

    Attributes:
        policy: The running copy of the policy, with its last decision.
        buffer: The items that wait.
        running: The batches that were taken and have not ended, oldest first.
        started: Whether the queue has started. Before the start no batch is taken.
        draining: Whether all items are due: those that wait and those that still come.
        stopped: The reason why no more batches are taken; None while batches may be taken.
        failure: The first failure of a flush, the policy or the throttle; None before a failure.
        interruption: The first exception that an interrupted flush raised, or None.
        overflowed: Whether an item was displaced since the last batch was taken.
    """

    def __init__(
        self,
        policy: FlushPolicy,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        max_in_flight: int = 1,
        label: str = "",
        lost_as: LostAs[T] | None = None,
        merge: Merge[T] | None = None,
        max_queue_weight: float | None = None,
    ) -> None:
        super().__init__(lost_as)
        check_count("max_in_flight", max_in_flight)
        copy = running_copy(policy, max_in_flight)
        overridden = overridden_events(copy)
        self.policy = RunningPolicy(copy, overridden, max_in_flight, self._fail_policy)
        caps = copy.max_records, copy.max_weight
        check_caps(*caps)
        self.buffer = self._new_buffer(dedupe_key, weigh, *caps, label, merge, max_queue_weight)
        if self.buffer.merging is not None:
            self.buffer.merging.on_reweighed = self._reweigh
        self.running: dict[Batch[T], None] = {}
        self.started = self.draining = self.overflowed = self._is_corrected = False
        self.stopped: str | None = None
        self.failure: End | None = None
        self.interruption: BaseException | None = None
        self._max_in_flight = max_in_flight
        self._barrier = self._announced_duplicates = self._unannounced = 0
        self._announced_weight: float = 0

    def _new_buffer(self, *measures: Any) -> Buffer[T]:
        return Buffer(*measures)

    # Items come in.

    @property
    def accepted(self) -> int:
        """The number of accepted items, including duplicates and items displaced on arrival."""
        return self.buffer.next_number + self.buffer.duplicates + self.turned_away

    @property
    def burst_size(self) -> int:
        """The number of items accepted since the last :meth:`announce`."""
        fresh = len(self.buffer.items) - self._announced_waiting
        return fresh + self.buffer.duplicates - self._announced_duplicates + self._unannounced

    @property
    def _announced_waiting(self) -> int:
        return self.policy.pending

    @property
    def weight(self) -> float:
        """The total weight of the items that wait, whether or not the policy was told of them."""
        return self._announced_weight + self.buffer.fresh_weight

    def announce(self, now: float) -> None:
        """Announce the new items to the policy; the first of these items came at ``now``."""
        buffer = self.buffer
        count, weight = len(buffer.items) - self.policy.pending, buffer.fresh_weight
        self._announced_duplicates = buffer.duplicates
        self._unannounced = buffer.fresh_weight = 0
        self._announced_weight += weight
        if count > 0:
            self.policy.item_added(max(self.policy.now, now), count, weight)
        elif self._is_corrected and self.stopped is None:
            self.policy.ask_again(max(self.policy.now, now))
        self._is_corrected = False

    # Items leave without a flush, or change.

    def displace(self) -> tuple[int, T]:
        """Displace the oldest waiting item; return its sequence number, and the item."""
        buffer, number, is_known = self.buffer, self.buffer.first, self.policy.pending > 0
        item, weight = buffer.take_oldest()
        if is_known:
            self.policy.displaced(weight)
            self._lighten(weight, self.policy.pending)
            self._is_corrected = True
        else:
            buffer.fresh_weight = max(buffer.fresh_weight - weight, 0) if buffer.items else 0
        self._count_displaced(is_known=is_known)
        return number, item

    def turn_away(self) -> None:
        """Accept an item and displace it at once."""
        self.turned_away += 1
        self._count_displaced(is_known=False)

    def _count_displaced(self, *, is_known: bool) -> None:
        self.displaced += 1
        self.overflowed = True
        self._unannounced += not is_known

    def _reweigh(self, number: int, key: Hashable, change: float) -> None:
        if number < self.buffer.first + self.policy.pending:
            self.policy.reweighed(change)
            self._announced_weight += change
            self._is_corrected = True
        else:
            self.buffer.fresh_weight = max(self.buffer.fresh_weight + change, 0)

    # Batches go out.

    def start(self) -> None:
        """Allow batches to be taken from now on."""
        self.started = True

    @property
    def wake_at(self) -> float:
        """The time at which :meth:`tick` must be called; inf if no call is needed."""
        decision = self.policy.decision
        if decision is IDLE or isinstance(decision, Flush) or not self._may_flush:
            return math.inf
        return decision.until

    def tick(self, now: float) -> None:
        """Tell the policy that the time of its Wait has come."""
        self.policy.tick(max(self.policy.now, now))

    def due(self, *, pressed: bool = False) -> Flush | None:
        """Return the flush that is due, or None if no flush is due or no batch may be taken.

        All arrivals must be announced before this call. ``pressed``: whether the queue lacks room.
        """
        if self.draining:
            due = DRAIN
        elif self.buffer.first < self._barrier:
            due = BARRIER
        elif isinstance(self.policy.decision, Flush):
            due = self.policy.decision
        elif pressed:
            due = PRESSURE
        else:
            return None
        return due if self._may_flush else None

    def start_flush(self, due: Flush, now: float) -> Batch[T] | None:
        """Take the batch of a flush that is due, tell the policy, and return the batch.

        If the policy fails now, the items of the batch become undelivered; return None.
        """
        batch = self._take(due, now)
        self.overflowed = False
        self.running[batch] = None
        try:
            batch.policy.flush_started(batch.started, batch.count, batch.weight)
        finally:
            if self.failure is not None:
                del self.running[batch]
                self.record_loss(batch)
        return None if self.failure is not None else batch

    def _take(self, due: Flush, now: float) -> Batch[T]:
        buffer, policy = self.buffer, self.policy
        first, oldest, most = buffer.first, policy.copy.queue.oldest, policy.pending
        most = most if due.up_to is None else min(most, due.up_to)
        items, weight, weights = buffer.take(most)
        count, now, left = len(items), max(policy.now, now), len(buffer.items)
        if self._announced_weight:
            self._lighten(weight, policy.pending - count)
        return Batch(items, count, weight, weights, due.reason, first, oldest, now, left, policy)

    def _lighten(self, weight: float, left: int) -> None:
        self._announced_weight = self._announced_weight - weight if left else 0

    def end_flush(self, batch: Batch[T], now: float) -> None:
        """Count the items of a batch after the end of its flush; tell the policy of this end."""
        error, policy = batch.error, batch.policy
        del self.running[batch]
        self.count_end(batch)
        if error is not None:
            self._attribute_failure(batch, error)
        now = max(policy.now, now)
        batch.seconds = now - batch.started
        policy.flush_done(now, batch.count, batch.seconds, error)

    # Barriers, drain, end.

    def drain(self) -> None:
        """Make all items due: those that wait and those that still come."""
        self.draining = True

    def barrier(self) -> int:
        """Make all waiting items due; return the sequence number of the next new item."""
        self._barrier = self.buffer.next_number
        return self._barrier

    def stop(self, why: str) -> None:
        """Take no more batches; list waiting items as undelivered. Keep only the first ``why``."""
        self.stopped = self.stopped or why
        if self.buffer:
            self.losses.undelivered.add(*self.buffer.take_all())

    @property
    def settled(self) -> int:
        """The sequence number below which every item has ended."""
        return next((batch.first_unended for batch in self.running), self.buffer.first)

    @property
    def oldest(self) -> float:
        """The arrival time of the oldest waiting item that the policy was told of, or inf."""
        return self.policy.copy.queue.oldest

    @property
    def partitions(self) -> int:
        """The number of partitions that exist; 0 in a queue without partitions."""
        return 0

    @property
    def in_flight(self) -> int:
        """The number of items in running batches, without the items that have already ended."""
        running = [*self.running]  # a copy: a thread may read this without the lock
        return sum(batch.unended for batch in running)

    @property
    def has_free_slot(self) -> bool:
        """Whether a slot is free for another batch."""
        return len(self.running) < self._max_in_flight

    def runs(self, batch: Batch[T] | None) -> bool:
        """Return whether ``batch`` is a batch of this queue whose flush still runs."""
        return batch is not None and batch in self.running and not batch.over

    @property
    def is_empty(self) -> bool:
        """Whether no batch runs and no item waits."""
        return not self.running and not self.buffer.items

    @property
    def outcome_is_known(self) -> bool:
        """Whether no running flush can still change the outcome to FlushFailed.

        This is true after a failure, or if the queue has interrupted every running flush.
        """
        return self.failure is not None or all(batch.interrupted for batch in self.running)

    @property
    def _may_flush(self) -> bool:
        """Whether the policy was told of waiting items, and a batch may be taken from them now."""
        return (
            self.policy.pending > 0
            and len(self.running) < self._max_in_flight
            and self.started
            and self.stopped is None
        )

    def fail_throttle(self, what: str, cause: BaseException | None) -> None:
        """End the queue with a PolicyError because the throttle has failed."""
        self._fail(PolicyError, f"the throttle {what}", cause)

    def _fail_policy(self, what: str, cause: BaseException | None) -> None:
        self._fail(PolicyError, f"the policy {type(self.policy.copy).__name__} {what}", cause)

    def _attribute_failure(self, batch: Batch[T], error: BaseException) -> None:
        """Keep ``error`` as the failure; or, if the flush was interrupted, as the interruption."""
        if not batch.interrupted:
            self._fail(FlushFailed, f"a batch of size {batch.count} failed: {shown(error)}", error)
        elif batch.called and self.interruption is None:
            self.interruption = error

    def _fail(self, kind: type[QueueEnded], what: str, cause: BaseException | None) -> None:
        self.failure = self.failure or End(kind, what, cause)
        self.stop(what)
