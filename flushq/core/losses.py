"""What was lost: ``undelivered`` and ``in_doubt``, each in order of acceptance.

What is lost, and of which kind, is decided where the account is kept: in Batcher.end_flush and stop
(flushq.core.batcher); which items of a failed batch, by Parts.lost (flushq.core.attempts).

Losses become known in any order: a batch that is retried may be lost after those behind it. So each
item comes with its number. Items that come behind all others, which is the rule, cost nothing but
themselves; others cost all that were lost.
"""

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from flushq.arguments import check_sync_callable

T = TypeVar("T")

LostAs = Callable[[T], Any]
"""What a lost item is listed as."""


class LossList(Generic[T]):
    """The lost items of one kind.

    Args:
        lost_as: What an item is listed as. None, or if it raises: the item itself.

    Attributes:
        items: The items, in order of acceptance: always the same list, which users hold.
        count: How many items were lost, also if a user has emptied the list.
    """

    __slots__ = ("_lost_as", "_numbered", "count", "items")

    def __init__(self, lost_as: LostAs[T] | None = None) -> None:
        self.items: list[T] = []
        self.count = 0
        self._numbered: list[tuple[int, T]] = []
        self._lost_as = lost_as

    @property
    def first(self) -> float:
        """The number of the first item that was lost; inf if none was."""
        return self._numbered[0][0] if self._numbered else math.inf

    def add(self, numbers: Sequence[int], items: list[T]) -> None:
        """Enter lost items, with their numbers, which increase."""
        self.count += len(items)  # before lost_as, which may look at the account
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
    """Both kinds.

    Args:
        lost_as: What an item is listed as, as of a LossList.

    Raises:
        TypeError: ``lost_as`` cannot be called, or is async.

    Attributes:
        undelivered: The items that flush_fn was never called with.
        in_doubt: The items that it was called with, in a flush that raised or was interrupted.
    """

    __slots__ = ("in_doubt", "undelivered")

    def __init__(self, lost_as: LostAs[T] | None = None) -> None:
        check_sync_callable("lost_as", lost_as)
        self.undelivered: LossList[T] = LossList(lost_as)
        self.in_doubt: LossList[T] = LossList(lost_as)

    def __bool__(self) -> bool:
        """Whether anything was lost."""
        return bool(self.undelivered.count or self.in_doubt.count)

    @property
    def first(self) -> float:
        """The number of the first item that was lost; inf if none was."""
        return min(self.undelivered.first, self.in_doubt.first)


def _listed(item: T, lost_as: LostAs[T]) -> Any:
    try:
        return lost_as(item)
    except BaseException:  # else it, and the items that come after it, would not be listed
        return item
