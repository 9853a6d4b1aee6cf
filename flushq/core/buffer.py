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

A batch is the longest run of the oldest items that stays within the caps. A finalizer or a signal
handler may bring an item between any two steps of taking it: what leaves the buffer is what was
counted before, from the front; what comes meanwhile stands behind it. While another item comes in,
an item brought so may get that one's key and weight: see point 17 of the contract.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import repeat, starmap
from typing import Generic, TypeVar

from flushq.core.caps import Caps, Weigh
from flushq.core.duplicates import EMPTY, PLAIN_KEYS, DedupeKey, Duplicates, checked_key

T = TypeVar("T")


class Buffer(Generic[T]):
    """The items that wait, oldest first.

    Args:
        dedupe_key: The key of an item. None: nothing is a duplicate.
        weigh: The weight of an item. None: all weigh 0.
        max_records, max_weight: The caps of a batch. None: no cap.
        label: What the messages of the exceptions begin with.

    Raises:
        TypeError: ``dedupe_key`` or ``weigh`` cannot be called or is async; or there is a
            ``max_weight`` and no ``weigh``.

    Attributes:
        append: Lets an item in, behind all others, and returns None; or counts a duplicate, and
            returns the number of the item that stays. It raises what :meth:`measure` does, and then
            nothing has changed.
        first: The number of the oldest item: how many have left.
        duplicates: How many items were duplicates.
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
    ) -> None:
        self.first = self.duplicates = 0
        self.fresh_weight: float = 0
        self.items: deque[T] = deque()
        self._duplicates: Duplicates[T] = Duplicates(dedupe_key)
        self._keys: deque[Hashable] = EMPTY if dedupe_key is None else deque()
        self._caps: Caps[T] = Caps(weigh, max_records, max_weight, label)
        self._weights: deque[float] = EMPTY if weigh is None else deque()
        self._has_keys = dedupe_key is not None
        self._has_weights = weigh is not None
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
            ItemTooLarge: It weighs more than a batch may.
            TypeError: The key cannot be hashed or must be awaited; the weight is not a real number.
            ValueError: The weight is negative, above 1e300 or NaN.
            Exception: Whatever ``dedupe_key`` or ``weigh`` raise.
        """
        return self._duplicates.key_of(item), self._caps.weight_of(item)

    def is_duplicate(self, key: Hashable) -> bool:
        """Whether an item with this key waits."""
        return key in self._duplicates.taken

    def __getitem__(self, number: int) -> T:
        """The item that waits with this number."""
        return self.items[number - self.first]

    def number_of(self, item: T, stays: int | None) -> int:
        """The number of an item that has just come; ``stays`` is what ``append`` returned.

        What a finalizer has brought meanwhile stands behind the item.
        """
        if stays is not None:
            return stays
        items, behind = self.items, 1
        while items[-behind] is not item:
            behind += 1
        return self.first + len(items) - behind

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Let an item in as ``append`` does, with the key and weight that were measured."""
        if self._has_keys:
            if key in self._duplicates.taken:
                self.duplicates += 1
                return self._duplicates.taken[key]
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
        most = waiting if up_to is None else min(waiting, up_to)
        count, weight = self._caps.within(self._weights, most)
        items, weights = self._take(count)
        return items, weight, weights

    def take_all(self) -> tuple[Sequence[int], list[T]]:
        """Take all items, whatever the caps, and their numbers."""
        first, (items, _) = self.first, self._take(len(self))
        return range(first, first + len(items)), items

    def _take(self, count: int) -> tuple[list[T], Sequence[float]]:
        if self._has_keys:
            self._free(_pop(self._keys, count))
        weights = _pop(self._weights, count) if self._has_weights else ()
        self.first += count
        return _pop(self.items, count), weights

    def _free(self, keys: list[Hashable]) -> None:
        if self._keys:
            self._duplicates.free(keys)
        else:
            self._duplicates.taken.clear()

    # The shortest way in for items that are measured so.

    def _way_in(
        self, dedupe_key: DedupeKey[T] | None, weigh: Weigh[T] | None
    ) -> Callable[[T], int | None]:
        if dedupe_key is not None and weigh is not None:
            return self._append_measured
        if dedupe_key is not None:
            return self._way_in_by_key(dedupe_key)
        if weigh is not None:
            return self._way_in_by_weight(weigh)
        return self.items.append

    def _append_measured(self, item: T) -> int | None:
        key, weight = self.measure(item)
        return self.add(item, key, weight)

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
