"""Throttles that do not ship."""

import math
from typing import Any

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
