"""One pass, barriers, and the end: what a queue decides, without a loop or a thread.

Theory of operation. A driver does four things. It *waits*: each of its callers on a future of its
own, which is handed in here (flushq.core.waiter). It *wakes*: whatever happens asks for a pass
soon. It *calls*: flush_fn, with the batches that a pass starts. It *keeps time*: one timer, one
deadline. All that is decided is decided here. A pass is, in this order::

    core.observe()                                tell the policy what has happened
    while (batch := core.next_flush(clock)):      start what is due; the driver launches each
    core.respond()                                tell all who wait for something, if it is time

after which the driver sets its timer to ``batcher.wake_at``, hands out ``reports``, and asks
``finish()`` whether this was the last pass. The order matters. Arrivals are told first, since they
carry the oldest time and the policy's time never runs backwards. Ends of flushes come before what
is due, so that a slot is free for it at once. Producers are let in before anybody looks whether the
queue is full. Receipts are settled, and the line has moved, before reports are handed out. So a
burst of arrivals costs one pass, and what arrives before the pass joins the batch.

The end. A close drains: all that waits is due, and nothing new is taken, but for what a running
flush brings. A failure stops: what waits is undelivered. Either sets one deadline; to cut short is
to stop. It is over when nothing runs and nothing waits. The *outcome* is the first failure, else
what was lost. An *owner* is a caller that runs the queue and decides when the drain is cut short.
"""

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from flushq.arguments import check_number
from flushq.core.admission import BURST, Admission
from flushq.core.attempts import Attempts, Ended
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher, End
from flushq.core.buffer import DedupeKey, Weigh
from flushq.core.receipts import FailureFactory, Receipts
from flushq.core.registry import Barriers, Closers
from flushq.errors import FlushqError, QueueClosed, QueueEnded, ShutdownTimeout
from flushq.outcomes import FlushReport
from flushq.policy import FlushPolicy

T = TypeVar("T")


class Core(Generic[T]):
    """A queue without its driver.

    Args:
        policy: When to flush; a deep copy is run.
        dedupe_key, weigh: The key and the weight of an item.
        max_queue_size: How many items may wait.
        max_in_flight: How many flushes may run at a time.
        max_shutdown_wait: Seconds that the end may take. None: no limit.
        name: What the queue is called.
        burst: How many items may come before others run.
        keeps_reports: Whether anybody asks for reports of flushes.

    Raises:
        TypeError, ValueError: An argument is not what it must be.

    Attributes:
        batcher: What leaves the queue, and the account.
        buffer: The items that wait.
        admission: Who may come in.
        receipts: Who asks about which item.
        barriers, closers: Who waits for a barrier, and for the end.
        closing: Whether a close has begun.
        ended: Whether the queue has ended.
        deadline: When the end is to be over; None while it has not begun.
        timer_fired: The time at which the driver's timer fired; -inf: it has not.
        reports: Of the flushes that have ended, for the driver to take.
    """

    def __init__(
        self,
        policy: FlushPolicy,
        *,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        max_queue_size: int = 10_000,
        max_in_flight: int = 1,
        max_shutdown_wait: float | None = None,
        name: str | None = None,
        burst: float = BURST,
        keeps_reports: bool = False,
    ) -> None:
        if max_shutdown_wait is not None:
            check_number("max_shutdown_wait", max_shutdown_wait, least=0)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str, not {name!r}")
        self.name = "" if name is None else f" {name!r}"
        self.label = label = "" if name is None else f"{name}: "
        self.batcher: Batcher[T] = Batcher(policy, dedupe_key, weigh, max_in_flight, label)
        self.buffer = self.batcher.buffer
        self.admission: Admission[T] = Admission(self.batcher, max_queue_size, label, burst)
        self.receipts: Receipts[T] = Receipts(self.buffer, self.loss, label)
        self.barriers = Barriers()
        self.closers = Closers()
        self.closing = self.ended = False
        self.deadline: float | None = None
        self.timer_fired = -math.inf
        self.reports: deque[FlushReport] = deque()
        self._keeps_reports = keeps_reports
        self._max_shutdown_wait = max_shutdown_wait
        self._parts: deque[tuple[Batch[T], Ended]] = deque()
        self._done: deque[tuple[Batch[T], float]] = deque()

    # A pass.

    def observe(self) -> None:
        """Tell the policy what has happened."""
        if self.admission.opened is not None:
            self.admission.close_burst()
        while self._parts:
            batch, ended = self._parts.popleft()
            self.batcher.end_part(batch, ended)
            self.receipts.settle_part(batch, ended)
        while self._done:
            self._observe_end(*self._done.popleft())
        if self.timer_fired > -math.inf:
            now, self.timer_fired = self.timer_fired, -math.inf
            if self.batcher.wake_at <= now:
                self.batcher.tick(now)

    def _observe_end(self, batch: Batch[T], now: float) -> None:
        try:
            self.batcher.end_flush(batch, now)
        finally:
            self.receipts.settle(batch)
            if self._keeps_reports:
                self.reports.append(batch.report())
            batch.forget()

    def next_flush(self, clock: Callable[[], float]) -> Batch[T] | None:
        """Start the flush that is due, if there is one: the driver is to call flush_fn."""
        admission = self.admission
        if admission.opened is not None:  # by a flush that has begun in this very pass
            admission.close_burst()
        line = admission.waitlist.line
        if line:
            admission.admit(clock)
        due = self.batcher.due(pressed=bool(line) and admission.is_full)
        return None if due is None else self.batcher.start_flush(due, clock())

    def respond(self) -> None:
        """Tell all who wait for something, if it is time."""
        batcher = self.batcher
        if self.closing or batcher.failure is not None:
            self.admission.revoke_credit()
        if self.admission.waitlist.line:
            self._serve_line()
        if self.barriers.marks:
            self.barriers.answer(batcher.settled)
        if batcher.stopped is not None:
            batcher.stop(batcher.stopped)  # what a finalizer has brought since
            if batcher.outcome_is_known:
                self.receipts.settle_lost(batcher.running)

    def finish(self) -> bool:
        """End the queue, if nothing is left to be done; return whether it has ended."""
        if self.ending and self.batcher.is_empty:
            self.ended = True
            self.closers.answer()
        return self.ended

    def _serve_line(self) -> None:
        """Reject producers that would wait in vain; those with room were let in before."""
        if self.ending:
            self.admission.waitlist.reject(self._refusal)
        if self.admission.waitlist.line:
            self.admission.break_deadlock(self.__repr__)

    # What happens to a flush.

    def attempts(self, batch: Batch[T], *, has_handler: bool) -> Attempts[T]:
        """A batch has failed: what is to be done."""
        return Attempts(batch, self._note_ended, has_handler=has_handler)

    def _note_ended(self, batch: Batch[T], ended: Ended) -> None:
        self._parts.append((batch, ended))

    def flush_ended(self, batch: Batch[T], now: float) -> None:
        """The driver is done with a batch."""
        self._done.append((batch, now))

    # Who may call.

    @property
    def state(self) -> str:
        """How far the queue has come, in a word or two."""
        if self.batcher.failure is not None:
            return "failed"
        if self.closing:
            return "closed" if self.ended else "closing"
        return "running" if self.batcher.started else "not started"

    def __repr__(self) -> str:
        counts = f"{len(self.buffer)} pending, {self.batcher.in_flight} in flight"
        return f"<FlushQueue{self.name} {self.state}, {counts}>"

    def refuse_inside(self, inside: Batch[T] | None, what: str) -> None:
        """Refuse, within a running flush, what would wait for that flush."""
        if inside is not None:
            raise RuntimeError(
                f"{self.label}{what} inside flush_fn of the same queue would wait for itself"
            )

    def check_open(self, inside: Batch[T] | None) -> None:
        """Raise why an item, or a flush(), is refused, if it is."""
        refusal = self._refusal(inside)
        if refusal is not None:
            raise refusal

    def _refusal(self, inside: Batch[T] | None) -> FlushqError | None:
        """Why a producer is refused that is part of this flush, if it is: a new exception."""
        if self.batcher.failure is not None:
            return self.outcome()
        if self.closing and (self.batcher.stopped or not self.batcher.runs(inside)):
            return QueueClosed(f"{self!r} takes no items any more")
        return None

    # Barriers.

    def barrier(self) -> int | None:
        """Make due what was accepted by now, and return its mark; None: all of it has ended."""
        mark = self.batcher.barrier()
        return None if self.batcher.settled >= mark else mark

    def check_delivered(self, mark: int) -> None:
        """Raise the outcome if an item below the mark was lost."""
        if self.batcher.losses.first < mark:
            raise self._exception(self._end)

    # The end.

    @property
    def ending(self) -> bool:
        """Whether the queue ends, or has ended: by a close or a failure."""
        return self.closing or self.batcher.failure is not None

    def start(self) -> None:
        """Take batches from now on.

        Raises:
            QueueClosed, RuntimeError: It is closing or closed; or it was started before.
        """
        if self.closing:
            raise QueueClosed(f"{self!r} cannot be started again")
        if self.batcher.started:
            raise RuntimeError(f"{self!r} was started before")
        self.batcher.start()

    def close(self) -> None:
        """Refuse new items, and drain."""
        self.closing = True
        self.admission.revoke_credit()
        self.batcher.drain()

    def set_deadline(self, now: float) -> float:
        """The end has begun, by a close or a failure: return by when it is to be over."""
        limit = math.inf if self._max_shutdown_wait is None else float(self._max_shutdown_wait)
        self.deadline = now + limit
        return self.deadline

    def pass_deadline(self) -> None:
        """The deadline has come."""
        self.cut_short(f"closing took longer than max_shutdown_wait={self._max_shutdown_wait!r} s")

    def cut_short(self, why: str) -> None:
        """Start no flush any more; the driver interrupts those that run."""
        self.batcher.stop(why)

    def may_end_sooner(self, *, owner: bool) -> bool:
        """Whether a caller that waits for the end, and is cancelled, may have it sooner.

        An owner may; another caller only if no owner waits.
        """
        return owner or not self.closers.owned

    def outcome(self) -> QueueEnded | None:
        """How it ended: a new exception, or None if nothing has failed and nothing was lost."""
        batcher = self.batcher
        if batcher.failure is None and not batcher.losses:
            return None
        return self._exception(self._end)

    def loss(self) -> FailureFactory:
        """Why what is lost by now was lost: what makes a new exception, always the same."""
        return partial(self._exception, self._end)

    @property
    def _end(self) -> End:
        """How it ends, as far as is known by now."""
        batcher = self.batcher
        timeout = End(ShutdownTimeout, batcher.stopped, batcher.interruption)
        return batcher.failure or timeout

    def _exception(self, end: End) -> QueueEnded:
        losses = self.batcher.losses
        lists = losses.undelivered.items, losses.in_doubt.items
        error = end.kind(f"{self.label}{end.message}", *lists)
        error.__cause__ = end.cause
        return error

    def carries_loss(self, error: BaseException) -> bool:
        """Whether an exception, or one in a group, carries the lists of this queue already."""
        if isinstance(error, BaseExceptionGroup):
            leaves: list[BaseException] = list(error.exceptions)
            return any(map(self.carries_loss, leaves))
        undelivered = self.batcher.losses.undelivered.items
        return isinstance(error, QueueEnded) and error.undelivered is undelivered
