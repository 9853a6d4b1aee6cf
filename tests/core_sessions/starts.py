"""When a call may start, as the model has it: the line of retries, and what the throttle hears."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from flushq.throttles import Throttle


class Retrying(Protocol):
    """A flight that calls flush_fn again."""

    interrupted: int

    @property
    def size(self) -> tuple[int, float]:
        """How many items the next call has, and what they weigh."""
        ...  # pragma: no cover - a protocol has no code

    def let_go(self) -> None:
        """It may."""

    def refuse(self) -> None:
        """It never may."""


class ThrottleFailed(Exception):
    """The throttle has raised, or answered nonsense."""


@attrs.define(eq=False)
class Starts:
    """The start of every call.

    Attributes:
        throttle: A copy of the throttle of the queue.
        clock: Tells the time.
        now: The latest time that is known.
        line: Who retries, and when its pause is over.
        running: The calls that run: when each has started, its items and their weight.
        ended: Those that have ended, and are not told of.
        held_until: When the longest hold is over.
        wake_at: When the next call may start that is kept waiting.
        failed, failure: Whether the throttle has failed, and what it has raised, if anything.
    """

    throttle: Throttle | None
    clock: Callable[[], float]
    now: float = -math.inf
    line: list[tuple[float, Retrying]] = attrs.field(factory=list)
    running: dict[Retrying, tuple[float, int, float]] = attrs.field(factory=dict)
    ended: list[tuple[tuple[float, int, float], float, BaseException | None]] = attrs.field(
        factory=list
    )
    held_until: float = -math.inf
    wake_at: float = math.inf
    failed: bool = False
    failure: BaseException | None = None

    def join(self, flight: Retrying, seconds: float, *, holds: bool) -> None:
        """A call is to be made again."""
        until = self.clock() + seconds
        self.line.append((until, flight))
        self.line.sort(key=lambda place: place[0])
        if holds:
            self.held_until = max(self.held_until, until)

    def leave(self, flight: Retrying) -> None:
        """It waits no more."""
        self.line = [place for place in self.line if place[1] is not flight]

    def let_go(self, *, is_due: bool) -> bool:
        """Let those retry that may; return whether another batch may be taken."""
        self.now = max(self.now, self.clock())
        self.wake_at = math.inf
        while self.line and self.line[0][0] <= self.now:
            if not self._ask():
                self._wake_for_pauses()
                return False
            _, flight = self.line.pop(0)
            if not flight.interrupted:
                self.call_started(flight, *flight.size)
                flight.refuse() if self.failed else flight.let_go()
        may_start = is_due and self._ask()
        self._wake_for_pauses()
        return may_start

    def _wake_for_pauses(self) -> None:
        """If no other time is known, the next pause to end is one to ask again at."""
        pauses = [pause for pause, _ in self.line if pause > self.now]
        if pauses and self.wake_at == math.inf:
            self.wake_at = max(pauses[0], self.held_until)

    @property
    def may_start(self) -> bool:
        """Whether a call may start by now, if nobody is in line; or the throttle fails if asked."""
        return self._ready_at <= self.now

    @property
    def retries_now(self) -> bool:
        """Whether somebody in line waits for no pause."""
        return bool(self.line) and self.line[0][0] <= self.now

    @property
    def is_blocked(self) -> bool:
        """Whether none may before another has ended."""
        return self._ready_at == math.inf

    @property
    def blocked(self) -> list[Retrying]:
        """Those in line that wait for no pause, if none may start before another has ended."""
        ready = (flight for pause, flight in self.line if pause <= self.now)
        return [*ready] if self.is_blocked else []

    @property
    def _ready_at(self) -> float:
        try:
            ready = self._answer()
        except ThrottleFailed:
            ready = self.now
        return max(ready, self.held_until)

    def _ask(self) -> bool:
        """Ask when a call may start; return whether one may, and note when, or that it has failed.

        It hears of what has ended before.
        """
        self.tell_ends()
        try:
            self.wake_at = max(self._answer(), self.held_until)
        except ThrottleFailed as failed:
            self._fail(failed.__cause__)
            self.wake_at = math.inf
        if self.wake_at > self.now:
            return False
        self.wake_at = math.inf
        return True

    def _answer(self) -> float:
        """What the throttle answers, which will change if it is inf: a call runs, or one pauses."""
        if self.throttle is None or self.failed:
            return math.inf if self.failed else self.now
        try:
            ready: Any = self.throttle.ready_at(self.now)
        except Exception as error:
            raise ThrottleFailed from error
        if not isinstance(ready, float) or math.isnan(ready):
            raise ThrottleFailed
        pauses = any(until > self.now for until, _ in self.line)
        if ready == math.inf and not self.running and not pauses:
            raise ThrottleFailed
        return ready

    def _fail(self, error: BaseException | None) -> None:
        self.failed, self.failure = True, error
        line, self.line = self.line, []
        for _, flight in line:
            if not flight.interrupted:
                flight.refuse()

    # What the throttle hears.

    def call_started(self, flight: Retrying, count: int, weight: float) -> None:
        """A call starts."""
        self.running[flight] = self.now, count, weight
        self._tell("call_started", self.now, count, weight)

    def call_ended(self, flight: Retrying, error: BaseException | None) -> None:
        """The call of a flight has ended, if one runs."""
        self.now = max(self.now, self.clock())
        if flight in self.running:
            self.ended.append((self.running.pop(flight), self.now, error))

    def tell_ends(self) -> None:
        """The throttle hears of the calls that have ended."""
        while self.ended:
            (started, count, weight), now, error = self.ended.pop(0)
            self._tell("call_done", now, count, now - started, weight, error=error)

    def _tell(self, event: str, *facts: Any, **more: Any) -> None:
        if self.throttle is None or self.failed:
            return
        try:
            getattr(self.throttle, event)(*facts, **more)
        except Exception as error:
            self._fail(error)
