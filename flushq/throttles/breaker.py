"""Leave a sink alone that fails again and again, and try it with one call after a while."""

import math

import attrs

from flushq.arguments import as_plain, check_count, check_duration
from flushq.throttles.throttle import Throttle


@attrs.define
class CircuitBreaker(Throttle):
    """After ``failures`` failed calls in a row, start none for ``seconds``; then let one alone try.

    =========  ====================  ===============================================================
    state      a call may start      what happens then
    =========  ====================  ===============================================================
    closed     at once               A call succeeds: the row of failures begins anew. One fails: if
                                     it is number ``failures`` in a row: open.
    open       ``seconds`` after     A call starts: half-open. Any call ends: nothing changes.
               that call has ended
    half-open  not before the one    It succeeds: closed, and the row begins anew. It fails: open,
               call has ended        for ``seconds`` from now. Any other call ends: nothing changes.
    =========  ====================  ===============================================================

    The row is in the order in which calls end. A call that raises a PartialFailure has failed. One
    that ends with what is not an Exception, such as a cancellation, has neither failed nor
    succeeded: while closed nothing changes, and after the one call of half-open it is open as it
    was before, so that the next call may try at once.

    A call that started before it opened is told from the one that tries by its duration: it began
    at least ``seconds`` sooner. Where floats cannot tell the two apart, a call that ends counts as
    the one that tries.

    Args:
        failures: How many calls must fail in a row.
        seconds: How long no call starts, from the end of the last of them.

    Raises:
        ValueError: A value is zero or negative, or ``seconds`` is NaN or inf.
        TypeError: ``failures`` is not an int, or ``seconds`` not a real number.
    """

    failures: int
    seconds: float
    _row: int = attrs.field(default=0, init=False, repr=False)
    """How many calls have failed since one has succeeded."""
    _open_until: float | None = attrs.field(default=None, init=False, repr=False)
    """When the next call may try; None: closed."""
    _tried_at: float | None = attrs.field(default=None, init=False, repr=False)
    """When the call has started that tries; None: not half-open."""

    def __attrs_post_init__(self) -> None:
        check_count("failures", self.failures)
        check_duration("seconds", self.seconds)
        self.seconds = as_plain(self.seconds)

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """While open, this is the call that tries."""
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
        """Count a failure or a success, unless it is open and this is not the call that tries."""
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
        """At once, at the end of the pause, or not before the call that tries has ended."""
        if self._open_until is None:
            return now
        return self._open_until if self._tried_at is None else math.inf

    def _has_tried(self, now: float, seconds: float) -> bool:
        """Whether a call of such a duration, which ends now, is the one that tries."""
        if self._tried_at is None:
            return False
        sooner = seconds - (now - self._tried_at)
        return 2 * sooner < self.seconds
