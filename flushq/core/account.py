"""The account: what became of every item that was accepted and does not wait any more."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from flushq.core.attempts import Ended
from flushq.core.batch import Batch
from flushq.core.losses import Losses, LostAs

T = TypeVar("T")


class Account(Generic[T]):
    """The account.

    Args:
        lost_as: What a lost item is listed as. None: the item itself.

    Attributes:
        delivered: How many items were delivered.
        dropped: How many items the failure handler dropped.
        displaced: How many items were displaced.
        turned_away: How many of these never waited: they were displaced as they came.
        flushes: How many batches have ended, by reason.
        losses: The items that were lost.
    """

    def __init__(self, lost_as: LostAs[T] | None) -> None:
        self.delivered = self.dropped = self.displaced = self.turned_away = 0
        self.flushes: dict[str, int] = {}
        self.losses: Losses[T] = Losses(lost_as)

    def end_part(self, batch: Batch[T], ended: Ended) -> None:
        """Some items of a batch have ended while the others go on: count them."""
        dropped = sum(error is not None for error in ended.values())
        delivered = len(ended) - dropped
        batch.ended_early |= ended.keys()
        batch.dropped_early += dropped
        self.delivered += delivered
        self.dropped += dropped

    def count_end(self, batch: Batch[T]) -> None:
        """A batch has ended: what was neither dropped nor lost of it is delivered."""
        lost = 0 if batch.error is None else len(_lost_in(batch))
        dropped = len(batch.dropped) - batch.dropped_early
        self.dropped += dropped
        self.delivered += batch.count - len(batch.ended_early) - dropped - lost
        self.flushes[batch.reason] = self.flushes.get(batch.reason, 0) + 1
        if lost:
            self.record_loss(batch)  # last, as lost_as may look at the account

    def record_loss(self, batch: Batch[T]) -> None:
        """What was neither delivered nor dropped of a batch is lost."""
        lost = batch.lost = _lost_in(batch)
        kind = self.losses.in_doubt if batch.called else self.losses.undelivered
        numbers, items = batch.numbers, batch.items
        kind.add([numbers[at] for at in lost], [items[at] for at in lost])


def _lost_in(batch: Batch[T]) -> Sequence[int]:
    return range(batch.count) if batch.lost is None else batch.lost
