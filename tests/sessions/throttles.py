"""Throttles of the tests, some of them faulty."""

import copy
import math
from collections.abc import Callable
from typing import Any, Protocol, Self

import attrs

from flushq.throttles import Throttle


class OneAtATime(Throttle):
    """A throttle that starts no call while another one runs."""

    _running = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Count a call that runs."""
        self._running += 1

    def call_done(self, now: float, *facts: Any, **more: Any) -> None:
        """Count one call less."""
        self._running -= 1

    def ready_at(self, now: float) -> float:
        """Return ``now``, or infinity while a call runs."""
        return math.inf if self._running else now

    def __repr__(self) -> str:
        return "OneAtATime()"


class Lasting(Exception):
    """An exception that copies as itself, so that all copies of a throttle raise the same one."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


ANSWERS: dict[str, Any] = {"None": None, "NaN": math.nan, "never": math.inf}
FAULTS = [*ANSWERS, "ready_at", "call_started", "call_done"]
"""The faults of a throttle: it answers nonsense, or raises in one of its methods."""


@attrs.define
class FaultyThrottle(Throttle):
    """A throttle that lets every call start, and misbehaves after ``number`` events."""

    number: int
    what: str
    error: Exception = attrs.field(factory=lambda: Lasting("the throttle was told to raise"))
    _events: int = 0

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Count the event."""
        self._count("call_started")

    def call_done(self, now: float, *facts: Any, **more: Any) -> None:
        """Count the event."""
        self._count("call_done")

    def ready_at(self, now: float) -> float:
        """Return ``now``, or nonsense after ``number`` events."""
        if self._events < self.number:
            return now
        if self.what == "ready_at":
            raise self.error
        answer: float = ANSWERS.get(self.what, now)
        return answer

    def _count(self, event: str) -> None:
        self._events += 1
        if self._events >= self.number and self.what == event:
            raise self.error


class ThrottleRecorder(Protocol):
    """A recorder of the events and failures of a throttle."""

    def throttle_copied(self, copied: "RecordedThrottle") -> None:
        """Record the copy of the throttle that the queue uses."""

    def call_started(self, *, was_ready: bool) -> None:
        """Record that a call starts, and whether the throttle was ready for it."""

    def call_done(self, error: BaseException | None) -> None:
        """Record that a call has ended."""

    def throttle_failed(self, cause: BaseException | None) -> None:
        """Record that the throttle has raised ``cause``, or answered nonsense (None)."""


@attrs.define
class RecordedThrottle(Throttle):
    """A throttle that records its events.

    Attributes:
        running: How many calls have started and not ended.
    """

    inner: Throttle
    recorder: ThrottleRecorder
    running: int = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        copied = type(self)(copy.deepcopy(self.inner, memo), self.recorder)
        self.recorder.throttle_copied(copied)
        return copied

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Record the start of a call."""
        self.recorder.call_started(was_ready=self.may_start(now))
        self.running += 1
        self._try(self.inner.call_started, now, count, weight)

    def call_done(self, now: float, *facts: Any, error: BaseException | None = None) -> None:
        """Record the end of a call."""
        self.recorder.call_done(error)
        self.running -= 1
        self._try(self.inner.call_done, now, *facts, error=error)

    def ready_at(self, now: float) -> float:
        """Return the answer of the inner throttle; record a failure if it is nonsense."""
        ready = self._try(self.inner.ready_at, now)
        is_time = isinstance(ready, float) and not math.isnan(ready)
        if not is_time or (ready == math.inf and not self.running):
            self.recorder.throttle_failed(None)
        answer: float = ready
        return answer

    def may_start(self, now: float) -> bool:
        """Return whether a call may start, or whether asking the inner throttle would fail."""
        try:
            return self.inner.ready_at(now) <= now
        except (Lasting, TypeError):
            return True

    def _try(self, tell: Callable[..., Any], *facts: Any, **more: Any) -> Any:
        try:
            return tell(*facts, **more)
        except Exception as error:
            self.recorder.throttle_failed(error)
            raise
