"""AlarmPolicy: each arrival sets an alarm; flush when the earliest alarm is due."""

import math

import attrs

from flushq.arguments import check_number, check_positive
from flushq.policy import Decision, Flush, FlushPolicy, Wait, check_caps

_ALARM = Flush("alarm")
_FULL = Flush("full")


@attrs.define
class AlarmPolicy(FlushPolicy):
    """A policy that flushes when the earliest alarm is due; each arrival sets an alarm.

    An alarm is a time. The alarm of an arrival is ``threshold / n`` seconds after the arrival,
    where n is the number of items that wait then, including the new ones.

    The policy bounds the same cost as BudgetPolicy. Let a flush cost ``item_seconds`` times as much
    as an item that waits one second, and let each flush start when it is due. With ``u=1``, the
    total cost of flushes and waiting is then at most twice that of an optimal schedule. (This
    schedule knows the future, and has the same ``max_records``.) No deterministic policy can
    promise a smaller factor.

    Now draw ``u=random.random()`` once for the life of a queue, and let the policy have no cap. If
    the arrivals do not depend on ``u``, the expected cost is at most e / (e - 1) (about 1.582)
    times the optimal cost. No policy can promise a smaller factor for such arrivals. (If ``u`` is
    drawn again for every batch, this bound does not hold.) Both bounds are from Karlin, Kenyon and
    Randall, Dynamic TCP Acknowledgement and Other Stories about e/(e-1), STOC 2001.

    Args:
        item_seconds: The cost of a flush, in item-seconds: 1.5 if a flush costs as much as one item
            that waits 1.5 s, or as three items that wait 0.5 s each. inf: flush only full batches.
        u: The patience of the policy, from 0 (it flushes at once) to 1; see ``threshold``.
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch; the queue must have a ``weigh``. None: no cap.

    Raises:
        ValueError: ``u`` is not from 0 to 1, or another value is zero, negative or NaN.
        TypeError: A value is not a number (for ``max_records``: not an int).
    """

    item_seconds: float
    u: float = 1.0
    max_records: int | None = None
    max_weight: float | None = None
    _due: float = attrs.field(default=math.inf, init=False)
    """The earliest alarm of the pending items; not valid while a batch is full."""

    def __attrs_post_init__(self) -> None:
        check_positive("item_seconds", self.item_seconds)
        check_number("u", self.u, least=0)
        if self.u > 1:
            raise ValueError(f"u must be at most 1, not {self.u!r}")
        check_caps(self.max_records, self.max_weight)

    @property
    def threshold(self) -> float:
        """How many seconds an item waits if it is alone: ``item_seconds * ln(1 + u * (e - 1))``."""
        patience = 1 if self.u == 1 else math.log1p(self.u * (math.e - 1))
        return patience and patience * self.item_seconds

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Set an alarm for the new items, unless there is an alarm for an earlier time."""
        super().item_added(now, count, weight)
        due = now + self.threshold / self.queue.pending
        self._due = due if self.queue.pending == count else min(self._due, due)
        return self.answer(now)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Compute the earliest alarm again, as if only the items that are left had arrived."""
        super().flush_started(now, count, weight)
        if not self.full:
            self._due = self._earliest()
        return self.answer(now)

    def decide(self, now: float) -> Decision:
        """Flush if a batch is full or the alarm is due; otherwise wait for the alarm."""
        if self.full:
            return _FULL
        return _ALARM if self._due <= now else Wait(self._due)

    def _earliest(self) -> float:
        threshold, waiting, earliest = self.threshold, 0, math.inf
        for then, items in self.queue.arrivals:
            waiting += items
            earliest = min(earliest, then + threshold / waiting)
        return earliest
