"""The items that wait, in order of acceptance, and how a batch is taken from them.

Theory of operation. Items wait in one deque, oldest first, and leave it from the front. So taking
a batch needs time in proportion to the size of the batch, not to the number of items that stay. If
the queue uses keys (flushq.core.duplicates) or weights (flushq.core.caps), these are in deques of
their own, in the same order as the items. An item comes in through ``append``. If the queue uses
neither keys nor weights, ``append`` is the method of the deque, and an item costs only this call.
Otherwise ``append`` measures the item first: it computes the key and the weight. If the item has
already been measured (for example, because its producer had to wait for room), it comes in through
``add``.

Items have the sequence numbers 0, 1, 2, … in the order in which they came. The numbers follow from
the positions of the items: ``first`` is the sequence number of the next item to leave, and
``next_number`` is the sequence number of the next item to come.

If the queue merges items, the items and their weights are in a dict beside the deques
(flushq.core.merging).

A batch takes the oldest items, as many as the caps allow. While a batch is taken, a finalizer or a
signal handler may enqueue an item at any time. So the items of the batch are counted first, and an
item that comes after this stays in the deque. If a finalizer or a signal handler enqueues an item
while another item is being added, the two items may get each other's key and weight. So in asyncio,
finalizers and signal handlers must not enqueue directly (point 17 of the contract,
tests/README.rst); and flushq.threads puts such an item aside until the other item has been added.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import chain, islice, repeat, starmap
from typing import Any, TypeVar

from flushq.core.caps import Weigh
from flushq.core.duplicates import EMPTY, PLAIN_KEYS, DedupeKey, checked_key
from flushq.core.merging import Merge
from flushq.core.waiting import Waiting

T = TypeVar("T")


_BESIDE: Any = object()
"""The placeholder in the deque for an item that is kept in the dict of Merging."""


class Buffer(Waiting[T]):
    """The items that wait, oldest first.

    The arguments and the errors are those of :class:`~flushq.core.waiting.Waiting`.

    Attributes:
        append: The function that adds an item as the newest one and returns None. A duplicate is
            not added: ``append`` counts it, merges it if the queue merges duplicates, and returns
            the sequence number of the waiting item that has the same key.
            If ``append`` raises, because measuring or merging the item failed, nothing has changed.
        first: The sequence number of the oldest item, and also how many items have left.
        items: The deque of waiting items (of placeholders, if the queue merges). Only the buffer
            may change it; others may read it. ``len(buffer.items)`` is the quickest count.
        fresh_weight: The total weight of the items that the policy was not told of yet. The Batcher
            sets this weight to 0 when it tells the policy of these items.
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
        super().__init__(dedupe_key, weigh, max_records, max_weight, label, merge, max_queue_weight)
        self.first = 0
        self.fresh_weight: float = 0
        self.items: deque[T] = deque()
        self._keys: deque[Hashable] = EMPTY if dedupe_key is None else deque()
        self._weights: deque[float] = EMPTY if weigh is None else deque()
        self.append = self._way_in(dedupe_key, weigh)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def next_number(self) -> int:
        """The sequence number that the next new item will get."""
        return self.first + len(self.items)

    def measure(self, item: T) -> tuple[Hashable, float]:
        """Return the key and the weight of an item that is not in the buffer yet.

        Raises:
            ItemTooLarge: The item weighs more than ``max_weight`` or ``max_queue_weight``.
            TypeError: The key is not hashable or is awaitable; or the weight is not a real number.
            ValueError: The weight is negative, above 1e300 or NaN.
            Exception: Any exception that ``dedupe_key`` or ``weigh`` raises.
        """
        if self.merging is not None:
            self.merging.forget_foreseen()
        return self._duplicates.key_of(item), self._caps.weight_of(item)

    def __getitem__(self, number: int) -> T:
        """Return the waiting item that has this sequence number."""
        return self.items[number - self.first] if self.merging is None else self.merging[number]

    def number_of(self, item: T, kept_number: int | None) -> int:
        """Do the same as :meth:`Waiting.number_of`, but faster if the item is the newest one."""
        if kept_number is None and self.items[-1] is item:
            return self.first + len(self.items) - 1
        return super().number_of(item, kept_number)

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Do the same as ``append``, with the key and the weight that ``measure`` has returned."""
        if self._has_keys:
            if key in self._duplicates.taken:
                return self._stay(item, key)
            if self.merging is not None:
                self.merging.enter(self.next_number, item, weight)
                item = _BESIDE
            self._duplicates.taken[key] = self.next_number
            self._keys.append(key)
        if self._has_weights:
            self.fresh_weight += weight
            self._weights.append(weight)
        self.items.append(item)
        return None

    def take(self, up_to: int | None = None) -> tuple[list[T], float, Sequence[float]]:
        """Take the oldest items, as many as the caps and ``up_to`` allow.

        Returns:
            The items, their total weight, and the weight of each item. Without ``weigh`` the
            sequence of the weights is empty or holds zeros.
        """
        waiting = len(self.items)
        count = min(waiting if up_to is None else up_to, waiting, self._caps.max_records)
        weight: float = 0
        if self._has_weights:
            count, weight = self._caps.within(self._weights_between, count)
        items, weights = self._take(count)
        return items, weight, weights

    def take_oldest(self) -> tuple[T, float]:
        """Remove the oldest item; return the item and its weight."""
        weight = self._weights_between(0, 1)[0] if self._has_weights else 0
        return self._take(1)[0][0], weight

    def take_all(self) -> tuple[Sequence[int], list[T]]:
        """Remove all items, whatever the caps allow; return the sequence numbers and the items."""
        first, (items, _) = self.first, self._take(len(self))
        return range(first, first + len(items)), items

    def _take(self, count: int) -> tuple[list[T], Sequence[float]]:
        if self._has_keys:
            self._free(_pop(self._keys, count))
        weights = _pop(self._weights, count) if self._has_weights else ()
        self.first += count
        items = _pop(self.items, count)
        if self.merging is not None:
            return self.merging.take(range(self.first - count, self.first))
        return items, weights

    def _weights_between(self, start: int, stop: int) -> list[float]:
        """Return the weights of the items at the positions from ``start`` up to ``stop`` - 1.

        This takes time in proportion to ``stop``.

        An iterator of a deque fails if an item is added while the iterator is in use. Here the
        iterator is used only while the weights are copied. Copying is not a call, so CPython runs
        no finalizer or signal handler meanwhile, and no item is added.
        """
        if self.merging is not None:
            return self.merging.weights(range(self.first + start, self.first + stop))
        return [*islice(chain(self._weights), start, stop)]

    def _free(self, keys: list[Hashable]) -> None:
        if self._keys:
            self._duplicates.free(keys)
        else:
            self._duplicates.taken.clear()

    # The quickest ``append`` for each kind of queue: with or without keys, with or without weights.

    def _way_in(
        self, dedupe_key: DedupeKey[T] | None, weigh: Weigh[T] | None
    ) -> Callable[[T], int | None]:
        if self.merging is not None or (dedupe_key is not None and weigh is not None):
            return self._append_measured
        if dedupe_key is not None:
            return self._way_in_by_key(dedupe_key)
        if weigh is not None:
            return self._way_in_by_weight(weigh)
        return self.items.append

    def _way_in_by_key(self, dedupe_key: DedupeKey[T]) -> Callable[[T], int | None]:
        items, keys, taken = self.items, self._keys, self._duplicates.taken

        def append(item: T) -> int | None:
            key = dedupe_key(item)
            if type(key) not in PLAIN_KEYS:
                checked_key(key)
            if key in taken:
                self.duplicates += 1
                return taken[key]
            taken[key] = self.first + len(items)
            keys.append(key)
            items.append(item)
            return None

        return append

    def _way_in_by_weight(self, weigh: Weigh[T]) -> Callable[[T], None]:
        items, weights, checked = self.items, self._weights, self._caps.checked

        def append(item: T) -> None:
            weight = checked(item, weigh(item))
            self.fresh_weight += weight
            weights.append(weight)
            items.append(item)

        return append


def _pop(waiting: deque[T], count: int) -> list[T]:
    """Remove and return the ``count`` oldest elements of a deque.

    If at least half of the elements are removed, it is faster to remove all elements and to put
    back those that stay. Copying is not a call, so CPython runs no finalizer or signal handler
    between the copying and the call of ``clear``. If a finalizer or a signal handler adds an item
    after ``clear``, this item stands behind the elements that are put back.
    """
    if len(waiting) > 2 * count:
        return list(starmap(waiting.popleft, repeat((), count)))
    taken = [*waiting]
    waiting.clear()
    if len(taken) > count:
        waiting.extendleft(reversed(taken[count:]))
        del taken[count:]
    return taken
