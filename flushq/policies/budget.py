"""BudgetPolicy: flush when waiting has cost as much as a flush."""

import attrs

from flushq.arguments import check_positive
from flushq.policy import Decision, Flush, FlushPolicy, Wait, check_caps

_BUDGET = Flush("budget")
_FULL = Flush("full")


@attrs.define
class BudgetPolicy(FlushPolicy):
    """A policy that flushes when the pending items have waited ``item_seconds`` in total.

    Let a flush cost ``item_seconds`` times as much as an item that waits one second, and let each
    flush start when it is due. Then the total cost of flushes and waiting is at most twice that of
    an optimal schedule. (This schedule knows the future, and has the same ``max_records``.) No
    deterministic policy can promise a smaller factor (Dooly, Goldman and Scott, Journal of the ACM
    48, 2001).

    If r items arrive each second, at a steady rate, a batch has about
    ``sqrt(2 * item_seconds * r)`` items, the economic order quantity. The policy need not know r.

    Args:
        item_seconds: The cost of a flush, in item-seconds: 1.5 if a flush costs as much as one item
            that waits 1.5 s, or as three items that wait 0.5 s each. inf: flush only full batches.
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; the queue must have a ``weigh``. None: no cap.

    Raises:
        ValueError: A value is zero, negative or NaN.
        TypeError: A value is not a number (for ``max_records``: not an int).
    """

    item_seconds: float
    max_records: int | None = None
    max_weight: float | None = None
    _waited: float = attrs.field(default=0, init=False)
    """How many seconds all pending items together had waited at the time ``_since``.

    This number is not valid while a batch is full.
    """
    _since: float = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        check_positive("item_seconds", self.item_seconds)
        check_caps(self.max_records, self.max_weight)

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """For each item that was already pending, add the time since the last update."""
        super().item_added(now, count, weight)
        waiting = self.queue.pending - count
        self._waited = self._waited + waiting * (now - self._since) if waiting else 0
        self._since = now
        return self.answer(now)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Compute again how long the items that are left have waited in total."""
        super().flush_started(now, count, weight)
        if not self.full:
            self._waited = sum(items * (now - then) for then, items in self.queue.arrivals)
            self._since = now
        return self.answer(now)

    def decide(self, now: float) -> Decision:
        """Flush if a batch is full or the budget is spent; otherwise wait until it is spent."""
        if self.full:
            return _FULL
        due = self._since + (self.item_seconds - self._waited) / self.queue.pending
        return _BUDGET if due <= now else Wait(due)
