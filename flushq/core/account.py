"""The account: how many items have ended, and in which way."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from flushq.core.attempts import Ended
from flushq.core.batch import Batch
from flushq.core.losses import Losses, LostAs

T = TypeVar("T")


class Account(Generic[T]):
    """The counts of delivered, dropped and displaced items, and the two lists of lost items.

    Args:
        lost_as: The function that returns the list entry for a lost item. None means that the item
            itself is listed.

    Attributes:
        delivered: The number of items that were delivered.
        dropped: The number of items that the failure handler dropped.
        displaced: The number of items that were displaced, including ``turned_away``.
        turned_away: The number of items that were displaced on arrival, and never waited.
        flushes: For each reason, how many flushes with this reason have ended.
        losses: The two lists of lost items.
    """

    def __init__(self, lost_as: LostAs[T] | None) -> None:
        self.delivered = self.dropped = self.displaced = self.turned_away = 0
        self.flushes: dict[str, int] = {}
        self.losses: Losses[T] = Losses(lost_as)

    def end_part(self, batch: Batch[T], ended: Ended) -> None:
        """Count the ``ended`` items of a batch. The flush of this batch still runs."""
        dropped = sum(error is not None for error in ended.values())
        delivered = len(ended) - dropped
        batch.ended_early |= ended.keys()
        batch.dropped_early += dropped
        self.delivered += delivered
        self.dropped += dropped

    def count_end(self, batch: Batch[T]) -> None:
        """Count the items of a batch after the end of its flush, and record the lost items.

        If the batch has no error, no item is lost. Items that are neither dropped nor lost are
        delivered.
        """
        lost = 0 if batch.error is None else len(_lost_in(batch))
        dropped = len(batch.dropped) - batch.dropped_early
        self.dropped += dropped
        self.delivered += batch.count - len(batch.ended_early) - dropped - lost
        self.flushes[batch.reason] = self.flushes.get(batch.reason, 0) + 1
        if lost:
            self.record_loss(batch)  # last, because lost_as may read the account

    def record_loss(self, batch: Batch[T]) -> None:
        """Add the lost items of a batch to one of the two lists of lost items.

        The list is ``in_doubt`` if flush_fn was called with the batch, else ``undelivered``.
        """
        lost = batch.lost = _lost_in(batch)
        kind = self.losses.in_doubt if batch.called else self.losses.undelivered
        numbers, items = batch.numbers, batch.items
        kind.add([numbers[at] for at in lost], [items[at] for at in lost])


def _lost_in(batch: Batch[T]) -> Sequence[int]:
    return range(batch.count) if batch.lost is None else batch.lost
