"""Flush when the oldest item has waited long enough, or when a batch is full."""

import attrs

from flushq.arguments import check_positive
from flushq.policy import Decision, Flush, FlushPolicy, check_caps, wait_until

_AGE = Flush("age")
_FULL = Flush("full")


@attrs.define
class IntervalPolicy(FlushPolicy):
    """Flush when a batch is full, or when the oldest item has waited ``max_wait_seconds``.

    While a slot is free no item waits longer, and of all ways to flush in order of arrival under
    this age and these caps, none needs fewer flushes (for weights above 0, and flushes that can
    start when they are due): each batch is as late and as full as it may be. By an exchange
    argument: of any schedule, the first flush can be put off until the policy's, and take all that
    the policy's takes, without a further flush.

    Args:
        max_wait_seconds: How long an item may wait, from its acceptance. inf: until a batch is
            full.
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; needs a queue that weighs its items. None: no cap.

    Raises:
        ValueError: A value is zero, negative or NaN.
        TypeError: A value is not a number (for ``max_records``: not an int).
    """

    max_wait_seconds: float
    max_records: int | None = None
    max_weight: float | None = None

    def __attrs_post_init__(self) -> None:
        check_positive("max_wait_seconds", self.max_wait_seconds)
        check_caps(self.max_records, self.max_weight)

    def decide(self, now: float) -> Decision:
        """Flush when full or when the oldest item is due, else wait for that."""
        queue = self.queue
        if self.max_records is not None and queue.pending >= self.max_records:
            return _FULL
        if self.max_weight is not None and self.full:
            return _FULL
        due = queue.oldest + self.max_wait_seconds
        return _AGE if due <= now else wait_until(due)
