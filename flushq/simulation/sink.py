"""What stands in for flush_fn and the failure handler: how long calls take, and which fail."""

from collections.abc import Callable

from flushq.arguments import check_finite, check_sync_callable, shown
from flushq.outcomes import Retry, Verdict

FlushSeconds = float | Callable[[int], float]
"""How long a call with so many items takes, in seconds."""

FlushFails = Callable[[int, int], Verdict | None]
"""The verdict on an attempt with so many items; None: it has succeeded."""

MOST_ATTEMPTS = 10_000
"""How many times the same items may be handed over."""


class Sink:
    """What comes of the calls of flush_fn.

    Args:
        seconds: How long they take.
        fails: Whether they fail. None: they do not.

    Raises:
        TypeError, ValueError: An argument is not what it must be.
    """

    def __init__(self, seconds: FlushSeconds, fails: FlushFails | None) -> None:
        if not callable(seconds):
            _check_duration(seconds)
        check_sync_callable("flush_fails", fails)
        self._seconds = seconds
        self._fails = fails

    def seconds(self, size: int) -> float:
        """How long a call takes."""
        if not callable(self._seconds):
            return self._seconds
        seconds = self._seconds(size)
        _check_duration(seconds)
        return seconds

    def verdict(self, attempt: int, size: int) -> Verdict | None:
        """The verdict on a call; None: it has succeeded."""
        if self._fails is None:
            return None
        verdict = self._fails(attempt, size)
        if not isinstance(verdict, Verdict | None):
            raise TypeError(f"flush_fails must answer with None or a verdict, not {shown(verdict)}")
        if isinstance(verdict, Retry) and attempt >= MOST_ATTEMPTS:
            raise ValueError(f"flush_fails answered {attempt} calls in a row with {verdict!r}")
        return verdict


def _check_duration(seconds: object) -> None:
    check_finite("flush_seconds", seconds, least=0)
