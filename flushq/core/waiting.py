"""The common part of Buffer and PartitionedBuffer: duplicates, merging, sequence numbers."""

import abc
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from flushq.core.caps import Caps, Weigh
from flushq.core.duplicates import DedupeKey, Duplicates
from flushq.core.merging import Merge, new_merging

T = TypeVar("T")


class Waiting(abc.ABC, Generic[T]):
    """The items that wait: the base class of Buffer and PartitionedBuffer.

    The argument ``key`` of a method is the key that :meth:`measure` has returned for the item.

    Args:
        dedupe_key: The function that returns the key of an item. None: nothing is a duplicate.
        weigh: The function that returns the weight of an item. None: all items weigh 0.
        max_records, max_weight: The most items and the most weight in a batch. None: no cap.
        label: The prefix of the messages of exceptions.
        merge: The function that merges a duplicate into the waiting item. None: the waiting item
            stays as it is.
        max_queue_weight: The most weight that all waiting items may have together. This class
            refuses a single item that weighs more. Admission keeps the total within the limit.

    Raises:
        TypeError: One of the functions cannot be called or is async, or ``max_queue_weight`` is not
            a real number. Or an argument is given without another argument that it needs:
            ``max_weight`` and ``max_queue_weight`` need ``weigh``, ``merge`` needs ``dedupe_key``.
        ValueError: ``max_queue_weight`` is zero, negative or NaN.

    Attributes:
        duplicates: How many duplicates have come so far.
        merging: The object that merges duplicates; None if duplicates are not merged.
        max_queue_weight: The most weight that all waiting items may have together; inf if there is
            no limit.
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
        """The sequence number that the next new item will get."""

    @abc.abstractmethod
    def measure(self, item: T) -> tuple[Any, float]:
        """Return the key and the weight of an item that is not in the buffer yet."""

    @abc.abstractmethod
    def __getitem__(self, number: int) -> T:
        """Return the waiting item that has this sequence number."""

    @abc.abstractmethod
    def add(self, item: T, key: Any, weight: float, /) -> int | None:
        """Add an item, with the key and the weight that ``measure`` has returned.

        A duplicate is not added. It is counted, and merged if the queue merges duplicates.

        Returns:
            For a duplicate, the sequence number of the waiting item with the same key; else None.
        """

    def is_duplicate(self, key: Hashable) -> bool:
        """Return whether an item with this key waits."""
        return key in self._duplicates.taken

    def growth(self, item: T, key: Hashable) -> float:
        """Return the weight that merging ``item`` would add to the waiting item with this key.

        Return 0 if the queue does not merge duplicates.

        Raises:
            Exception: The merge is impossible: see :meth:`Merging.growth`.
        """
        if self.merging is None:
            return 0
        return self.merging.growth(self._duplicates.taken[key], item, key)

    def number_of(self, item: T, kept_number: int | None) -> int:
        """Return the sequence number of an item that has just come.

        ``kept_number`` is the result of :meth:`add` for this item. If it is not None, return it.
        Otherwise search from the newest item back: a finalizer may have added items after this one.
        """
        if kept_number is not None:
            return kept_number
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
