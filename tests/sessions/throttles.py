"""Throttles that do not ship, among them such that fail."""

import copy
import math
from collections.abc import Callable
from typing import Any, Protocol, Self

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


class ThrottleEar(Protocol):
    """Hears what a throttle is told, and that it fails."""

    def throttle_copied(self, copied: "HeardThrottle") -> None:
        """This is the copy that is told."""

    def call_started(self, *, was_ready: bool) -> None:
        """A call starts, which it may, or not."""

    def call_done(self, error: BaseException | None) -> None:
        """A call has ended."""

    def throttle_failed(self, cause: BaseException | None) -> None:
        """The throttle has raised this, or answered nonsense."""


@attrs.define
class HeardThrottle(Throttle):
    """A throttle that tells an ear.

    Attributes:
        running: How many calls it was told of that have not ended.
    """

    inner: Throttle
    ear: ThrottleEar
    running: int = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        copied = type(self)(copy.deepcopy(self.inner, memo), self.ear)
        self.ear.throttle_copied(copied)
        return copied

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Tell of it."""
        self.ear.call_started(was_ready=self.may_start(now))
        self.running += 1
        self._try(self.inner.call_started, now, count, weight)

    def call_done(self, now: float, *facts: Any, error: BaseException | None = None) -> None:
        """Tell of it."""
        self.ear.call_done(error)
        self.running -= 1
        self._try(self.inner.call_done, now, *facts, error=error)

    def ready_at(self, now: float) -> float:
        """Tell if the answer is a failure."""
        ready = self._try(self.inner.ready_at, now)
        is_time = isinstance(ready, float) and not math.isnan(ready)
        if not is_time or (ready == math.inf and not self.running):
            self.ear.throttle_failed(None)
        answer: float = ready
        return answer

    def may_start(self, now: float) -> bool:
        """Whether a call may start; or it fails if it is asked."""
        try:
            return self.inner.ready_at(now) <= now
        except (Lasting, TypeError):
            return True

    def _try(self, tell: Callable[..., Any], *facts: Any, **more: Any) -> Any:
        try:
            return tell(*facts, **more)
        except Exception as error:
            self.ear.throttle_failed(error)
            raise
