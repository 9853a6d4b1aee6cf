"""The simulated flush_fn and failure handler: how long calls take, and which calls fail."""

from collections.abc import Callable

from flushq.arguments import check_finite, check_sync_callable, shown
from flushq.outcomes import Retry, Verdict

FlushSeconds = float | Callable[[int], float]
"""How long a call takes, in seconds: a number, or a function of the number of items."""

FlushFails = Callable[[int, int], Verdict | None]
"""A function of the attempt and the number of items that returns a verdict, or None for success."""

MOST_ATTEMPTS = 10_000
"""The number of times that the same items may be handed over."""


class Sink:
    """The simulated flush_fn and failure handler.

    Args:
        seconds: How long a call takes, in seconds.
        fails: The function that returns the verdict on a call. None: all calls succeed.

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
            raise TypeError(f"flush_fails must answer with None or a verdict, not {shown(verdict)}")
        if isinstance(verdict, Retry) and attempt >= MOST_ATTEMPTS:
            raise ValueError(
                f"flush_fails must not answer {attempt} calls in a row with {verdict!r}"
            )
        return verdict


def _check_duration(seconds: object) -> None:
    check_finite("flush_seconds", seconds, least=0)
