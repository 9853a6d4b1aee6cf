"""When a call may start, as the model has it: the line of retries, and what the throttle hears."""

import math
from collections.abc import Callable
from typing import Protocol

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
        self.tell_ends()
        while self.line and self.line[0][0] <= self.now:
            if not self.may_start:
                self.wake_at = self._ready_at
                return False
            _, flight = self.line.pop(0)
            if not flight.interrupted:
                self.call_started(flight, *flight.size)
                flight.let_go()
        may_start = is_due and self.may_start
        if is_due and not may_start:
            self.wake_at = self._ready_at
        if self.line and self.wake_at == math.inf:
            self.wake_at = max(self.line[0][0], self.held_until)
        return may_start

    @property
    def may_start(self) -> bool:
        """Whether a call may start by now, if nobody is in line."""
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
        ready = self.now if self.throttle is None else self.throttle.ready_at(self.now)
        return max(ready, self.held_until)

    # What the throttle hears.

    def call_started(self, flight: Retrying, count: int, weight: float) -> None:
        """A call starts."""
        self.running[flight] = self.now, count, weight
        if self.throttle is not None:
            self.throttle.call_started(self.now, count, weight)

    def call_ended(self, flight: Retrying, error: BaseException | None) -> None:
        """The call of a flight has ended, if one runs."""
        self.now = max(self.now, self.clock())
        if flight in self.running:
            self.ended.append((self.running.pop(flight), self.now, error))

    def tell_ends(self) -> None:
        """The throttle hears of the calls that have ended."""
        for (started, count, weight), now, error in self.ended:
            if self.throttle is not None:
                self.throttle.call_done(now, count, now - started, weight, error=error)
        self.ended.clear()
