"""CircuitBreaker: after repeated failures, let no call start for a while; then try one call."""

import math

import attrs

from flushq.arguments import as_plain, check_count, check_duration
from flushq.throttles.throttle import Throttle


@attrs.define
class CircuitBreaker(Throttle):
    """A throttle that forbids calls for ``seconds`` after ``failures`` failed calls in a row.

    After this time it lets a single *trial call* start, to find out whether calls succeed again.

    =========  ====================  ===============================================================
    state      a call may start      how the state changes
    =========  ====================  ===============================================================
    closed     at once               If a call succeeds, the count of failures becomes 0. If a call
                                     fails and the count becomes ``failures``, the state is open.
    open       ``seconds`` after     If a call starts, it is the trial call, and the state is
               the last failure      half-open. If a running call ends, nothing changes.
    half-open  when the trial call   If the trial call succeeds, the state is closed, and the count
               has ended             becomes 0. If the trial call fails, the state is open, for
                                     ``seconds`` from then. If another call ends, nothing changes.
    =========  ====================  ===============================================================

    Calls are counted in the order in which they end. A call that raises a PartialFailure has
    failed. A call that ends with a cancellation, or with another BaseException that is not an
    Exception, has neither failed nor succeeded. While the state is closed, such a call changes
    nothing. If it was the trial call, the state is open again, and the next trial call may start at
    once.

    The duration of a call shows when the call started, and so whether it is the trial call. All
    other running calls started before the breaker opened, so at least ``seconds`` before the trial
    call. If ``seconds`` is smaller than the rounding errors of the times (floats), the first call
    that ends counts as the trial call.

    Args:
        failures: How many calls in a row must fail; then no call may start for ``seconds``.
        seconds: For how many seconds no call may start after the last of these failures.

    Raises:
        ValueError: A value is zero or negative, or ``seconds`` is NaN or inf.
        TypeError: ``failures`` is not an int, or ``seconds`` not a real number.
    """

    failures: int
    seconds: float
    _row: int = attrs.field(default=0, init=False, repr=False)
    """The count of failures (see the table above), which the failed trial calls increase, too."""
    _open_until: float | None = attrs.field(default=None, init=False, repr=False)
    """The time from which the trial call may start; None if the state is closed."""
    _tried_at: float | None = attrs.field(default=None, init=False, repr=False)
    """The time at which the trial call has started; None unless the state is half-open."""

    def __attrs_post_init__(self) -> None:
        check_count("failures", self.failures)
        check_duration("seconds", self.seconds)
        self.seconds = as_plain(self.seconds)

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """If the state is open, record the time: this call is the trial call."""
        if self._open_until is not None:
            self._tried_at = now

    def call_done(
        self,
        now: float,
        count: int,
        seconds: float,
        weight: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """Update the state after a call; unless the state is closed, only the trial call counts."""
        if self._open_until is not None and not self._has_tried(now, seconds):
            return
        self._tried_at = None
        if error is None:
            self._row, self._open_until = 0, None
        elif isinstance(error, Exception):
            self._row += 1
            if self._row >= self.failures:
                self._open_until = now + self.seconds

    def ready_at(self, now: float) -> float:
        """Return ``now`` if closed, the time of the trial call if open, or inf if half-open."""
        if self._open_until is None:
            return now
        return self._open_until if self._tried_at is None else math.inf

    def _has_tried(self, now: float, seconds: float) -> bool:
        """Return whether the call that ends now, and took ``seconds``, is the trial call."""
        if self._tried_at is None:
            return False
        sooner = seconds - (now - self._tried_at)
        return 2 * sooner < self.seconds
