"""The items that wait, in order of acceptance, and how a batch is taken from them.

Theory of operation. Items wait in one deque, oldest first, and leave it from the front, so taking
a batch costs time in proportion to the batch and not to what stays behind. Their keys
(flushq.core.duplicates) and weights (flushq.core.caps) stand in deques of the same order, and only
if the queue asks for them. An item comes in through ``append``, which is made for what the queue
asks for: the deque's own method if that is nothing, and then the whole price of an item; else a
function that measures the item first. An item that was measured earlier, since it had to wait for
room, comes in through ``add``.

Items are numbered 0, 1, 2, … in the order in which they came, by position alone: ``first`` is the
number of the next item to leave, ``next_number`` that of the next to come.

Where items are merged, they and their weights wait beside the deques (flushq.core.merging).

A batch is the longest run of the oldest items that stays within the caps. A finalizer or a signal
handler may bring an item between any two steps of taking it: what leaves the buffer is what was
counted before, from the front; what comes meanwhile stands behind it. While another item comes in,
an item brought so may get that one's key and weight: see point 17 of the contract.
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
"""What stands for an item that waits beside the deque."""


class Buffer(Waiting[T]):
    """The items that wait, oldest first.

    Args and what is raised: as of :class:`~flushq.core.waiting.Waiting`.

    Attributes:
        append: Lets an item in, behind all others, and returns None; or counts a duplicate, and
            returns the number of the item that stays. It raises what :meth:`measure` does, or what
            a merge does, and then nothing has changed.
        first: The number of the oldest item: how many have left.
        items: Those that wait, to be read; ``len(buffer.items)`` is what costs least.
        fresh_weight: What the items weigh that came in since somebody set this to 0.
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
        """The number of the next item to come."""
        return self.first + len(self.items)

    def measure(self, item: T) -> tuple[Hashable, float]:
        """The key and the weight of an item that asks to be let in. Nothing changes.

        Raises:
            ItemTooLarge: It weighs more than a batch may, or than may wait.
            TypeError: The key cannot be hashed or must be awaited; the weight is not a real number.
            ValueError: The weight is negative, above 1e300 or NaN.
            Exception: Whatever ``dedupe_key`` or ``weigh`` raise.
        """
        if self.merging is not None:
            self.merging.forget()
        return self._duplicates.key_of(item), self._caps.weight_of(item)

    def __getitem__(self, number: int) -> T:
        """The item that waits with this number."""
        return self.items[number - self.first] if self.merging is None else self.merging[number]

    def number_of(self, item: T, stays: int | None) -> int:
        """As of Waiting; mostly it is the last one."""
        if stays is None and self.items[-1] is item:
            return self.first + len(self.items) - 1
        return super().number_of(item, stays)

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Let an item in as ``append`` does, with the key and weight that were measured."""
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
            The items, what they weigh together, and the weight of each; of none without ``weigh``.
        """
        waiting = len(self.items)
        count = min(waiting if up_to is None else up_to, waiting, self._caps.max_records)
        weight: float = 0
        if self._has_weights:
            count, weight = self._caps.within(self._weights_between, count)
        items, weights = self._take(count)
        return items, weight, weights

    def take_oldest(self) -> tuple[T, float]:
        """Take the oldest item, and its weight."""
        weight = self._weights_between(0, 1)[0] if self._has_weights else 0
        return self._take(1)[0][0], weight

    def take_all(self) -> tuple[Sequence[int], list[T]]:
        """Take all items, whatever the caps, and their numbers."""
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
        """At the price of ``stop``, whatever else waits.

        No iterator of a deque survives an item that is brought; this one begins and ends within the
        copy, which is not a call, so CPython runs no finalizer or signal handler meanwhile.
        """
        if self.merging is not None:
            return self.merging.weights(range(self.first + start, self.first + stop))
        return [*islice(chain(self._weights), start, stop)]

    def _free(self, keys: list[Hashable]) -> None:
        if self._keys:
            self._duplicates.free(keys)
        else:
            self._duplicates.taken.clear()

    # The shortest way in for items that are measured so.

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
    """Take the oldest; where few stay behind, by taking all and putting those back.

    The copy is not a call, so CPython runs no finalizer or signal handler, which may bring an item,
    between it and the clearing; one that does so later brings it to the end of the line.
    """
    if len(waiting) > 2 * count:
        return list(starmap(waiting.popleft, repeat((), count)))
    taken = [*waiting]
    waiting.clear()
    if len(taken) > count:
        waiting.extendleft(reversed(taken[count:]))
        del taken[count:]
    return taken
