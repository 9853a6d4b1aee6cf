"""A heap of partitions, ordered by a number that can change: a time, or a sequence number."""

import math
from collections.abc import Callable, Sized
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from flushq.core.partition import Partition

T = TypeVar("T")


class PartitionHeap(Generic[T]):
    """A heap of partitions: the partition with the least number comes first.

    An entry is a partition, with the number that the partition had when the entry was added. The
    entry becomes *outdated* when the number of the partition changes. An outdated entry stays in
    the heap until :attr:`first` removes it from the top, or until :meth:`trim` removes it.

    Args:
        number_of: The function that returns the current number of a partition, or inf if the
            partition does not belong in the heap.
        partitions: All partitions that exist. Only the length of this collection is used.
    """

    def __init__(self, number_of: Callable[[Partition[T]], float], partitions: Sized) -> None:
        self._number_of = number_of
        self._partitions = partitions
        self._entries: list[tuple[float, int, Partition[T]]] = []
        self._count = count()

    def update(self, partition: Partition[T]) -> None:
        """Add an entry for a partition whose number has changed, unless the number is inf."""
        number = self._number_of(partition)
        if number < math.inf:
            heappush(self._entries, (number, next(self._count), partition))
            self.trim()

    def pop(self) -> None:
        """Remove the first entry.

        Later the caller must call :meth:`update` for the partition of this entry.
        """
        heappop(self._entries)

    def trim(self) -> None:
        """Remove outdated and repeated entries if the heap has become too long.

        One entry for each partition would be enough. With n partitions, the heap is too long if it
        has more than 2 * n + 64 entries.
        """
        entries = self._entries
        if len(entries) > 2 * len(self._partitions) + 64:
            true = {entry[2]: entry for entry in entries if self._number_of(entry[2]) == entry[0]}
            entries[:] = true.values()
            heapify(entries)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    @property
    def first(self) -> Partition[T] | None:
        """The partition with the least number, or None if the heap is empty."""
        entries, number_of = self._entries, self._number_of
        while entries and number_of(entries[0][2]) != entries[0][0]:
            heappop(entries)
        return entries[0][2] if entries else None
