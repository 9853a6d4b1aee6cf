"""Merging: a new item is merged into the waiting item that has the same key.

Theory of operation. The merged item takes the sequence number, the place and the age of the waiting
item. But it may weigh more or less than the waiting item.

Items wait in a deque, and access to the middle of a deque takes time in proportion to its length.
So a queue that merges keeps the items in a dict beside the deque, with their sequence numbers as
keys. A merge changes only this dict, so it takes constant time. When items leave the queue, they
are taken from the dict.

Before the queue makes a merge, it must know how much room the merge needs. So the queue first calls
the user's function ``merge``, and keeps the merged item: this is the *foreseen* result. This step
does not change the waiting item. The queue makes the merge at once or later. The merge uses the
foreseen result if the waiting item is still the same, and if no other item was measured meanwhile.
Otherwise the queue calls the user's function again.
"""

import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from flushq.arguments import check_sync_callable, shown
from flushq.core.duplicates import discard

T = TypeVar("T")

Merge = Callable[[T, T], T]
"""A function that takes the waiting item and the new item, and returns the merged item."""

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
        on_merged: The function to call after a merge. Its arguments are the sequence number of the
            waiting item, and the merged item.
        on_reweighed: The function to call when a merge has changed the weight of a waiting item.
            Its arguments are the sequence number of the item, its key, and the weight that was
            added (negative if the item became lighter).
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
        """Return the waiting item that has this sequence number, in its merged form."""
        return self._waiting[number].item

    def weights(self, numbers: Iterable[int]) -> list[float]:
        """Return the current weights of the items that have these sequence numbers."""
        return [self._waiting[number].weight for number in numbers]

    def forget_foreseen(self) -> None:
        """Forget the foreseen result of a merge, because the next item may need another result."""
        self._foreseen = None

    def growth(self, number: int, item: T, key: Hashable) -> float:
        """Return the weight that merging ``item`` would add to the waiting item; do not merge yet.

        Raises:
            ItemTooLarge: The merged item would weigh more than ``max_weight`` or
                ``max_queue_weight``.
            RuntimeError: ``merge`` has enqueued an item that changed or displaced the waiting item.
            TypeError: ``merge`` is async, or the key or the weight of the merged item is not valid.
            ValueError: The merged item has another key, or its weight is not valid.
            Exception: The exception that a function of the user (for example ``merge``) raised.
        """
        waiting = self._waiting[number]
        return self._foresee(number, item, key).weight - waiting.weight

    def merge(self, number: int, item: T, key: Hashable) -> None:
        """Merge a new item into the waiting item that has this sequence number.

        Raises:
            Exception: The merge is impossible: see :meth:`growth`. Then ``item`` is not merged.
        """
        waiting = self._waiting[number]
        merged = self._foresee(number, item, key)
        self._foreseen = None
        self._waiting[number] = merged
        if merged.weight != waiting.weight:
            self.on_reweighed(number, key, merged.weight - waiting.weight)
        self.on_merged(number, merged.item)

    def take(self, numbers: Iterable[int]) -> tuple[list[T], list[float]]:
        """Remove the items that have these sequence numbers; return the items and their weights."""
        taken = [self._waiting.pop(number) for number in numbers]
        return [each.item for each in taken], [each.weight for each in taken]

    def _foresee(self, number: int, item: T, key: Hashable) -> _Waiting[T]:
        waiting, foreseen = self._waiting[number], self._foreseen
        if foreseen is None or foreseen.waiting is not waiting or foreseen.item is not item:
            merged = self._merged(waiting, item, key)
            if self._waiting.get(number) is not waiting:
                raise RuntimeError(
                    f"{self._label}merge must not enqueue an item that changes or displaces its "
                    f"first argument, the waiting item: {shown(waiting.item)}"
                )
            foreseen = self._foreseen = _Foreseen(waiting, item, merged)
        return foreseen.merged

    def _merged(self, waiting: _Waiting[T], item: T, key: Hashable) -> _Waiting[T]:
        merged = self._merge(waiting.item, item)
        if inspect.iscoroutine(merged):
            discard(merged)
            raise TypeError(f"{self._label}merge must not be async: it returned {merged!r}")
        new_key, weight = self._measure(merged)
        if new_key is not key and new_key != key:  # compared like keys of a dict
            raise ValueError(
                f"{self._label}merge must keep the key {key!r}, not change it to {new_key!r}"
            )
        return _Waiting(merged, weight)


def new_merging(merge: Merge[T], dedupe_key: object, measure: Measure[T], label: str) -> Merging[T]:
    """Return a new Merging, after a check that the queue has a ``dedupe_key``.

    Raises:
        TypeError: ``merge`` cannot be called or is async; or ``dedupe_key`` is None.
    """
    if dedupe_key is None:
        raise TypeError(f"merge={merge!r} needs dedupe_key, a function that returns an item's key")
    return Merging(merge, measure, label)
