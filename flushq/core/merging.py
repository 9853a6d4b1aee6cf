"""Merging: an item whose key waits is merged into the item that waits.

Theory of operation. What waits keeps its number, and with it its place and its age; only the item
and its weight change. Items wait in a deque, and to reach into the middle of one takes time in
proportion to what waits. So the items of a queue that merges stand beside it as well, by number,
and what has become of them is applied when they leave: a merge costs O(1).

A merge is *foreseen* first, where it is asked how much room it needs, and made in the same step or
later. It is made as it was foreseen, if the item that waits is still the same and no item has asked
to be let in meanwhile: then the user's function is called once. Until it is made nothing changes.
"""

import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from flushq.arguments import check_sync_callable, shown
from flushq.core.duplicates import discard

T = TypeVar("T")

Merge = Callable[[T, T], T]
"""What waits from now on, of the item that waits and a new one."""

Measure = Callable[[T], tuple[Hashable, float]]
"""The key and the weight of an item."""


class _Waiting(NamedTuple, Generic[T]):
    item: T
    weight: float


class _Foreseen(NamedTuple, Generic[T]):
    waiting: _Waiting[T]
    item: T
    merged: _Waiting[T]


class Merging(Generic[T]):
    """The items that wait, as merged by now.

    Args:
        merge: The user's function.
        measure: The key and the weight of an item; it raises if they are not what they must be.
        label: What the messages of the exceptions begin with.

    Raises:
        TypeError: ``merge`` cannot be called, or is async.

    Attributes:
        on_merged: Is called with the number of an item, and what it is from now on.
        on_reweighed: Is called with the number and the key of an item that weighs more from now on,
            or less, and with the difference.
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
        """An item waits from now on."""
        self._waiting[number] = _Waiting(item, weight)

    def __getitem__(self, number: int) -> T:
        """The item that waits with this number, as merged by now."""
        return self._waiting[number].item

    def weights(self, numbers: Iterable[int]) -> list[float]:
        """What the items with these numbers weigh by now."""
        return [self._waiting[number].weight for number in numbers]

    def forget(self) -> None:
        """Another item asks to be let in, or the same, which may have been changed since."""
        self._foreseen = None

    def growth(self, number: int, item: T, key: Hashable) -> float:
        """How much more the item that waits would weigh with this one. Nothing changes.

        Raises:
            ItemTooLarge: It would weigh more than an item may.
            RuntimeError: ``merge`` has brought an item that changed the one that waits.
            ValueError: It would have another key.
            Exception: Whatever ``merge`` raises, and the functions that measure an item.
        """
        waiting = self._waiting[number]
        return self._foresee(number, item, key).weight - waiting.weight

    def merge(self, number: int, item: T, key: Hashable) -> None:
        """Merge an item into the one that waits; what :meth:`growth` raises changes nothing."""
        waiting = self._waiting[number]
        merged = self._foresee(number, item, key)
        self._foreseen = None
        self._waiting[number] = merged
        if merged.weight != waiting.weight:
            self.on_reweighed(number, key, merged.weight - waiting.weight)
        self.on_merged(number, merged.item)

    def take(self, numbers: Iterable[int]) -> tuple[list[T], list[float]]:
        """The items with these numbers do not wait any more; return them, and their weights."""
        taken = [self._waiting.pop(number) for number in numbers]
        return [each.item for each in taken], [each.weight for each in taken]

    def _foresee(self, number: int, item: T, key: Hashable) -> _Waiting[T]:
        waiting, foreseen = self._waiting[number], self._foreseen
        if foreseen is None or foreseen.waiting is not waiting or foreseen.item is not item:
            merged = self._merged(waiting, item, key)
            if self._waiting.get(number) is not waiting:
                raise RuntimeError(
                    f"{self._label}merge has brought an item to its own queue, which merged or "
                    f"displaced the one that it was called with: {shown(waiting.item)}"
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
            raise ValueError(f"{self._label}merge has changed the key {key!r} to {new_key!r}")
        return _Waiting(merged, weight)


def new_merging(merge: Merge[T], dedupe_key: object, measure: Measure[T], label: str) -> Merging[T]:
    """How items with the same key are merged.

    Raises:
        TypeError: ``merge`` cannot be called or is async; or there is no ``dedupe_key``.
    """
    if dedupe_key is None:
        raise TypeError(f"merge={merge!r} needs dedupe_key, a function of the item")
    return Merging(merge, measure, label)
