"""RateLimit: start at most a given number of calls in any interval of a given length."""

from collections import deque

import attrs

from flushq.arguments import as_plain, check_count, check_duration
from flushq.throttles.throttle import Throttle


@attrs.define
class RateLimit(Throttle):
    """A throttle that lets at most ``calls`` calls start in any half-open interval of ``seconds``.

    No call waits longer than this limit requires. If another schedule starts the same calls in the
    same order within the limit, it starts none of them earlier than this throttle does. So this
    throttle is a *greedy shaper* (Le Boudec and Thiran, Network Calculus, LNCS 2050, 2001, section
    1.5).

    Proof. Each call starts at least ``seconds`` after the call that is ``calls`` places before it.
    So the first and the last of ``calls`` + 1 starts in a row are at least ``seconds`` apart, and
    no half-open interval of this length holds both. Conversely, any schedule within the limit keeps
    this distance: otherwise ``calls`` + 1 starts in a row would be in one such interval, the one
    that begins at the first of them. By induction, no such schedule starts a call earlier than this
    throttle does.

    If times are floats, their sums are rounded: the interval that begins at ``a`` is [``a``,
    ``b``), where ``b`` is the float ``a + seconds``. Rounding keeps the order of two sums, and the
    proof needs no more. A call at exactly ``b`` may start, even if ``b - a`` is rounded to less
    than ``seconds``.

    Each method takes constant time. The start times of the last ``calls`` calls are kept.

    Args:
        calls: The most calls that may start in an interval.
        seconds: The length of the interval, in seconds.

    Raises:
        ValueError: A value is zero or negative, or ``seconds`` is NaN or inf.
        TypeError: ``calls`` is not an int, or ``seconds`` not a real number.
    """

    calls: int
    seconds: float
    _starts: deque[float] = attrs.field(factory=deque, init=False, repr=False)
    """The start times of the last ``calls`` calls, or of all calls while there were fewer."""

    def __attrs_post_init__(self) -> None:
        check_count("calls", self.calls)
        check_duration("seconds", self.seconds)
        self.seconds = as_plain(self.seconds)

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Record this start time; keep only the start times of the last ``calls`` calls."""
        self._starts.append(now)
        if len(self._starts) > self.calls:
            self._starts.popleft()

    def ready_at(self, now: float) -> float:
        """If ``calls`` start times are kept, return the oldest plus ``seconds``, else ``now``."""
        return now if len(self._starts) < self.calls else self._starts[0] + self.seconds
