"""What is a duplicate: an item whose key is that of an item that waits.

A key is *taken* from the moment its item waits until its batch is taken from the queue; it is
looked up with the number of the item that holds it. A key is computed once for an item, when the
item asks to be let in. Whether it is a duplicate is asked when it comes in, by Buffer.append and
add, and by those who would make it wait.
"""

import inspect
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from flushq.arguments import check_sync_callable

T = TypeVar("T")
V = TypeVar("V")

DedupeKey = Callable[[T], Hashable]

EMPTY: deque[Any] = deque(maxlen=0)
"""A deque that stays empty, for all who need none of their own: one takes 760 bytes."""

PLAIN_KEYS = frozenset({int, str, bytes})
"""The types of keys that can be hashed without a doubt."""


class Duplicates(Generic[T]):
    """The keys that are taken.

    Args:
        dedupe_key: The key of an item, hashable. None: nothing is a duplicate.

    Raises:
        TypeError: ``dedupe_key`` cannot be called, or is async.

    Attributes:
        taken: The number of the item that holds each.
    """

    __slots__ = ("_dedupe_key", "taken")

    def __init__(self, dedupe_key: DedupeKey[T] | None) -> None:
        check_sync_callable("dedupe_key", dedupe_key)
        self.taken: dict[Hashable, int] = {}
        self._dedupe_key = dedupe_key

    def key_of(self, item: T) -> Hashable:
        """The key of an item; None, which is never taken, if nothing is a duplicate.

        Raises:
            TypeError: The key cannot be hashed or must be awaited.
            Exception: Whatever ``dedupe_key`` raises.
        """
        return None if self._dedupe_key is None else checked_key(self._dedupe_key(item))

    def free(self, keys: Iterable[Hashable]) -> None:
        """The items with these keys do not wait any more."""
        take_out(keys, self.taken)


def take_out(keys: Iterable[Hashable], known: dict[Hashable, V]) -> None:
    """Take keys out of a dict, if they are in it.

    A key that has been changed, so that it cannot be hashed or compared any more, is taken out by
    its identity. So are all other such keys: nothing can be equal to them.
    """
    for key in keys:
        try:
            known.pop(key, None)
        except Exception:
            _take_out_changed(key, known)


def _take_out_changed(key: Hashable, known: dict[Hashable, V]) -> None:
    entries = list(known.items())
    known.clear()
    for other, value in entries:
        if other is not key:
            with suppress(Exception):  # it was changed, too
                known[other] = value


def checked_key(key: Any, of: str = "key", function: str = "dedupe_key") -> Hashable:
    """The key of an item that a function of the user has returned, if it is one.

    Raises:
        TypeError: It cannot be hashed or must be awaited.
    """
    if type(key) in PLAIN_KEYS:
        return key  # type: ignore[no-any-return]  # it is one of those
    if hasattr(key, "__await__"):
        discard(key)
        raise TypeError(f"{function} must not be async: it returned {key!r}")
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(f"the {of} of an item must be what can be hashed, not {key!r}") from error
    return key  # type: ignore[no-any-return]  # hash() has just made sure


def discard(awaitable: Any) -> None:
    """Close a coroutine that nobody is going to await."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()
