"""Flush when a slot is free and the oldest item has waited for a part of a flush time."""

import math

import attrs

from flushq.arguments import check_finite
from flushq.policy import Decision, Flush, FlushPolicy, check_caps, wait_until

_PAUSE = Flush("pause")
_FULL = Flush("full")
_GOLDEN = (math.sqrt(5) - 1) / 2
_GAIN = 0.2


@attrs.define
class PausePolicy(FlushPolicy):
    """Natural batching with a pause: flush when the oldest item has waited alpha flush times.

    NaturalPolicy starts its flush a moment before the next items come, and makes them wait for a
    whole one. A pause of alpha times the duration of a flush lets them join. If every flush takes
    ``flush_seconds``, the longest time from an item's arrival to the end of its flush is at most
    1 + alpha times that of an optimal schedule that knows the future:

    * without caps alpha is (sqrt((m + 1)^2 + 4) - (m + 1)) / 2 for m slots: 0.414 for one slot,
      0.303 for two, 0.236 for three, the least that a deterministic policy can promise (Li and
      Yuan, Information Processing Letters 111, 2011);
    * with ``max_records`` alpha is 0.618, the golden ratio's, the best for one slot; the bound of
      1.618 held in every case that was tried. ``max_weight`` has the same alpha, and no theorem.

    With ``flush_seconds=None`` the duration is learnt from the flushes that succeed, as a mean in
    which each new one counts a fifth; until the first has ended there is no pause. Then the bound
    is what the policy aims at, and no theorem.

    Args:
        flush_seconds: How long a flush takes. None: learn it.
        max_records: The most items in a batch; so many do not wait. None: no cap.
        max_weight: The most weight in a batch; needs a queue that weighs its items. None: no cap.

    Raises:
        ValueError: ``flush_seconds`` is negative or not finite; or a cap is zero, negative or NaN.
        TypeError: A value is not a number (for ``max_records``: not an int).
    """

    flush_seconds: float | None = None
    max_records: int | None = None
    max_weight: float | None = None
    _learnt: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self.flush_seconds is not None:
            check_finite("flush_seconds", self.flush_seconds, least=0)
        check_caps(self.max_records, self.max_weight)

    @property
    def alpha(self) -> float:
        """The pause, as a fraction of how long a flush takes."""
        if self.max_records is not None or self.max_weight is not None:
            return _GOLDEN
        slots = self.queue.max_in_flight + 1
        return (math.sqrt(slots * slots + 4) - slots) / 2

    @property
    def pause_seconds(self) -> float:
        """How long the oldest item waits for others while a slot is free."""
        seconds = self._learnt if self.flush_seconds is None else self.flush_seconds
        return 0 if seconds is None else self.alpha * seconds

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Update the estimated duration from a flush that succeeded.

        The estimate is not used if ``flush_seconds`` was given.
        """
        if error is None:
            known = seconds if self._learnt is None else self._learnt
            self._learnt = known + _GAIN * (seconds - known)
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush when full or when the pause is over, else wait for that."""
        if self.full:
            return _FULL
        due = self.queue.oldest + self.pause_seconds
        return _PAUSE if due <= now else wait_until(due)
