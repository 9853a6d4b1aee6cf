"""Flush when waiting has cost as much as a flush does."""

import attrs

from flushq.arguments import check_positive
from flushq.policy import Decision, Flush, FlushPolicy, Wait, check_caps

_BUDGET = Flush("budget")
_FULL = Flush("full")


@attrs.define
class BudgetPolicy(FlushPolicy):
    """Flush when the waiting times of the pending items, summed, reach ``item_seconds``.

    Let a flush cost ``item_seconds`` times as much as an item that waits one second. Then flushes
    and waiting together cost at most twice what they cost in an optimal schedule that knows the
    future and has the same ``max_records``, for flushes that can start when they are due. No
    deterministic policy can promise less (Dooly, Goldman and Scott, Journal of the ACM 48, 2001).

    For steady arrivals, r a second, batches come out at the economic order quantity, about
    ``sqrt(2 * item_seconds * r)`` items, without anyone telling it r.

    Args:
        item_seconds: What a flush costs, in item-seconds: 1.5 if a flush is as dear as one item
            that waits 1.5 s, or as three that wait 0.5 s. inf: until a batch is full.
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; needs a queue that weighs its items. None: no cap.

    Raises:
        ValueError: A value is zero, negative or NaN.
        TypeError: A value is not a number (for ``max_records``: not an int).
    """

    item_seconds: float
    max_records: int | None = None
    max_weight: float | None = None
    _waited: float = attrs.field(default=0, init=False)
    """How long the pending items had waited at ``_since``, summed; of no meaning while full."""
    _since: float = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        check_positive("item_seconds", self.item_seconds)
        check_caps(self.max_records, self.max_weight)

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Sum up what the items before these have waited by now."""
        super().item_added(now, count, weight)
        waiting = self.queue.pending - count
        self._waited = self._waited + waiting * (now - self._since) if waiting else 0
        self._since = now
        return self.answer(now)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Sum up what the items that are left have waited by now."""
        super().flush_started(now, count, weight)
        if not self.full:
            self._waited = sum(items * (now - then) for then, items in self.queue.arrivals)
            self._since = now
        return self.answer(now)

    def decide(self, now: float) -> Decision:
        """Flush when full or when the budget is spent, else wait for that."""
        if self.full:
            return _FULL
        due = self._since + (self.item_seconds - self._waited) / self.queue.pending
        return _BUDGET if due <= now else Wait(due)
