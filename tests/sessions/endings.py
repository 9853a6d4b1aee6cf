"""Closing and failing: when the end begins, and when it is cut short.

What a cancellation does to a queue is known only when the cancelled task has run. So some facts
come in two strengths: *maybe*, from the moment somebody asked for it, excuses what would else be
wrong; *surely*, from the next idle moment on, is what must have happened by then.
"""

import math
from asyncio import CancelledError

import attrs

from flushq import FlushQueue, QueueEnded
from tests.sessions.account import Account
from tests.sessions.facts import BETWEEN, Flight, Item, Limits
from tests.sessions.history import History
from tests.sessions.loop import EARLY
from tests.sessions.waiting import Closer

Kind = type[QueueEnded]


@attrs.frozen
class Failure:
    """Why the queue must end.

    Attributes:
        kind: What everyone is told of it.
        cause: What was raised.
        late: Whether the close may have been cut short before.
    """

    kind: Kind
    cause: BaseException | None
    late: bool


class Endings:
    """How the queue comes to its end.

    Attributes:
        queue: The queue.
        started_by: Who has started it.
        closing_maybe: Whether somebody may have begun to close it.
        closing: Whether somebody surely has.
        failures: What may have made it fail, in order.
        closers: All who wait or have waited for its end.
        logged: How many log records have told of a failure.
        cut_in: The loop iteration of the last cancellation that surely cut the close short.
    """

    queue: FlushQueue[Item]

    def __init__(self, limits: Limits, history: History, account: Account) -> None:
        self.started_by: str | None = None
        self.closing_maybe = False
        self.closing = False
        self.failures: list[Failure] = []
        self.closers: list[Closer] = []
        self.logged = 0
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

    def may_be_over(self, flight: Flight) -> bool:
        """Whether a flight has ended, or may have been cut short between two calls, unseen."""
        return flight.over or (flight.state == BETWEEN and self.interrupts)

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
        self.failures.append(Failure(kind, cause, late=self.interrupts))
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
