"""Throttles that break one law each, and some that break none."""

import itertools
import math
from typing import Any

import attrs

from flushq.throttles import RateLimit, Throttle


class Counting(Throttle):
    """Counts the calls that run and those that have started. Of this one others are made."""

    running = 0
    started = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Count it."""
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
        """Count it."""
        self.running -= 1

    def ready_at(self, now: float) -> float:
        """At once."""
        return now


class AtMostTwo(Counting):
    """Lets two calls run at a time."""

    def ready_at(self, now: float) -> float:
        """While two run: not before one has ended."""
        return now if self.running < 2 else math.inf


@attrs.define
class Bucket(Throttle):
    """A bucket of items, into which another falls every second: a good one, in whole items."""

    _empty_at: float = -math.inf

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Take them out, more than there are if need be."""
        self._empty_at = max(self._empty_at, now - 5) + count

    def ready_at(self, now: float) -> float:
        """When an item is in it."""
        return self._empty_at + 1


class ByTheHour(RateLimit):
    """Lets a number of calls start in each of the intervals of a calendar."""

    def ready_at(self, now: float) -> float:
        """When the interval is over in which so many have started."""
        ready = super().ready_at(now) - self.seconds
        return now if ready < now // self.seconds * self.seconds else self._next(now)

    def _next(self, now: float) -> float:
        return (now // self.seconds + 1) * self.seconds


class Raising(Counting):
    """Raises when three calls run."""

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Raise, or count it."""
        super().call_started(now, count, weight)
        if self.running == 3:
            raise ArithmeticError(str(self.running))


class Wordy(Counting):
    """Answers with a word."""

    def ready_at(self, now: float) -> Any:
        """In other words: at once."""
        return "now"


class Stuck(Counting):
    """Does not let a call start again after two."""

    def ready_at(self, now: float) -> float:
        """At once, or never."""
        return now if self.started < 2 else math.inf


NUMBERS = itertools.count()


class Fickle(Counting):
    """Never answers the same twice."""

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Draw a number."""
        self.due = now + next(NUMBERS)

    def ready_at(self, now: float) -> float:
        """When as many seconds have gone."""
        return getattr(self, "due", now)


class Settling(Counting):
    """Settles when it is asked how long a pause lasts."""

    due = -math.inf
    is_settled = True

    def call_done(self, now: float, *facts: Any, **others: Any) -> None:
        """Ask for a pause."""
        super().call_done(now, *facts, **others)
        self.is_settled = False

    def ready_at(self, now: float) -> float:
        """Two seconds after the first question."""
        if not self.is_settled:
            self.due = now + 2
            self.is_settled = True
        return self.due


class Forgetting(RateLimit):
    """Forgets, when it is asked, the starts that have lost their meaning by then."""

    def ready_at(self, now: float) -> float:
        """Of those that are left, as it should be."""
        while self._starts and self._starts[0] + self.seconds <= now:
            self._starts.popleft()
        return super().ready_at(now)


class Tired(Counting):
    """Must be asked three times."""

    asked = 0

    def ready_at(self, now: float) -> float:
        """In a second, or, at every third question, at once."""
        self.asked += 1
        return now if self.asked % 3 == 0 else now + 1


class Lazy(Counting):
    """Takes note of a failure when it is next asked: two between two questions count as one."""

    failed_at: float | None = None
    row = 0
    due = -math.inf

    def call_done(self, now: float, *facts: Any, **others: Any) -> None:
        """Remember it."""
        if any(isinstance(fact, OSError) for fact in facts):
            self.failed_at = now

    def ready_at(self, now: float) -> float:
        """Two seconds after the second failure."""
        if self.failed_at is not None:
            self.row += 1
            self.due = self.failed_at + 2 if self.row >= 2 else self.due
            self.failed_at = None
        return self.due


class Irritable(Counting):
    """Answers two questions, and no more."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.asked = 0

    def ready_at(self, now: float) -> Any:
        """At once; then nothing, or an error."""
        self.asked += 1
        if self.asked > 1 and self.error:
            raise ArithmeticError(str(self.error))
        return now if self.asked == 1 else None


class Polling(RateLimit):
    """Does not know when it is ready, and has itself asked again and again."""

    def ready_at(self, now: float) -> float:
        """A little later."""
        return now if super().ready_at(now) <= now else now + 1e-9


class Closing(Counting):
    """Lets calls start in the ten seconds after a call, and then only half a minute later."""

    last = -math.inf

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Note the time."""
        super().call_started(now, count, weight)
        self.last = now

    def ready_at(self, now: float) -> float:
        """At once, or after the break."""
        is_closed = 10 < now - self.last < 30
        return self.last + 30 if is_closed else now


class CountingBursts(RateLimit):
    """Takes calls that run together for one."""

    running = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Note the time if no other call runs."""
        if self.running == 0:
            super().call_started(now, count, weight)
        self.running += 1

    def call_done(self, now: float, *facts: Any, **others: Any) -> None:
        """Count it."""
        self.running -= 1


class Duration(RateLimit):
    """Answers how long to wait, and not until when."""

    def ready_at(self, now: float) -> float:
        """So many seconds."""
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
"""The law that each of them breaks."""

UNSOUND: list[tuple[str, Throttle]] = [
    ("sound", Raising()),
    ("sound", Wordy()),
    ("sound", Stuck()),
]
"""Those with which no queue could go on."""
