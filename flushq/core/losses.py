"""The two lists of lost items, ``undelivered`` and ``in_doubt``, each in order of acceptance.

Other modules decide which items are lost, and add these items to a list. Batcher.stop adds the
waiting items to ``undelivered``. Account.record_loss adds the lost items of a batch to one of the
two lists. If flush_fn raised, the lost items of the batch are those in Parts.lost
(flushq.core.attempts).

Losses can become known in any order: a batch that is retried may be lost later than a newer batch.
So each item is added with its sequence number. Usually the added items have higher numbers than all
items in the list: then they are appended. Otherwise the whole list is sorted again.
"""

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from flushq.arguments import check_sync_callable

T = TypeVar("T")

LostAs = Callable[[T], Any]
"""A function that gets a lost item, and returns the entry that is listed for it."""


class LossList(Generic[T]):
    """The list of the lost items of one kind: undelivered or in doubt.

    Args:
        lost_as: The function that returns the list entry for an item. If there is no function, or
            if the function raises, the item itself is listed.

    Attributes:
        items: The entries, in the order in which their items were accepted. This list is never
            replaced by another list object, because users keep references to it.
        count: The number of items that were lost. It stays the same if a user empties the list.
    """

    __slots__ = ("_lost_as", "_numbered", "count", "items")

    def __init__(self, lost_as: LostAs[T] | None = None) -> None:
        self.items: list[T] = []
        self.count = 0
        self._numbered: list[tuple[int, T]] = []
        self._lost_as = lost_as

    @property
    def first(self) -> float:
        """The lowest sequence number of a lost item; inf if no item was lost."""
        return self._numbered[0][0] if self._numbered else math.inf

    def add(self, numbers: Sequence[int], items: list[T]) -> None:
        """Add lost items; ``numbers`` are their sequence numbers, in increasing order."""
        self.count += len(items)  # before lost_as runs: it may read the account
        if self._lost_as is not None:
            items = [_listed(item, self._lost_as) for item in items]
        known = self._numbered
        comes_last = not known or known[-1][0] < numbers[0]
        known += zip(numbers, items, strict=True)
        if comes_last:
            self.items += items
        else:
            known.sort(key=itemgetter(0))
            self.items[:] = (item for _, item in known)


class Losses(Generic[T]):
    """The two lists of lost items.

    Args:
        lost_as: The function that returns the list entry for an item; see :class:`LossList`.

    Raises:
        TypeError: ``lost_as`` cannot be called, or is async.

    Attributes:
        undelivered: The list of the lost items that flush_fn was never called with.
        in_doubt: The list of the lost items that flush_fn was called with. In these calls
            flush_fn raised or was interrupted.
    """

    __slots__ = ("in_doubt", "undelivered")

    def __init__(self, lost_as: LostAs[T] | None = None) -> None:
        check_sync_callable("lost_as", lost_as)
        self.undelivered: LossList[T] = LossList(lost_as)
        self.in_doubt: LossList[T] = LossList(lost_as)

    def __bool__(self) -> bool:
        """Return whether any item was lost."""
        return bool(self.undelivered.count or self.in_doubt.count)

    @property
    def first(self) -> float:
        """The lowest sequence number of a lost item; inf if no item was lost."""
        return min(self.undelivered.first, self.in_doubt.first)


def _listed(item: T, lost_as: LostAs[T]) -> Any:
    try:
        return lost_as(item)
    except BaseException:  # else this item and those after it would not be listed
        return item
