"""One pass: the decisions of a queue after an event, without an event loop or a thread.

Theory of operation. A driver does four things. It *waits*: it makes a future for each caller that
must wait, and gives the future to the part of the core that completes it (flushq.core.waiter). It
*wakes*: soon after every event it runs a pass. It *calls* flush_fn with each batch that a pass has
taken. It *keeps time*, with one timer and one deadline. The package flushq.core makes all
decisions. A pass has these steps, in this order::

    core.observe()                                    tell policy and throttle what has happened
    while (batch := core.start_next_flush(clock)):    start a due flush; the driver launches it
    core.observe()                                    again, if a flush has ended meanwhile
    core.respond()                                    answer the callers whose wait is over

If the end of the queue has begun, the driver sets the deadline between start_next_flush() and
respond(). After respond() the driver sets its timer to ``wake_at``, passes ``reports`` to
on_report, and calls ``ending.finish()``, which ends the queue if nothing is left to do. The reasons
for this order:

* The policy is told of arrivals first, with the time of the first arrival. If the policy were told
  of a later event first, the arrivals would get the time of that event, because the times
  given to a policy never decrease. Then the flush of these arrivals would be late (point 6 of the
  contract).
* Items that end while their flush still runs are counted before the flushes that have ended:
  otherwise these items would be counted twice if their flush has ended meanwhile. The policy is
  told of the end of a flush before the next flush starts: otherwise the next flush would wait
  although a slot is free.
* When the last call of a flush has ended, first the throttle is told of the end of this call, and
  then callers are told how the items ended: if the throttle fails at the first of these steps, the
  callers must be told of this failure.
* In observe() the tick of the timer comes last: after each of the other events the policy has made
  a new decision, and then the tick may be unnecessary.
* Producers get room before the core looks for the next flush: otherwise pressure would cause a
  flush although there is room.
* Retries start before the next batch is taken (flushq.core.starts). Before the throttle is asked
  whether a call may start, it is told of all calls that have ended: otherwise a call could start
  that the throttle would forbid.
* If flush_fn does not suspend, its flush may end while the driver launches it. Then the policy is
  told of the end of this flush in the same pass, before respond(). If this makes another flush due,
  that flush waits for the next pass: otherwise no other task could run. Items that flush_fn has
  enqueued wait for the next pass, too: otherwise a pass could be endless.
* The deadline is set before respond(): with max_shutdown_wait=0 the deadline stops the queue at
  once, and respond() must tell the callers that the queue was stopped.
* The reports of flushes are passed to on_report after respond(). At that time the receipts know how
  their items ended. Producers in line were given the free room, and the next flush may have been
  launched.

So a burst of arrivals is one event for the policy, however many items arrive. If an item arrives
after a flush became due, but before the pass that starts this flush, the item joins the batch of
this flush (within the caps).
"""

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flushq.arguments import check_count, shown
from flushq.core.admission import Admission
from flushq.core.attempts import Attempts, Ended
from flushq.core.barriers import Barriers
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.caps import Weigh
from flushq.core.displacing import DropNewest, DropOldest, WhenFull, check_when_full
from flushq.core.duplicates import DedupeKey
from flushq.core.ending import Ending
from flushq.core.fairness import BURST
from flushq.core.losses import LostAs
from flushq.core.merging import Merge
from flushq.core.partitioned_batcher import PartitionedBatcher
from flushq.core.partitioned_buffer import PartitionKey
from flushq.core.receipts import Receipts
from flushq.core.starts import Starts
from flushq.outcomes import FlushReport
from flushq.policy import Flush, FlushPolicy
from flushq.throttles import Throttle

T = TypeVar("T")


class Core(Generic[T]):
    """A queue without its driver.

    Args:
        policy: The policy that decides when to flush. The core runs a deep copy of it.
        dedupe_key: The function that returns the key of an item. An item with the same key as a
            waiting item is a duplicate. None means that there are no duplicates.
        weigh: The function that returns the weight of an item. None means that every item weighs 0.
        partition_key: The function that returns the key of an item's partition. None means that
            the queue has no partitions.
        max_queue_size: The most items that may wait.
        max_queue_weight: The most weight that the waiting items may have together. None means that
            there is no limit.
        when_full: What a full queue does with a new item: "wait" (its producer waits for room),
            "drop_oldest" (the oldest item is displaced) or "drop_newest" (the new item is
            displaced).
        merge: The function that merges a duplicate into the waiting item. None means that the
            waiting item stays as it is.
        max_in_flight: The most flushes that may run at a time.
        max_in_flight_per_partition: The most flushes of one partition that may run at a time. None
            means that only ``max_in_flight`` counts.
        max_shutdown_wait: The time from the first close or failure to the deadline, in seconds. At
            the deadline the running flushes are interrupted. None means that there is no limit.
        throttle: The throttle that decides when a call of flush_fn may start. The core runs a deep
            copy of it. None means that a call may start at any time.
        name: The name of the queue in messages.
        lost_as: The function that returns the entry for a lost item in ``undelivered`` or
            ``in_doubt``. None means that the item itself is listed.
        burst: How many items may come before a producer must let other tasks run.
        keeps_reports: Whether the core keeps the report of each flush until the driver takes it.

    Raises:
        TypeError, ValueError: An argument has a wrong type or value.

    Attributes:
        batcher: The part that decides when items leave the queue, and counts the items that ended.
        starts: The part that decides when a call of flush_fn may start.
        buffer: The items that wait.
        admission: The part that decides which items may come in.
        receipts: The callers that wait for the end of an item, and the receipts.
        barriers: The callers that wait in flush().
        ending: The part that starts and ends the queue.
        timer_fired: The time at which the driver's timer fired, or -inf if it has not fired since
            the last pass.
        reports: The reports of flushes that have ended; the driver takes them out.
    """

    def __init__(
        self,
        policy: FlushPolicy,
        *,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        partition_key: PartitionKey[T] | None = None,
        max_queue_size: int = 10_000,
        max_queue_weight: float | None = None,
        when_full: WhenFull = "wait",
        merge: Merge[T] | None = None,
        max_in_flight: int = 1,
        max_in_flight_per_partition: int | None = 1,
        max_shutdown_wait: float | None = None,
        throttle: Throttle | None = None,
        name: str | None = None,
        lost_as: LostAs[T] | None = None,
        burst: float = BURST,
        keeps_reports: bool = False,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str, not {shown(name)}")
        self.name = "" if name is None else f" {name!r}"
        self.label = label = "" if name is None else f"{name}: "
        rules = dedupe_key, weigh, max_in_flight, label, lost_as, merge, max_queue_weight
        if max_in_flight_per_partition is not None:
            check_count("max_in_flight_per_partition", max_in_flight_per_partition)
        self.batcher: Batcher[T] = (
            Batcher(policy, *rules)
            if partition_key is None
            else PartitionedBatcher(policy, *rules, partition_key, max_in_flight_per_partition)
        )
        self.starts: Starts[T] = Starts(throttle, self.batcher.fail_throttle)
        self.buffer = self.batcher.buffer
        self.ending: Ending[T] = Ending(self.batcher, max_shutdown_wait, label, self.__repr__)
        self.barriers: Barriers[T] = Barriers(self.batcher)
        self.receipts: Receipts[T] = Receipts(self.buffer, self.ending.loss_factory, label)
        self.admission = self._new_admission(when_full, max_queue_size, label, burst)
        self.timer_fired = -math.inf
        self.reports: list[FlushReport] = []
        self._keeps_reports = keeps_reports
        self._ended_early: list[tuple[Batch[T], Ended]] = []  # a deque would take 700 more bytes
        self._done: list[tuple[Batch[T], float]] = []

    def _new_admission(self, when_full: WhenFull, *limits: Any) -> Admission[T]:
        if when_full == "wait":
            return Admission(self.batcher, *limits)
        check_when_full(when_full)
        kind = DropOldest if when_full == "drop_oldest" else DropNewest
        displacing = kind(self.batcher, *limits)
        displacing.on_displaced = self.receipts.settle_displaced
        return displacing

    # A pass.

    def observe(self) -> None:
        """Tell the policy, the throttle and the receipts what has happened."""
        if self.admission.opened is not None:
            self.admission.tell_burst()
        while self._ended_early:
            batch, ended = self._ended_early.pop(0)
            self.batcher.end_part(batch, ended)
            self.receipts.settle_part(batch, ended)
        while self._done:
            self._observe_end(*self._done.pop(0))
        if self.starts.is_busy:
            self.starts.tell_ends()
        if self.timer_fired > -math.inf:
            now, self.timer_fired = self.timer_fired, -math.inf
            self.starts.now = max(now, self.starts.now)
            while self.batcher.wake_at <= now:
                self.batcher.tick(now)

    def _observe_end(self, batch: Batch[T], now: float) -> None:
        try:
            self.batcher.end_flush(batch, now)
            if self.starts.is_busy:
                self.starts.tell_ends()
        finally:
            if self.receipts.watchers:
                self.receipts.settle(batch)
            if self._keeps_reports:
                self.reports.append(batch.report())
            batch.release()

    def start_next_flush(self, clock: Callable[[], float]) -> Batch[T] | None:
        """Start the flush that is due and return its batch; return None if no flush has started.

        First give free room to producers in line, and start the retries that may start.
        """
        admission = self.admission
        if admission.waitlist.line or admission.displaces:
            admission.admit(clock)
            due = self.batcher.due(pressed=admission.is_pressed)
        else:
            due = self.batcher.due()
        if self.starts.is_busy:
            return self._start_if_ready(due, clock())
        return None if due is None else self.batcher.start_flush(due, clock())

    def _start_if_ready(self, due: Flush | None, now: float) -> Batch[T] | None:
        """Start the retries that may start; then start the flush that is due, if it may start."""
        if not self.starts.start_calls_in_line(now, is_due=due is not None) or due is None:
            return None
        batch = self.batcher.start_flush(due, now)
        if batch is not None:
            try:
                self.starts.call_started(batch, batch.count, batch.weight)
            except BaseException as interrupt:  # the throttle raised this, and has failed
                batch.fail(interrupt)
                self.note_flush_end(batch, now)
                raise
        return batch

    @property
    def failures(self) -> int:
        """How many of these two have failed: the policy and the throttle."""
        return self.batcher.policy.failed + self.starts.failed

    @property
    def flushes_ended(self) -> bool:
        """Whether a flush has ended since the last observe()."""
        return bool(self._done)

    @property
    def is_due(self) -> bool:
        """Whether another flush or a retry might start in the next pass."""
        admission = self.admission
        if self.starts.line:
            return True
        if admission.waitlist.line or admission.displaces:
            return self.batcher.due(pressed=admission.is_pressed) is not None
        return self.batcher.due() is not None

    @property
    def wake_at(self) -> float:
        """The time at which a pass must run even without an event; inf if there is no such time."""
        wake_at = self.batcher.wake_at
        return min(wake_at, self.starts.wake_at) if self.starts.is_busy else wake_at

    def respond(self) -> None:
        """Answer the callers whose wait is over.

        There are three kinds of such callers: producers that can never get room, callers of flush()
        whose barrier is complete, and callers that wait for the end of an item that is lost.
        """
        batcher = self.batcher
        if self.ending.closing or batcher.failure is not None:
            self.admission.revoke_credit()  # observe() may have found a failure
        if self.admission.waitlist.line:
            self._reject_hopeless()
        if self.barriers.marks:
            self.barriers.answer()
        if batcher.stopped is not None:
            batcher.stop(batcher.stopped)  # again: a finalizer may have enqueued items
            if batcher.outcome_is_known:
                self.receipts.settle_all_but(batcher.running)

    def _reject_hopeless(self) -> None:
        """Reject producers that can never get room. The free room has already been given out."""
        if self.ending.has_begun:
            self.admission.waitlist.reject(self.ending.refusal)
        if self.admission.waitlist.line:
            starts = self.starts
            self.admission.break_deadlock(
                self.__repr__, is_blocked=starts.is_blocked, blocked=starts.blocked
            )

    # What happens to a flush.

    def new_attempts(self, batch: Batch[T], *, has_handler: bool) -> Attempts[T]:
        """Return new :class:`Attempts` for a batch after its first call of flush_fn raised."""
        note_end = self.starts.note_end
        return Attempts(batch, self._note_ended, note_end, has_handler=has_handler)

    def _note_ended(self, batch: Batch[T], ended: Ended) -> None:
        self._ended_early.append((batch, ended))

    def note_flush_end(self, batch: Batch[T], now: float) -> None:
        """Record that the flush of a batch has ended; the next observe() tells the policy."""
        self._done.append((batch, now))
        if self.starts.is_busy:
            self.starts.note_end(batch, now, batch.error)

    def close(self) -> None:
        """Begin a close: refuse new items, and drain the queue."""
        self.ending.close()
        self.admission.revoke_credit()

    def __repr__(self) -> str:
        counts = f"{len(self.buffer)} pending, {self.batcher.in_flight} in flight"
        return f"<FlushQueue{self.name} {self.ending.state}, {counts}>"

    def check_not_inside(self, inside: Batch[T] | None, what: str) -> None:
        """Raise RuntimeError if the caller is inside a flush of this queue.

        Otherwise that flush would wait for its own end. ``inside`` is the running flush that the
        caller is inside of, or None. ``what`` says in the message what is not allowed there.
        """
        if inside is not None:
            raise RuntimeError(
                f"{self.label}{what} inside flush_fn of the same queue is not allowed: "
                "the flush would wait for its own end"
            )
