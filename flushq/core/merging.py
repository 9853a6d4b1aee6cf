"""Merging: a new item is merged into the waiting item that has the same key.

Theory of operation. The item that waits keeps its number, its place and its age; only the item
itself and its weight change. Items wait in a deque, and access to the middle of a deque takes time
in proportion to its length. So a queue that merges keeps the items in a dict beside the deque, by
number. A merge changes the dict only, and items are taken from the dict when they leave: a merge
costs O(1).

The result of a merge is *foreseen* first, to compute how much room the merge needs. The merge is
made in the same step or later. It uses the foreseen result if the item that waits is still the
same, and if no other item was measured meanwhile: then the user's function is called only once.
Nothing changes until the merge is made.
"""

import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from flushq.arguments import check_sync_callable, shown
from flushq.core.duplicates import discard

T = TypeVar("T")

Merge = Callable[[T, T], T]
"""A function that returns the merged item, given the item that waits and the new item."""

Measure = Callable[[T], tuple[Hashable, float]]
"""A function that returns the key and the weight of an item."""


class _Waiting(NamedTuple, Generic[T]):
    item: T
    weight: float


class _Foreseen(NamedTuple, Generic[T]):
    waiting: _Waiting[T]
    item: T
    merged: _Waiting[T]


class Merging(Generic[T]):
    """The items that wait, in their merged form.

    Args:
        merge: The user's function that merges two items.
        measure: The function that returns the key and the weight of an item, or raises if one of
            them is not valid.
        label: The prefix of the messages of exceptions.

    Raises:
        TypeError: ``merge`` cannot be called, or is async.

    Attributes:
        on_merged: The function to call after a merge. Its arguments are the number of the item that
            waits, and the merged item.
        on_reweighed: The function to call when a merge has changed the weight of an item. Its
            arguments are the number of the item, its key, and the difference of the weights.
    """

    __slots__ = (
        "_foreseen",
        "_label",
        "_measure",
        "_merge",
        "_waiting",
        "on_merged",
        "on_reweighed",
    )

    def __init__(self, merge: Merge[T], measure: Measure[T], label: str) -> None:
        check_sync_callable("merge", merge)
        self.on_merged: Callable[[int, T], object] = lambda number, item: None
        self.on_reweighed: Callable[[int, Hashable, float], object] = lambda *_: None
        self._merge = merge
        self._measure = measure
        self._label = label
        self._waiting: dict[int, _Waiting[T]] = {}
        self._foreseen: _Foreseen[T] | None = None

    def enter(self, number: int, item: T, weight: float) -> None:
        """Add an item that begins to wait."""
        self._waiting[number] = _Waiting(item, weight)

    def __getitem__(self, number: int) -> T:
        """Return the item that waits with this number, in its merged form."""
        return self._waiting[number].item

    def weights(self, numbers: Iterable[int]) -> list[float]:
        """Return the current weights of the items with these numbers."""
        return [self._waiting[number].weight for number in numbers]

    def forget_foreseen(self) -> None:
        """Forget the foreseen result, which may not be true for the item that is measured next."""
        self._foreseen = None

    def growth(self, number: int, item: T, key: Hashable) -> float:
        """Return the weight that a merge would add to the item that waits, but do not merge yet.

        Raises:
            ItemTooLarge: The merged item would weigh more than an item may.
            RuntimeError: ``merge`` has enqueued an item that changed or displaced the waiting one.
            ValueError: The merged item has another key.
            Exception: Any exception that ``merge`` or a function that measures an item raises.
        """
        waiting = self._waiting[number]
        return self._foresee(number, item, key).weight - waiting.weight

    def merge(self, number: int, item: T, key: Hashable) -> None:
        """Merge an item into the item that waits with this number.

        Raises:
            Exception: The merge is impossible: see :meth:`growth`. Nothing has changed.
        """
        waiting = self._waiting[number]
        merged = self._foresee(number, item, key)
        self._foreseen = None
        self._waiting[number] = merged
        if merged.weight != waiting.weight:
            self.on_reweighed(number, key, merged.weight - waiting.weight)
        self.on_merged(number, merged.item)

    def take(self, numbers: Iterable[int]) -> tuple[list[T], list[float]]:
        """Remove the items with these numbers; return the items and their weights."""
        taken = [self._waiting.pop(number) for number in numbers]
        return [each.item for each in taken], [each.weight for each in taken]

    def _foresee(self, number: int, item: T, key: Hashable) -> _Waiting[T]:
        waiting, foreseen = self._waiting[number], self._foreseen
        if foreseen is None or foreseen.waiting is not waiting or foreseen.item is not item:
            merged = self._merged(waiting, item, key)
            if self._waiting.get(number) is not waiting:
                raise RuntimeError(
                    f"{self._label}merge must not enqueue an item that changes or displaces the "
                    f"item that waits, its first argument: {shown(waiting.item)}"
                )
            foreseen = self._foreseen = _Foreseen(waiting, item, merged)
        return foreseen.merged

    def _merged(self, waiting: _Waiting[T], item: T, key: Hashable) -> _Waiting[T]:
        merged = self._merge(waiting.item, item)
        if inspect.iscoroutine(merged):
            discard(merged)
            raise TypeError(f"{self._label}merge must not be async: it returned {merged!r}")
        new_key, weight = self._measure(merged)
        if new_key is not key and new_key != key:  # as keys of a dict
            raise ValueError(
                f"{self._label}merge must keep the key {key!r}, not change it to {new_key!r}"
            )
        return _Waiting(merged, weight)


def new_merging(merge: Merge[T], dedupe_key: object, measure: Measure[T], label: str) -> Merging[T]:
    """Return the object that merges items with the same key.

    Raises:
        TypeError: ``merge`` cannot be called or is async; or ``dedupe_key`` is None.
    """
    if dedupe_key is None:
        raise TypeError(f"merge={merge!r} needs dedupe_key, a function that returns an item's key")
    return Merging(merge, measure, label)
