"""Start so many calls in any so many seconds, and no more."""

from collections import deque

import attrs

from flushq.arguments import as_plain, check_count, check_duration
from flushq.throttles.throttle import Throttle


@attrs.define
class RateLimit(Throttle):
    """In no half-open interval of ``seconds`` do more than ``calls`` calls start.

    And no call waits longer than that demands: of all ways to start the same calls in the same
    order within this limit, none starts any of them sooner (a greedy shaper, as of Le Boudec and
    Thiran, Network Calculus, LNCS 2050, 2001, section 1.5).

    Proof. Each start is at least ``seconds`` after the one that is ``calls`` starts before it. So
    of ``calls`` + 1 starts the first and the last are at least ``seconds`` apart, and a half-open
    interval of that length does not hold both. Conversely, any schedule within the limit keeps this
    distance, because the interval that begins with the first of them would hold too many. By
    induction none of its starts is sooner than the one here.

    Times in floats are added as floats: the interval that begins at a is [a, b), where b is the
    float ``a + seconds``. Rounding keeps the order of two sums, and the proof needs no more. A call
    at exactly b may start, even where ``b - a`` is rounded to less than ``seconds``.

    Both events and the question take constant time; the last ``calls`` starts are kept.

    Args:
        calls: How many calls may start in an interval.
        seconds: The length of the interval.

    Raises:
        ValueError: A value is zero or negative, or ``seconds`` is NaN or inf.
        TypeError: ``calls`` is not an int, or ``seconds`` not a real number.
    """

    calls: int
    seconds: float
    _starts: deque[float] = attrs.field(factory=deque, init=False, repr=False)
    """When the last ``calls`` calls have started, or fewer at first."""

    def __attrs_post_init__(self) -> None:
        check_count("calls", self.calls)
        check_duration("seconds", self.seconds)
        self.seconds = as_plain(self.seconds)

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Note the time, and forget the one that does not matter any more."""
        self._starts.append(now)
        if len(self._starts) > self.calls:
            self._starts.popleft()

    def ready_at(self, now: float) -> float:
        """``seconds`` after the first of the last ``calls`` starts; at once if there are fewer."""
        return now if len(self._starts) < self.calls else self._starts[0] + self.seconds
