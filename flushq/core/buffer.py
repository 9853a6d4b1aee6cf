"""The items that wait, what is a duplicate among them, and how a batch is taken.

Theory of operation. Items wait in one deque, oldest first, and leave it from the front, so taking
a batch costs time in proportion to the batch and not to what stays behind. Beside it, and only if
the queue has a ``dedupe_key`` or ``weigh``, stand the keys and the weights of the same items in the
same order, and the keys that wait with the number of the item that holds each. An item comes in
through ``append``, which is made for what the queue has: the deque's own method if it has neither,
and then the whole price of an item; else a function that measures the item first. An item that was
measured earlier, since it had to wait for room, comes in through ``add``.

Items are numbered 0, 1, 2, … in the order in which they came, by position alone: ``first`` is the
number of the next item to leave, ``end`` that of the next to come.

Weights are summed and compared as ints, floats and Fractions: a number of another type is
converted when it is checked, for numbers of a few bits have sums that wrap round.

A finalizer or a signal handler may bring an item between any two steps of taking a batch: what
leaves the buffer is what was counted before, from the front; what comes meanwhile stands behind it.
While another item comes in, an item brought so may get that one's key and weight: see the README.

A key is taken from the moment its item waits until its batch is taken. A batch is the longest run
of the oldest items that stays within the caps; since no item is let in that outweighs a batch
alone, it is never empty.
"""

import inspect
import math
import reprlib
import sys
from collections import deque
from collections.abc import Callable, Hashable
from itertools import chain, islice, repeat, starmap
from typing import Any, Generic, TypeVar

from flushq.arguments import as_plain, check_number, check_sync_callable
from flushq.errors import ItemTooLarge

T = TypeVar("T")

DedupeKey = Callable[[T], Hashable]
Weigh = Callable[[T], float]


MOST_WEIGHT = 1e300

_FIRST_LOOK = 64
"""How many weights are copied at first; then, while the cap allows, ever twice as many."""

_PLAIN_KEYS = frozenset({int, str, bytes})
_PLAIN_WEIGHTS = frozenset({int, float})


class Buffer(Generic[T]):
    """The items that wait, oldest first.

    Args:
        dedupe_key: The key of an item, hashable. None: nothing is a duplicate.
        weigh: The weight of an item, a number from 0 to 1e300 (so that the sum of those that wait
            is finite too); taken as an int, a float or a Fraction. None: all weigh 0.
        max_records: The most items in a batch.
        max_weight: The most weight in a batch.
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
        check_sync_callable("dedupe_key", dedupe_key)
        check_sync_callable("weigh", weigh)
        if max_weight is not None and weigh is None:
            raise TypeError(f"max_weight={max_weight!r} needs weigh, a function of the item")
        self.first = self.duplicates = 0
        self.fresh_weight: float = 0
        self._dedupe_key = dedupe_key
        self._weigh = weigh
        self._max_records = sys.maxsize if max_records is None else max_records
        self._max_weight: float = math.inf if max_weight is None else as_plain(max_weight)
        self._label = label
        self.items: deque[T] = deque()
        self._keys: deque[Hashable] = deque()
        self._taken: dict[Hashable, int] = {}
        self._weights: deque[float] = deque()
        self.append = self._way_in(dedupe_key, weigh)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def end(self) -> int:
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
        key = None if self._dedupe_key is None else _checked_key(self._dedupe_key(item))
        weight = 0 if self._weigh is None else self._within_cap(item, self._weigh(item))
        return key, weight

    def is_duplicate(self, key: Hashable) -> bool:
        """Whether an item with this key waits."""
        return key in self._taken

    def __getitem__(self, number: int) -> T:
        """The item that waits with this number."""
        return self.items[number - self.first]

    def last(self, item: T) -> int:
        """The number of an item that has just come; what came meanwhile stands behind it."""
        items, behind = self.items, 1
        while items[-behind] is not item:
            behind += 1
        return self.first + len(items) - behind

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Let an item in as ``append`` does, with the key and weight that were measured."""
        if self._dedupe_key is not None:
            if key in self._taken:
                self.duplicates += 1
                return self._taken[key]
            self._taken[key] = self.end
            self._keys.append(key)
        if self._weigh is not None:
            self.fresh_weight += weight
            self._weights.append(weight)
        self.items.append(item)
        return None

    def take(self, up_to: int | None = None) -> tuple[list[T], float]:
        """Take the oldest items, as many as the caps and ``up_to`` allow, and their weight."""
        count = min(len(self.items), self._max_records)
        if up_to is not None:
            count = min(count, up_to)
        weight: float = 0
        if self._weigh is not None:
            count, weight = self._within_weight(count)
        return self._take(count), weight

    def take_all(self) -> list[T]:
        """Take all items, whatever the caps."""
        return self._take(len(self))

    def _way_in(
        self, dedupe_key: DedupeKey[T] | None, weigh: Weigh[T] | None
    ) -> Callable[[T], int | None]:
        """The shortest way in for items that are measured so."""
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
        items, keys, taken = self.items, self._keys, self._taken

        def append(item: T) -> int | None:
            key = dedupe_key(item)
            if type(key) not in _PLAIN_KEYS:
                _checked_key(key)
            if key in taken:
                self.duplicates += 1
                return taken[key]
            taken[key] = self.first + len(items)
            keys.append(key)
            items.append(item)
            return None

        return append

    def _way_in_by_weight(self, weigh: Weigh[T]) -> Callable[[T], None]:
        items, weights = self.items, self._weights

        def append(item: T) -> None:
            weight = self._within_cap(item, weigh(item))
            self.fresh_weight += weight
            weights.append(weight)
            items.append(item)

        return append

    def _within_cap(self, item: T, weight: float) -> float:
        """The weight of an item, as a plain number, if there is a batch that may hold it."""
        if not (type(weight) in _PLAIN_WEIGHTS and 0 <= weight <= MOST_WEIGHT):
            weight = _checked_weight(weight)
        if weight > self._max_weight:
            raise ItemTooLarge(
                f"{self._label}the item weighs {weight!r}, more than "
                f"max_weight={self._max_weight!r}: {reprlib.repr(item)}"
            )
        return weight

    def _within_weight(self, count: int) -> tuple[int, float]:
        """How many of the ``count`` oldest items stay within the cap, and their weight."""
        taken = 0
        total: float = 0
        while taken < count:
            for weight in _copied(self._weights, taken, min(count, 2 * taken + _FIRST_LOOK)):
                heavier = total + weight
                if heavier > self._max_weight:
                    return taken, total
                taken, total = taken + 1, heavier
        return count, total

    def _take(self, count: int) -> list[T]:
        if self._dedupe_key is not None:
            self._free(_pop(self._keys, count))
        if self._weigh is not None:
            _pop(self._weights, count)
        self.first += count
        return _pop(self.items, count)

    def _free(self, keys: list[Hashable]) -> None:
        if self._keys:
            for key in keys:
                self._taken.pop(key, None)
        else:
            self._taken.clear()


def _copied(waiting: deque[T], start: int, stop: int) -> list[T]:
    """Those from ``start`` to ``stop``, at the price of ``stop``, whatever else waits.

    No iterator of a deque survives an item that is brought; this one begins and ends within the
    copy, which is not a call, so CPython runs no finalizer or signal handler while there is one.
    """
    return [*islice(chain(waiting), start, stop)]


def _pop(waiting: deque[T], count: int) -> list[T]:
    """Take the oldest; where few stay behind, by taking all and putting those back.

    The copy is not a call, so CPython runs no finalizer or signal handler, which may bring an item,
    between it and the clearing; one that does so later brings it to the end of the line.
    """
    if len(waiting) > 2 * count:
        return list(starmap(waiting.popleft, repeat((), count)))
    taken = [*waiting]
    waiting.clear()
    waiting.extendleft(reversed(taken[count:]))
    del taken[count:]
    return taken


def _checked_key(key: Any) -> Hashable:
    if type(key) in _PLAIN_KEYS:
        return key  # type: ignore[no-any-return]  # it is one of those
    if hasattr(key, "__await__"):
        _discard(key)
        raise TypeError(f"dedupe_key must not be async: it returned {key!r}")
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(f"the key of an item must be what can be hashed, not {key!r}") from error
    return key  # type: ignore[no-any-return]  # hash() has just made sure


def _checked_weight(weight: Any) -> float:
    if hasattr(weight, "__await__"):
        _discard(weight)
        raise TypeError(f"weigh must not be async: it returned {weight!r}")
    check_number("the weight of an item", weight, least=0)
    number: float = as_plain(weight)
    if number > MOST_WEIGHT:
        raise ValueError(f"the weight of an item must be at most {MOST_WEIGHT}, not {weight!r}")
    return number


def _discard(awaitable: Any) -> None:
    """Close a coroutine that nobody is going to await."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()
