"""The items that wait, grouped by partition. Each batch is taken from one partition.

Theory of operation. Each partition keeps its items in one list and their sequence numbers in
another list. All partitions of a queue share the sequence numbers, the room and the order of
acceptance.

The key that ``measure`` returns has two parts, the partition key and the dedupe key. Two items are
duplicates if both parts are equal. One statement gives an item its sequence number, and the next
statement sets the number of the next item. No call comes between these two statements, so no
finalizer runs there. So an item that a finalizer adds gets a number of its own.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Container, Hashable
from contextlib import suppress
from operator import itemgetter
from typing import Self, TypeVar

from flushq.arguments import check_sync_callable
from flushq.core.caps import Weigh, Weights
from flushq.core.duplicates import PLAIN_KEYS, DedupeKey, checked_key
from flushq.core.merging import Merge
from flushq.core.partition import Partition
from flushq.core.waiting import Waiting

T = TypeVar("T")
V = TypeVar("V")

PartitionKey = Callable[[T], Hashable]

Keys = tuple[Hashable, Hashable]
"""The partition key and the dedupe key of an item."""


class PartitionedBuffer(Waiting[T]):
    """The items that wait, grouped by partition.

    Args:
        partition_key: The function that returns the partition key of an item.
        dedupe_key, weigh, max_records, max_weight, label, merge, max_queue_weight: See
            :class:`~flushq.core.waiting.Waiting`.

    Raises:
        TypeError: ``partition_key`` cannot be called, or is async.
        TypeError, ValueError: See :class:`~flushq.core.waiting.Waiting`.

    Attributes:
        append: The function that adds an item. It does the same as ``append`` of a Buffer.
        weight: The total weight of the items that wait.
        partitions: The partitions that exist: a dict from partition key to partition.
        fresh: One entry for each item that its policy was not told of yet, oldest item first. The
            entry is the partition of the item.
    """

    def __init__(
        self,
        partition_key: PartitionKey[T],
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        max_records: int | None = None,
        max_weight: float | None = None,
        label: str = "",
        merge: Merge[T] | None = None,
        max_queue_weight: float | None = None,
    ) -> None:
        check_sync_callable("partition_key", partition_key)
        super().__init__(dedupe_key, weigh, max_records, max_weight, label, merge, max_queue_weight)
        self.partitions: dict[Hashable, Partition[T]] = {}
        self.fresh: deque[Partition[T]] = deque()
        self.weight: float = 0
        self._next_number = self._left = 0
        self._with_keys: dict[int, T] = {}
        self._partition_key = partition_key
        is_plain = dedupe_key is None and weigh is None
        self.append = self._plain_way_in() if is_plain else self._append_measured

    def __len__(self) -> int:
        return self._next_number - self._left

    @property
    def next_number(self) -> int:
        """The sequence number that the next new item will get."""
        return self._next_number

    @property
    def items(self) -> Self:
        """The buffer itself. With it ``len(buffer.items)`` means the same as for a Buffer."""
        return self

    def measure(self, item: T) -> tuple[Keys, float]:
        """Return ((partition key, dedupe key), weight) for an item that is not in the buffer yet.

        Raises:
            TypeError: The partition key is awaitable, or cannot be hashed.
            Exception: Any exception that ``partition_key`` or :meth:`Buffer.measure` raises.
        """
        if self.merging is not None:
            self.merging.forget_foreseen()
        partition = _checked(self._partition_key(item))
        return (partition, self._duplicates.key_of(item)), self._caps.weight_of(item)

    def __getitem__(self, number: int) -> T:
        """Return the waiting item that has this sequence number.

        In a queue without ``dedupe_key``, the policy must not have been told of this item yet.
        """
        if self.merging is not None:
            return self.merging[number]
        if self._has_keys:
            return self._with_keys[number]
        partition = self.fresh[number - self._next_number]
        return partition.items[bisect_left(partition.numbers, number)]

    # Items come in.

    def add(self, item: T, keys: Keys, weight: float) -> int | None:
        """Do the same as ``append``, with the keys and the weight that ``measure`` has returned."""
        if self._has_keys and keys in self._duplicates.taken:
            return self._stay(item, keys)
        partition = self.partitions.get(keys[0]) or self._open(keys[0])
        number = self._next_number  # no call from here on (except for keys), so no interrupt
        self._next_number = number + 1
        if self._has_keys:
            try:
                if self.merging is not None:
                    self.merging.enter(number, item, weight)
                self._duplicates.taken[keys] = number
            except BaseException:  # an interrupt, or the key cannot be hashed or compared now
                self._take_back(number, partition)
                raise
            partition.keys += (keys,)
            if self.merging is None:
                self._with_keys[number] = item
        if self._has_weights:
            self.weight += weight
            partition.fresh_weight += weight
            partition.weights += (weight,)
        partition.numbers += (number,)
        partition.items += (item,)
        self.fresh += (partition,)
        return None

    def _take_back(self, number: int, partition: Partition[T]) -> None:
        """Free the sequence number of an item that could not be added.

        Remove the partition of this item if it has no waiting items and no running flushes.
        """
        self._next_number = number
        if not (partition.numbers or partition.running):
            self.close(partition)

    def _plain_way_in(self) -> Callable[[T], None]:
        """Return the ``append`` of a queue without ``dedupe_key`` and ``weigh``, the quickest."""
        find, fresh, partition_key = self.partitions.get, self.fresh, self._partition_key

        def append(item: T) -> None:
            key = partition_key(item)
            partition = (find(key) if type(key) in PLAIN_KEYS else None) or self._open(key)
            number = self._next_number
            self._next_number = number + 1
            partition.numbers.append(number)
            partition.items.append(item)
            fresh.append(partition)

        return append

    def _open(self, key: Hashable) -> Partition[T]:
        """Check a partition key, and return its partition; make the partition if it is new."""
        partition = self.partitions.get(_checked(key))
        if partition is None:
            partition = Partition(key, has_keys=self._has_keys, has_weights=self._has_weights)
            partition = self.partitions.setdefault(key, partition)  # a finalizer may have made it
        return partition

    # Items leave.

    def take_from(
        self, partition: Partition[T], most: int
    ) -> tuple[list[int], list[T], float, list[float]]:
        """Take the oldest items of a partition, as many as the caps and ``most`` allow.

        Returns:
            The sequence numbers of the items, the items, their total weight, and the list of their
            weights, which is empty if the queue does not weigh its items.
        """
        count = min(most, self._caps.max_records)
        weight: float = 0
        if self._has_weights:
            count, weight = self._caps.within(self._weights_in(partition), count)
        numbers, items, weights = self._take(partition, count)
        if self._has_weights:
            self._lighten(weight)
        return numbers, items, weight, weights

    def take_oldest(self, partition: Partition[T]) -> tuple[int, T, float]:
        """Remove the oldest item of a partition; return (sequence number, item, weight)."""
        weight = self._weights_in(partition)(0, 1)[0] if self._has_weights else 0
        numbers, items, _ = self._take(partition, 1)
        self._lighten(weight)
        return numbers[0], items[0], weight

    def take_all(self) -> tuple[list[int], list[T]]:
        """Remove all items, even more than the caps allow; return (sequence numbers, items).

        Both lists are in order of acceptance.
        """
        waiting: list[tuple[int, T]] = []
        for partition in self.partitions.values():
            numbers, items, _ = self._take(partition, len(partition.numbers))
            waiting += zip(numbers, items, strict=True)
        waiting.sort(key=itemgetter(0))
        return [number for number, _ in waiting], [item for _, item in waiting]

    def _take(self, partition: Partition[T], count: int) -> tuple[list[int], list[T], list[float]]:
        numbers = _pop_oldest(partition.numbers, count)
        self._left += count
        if self._has_keys:
            self._free(_pop_oldest(partition.keys, count))
        weights = _pop_oldest(partition.weights, count) if self._has_weights else []
        items = _pop_oldest(partition.items, count)
        if self.merging is not None:
            return numbers, *self.merging.take(numbers)
        if self._has_keys:
            for number in numbers:
                del self._with_keys[number]
        return numbers, items, weights

    def _free(self, keys: list[Hashable]) -> None:
        if len(self):
            self._duplicates.free(keys)
        else:  # this also removes keys that were changed and cannot be found
            self._duplicates.taken.clear()

    def _lighten(self, weight: float) -> None:
        self.weight = self.weight - weight if self else 0

    def _weights_in(self, partition: Partition[T]) -> Weights:
        merging, numbers, weights = self.merging, partition.numbers, partition.weights
        if merging is not None:
            return lambda start, stop: merging.weights(numbers[start:stop])
        return lambda start, stop: weights[start:stop]

    def close(self, partition: Partition[T]) -> None:
        """Remove an empty partition, even if its key was modified and cannot be found any more."""
        with suppress(Exception):  # the key cannot be hashed or compared any more
            if self.partitions.get(partition.key) is partition:
                del self.partitions[partition.key]
                return
        others = [each for each in self.partitions.values() if each is not partition]
        self.partitions.clear()
        for each in others:
            self.partitions[_free_key(each.key, self.partitions)] = each


def _free_key(key: Hashable, taken: Container[Hashable]) -> Hashable:
    """Return ``key`` if it can be hashed and is not in ``taken``, otherwise a new object as key."""
    with suppress(Exception):
        if key not in taken:
            return key
    return object()


def _checked(key: Hashable) -> Hashable:
    return checked_key(key, "partition", "partition_key")


def _pop_oldest(waiting: list[V], count: int) -> list[V]:
    taken = waiting[:count]
    del waiting[:count]  # no call between these two lines, so no new item comes there
    return taken
