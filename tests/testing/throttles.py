"""Throttles that break one law each, and some that break none."""

import itertools
import math
from typing import Any

import attrs

from flushq.throttles import RateLimit, Throttle


class Counting(Throttle):
    """A throttle that counts the running and the started calls. Others are made from it."""

    running = 0
    started = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Count the call."""
        self.running += 1
        self.started += 1

    def call_done(
        self,
        now: float,
        count: int,
        seconds: float,
        weight: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """Count the end of the call."""
        self.running -= 1

    def ready_at(self, now: float) -> float:
        """Return now."""
        return now


class AtMostTwo(Counting):
    """A throttle that lets two calls run at a time."""

    def ready_at(self, now: float) -> float:
        """Return now, or inf while two calls run."""
        return now if self.running < 2 else math.inf


@attrs.define
class Bucket(Throttle):
    """A bucket of whole items, which gets an item every second. It breaks no law."""

    _empty_at: float = -math.inf

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Take the items out; if there are too few, the bucket owes the rest."""
        self._empty_at = max(self._empty_at, now - 5) + count

    def ready_at(self, now: float) -> float:
        """Return when the bucket has an item."""
        return self._empty_at + 1


class ByTheHour(RateLimit):
    """A throttle that lets some calls start in each interval of a calendar."""

    def ready_at(self, now: float) -> float:
        """Return now, or the end of the interval if it has no call left."""
        ready = super().ready_at(now) - self.seconds
        return now if ready < now // self.seconds * self.seconds else self._next(now)

    def _next(self, now: float) -> float:
        return (now // self.seconds + 1) * self.seconds


class Raising(Counting):
    """A throttle that raises when three calls run."""

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Count the call, and raise if three calls run."""
        super().call_started(now, count, weight)
        if self.running == 3:
            raise ArithmeticError(str(self.running))


class AnsweringText(Counting):
    """A throttle that answers with a string."""

    def ready_at(self, now: float) -> Any:
        """Return a string instead of a time."""
        return "now"


class Stuck(Counting):
    """A throttle that lets two calls start, and then no call ever."""

    def ready_at(self, now: float) -> float:
        """Return now, or inf after two calls."""
        return now if self.started < 2 else math.inf


NUMBERS = itertools.count()


class Fickle(Counting):
    """A throttle that never answers the same twice."""

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Draw another number for the next pause."""
        self.due = now + next(NUMBERS)

    def ready_at(self, now: float) -> float:
        """Return the end of the pause."""
        return getattr(self, "due", now)


class Settling(Counting):
    """A throttle that sets the end of a pause only when ``ready_at`` is called."""

    due = -math.inf
    is_settled = True

    def call_done(self, now: float, *facts: Any, **others: Any) -> None:
        """Begin a pause, without an end."""
        super().call_done(now, *facts, **others)
        self.is_settled = False

    def ready_at(self, now: float) -> float:
        """Return the end of the pause: two seconds after the first question."""
        if not self.is_settled:
            self.due = now + 2
            self.is_settled = True
        return self.due


class Forgetting(RateLimit):
    """A throttle whose ``ready_at`` forgets the starts that do not count at that time."""

    def ready_at(self, now: float) -> float:
        """Forget starts, and return the right time for the others."""
        while self._starts and self._starts[0] + self.seconds <= now:
            self._starts.popleft()
        return super().ready_at(now)


class Tired(Counting):
    """A throttle that lets a call start only at every third question."""

    asked = 0

    def ready_at(self, now: float) -> float:
        """Return now at every third question, else one second later."""
        self.asked += 1
        return now if self.asked % 3 == 0 else now + 1


class Lazy(Counting):
    """A throttle that counts a failure only in ``ready_at``, so two failures may count as one."""

    failed_at: float | None = None
    row = 0
    due = -math.inf

    def call_done(self, now: float, *facts: Any, **others: Any) -> None:
        """Remember the time of a failure."""
        if any(isinstance(fact, OSError) for fact in facts):
            self.failed_at = now

    def ready_at(self, now: float) -> float:
        """Return two seconds after the second failure."""
        if self.failed_at is not None:
            self.row += 1
            self.due = self.failed_at + 2 if self.row >= 2 else self.due
            self.failed_at = None
        return self.due


class Irritable(Counting):
    """A throttle that gives one good answer."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.asked = 0

    def ready_at(self, now: float) -> Any:
        """Return now; at later questions return None, or raise."""
        self.asked += 1
        if self.asked > 1 and self.error:
            raise ArithmeticError(str(self.error))
        return now if self.asked == 1 else None


class Polling(RateLimit):
    """A throttle that does not know when it is ready, and must be asked again and again."""

    def ready_at(self, now: float) -> float:
        """Return now if a call may start, else a moment later."""
        return now if super().ready_at(now) <= now else now + 1e-9


class Closing(Counting):
    """A throttle that is ready until ten seconds after the last start, and then after thirty."""

    last = -math.inf

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Store the time."""
        super().call_started(now, count, weight)
        self.last = now

    def ready_at(self, now: float) -> float:
        """Return now, or the end of the break."""
        is_closed = 10 < now - self.last < 30
        return self.last + 30 if is_closed else now


class CountingBursts(RateLimit):
    """A throttle that counts several calls as one if they run at the same time."""

    running = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Store the time if no other call runs."""
        if self.running == 0:
            super().call_started(now, count, weight)
        self.running += 1

    def call_done(self, now: float, *facts: Any, **others: Any) -> None:
        """Count the end of the call."""
        self.running -= 1


class Duration(RateLimit):
    """A throttle that answers with a duration instead of a time."""

    def ready_at(self, now: float) -> float:
        """Return the seconds until a call may start."""
        return super().ready_at(now) - now


GOOD: list[Throttle] = [Counting(), AtMostTwo(), Bucket()]

BAD: list[tuple[str, Throttle]] = [
    ("repeatable", Fickle()),
    ("pure", Settling()),
    ("pure", Forgetting(2, 1.0)),
    ("pure", Tired()),
    ("later", Polling(2, 1.0)),
    ("later", Closing()),
    ("bursts", CountingBursts(2, 1.0)),
    ("shift", ByTheHour(2, 3.0)),
    ("shift", Duration(2, 1.0)),
]
"""Pairs of a law and a throttle that breaks it."""

UNSOUND: list[tuple[str, Throttle]] = [
    ("sound", Raising()),
    ("sound", AnsweringText()),
    ("sound", Stuck()),
]
"""Pairs of a law and a throttle that breaks it so that no queue could work with the throttle."""
