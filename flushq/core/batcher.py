"""When a batch is taken and why, and what its policy and the account are told.

The rules it keeps:

* *Nothing vanishes.* An accepted item is pending, in a running batch, delivered, dropped by the
  failure handler, displaced, as the queue was full, or lost: ``undelivered`` (flush_fn was never
  called with it) or ``in_doubt`` (it was, and raised or was interrupted). A duplicate is counted,
  and dropped or merged.
* *Order.* Batches are taken oldest item first, within the caps (flushq.core.buffer, .caps).
* *Slots.* At most ``max_in_flight`` batches run.
* *The policy hears everything* (flushq.core.running_policy): the arrivals before any other event,
  and no time that runs backwards. If it fails, the queue ends with a PolicyError and nothing lost.
  What is displaced or merged is no event: its facts are corrected at once, and it is asked again
  with the next arrivals.
* *The first failure is the outcome.* After it no batch is taken any more.

Theory of operation. The buffer numbers the items, in order of acceptance, and a batch knows the
number of its first. So a barrier is a number (everything below it must have ended), the items that
have ended are those below the first of the oldest batch still running that has not, and losses can
be put in order of acceptance whatever the order in which they became known.

An item's age counts from the time that Admission tells with its burst (flushq.core.fairness). A
policy's Flush only says that a flush is due. The batch is taken when the driver is ready to start
the flush, from all that waits by then. If several reasons apply, the first counts: drain, flush (a
barrier), the policy's own, pressure (a producer waits for room).
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
    """How a queue ended: what the exception is made of that tells it."""

    kind: type[QueueEnded]
    message: str | None
    cause: BaseException | None


class Batcher(Account[T]):
    """Buffer, policy and limits in one: decides what leaves the queue, and keeps the account.

    Args:
        policy: The policy whose deep copy is run.
        dedupe_key: The key of an item. None: nothing is a duplicate.
        weigh: The weight of an item. None: all weigh 0.
        max_in_flight: How many batches may run at a time.
        label: What the messages of the exceptions begin with.
        lost_as: What a lost item is listed as. None: the item itself.
        merge: What an item becomes by its duplicate. None: the first stays as it is.
        max_queue_weight: The most weight that may wait; Admission keeps to it.

    Raises:
        TypeError, ValueError: An argument, or a cap of the policy, is not what it must be.

    Attributes:
        policy: The running copy, and its decision.
        buffer: The items that wait.
        running: The batches that were taken and have not ended, oldest first.
        started: Whether batches may be taken: not before the queue has started.
        draining: Whether all that waits is due.
        stopped: Why no batch is taken any more; None while they are.
        failure: The first failure of a flush or of the policy; None while there is none.
        interruption: What the first flush raised that the queue had cancelled.
        overflowed: Whether an item was displaced since a batch was taken.
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
        """How many items were accepted, duplicates and those displaced at once included."""
        return self.buffer.next_number + self.buffer.duplicates + self.turned_away

    @property
    def burst_size(self) -> int:
        """How many items were accepted since the policy was told of any."""
        fresh = len(self.buffer.items) - self._announced_waiting
        return fresh + self.buffer.duplicates - self._announced_duplicates + self._unannounced

    @property
    def _announced_waiting(self) -> int:
        return self.policy.pending

    @property
    def weight(self) -> float:
        """What the items weigh that wait, whatever the policy makes of it."""
        return self._announced_weight + self.buffer.fresh_weight

    def announce(self, now: float) -> None:
        """Tell the policy of the items that have come since the last time, the first at ``now``."""
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

    # Items leave that are not flushed, or change.

    def displace(self) -> tuple[int, T]:
        """Displace the oldest item; return its number, and the item."""
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
        """Take batches from now on."""
        self.started = True

    @property
    def wake_at(self) -> float:
        """When to call :meth:`tick` unless something else happens; inf: not at all."""
        decision = self.policy.decision
        if decision is IDLE or isinstance(decision, Flush) or not self._may_flush:
            return math.inf
        return decision.until

    def tick(self, now: float) -> None:
        """The time asked for has come."""
        self.policy.tick(max(self.policy.now, now))

    def due(self, *, pressed: bool = False) -> Flush | None:
        """The flush that is due, if there is one and a slot is free.

        The arrivals must have been announced. ``pressed`` says that a producer waits for room.
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
        """Take the batch of a flush that is due.

        The policy has been told of the flush when this returns; if it raised, the batch is
        undelivered and None is returned.
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
        """A batch has ended; without an error on it nothing of it is lost."""
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
        """Have all that waits be due, and what comes still."""
        self.draining = True

    def barrier(self) -> int:
        """Make all that was accepted by now due, and return the number that marks its end."""
        self._barrier = self.buffer.next_number
        return self._barrier

    def stop(self, why: str) -> None:
        """Take no batch any more: what waits is undelivered. The first reason is kept."""
        self.stopped = self.stopped or why
        if self.buffer:
            self.losses.undelivered.add(*self.buffer.take_all())

    @property
    def settled(self) -> int:
        """The number below which every item has ended."""
        return next((batch.first_unended for batch in self.running), self.buffer.first)

    @property
    def oldest(self) -> float:
        """When the oldest item arrived that waits and that the policy knows of; inf: none."""
        return self.policy.copy.queue.oldest

    @property
    def partitions(self) -> int:
        """How many partitions exist; 0 where items have none."""
        return 0

    @property
    def in_flight(self) -> int:
        """How many items are in batches that run, and have not ended."""
        running = [*self.running]  # a thread that only looks holds no lock
        return sum(batch.unended for batch in running)

    @property
    def has_free_slot(self) -> bool:
        """Whether another batch may run beside those that do."""
        return len(self.running) < self._max_in_flight

    def runs(self, batch: Batch[T] | None) -> bool:
        """Whether there is such a batch and its flush goes on."""
        return batch is not None and batch in self.running and not batch.over

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs and nothing waits that could still be flushed."""
        return not self.running and not self.buffer.items

    @property
    def outcome_is_known(self) -> bool:
        """Whether the outcome cannot become a FlushFailed any more.

        It is one already, or the queue has cancelled every flush that runs.
        """
        return self.failure is not None or all(batch.interrupted for batch in self.running)

    @property
    def _may_flush(self) -> bool:
        """Whether a batch could be taken, if anyone asked for it."""
        return (
            self.policy.pending > 0
            and len(self.running) < self._max_in_flight
            and self.started
            and self.stopped is None
        )

    def fail_throttle(self, what: str, cause: BaseException | None) -> None:
        """The throttle has failed: end, as with a policy that has."""
        self._fail(PolicyError, f"the throttle {what}", cause)

    def _fail_policy(self, what: str, cause: BaseException | None) -> None:
        self._fail(PolicyError, f"the policy {type(self.policy.copy).__name__} {what}", cause)

    def _attribute_failure(self, batch: Batch[T], error: BaseException) -> None:
        """Attribute what a flush raised to the queue, if it cancelled it, or else to flush_fn."""
        if not batch.interrupted:
            self._fail(FlushFailed, f"a flush of {batch.count} items failed: {shown(error)}", error)
        elif batch.called and self.interruption is None:
            self.interruption = error

    def _fail(self, kind: type[QueueEnded], what: str, cause: BaseException | None) -> None:
        self.failure = self.failure or End(kind, what, cause)
        self.stop(what)
