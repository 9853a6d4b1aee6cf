"""Closing, failing, barriers: who must hear what.

What a cancellation does to a queue is known only when the cancelled task has run. So some facts
come in two strengths: *maybe*, from the moment somebody asked for it, excuses what would else be
wrong; *surely*, from the next idle moment on, is what must have happened by then.
"""

import math
from asyncio import CancelledError

import attrs

from flushq import FlushQueue, QueueClosed, QueueEnded, ShutdownTimeout
from tests.sessions.account import Account
from tests.sessions.facts import Barrier, Closer, Item, Limits
from tests.sessions.history import History
from tests.sessions.loop import EARLY

Kind = type[QueueEnded]


@attrs.frozen
class Failure:
    """Why the queue must end, and what was raised."""

    kind: Kind
    cause: BaseException | None


class Endings:
    """How the queue comes to its end, and who hears of it.

    Attributes:
        queue: The queue.
        started_by: Who has started it.
        closing_maybe: Whether somebody may have begun to close it.
        closing: Whether somebody surely has.
        failures: What may have made it fail, in order.
        closers: All who wait or have waited for its end.
        barriers: The calls of flush() that have not ended.
        barrier_mark: The highest mark that any of them ever had.
        cut_in: The loop iteration of the last cancellation that surely cut the close short.
    """

    queue: FlushQueue[Item]

    def __init__(self, limits: Limits, history: History, account: Account) -> None:
        self.started_by: str | None = None
        self.closing_maybe = False
        self.closing = False
        self.failures: list[Failure] = []
        self.closers: list[Closer] = []
        self.barriers: dict[Barrier, None] = {}
        self.barrier_mark = 0
        self.cut_in = -1
        self._limits = limits
        self._history = history
        self._account = account
        self._clock = math.inf
        self._clock_surely = math.inf
        self._was_over_limit = False
        self._cut_maybe = False
        self._cut = False
        self._interrupted: dict[Closer, int] = {}
        self._told: list[QueueEnded] = []

    # What is known of the end.

    @property
    def started(self) -> bool:
        """Whether the queue was started."""
        return self.started_by is not None

    def is_over_limit(self, clock: float) -> bool:
        """Whether the time for closing, by this clock, is up at this moment."""
        return self._history.loop.time() >= clock + self._limits.shutdown_seconds

    @property
    def interrupts(self) -> bool:
        """Whether the queue may cancel the flushes that run."""
        return self._cut_maybe or self.is_over_limit(self._clock - 2 * EARLY)

    @property
    def stops(self) -> bool:
        """Whether the queue may leave items undelivered."""
        return bool(self.failures) or self.interrupts

    @property
    def interrupted(self) -> bool:
        """Whether it surely has cancelled all flushes; to be asked at an idle moment."""
        return self._cut or self.is_over_limit(self._clock_surely)

    @property
    def stopped(self) -> bool:
        """Whether surely no batch is cut any more; to be asked at an idle moment."""
        return bool(self.failures) or self.interrupted

    @property
    def cut_surely(self) -> bool:
        """Whether the close surely was cut short, at an earlier moment."""
        return self._cut or self._was_over_limit

    def refuses(self, *, inside: bool) -> bool:
        """Whether no item may be accepted any more from this kind of caller."""
        return bool(self.failures) or (self.closing and not inside)

    def become_sure(self) -> None:
        """The loop is idle: what may have begun has begun."""
        self.closing = self.closing_maybe
        if self.closing or self.failures:
            self._clock_surely = min(self._clock_surely, self._history.loop.time())
        self._was_over_limit = self.is_over_limit(self._clock_surely)
        for closer, iteration in self._interrupted.items():
            if not closer.over or (closer.is_owner and isinstance(closer.error, CancelledError)):
                self._cut, self.cut_in = True, iteration
        self._interrupted.clear()
        emptied = self._account.waiting and not self.queue.pending
        if self.interrupts and emptied and not self.failures:
            self._cut = True

    # What begins it.

    def start(self, who: str) -> None:
        """The queue is started, unless it was before."""
        self.started_by = self.started_by or who

    def begin(self, *, surely: bool) -> None:
        """The close begins."""
        now = self._history.loop.time()
        if surely and any(each.may_go(now) and not each.over for each in self.closers):
            self._cut_maybe = True  # a cancellation that was to begin it comes second
        self.closing_maybe = True
        self.closing = self.closing or surely
        self._clock = min(self._clock, now)
        if surely:
            self._clock_surely = min(self._clock_surely, now)

    def fail(self, kind: Kind, cause: BaseException | None) -> None:
        """A flush or the policy has failed."""
        self.failures.append(Failure(kind, cause))
        self._clock = min(self._clock, self._history.loop.time())

    def call(self, closer: Closer) -> None:
        """Somebody begins to wait for the end."""
        self.closers.append(closer)
        self.start(closer.who)
        if closer.kind != "run":
            self.begin(surely=True)
        if not closer.cancelled and closer.may_go(self._history.loop.time()):
            self.interrupt(closer, surely=False)

    def interrupt(self, closer: Closer, *, surely: bool = True) -> None:
        """Somebody who waits for the end is being cancelled."""
        if not self.closing_maybe:
            self.begin(surely=False)
        elif closer.is_owner or not self.owners_wait:
            self._cut_maybe = True
            if self.closing and surely:
                self._interrupted[closer] = self._history.loop.iteration

    @property
    def owners_wait(self) -> bool:
        """Whether an owner waits for the end."""
        return any(closer.is_owner and not closer.over for closer in self.closers)

    # How closers end.

    def end(self, closer: Closer, error: BaseException | None) -> None:
        """A closer waits no more."""
        may_go = closer.may_go(self._history.loop.time())
        closer.may_be_early = may_go and not closer.is_owner
        closer.over, closer.error = True, error
        if closer.cancelled and not isinstance(error, CancelledError):
            self._history.complain(11, f"{closer.who} swallowed a cancellation: {error!r}")
        elif may_go and isinstance(error, CancelledError):
            pass
        elif closer.body_error is not None:
            if error is not closer.body_error:
                self._history.complain(12, f"{closer.body_error!r} was replaced by {error!r}")
        elif isinstance(error, QueueEnded):
            self._check(12, error, self.flaw_of_outcome(error))
        elif error is not None:
            self._history.complain(10, f"{closer.who} got {error!r}")
        if not (closer.may_be_early and self.owners_wait):
            self._check_complete(closer)

    def _check_complete(self, closer: Closer) -> None:
        account = self._account
        waiting = account.cut < account.position and not self.stops
        if waiting or any(flight.called for flight in account.running):
            self._history.complain(10, f"{closer.who} did not wait for the end")

    # Failures and outcomes.

    def flaw_of_failure(self, error: QueueEnded) -> tuple[int, str] | None:
        """What is wrong with an exception that says that the queue has failed, if anything."""
        kinds = [failure.kind for failure in self.failures]
        if type(error) not in kinds:
            return (12, f"though the failures are {kinds}")
        causes = [failure.cause for failure in self.failures if failure.kind is type(error)]
        if not any(_is_same(error.__cause__, cause) for cause in causes):
            return (12, f"has the cause {error.__cause__!r}, which is none of {causes}")
        return self._flaw_of_identity(error)

    def flaw_of_outcome(self, error: QueueEnded) -> tuple[int, str] | None:
        """What is wrong with an exception that tells how the queue has ended, if anything."""
        if self.failures:
            return self.flaw_of_failure(error)
        if not isinstance(error, ShutdownTimeout):
            return (12, "though nothing has failed")
        if not self.interrupts:
            return (10, "though the close had neither reached its limit nor been cut short")
        flights = self._account.flights
        errors = [flight.error for flight in flights if flight.called]
        causes = [cause for cause in errors if cause is not None] or [None]
        if not any(_is_same(error.__cause__, cause) for cause in causes):
            return (10, f"has the cause {error.__cause__!r}, which is none of {causes}")
        return self._flaw_of_identity(error)

    def _flaw_of_identity(self, error: QueueEnded) -> tuple[int, str] | None:
        if any(error is other for other in self._told):
            return (12, "is an object that somebody else got")
        self._told.append(error)
        queue = self.queue
        if error.undelivered is not queue.undelivered or error.in_doubt is not queue.in_doubt:
            return (2, "carries other lists than the queue")
        return None if isinstance(error, ShutdownTimeout) else self._flaw_of_difference(error)

    def _flaw_of_difference(self, error: QueueEnded) -> tuple[int, str] | None:
        """Whether others were told of another failure."""
        for other in self._told:
            if isinstance(other, ShutdownTimeout):
                continue
            if type(other) is not type(error) or not _is_same(other.__cause__, error.__cause__):
                return (12, f"though somebody was told {other!r}")
        return None

    def _check(self, point: int, error: BaseException, flaw: tuple[int, str] | None) -> None:
        if flaw is not None:
            self._history.complain(flaw[0] or point, f"{error!r} {flaw[1]}")

    # Barriers.

    def call_barrier(self, barrier: Barrier) -> None:
        """Somebody calls flush()."""
        self.barriers[barrier] = None
        self.barrier_mark = max(self.barrier_mark, barrier.mark)

    def end_barrier(self, barrier: Barrier, error: BaseException | None) -> None:
        """A call of flush() has ended."""
        del self.barriers[barrier]
        if error is None:
            self._check_reached(barrier)
        elif isinstance(error, CancelledError):
            if not barrier.may_go(self._history.loop.time()):
                self._history.complain(9, f"nobody cancelled {barrier.who}")
        elif isinstance(error, QueueEnded):
            self._check(9, error, self._flaw_of_barrier(barrier, error))
        elif not (isinstance(error, QueueClosed) and self.closing_maybe):
            self._history.complain(9, f"{barrier.who} got {error!r}")

    def is_reached(self, barrier: Barrier) -> bool:
        """Whether all that was accepted before the barrier has ended."""
        running = self._account.running
        if any(flight.first < barrier.mark and flight.called for flight in running):
            return False
        return self.stops or self._account.settled >= barrier.mark

    def _check_reached(self, barrier: Barrier) -> None:
        account = self._account
        if barrier.cancelled:
            self._history.complain(11, f"{barrier.who} swallowed a cancellation")
        if account.settled < barrier.mark:
            self._history.complain(9, f"{barrier.who} returned before item {barrier.mark} ended")
        elif account.lost(barrier.start, barrier.mark):
            self._history.complain(9, f"{barrier.who} returned after a loss")

    def _flaw_of_barrier(self, barrier: Barrier, error: QueueEnded) -> tuple[int, str] | None:
        account = self._account
        if barrier.late:
            return self.flaw_of_failure(error)
        if not self.is_reached(barrier):
            return (9, f"came before item {barrier.mark} had ended")
        if account.cut >= barrier.mark and not account.lost(barrier.heard, barrier.mark):
            return (9, "though all it waited for was delivered")
        return self.flaw_of_outcome(error)


def _is_same(actual: BaseException | None, expected: BaseException | None) -> bool:
    """Whether a cause is the one expected; asyncio may make a new CancelledError of one."""
    both = isinstance(actual, CancelledError) and isinstance(expected, CancelledError)
    return both or actual is expected
