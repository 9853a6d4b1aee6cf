"""One pass: what a queue decides when something has happened, without a loop or a thread.

Theory of operation. A driver does four things. It *waits*: it makes a future for each caller, and
registers it with the part of the core that completes it (flushq.core.waiter). It *wakes*: whatever
happens asks for a pass soon. It *calls*: flush_fn, with the batches that a pass starts. It *keeps
time*: one timer, one deadline. What is decided is decided in this package. A pass is, in this
order::

    core.observe()                              tell policy and throttle what has happened
    while (batch := core.next_flush(clock)):    start what is due; the driver launches each
    core.observe()                              again, if flushes have ended meanwhile
    core.respond()                              tell all who wait for something, if it is time

Between next_flush() and respond() the driver sets the deadline, if the end has begun. Afterwards
it sets its timer to ``wake_at``, hands out ``reports``, and asks ``ending.finish()``
whether this was the last pass. Why in this order:

* Arrivals are told first, with the time of the first of them. If a later event were told before,
  they would get its time, and be flushed late (point 6).
* Items that have ended early are counted before whole batches are: else they would count twice. The
  ends of flushes come before the next flush: else that would wait for a slot that is free.
* The throttle hears of the call that has ended a flush before those who wait for its items hear of
  that: it may fail by it, and they are told what has ended the queue.
* The tick of the timer comes last, since each other event has asked the policy anew.
* Producers are let in before the next flush is looked for: else pressure would flush although there
  is room.
* Retries are let go before the next batch is taken (flushq.core.starts), and the throttle hears of
  all that has ended before it is asked: else a call would start that it forbids.
* A flush that has ended when it is launched is told of before respond(), in the same pass, but what
  is due then waits for the next one: else a flush_fn that never suspends would let nobody else run.
  So do the items that flush_fn has brought by then, as only observe() tells of arrivals: else it
  would feed itself for ever.
* The deadline comes before respond(): with max_shutdown_wait=0 it stops the queue, and respond()
  has to tell that.
* Reports come last: a report finds the receipts of its flush settled, and the line moved on. The
  next flush may have been launched by then.

So a burst of arrivals is one event, whatever its length, and items that arrive before the pass join
the batch.
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
        policy: When to flush; a deep copy is run.
        dedupe_key, weigh: The key and the weight of an item.
        partition_key: The partition of an item. None: there are no partitions.
        max_queue_size: How many items may wait.
        max_queue_weight: What the items that wait may weigh together. None: any weight.
        when_full: What a full queue does: "wait", "drop_oldest" or "drop_newest".
        merge: What an item becomes by its duplicate. None: the first stays as it is.
        max_in_flight: How many flushes may run at a time.
        max_in_flight_per_partition: How many of one partition. None: no limit of its own.
        max_shutdown_wait: Seconds that the end may take. None: no limit.
        throttle: When a call of flush_fn may start; a deep copy is run. None: at any time.
        name: What the queue is called.
        lost_as: What a lost item is listed as. None: the item itself.
        burst: How many items may come before others run.
        keeps_reports: Whether anybody asks for reports of flushes.

    Raises:
        TypeError, ValueError: An argument is not what it must be.

    Attributes:
        batcher: What leaves the queue, and the account.
        starts: When a call of flush_fn may start.
        buffer: The items that wait.
        admission: Who may come in.
        receipts: Who asks about which item.
        barriers: Who waits for a barrier.
        ending: Life and the end.
        timer_fired: The time at which the driver's timer fired; -inf: it has not.
        reports: Of the flushes that have ended, for the driver to take.
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
        self.receipts: Receipts[T] = Receipts(self.buffer, self.ending.loss, label)
        self.admission = self._new_admission(when_full, max_queue_size, label, burst)
        self.timer_fired = -math.inf
        self.reports: list[FlushReport] = []
        self._keeps_reports = keeps_reports
        self._ended_early: list[tuple[Batch[T], Ended]] = []  # short: a deque takes 700 bytes more
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
        """Tell the policy and the throttle what has happened."""
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
            batch.forget()

    def next_flush(self, clock: Callable[[], float]) -> Batch[T] | None:
        """Start the flush that is due, if there is one: the driver is to call flush_fn."""
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
        """Let retries go first; then start the flush that is due, if its call may start."""
        if not self.starts.let_go(now, is_due=due is not None) or due is None:
            return None
        batch = self.batcher.start_flush(due, now)
        if batch is not None:
            try:
                self.starts.call_started(batch, batch.count, batch.weight)
            except BaseException as interrupt:  # by which the throttle has failed
                batch.fail(interrupt)
                self.flush_ended(batch, now)
                raise
        return batch

    @property
    def broken(self) -> int:
        """How many have failed of the policy and the throttle."""
        return self.batcher.policy.failed + self.starts.failed

    @property
    def flushes_ended(self) -> bool:
        """Whether flushes have ended since observe()."""
        return bool(self._done)

    @property
    def is_due(self) -> bool:
        """Whether another flush, or a retry, might start; a flush just begun leaves no pressure."""
        admission = self.admission
        if self.starts.line:
            return True
        if admission.waitlist.line or admission.displaces:
            return self.batcher.due(pressed=admission.is_pressed) is not None
        return self.batcher.due() is not None

    @property
    def wake_at(self) -> float:
        """When there is something to be done unless something else happens; inf: never."""
        wake_at = self.batcher.wake_at
        return min(wake_at, self.starts.wake_at) if self.starts.is_busy else wake_at

    def respond(self) -> None:
        """Tell all who wait for something, if it is time."""
        batcher = self.batcher
        if self.ending.closing or batcher.failure is not None:
            self.admission.revoke_credit()  # now that observe() may have found a failure
        if self.admission.waitlist.line:
            self._serve_line()
        if self.barriers.marks:
            self.barriers.answer()
        if batcher.stopped is not None:
            batcher.stop(batcher.stopped)  # what a finalizer has brought since
            if batcher.outcome_is_known:
                self.receipts.settle_lost(batcher.running)

    def _serve_line(self) -> None:
        """Reject producers that would wait in vain; those with room were let in before."""
        if self.ending.begun:
            self.admission.waitlist.reject(self.ending.refusal)
        if self.admission.waitlist.line:
            starts = self.starts
            self.admission.break_deadlock(
                self.__repr__, is_blocked=starts.is_blocked, blocked=starts.blocked
            )

    # What happens to a flush.

    def attempts(self, batch: Batch[T], *, has_handler: bool) -> Attempts[T]:
        """A batch has failed: what is to be done."""
        note_end = self.starts.note_end
        return Attempts(batch, self._note_ended, note_end, has_handler=has_handler)

    def _note_ended(self, batch: Batch[T], ended: Ended) -> None:
        self._ended_early.append((batch, ended))

    def flush_ended(self, batch: Batch[T], now: float) -> None:
        """The driver is done with a batch."""
        self._done.append((batch, now))
        if self.starts.is_busy:
            self.starts.note_end(batch, now, batch.error)

    def close(self) -> None:
        """Refuse new items, and drain."""
        self.ending.close()
        self.admission.revoke_credit()

    def __repr__(self) -> str:
        counts = f"{len(self.buffer)} pending, {self.batcher.in_flight} in flight"
        return f"<FlushQueue{self.name} {self.ending.state}, {counts}>"

    def refuse_inside(self, inside: Batch[T] | None, what: str) -> None:
        """Refuse, within a running flush, what would wait for that flush."""
        if inside is not None:
            raise RuntimeError(
                f"{self.label}{what} inside flush_fn of the same queue would wait for itself"
            )
