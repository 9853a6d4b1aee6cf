"""IntervalPolicy: flush when the oldest item has waited long enough, or when a batch is full."""

import attrs

from flushq.arguments import check_positive
from flushq.policy import Decision, Flush, FlushPolicy, check_caps, wait_until

_AGE = Flush("age")
_FULL = Flush("full")


@attrs.define
class IntervalPolicy(FlushPolicy):
    """A policy that flushes when a batch is full or the oldest item is ``max_wait_seconds`` old.

    While a slot is free, no item waits longer than ``max_wait_seconds``. Let all weights be above
    0, and let each flush start when it is due. Then this policy needs the fewest flushes of all
    schedules that keep the order of arrival, the maximum age and the caps. The proof is an exchange
    argument. In each of these schedules, the first flush can be delayed to the time of the first
    flush of the policy, and can take all items that this flush of the policy takes. This change
    needs no additional flush.

    Args:
        max_wait_seconds: How long an item may wait after its acceptance, in seconds. inf: flush
            only full batches.
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; the queue must have a ``weigh``. None: no cap.

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
        """Flush if a batch is full or the oldest item is due; otherwise wait until it is due."""
        queue = self.queue
        if self.max_records is not None and queue.pending >= self.max_records:
            return _FULL
        if self.max_weight is not None and self.full:
            return _FULL
        due = queue.oldest + self.max_wait_seconds
        return _AGE if due <= now else wait_until(due)
