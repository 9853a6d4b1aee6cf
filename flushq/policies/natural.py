"""NaturalPolicy: flush all waiting items whenever a slot is free."""

import attrs

from flushq.policy import Decision, Flush, FlushPolicy, check_caps

_NATURAL = Flush("natural")


@attrs.define
class NaturalPolicy(FlushPolicy):
    """A policy that flushes all waiting items when a slot is free ("natural batching").

    The batch size regulates itself: a slow ``flush_fn`` means larger batches. A slot is never free
    while an item is pending. Latency is the time from the arrival of an item to the end of its
    flush. If all flushes take equally long, the longest latency is at most twice the longest
    latency of an optimal schedule that knows the future. This is so for any number of slots. Li and
    Yuan have proved this bound for the case without caps (Information Processing Letters 111,
    2011). With ``max_records`` the bound held in every case that was tried. PausePolicy promises a
    smaller factor than two.

    Args:
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; the queue must have a ``weigh``. None: no cap.

    Raises:
        ValueError: A cap is zero, negative or NaN.
        TypeError: ``max_records`` is not an int, or ``max_weight`` not a real number.
    """

    max_records: int | None = None
    max_weight: float | None = None

    def __attrs_post_init__(self) -> None:
        check_caps(self.max_records, self.max_weight)

    def decide(self, now: float) -> Decision:
        """Return a Flush."""
        return _NATURAL
