"""Partitions in the order of a number that changes: a time, or the number of an item."""

import math
from collections.abc import Callable, Sized
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from flushq.core.partition import Partition

T = TypeVar("T")


class PartitionHeap(Generic[T]):
    """A heap.

    An entry that is not true any more stays until it comes to the top, or until more than half of
    all entries must be such.

    Args:
        number_of: The number of a partition by now; inf: it has none.
        partitions: Those that exist, for their number.
    """

    def __init__(self, number_of: Callable[[Partition[T]], float], partitions: Sized) -> None:
        self._number_of = number_of
        self._partitions = partitions
        self._entries: list[tuple[float, int, Partition[T]]] = []
        self._count = count()

    def push(self, partition: Partition[T]) -> None:
        """The number of a partition has changed."""
        number = self._number_of(partition)
        if number < math.inf:
            heappush(self._entries, (number, next(self._count), partition))
            self.trim()

    def pop(self) -> None:
        """Take out the first, until it is pushed again."""
        heappop(self._entries)

    def trim(self) -> None:
        """Leave out what is not true any more, if that is more than half."""
        entries = self._entries
        if len(entries) > 2 * len(self._partitions) + 64:
            true = {entry[2]: entry for entry in entries if self._number_of(entry[2]) == entry[0]}
            entries[:] = true.values()
            heapify(entries)

    def clear(self) -> None:
        """No partition has a number any more."""
        self._entries.clear()

    @property
    def first(self) -> Partition[T] | None:
        """The partition with the least number."""
        entries, number_of = self._entries, self._number_of
        while entries and number_of(entries[0][2]) != entries[0][0]:
            heappop(entries)
        return entries[0][2] if entries else None
