"""CircuitBreaker: stop calls to a sink that fails repeatedly, and try one call after a pause."""

import math

import attrs

from flushq.arguments import as_plain, check_count, check_duration
from flushq.throttles.throttle import Throttle


@attrs.define
class CircuitBreaker(Throttle):
    """A throttle that stops calls for ``seconds`` after ``failures`` failed calls in a row.

    Then it lets a single call start, to try the sink.

    =========  ====================  ===============================================================
    state      a call may start      what happens then
    =========  ====================  ===============================================================
    closed     at once               A call succeeds: the count of failures becomes 0. A call fails
                                     and the count becomes ``failures``: open.
    open       ``seconds`` after     A call starts: half-open. Any call ends: nothing changes.
               that failure
    half-open  when the one call     The one call succeeds: closed, and the count becomes 0. The one
               has ended             call fails: open, for ``seconds`` from now. Another call ends:
                                     nothing changes.
    =========  ====================  ===============================================================

    Calls are counted in the order in which they end. A call that raises a PartialFailure has
    failed. A call that ends with a BaseException that is not an Exception, such as a cancellation,
    has neither failed nor succeeded: in the state closed nothing changes; in the state half-open,
    if it was the one call, the breaker is open again, and the next call may try at once.

    The duration of a call shows whether it is the one that tries: all others started before the
    breaker opened, so at least ``seconds`` before that call. If ``seconds`` is too small to make a
    difference in the times (floats), the first call that ends counts as the one that tries.

    Args:
        failures: How many calls must fail in a row.
        seconds: For how many seconds no call may start after the last of these failures.

    Raises:
        ValueError: A value is zero or negative, or ``seconds`` is NaN or inf.
        TypeError: ``failures`` is not an int, or ``seconds`` not a real number.
    """

    failures: int
    seconds: float
    _row: int = attrs.field(default=0, init=False, repr=False)
    """How many calls have failed since the last success."""
    _open_until: float | None = attrs.field(default=None, init=False, repr=False)
    """The time when the next call may try; None if closed."""
    _tried_at: float | None = attrs.field(default=None, init=False, repr=False)
    """The time when the call that tries has started; None if not half-open."""

    def __attrs_post_init__(self) -> None:
        check_count("failures", self.failures)
        check_duration("seconds", self.seconds)
        self.seconds = as_plain(self.seconds)

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Note the time if the breaker is open, because this is the call that tries."""
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
        """Update the state after a call; unless closed, ignore all but the call that tries."""
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
        """Return ``now`` if closed, the end of the pause if open, or inf if half-open."""
        if self._open_until is None:
            return now
        return self._open_until if self._tried_at is None else math.inf

    def _has_tried(self, now: float, seconds: float) -> bool:
        """Return whether the call that ends now, after ``seconds``, is the one that tries."""
        if self._tried_at is None:
            return False
        sooner = seconds - (now - self._tried_at)
        return 2 * sooner < self.seconds
