"""Throttles that do not ship, among them such that fail."""

import math
from typing import Any, Self

import attrs

from flushq.throttles import Throttle


class OneAtATime(Throttle):
    """No call starts before the one that runs has ended."""

    _running = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """It runs."""
        self._running += 1

    def call_done(self, now: float, *facts: Any, **more: Any) -> None:
        """It has ended."""
        self._running -= 1

    def ready_at(self, now: float) -> float:
        """At once, or not before a call has ended."""
        return math.inf if self._running else now

    def __repr__(self) -> str:
        return "OneAtATime()"


class Lasting(Exception):
    """An exception of which a copy is the same: so whoever runs a copy raises the same one."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


ANSWERS: dict[str, Any] = {"None": None, "NaN": math.nan, "never": math.inf}
FAULTS = [*ANSWERS, "ready_at", "call_started", "call_done"]
"""What a throttle may do: answer nonsense, or raise in one of its methods."""


@attrs.define
class FaultyThrottle(Throttle):
    """Lets every call start, until it has heard of a ``number`` of events; then it misbehaves."""

    number: int
    what: str
    error: Exception = attrs.field(factory=lambda: Lasting("the throttle was told to raise"))
    _events: int = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Count it."""
        self._hear("call_started")

    def call_done(self, now: float, *facts: Any, **more: Any) -> None:
        """Count it."""
        self._hear("call_done")

    def ready_at(self, now: float) -> float:
        """At once; or nonsense."""
        if self._events < self.number:
            return now
        if self.what == "ready_at":
            raise self.error
        answer: float = ANSWERS.get(self.what, now)
        return answer

    def _hear(self, event: str) -> None:
        self._events += 1
        if self._events >= self.number and self.what == event:
            raise self.error
