"""PausePolicy: flush when the oldest item has waited for a fraction of a flush's duration."""

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
    """A policy that flushes when the oldest item has waited alpha times as long as a flush takes.

    NaturalPolicy may start a flush just before the next items come; then these items wait for the
    whole flush. This policy first pauses for alpha times the duration of a flush. So these items
    can join the batch. Latency is the time from the arrival of an item to the end of its flush. If
    every flush takes ``flush_seconds``, the longest latency is at most 1 + alpha times the longest
    latency of an optimal schedule that knows the future. The value of alpha depends on the caps:

    * Without caps, alpha is (sqrt((m + 1)^2 + 4) - (m + 1)) / 2 for m slots: 0.414 for one slot,
      0.303 for two, 0.236 for three. No deterministic policy can promise a smaller factor (Li and
      Yuan, Information Processing Letters 111, 2011).
    * With ``max_records``, alpha is 0.618 (the golden ratio minus 1). For one slot, no other alpha
      is better. The factor 1.618 is not proved, but it held in every case that was tried. With
      ``max_weight``, alpha is the same, and no factor is proved.

    With ``flush_seconds=None``, the policy learns the duration from the flushes that succeed: each
    new duration enters an exponential moving average with the weight 0.2. There is no pause until a
    flush has succeeded. No factor is proved in this case.

    Args:
        flush_seconds: How long a flush takes, in seconds. None: the policy learns it.
        max_records: The most items in a batch; a full batch does not wait. None: no cap.
        max_weight: The most weight in a batch; the queue must have a ``weigh``. None: no cap.

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
        """The pause, as a fraction of the duration of a flush."""
        if self.max_records is not None or self.max_weight is not None:
            return _GOLDEN
        slots = self.queue.max_in_flight + 1
        return (math.sqrt(slots * slots + 4) - slots) / 2

    @property
    def pause_seconds(self) -> float:
        """How many seconds the oldest item waits for more items while a slot is free."""
        seconds = self._learnt if self.flush_seconds is None else self.flush_seconds
        return 0 if seconds is None else self.alpha * seconds

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """If the flush has succeeded, update the estimate of how long a flush takes.

        The estimate is not used if ``flush_seconds`` was given.
        """
        if error is None:
            known = seconds if self._learnt is None else self._learnt
            self._learnt = known + _GAIN * (seconds - known)
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush if a batch is full or the pause is over; otherwise wait until it is over."""
        if self.full:
            return _FULL
        due = self.queue.oldest + self.pause_seconds
        return _PAUSE if due <= now else wait_until(due)
