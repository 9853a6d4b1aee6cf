"""Flush whenever a slot is free: the batch is what gathered while the last one was under way."""

import attrs

from flushq.policy import Decision, Flush, FlushPolicy, check_caps

_NATURAL = Flush("natural")


@attrs.define
class NaturalPolicy(FlushPolicy):
    """Flush as soon as a slot is free, with whatever waits (natural or smart batching).

    The batch size regulates itself: a slow ``flush_fn`` means larger batches. A slot is never
    free while something is pending. If all flushes take equally long, the longest time from an
    item's arrival to the end of its flush is at most twice that of an optimal schedule that knows
    the future, whatever the number of slots. (Without a cap after Li and Yuan, Information
    Processing Letters 111, 2011; with ``max_records`` in every case that was tried.) PausePolicy
    promises less than twice.

    Args:
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; needs a queue that weighs its items. None: no cap.

    Raises:
        ValueError: A cap is zero, negative or NaN.
        TypeError: ``max_records`` is not an int, or ``max_weight`` not a real number.
    """

    max_records: int | None = None
    max_weight: float | None = None

    def __attrs_post_init__(self) -> None:
        check_caps(self.max_records, self.max_weight)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return _NATURAL
