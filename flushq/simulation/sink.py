"""The simulated flush_fn and failure handler: how long calls take, and which calls fail."""

from collections.abc import Callable

from flushq.arguments import check_finite, check_sync_callable, shown
from flushq.outcomes import Retry, Verdict

FlushSeconds = float | Callable[[int], float]
"""How many seconds a call takes: a number, or a function that gets the number of items."""

FlushFails = Callable[[int, int], Verdict | None]
"""A function that returns the verdict on a call, or None if the call succeeds.

Its arguments are the number of the attempt, from 1, and the number of items.
"""

MOST_ATTEMPTS = 10_000
"""The most calls of flush_fn with the same items."""


class Sink:
    """The simulated flush_fn and failure handler.

    Args:
        seconds: How many seconds a call takes: see :data:`FlushSeconds`.
        fails: The function that returns the verdict on a call: see :data:`FlushFails`. None: all
            calls succeed.

    Raises:
        TypeError, ValueError: An argument is invalid.
    """

    def __init__(self, seconds: FlushSeconds, fails: FlushFails | None) -> None:
        if not callable(seconds):
            _check_duration(seconds)
        check_sync_callable("flush_fails", fails)
        self._seconds = seconds
        self._fails = fails

    def seconds(self, size: int) -> float:
        """Return how long a call with this number of items takes, in seconds."""
        if not callable(self._seconds):
            return self._seconds
        seconds = self._seconds(size)
        _check_duration(seconds)
        return seconds

    def verdict(self, attempt: int, size: int) -> Verdict | None:
        """Return the verdict on a call, or None if the call succeeds."""
        if self._fails is None:
            return None
        verdict = self._fails(attempt, size)
        if not isinstance(verdict, Verdict | None):
            raise TypeError(f"flush_fails must return None or a verdict, not {shown(verdict)}")
        if isinstance(verdict, Retry) and attempt >= MOST_ATTEMPTS:
            raise ValueError(
                f"flush_fails must not return {verdict!r} for {attempt} calls with the same items"
            )
        return verdict


def _check_duration(seconds: object) -> None:
    check_finite("flush_seconds", seconds, least=0)
