"""What a Buffer and a PartitionedBuffer do the same way: duplicates, merging, and numbers."""

import abc
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from flushq.core.caps import Caps, Weigh
from flushq.core.duplicates import DedupeKey, Duplicates
from flushq.core.merging import Merge, new_merging

T = TypeVar("T")


class Waiting(abc.ABC, Generic[T]):
    """The items that wait, wherever they do; ``key`` is what they were measured as.

    Args:
        dedupe_key: The key of an item. None: nothing is a duplicate.
        weigh: The weight of an item. None: all weigh 0.
        max_records, max_weight: The caps of a batch. None: no cap.
        label: What the messages of the exceptions begin with.
        merge: What an item becomes by its duplicate. None: the first stays as it is.
        max_queue_weight: The most weight that may wait; whether there is room is not asked here.

    Raises:
        TypeError: ``dedupe_key``, ``weigh`` or ``merge`` cannot be called or is async; there is a
            ``max_weight`` or a ``max_queue_weight`` and no ``weigh``, or ``merge`` and no
            ``dedupe_key``.
        ValueError: ``max_queue_weight`` is zero, negative or NaN.

    Attributes:
        duplicates: How many items were duplicates.
        merging: How they are merged; None: they are not.
        max_queue_weight: As it was given; inf: there is no bound.
    """

    def __init__(
        self,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        max_records: int | None = None,
        max_weight: float | None = None,
        label: str = "",
        merge: Merge[T] | None = None,
        max_queue_weight: float | None = None,
    ) -> None:
        self.duplicates = 0
        self._duplicates: Duplicates[T] = Duplicates(dedupe_key)
        self._caps: Caps[T] = Caps(weigh, max_records, max_weight, max_queue_weight, label)
        self.max_queue_weight = self._caps.max_queue_weight
        self.merging = (
            None if merge is None else new_merging(merge, dedupe_key, self.measure, label)
        )
        self._has_keys = dedupe_key is not None
        self._has_weights = weigh is not None

    @property
    @abc.abstractmethod
    def next_number(self) -> int:
        """The number of the next item to come."""

    @abc.abstractmethod
    def measure(self, item: T) -> tuple[Any, float]:
        """The key and the weight of an item that asks to be let in. Nothing changes."""

    @abc.abstractmethod
    def __getitem__(self, number: int) -> T:
        """The item that waits with this number."""

    @abc.abstractmethod
    def add(self, item: T, key: Any, weight: float, /) -> int | None:
        """Let an item in with the key and weight that were measured.

        Return None; or count a duplicate, and return the number of the item that stays.
        """

    def is_duplicate(self, key: Hashable) -> bool:
        """Whether an item with this key waits."""
        return key in self._duplicates.taken

    def growth(self, item: T, key: Hashable) -> float:
        """How much more the item that waits with this key would weigh with its duplicate.

        Raises:
            Exception: What a merge raises: see :meth:`Merging.growth`.
        """
        if self.merging is None:
            return 0
        return self.merging.growth(self._duplicates.taken[key], item, key)

    def number_of(self, item: T, stays: int | None) -> int:
        """The number of an item that has just come; ``stays`` is what ``add`` returned.

        What a finalizer has brought meanwhile stands behind the item.
        """
        if stays is not None:
            return stays
        number = self.next_number - 1
        while self[number] is not item:
            number -= 1
        return number

    def _append_measured(self, item: T) -> int | None:
        key, weight = self.measure(item)
        return self.add(item, key, weight)

    def _stay(self, item: T, key: Hashable) -> int:
        number = self._duplicates.taken[key]
        if self.merging is not None:
            self.merging.merge(number, item, key)
        self.duplicates += 1
        return number
