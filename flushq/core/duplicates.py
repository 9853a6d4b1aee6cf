"""What is a duplicate: an item whose key is that of an item that waits.

The keys of the items that wait stand in the order of the items, and each is *taken* from the moment
its item waits until its batch is taken from the queue; it is looked up with the number of the item
that holds it. A key is computed once for an item, when the item asks to be let in. Whether it is a
duplicate is asked when it comes in, by Buffer.append and add, and by those who would make it wait.
"""

import inspect
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from flushq.arguments import check_sync_callable

T = TypeVar("T")

DedupeKey = Callable[[T], Hashable]

EMPTY: deque[Any] = deque(maxlen=0)
"""A deque that stays empty, for all who need none of their own: one takes 760 bytes."""

PLAIN_KEYS = frozenset({int, str, bytes})
"""The types of keys that can be hashed without a doubt."""


class Duplicates(Generic[T]):
    """The keys of the items that wait.

    Args:
        dedupe_key: The key of an item, hashable. None: nothing is a duplicate.

    Raises:
        TypeError: ``dedupe_key`` cannot be called, or is async.

    Attributes:
        waiting: The keys, in the order of the items.
        taken: The number of the item that holds each.
    """

    __slots__ = ("_dedupe_key", "taken", "waiting")

    def __init__(self, dedupe_key: DedupeKey[T] | None) -> None:
        check_sync_callable("dedupe_key", dedupe_key)
        self.waiting: deque[Hashable] = EMPTY if dedupe_key is None else deque()
        self.taken: dict[Hashable, int] = {}
        self._dedupe_key = dedupe_key

    def key_of(self, item: T) -> Hashable:
        """The key of an item; None, which is never taken, if nothing is a duplicate.

        Raises:
            TypeError: The key cannot be hashed or must be awaited.
            Exception: Whatever ``dedupe_key`` raises.
        """
        return None if self._dedupe_key is None else checked_key(self._dedupe_key(item))

    def enter(self, key: Hashable, number: int) -> None:
        """An item waits from now on, behind all others."""
        self.taken[key] = number
        self.waiting.append(key)

    def free(self, keys: Iterable[Hashable]) -> None:
        """These keys do not wait any more: those of the oldest items, which have left.

        A key that has been changed, so that it cannot be hashed or compared any more, is taken out
        by its identity. So are all such keys of items that wait: nothing can be equal to them.
        """
        if not self.waiting:
            self.taken.clear()
            return
        for key in keys:
            try:
                self.taken.pop(key, None)
            except Exception:
                self._forget(key)

    def _forget(self, changed: Hashable) -> None:
        """Take out a key that the dict does not find any more, by its identity."""
        taken = list(self.taken.items())
        self.taken.clear()
        for key, number in taken:
            if key is not changed:
                with suppress(Exception):  # the key of an item that waits was changed, too
                    self.taken[key] = number


def checked_key(key: Any) -> Hashable:
    """The key of an item, if it is one.

    Raises:
        TypeError: It cannot be hashed or must be awaited.
    """
    if type(key) in PLAIN_KEYS:
        return key  # type: ignore[no-any-return]  # it is one of those
    if hasattr(key, "__await__"):
        discard(key)
        raise TypeError(f"dedupe_key must not be async: it returned {key!r}")
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(f"the key of an item must be what can be hashed, not {key!r}") from error
    return key  # type: ignore[no-any-return]  # hash() has just made sure


def discard(awaitable: Any) -> None:
    """Close a coroutine that nobody is going to await."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()
