"""The start of calls in the model: the line of retries, and the events of the throttle."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from flushq.throttles import Throttle


class Retrying(Protocol):
    """A flight that calls ``flush_fn`` again."""

    interrupted: int

    @property
    def size(self) -> tuple[int, float]:
        """The number of items of the next call, and their weight."""
        ...  # pragma: no cover - a protocol has no code

    def let_go(self) -> None:
        """Note that the next call may start."""

    def refuse(self) -> None:
        """Note that no further call may start."""


class ThrottleFailed(Exception):
    """Raised if the throttle has raised an exception or answered nonsense."""


@attrs.define(eq=False)
class Starts:
    """The rules for the start of every call.

    Attributes:
        throttle: A copy of the throttle of the queue.
        clock: A function that returns the time.
        now: The latest time that is known.
        line: The flights that retry, each with the time at which its pause is over.
        running: The calls that run: the start of each, the number of its items and their weight.
        ended: The calls that have ended, if the throttle was not told yet.
        held_until: The time at which the longest hold is over.
        wake_at: The time at which the next waiting call may start.
        failed, failure: Whether the throttle has failed, and the exception that it has raised.
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
        """Add a flight that retries to the line."""
        until = self.clock() + seconds
        self.line.append((until, flight))
        self.line.sort(key=lambda place: place[0])
        if holds:
            self.held_until = max(self.held_until, until)

    def leave(self, flight: Retrying) -> None:
        """Remove a flight from the line."""
        self.line = [place for place in self.line if place[1] is not flight]

    def start_calls_in_line(self, *, is_due: bool) -> bool:
        """Start the retries that may start; return whether another batch may be taken."""
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
        """Wake up at the end of the next pause if no other time is known."""
        pauses = [pause for pause, _ in self.line if pause > self.now]
        if pauses and self.wake_at == math.inf:
            self.wake_at = max(pauses[0], self.held_until)

    @property
    def may_start(self) -> bool:
        """Whether a call may start if no retry is in line, or asking the throttle would fail."""
        return self._ready_at <= self.now

    @property
    def retries_now(self) -> bool:
        """Whether the pause of a retry in line is over."""
        return bool(self.line) and self.line[0][0] <= self.now

    @property
    def is_blocked(self) -> bool:
        """Whether no call may start before another one has ended."""
        return self._ready_at == math.inf

    @property
    def blocked(self) -> list[Retrying]:
        """The retries whose pauses are over, if no call may start before another one has ended."""
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
        """Return whether the throttle lets a call start; note the time, or that it has failed.

        The throttle is first told of the calls that have ended.
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
        """Return the throttle's answer; inf is a failure if no call runs or pauses to change it."""
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

    # The events of the throttle.

    def call_started(self, flight: Retrying, count: int, weight: float) -> None:
        """Note that a call starts."""
        self.running[flight] = self.now, count, weight
        self._tell("call_started", self.now, count, weight)

    def call_ended(self, flight: Retrying, error: BaseException | None) -> None:
        """Note that the call of a flight has ended, if one runs."""
        self.now = max(self.now, self.clock())
        if flight in self.running:
            self.ended.append((self.running.pop(flight), self.now, error))

    def tell_ends(self) -> None:
        """Tell the throttle of the calls that have ended."""
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
