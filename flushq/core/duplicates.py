"""Duplicates: items that have the same key as an item that waits.

A key is *taken* as long as an item with this key waits. A dict holds the taken keys, each with the
sequence number of the item that has this key. The key of an item is computed once, when a producer
enqueues the item. ``Buffer.append`` and ``Buffer.add`` check whether the item that comes in is a
duplicate. The code that decides whether a producer must wait for room (flushq.core.admission)
checks this, too.
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
"""An empty deque for all buffers that need no deque of their own. Each deque takes 760 bytes."""

PLAIN_KEYS = frozenset({int, str, bytes})
"""The types of keys that are always hashable."""


class Duplicates(Generic[T]):
    """The keys of the items that wait.

    Args:
        dedupe_key: The function that returns the key of an item. None: nothing is a duplicate.

    Raises:
        TypeError: ``dedupe_key`` cannot be called, or is async.

    Attributes:
        taken: For each taken key, the sequence number of the waiting item that has this key.
    """

    __slots__ = ("_dedupe_key", "taken")

    def __init__(self, dedupe_key: DedupeKey[T] | None) -> None:
        check_sync_callable("dedupe_key", dedupe_key)
        self.taken: dict[Hashable, int] = {}
        self._dedupe_key = dedupe_key

    def key_of(self, item: T) -> Hashable:
        """Return the key of an item. Without ``dedupe_key`` return None, which is never taken.

        Raises:
            TypeError: The key is not hashable, or is awaitable.
            Exception: Any exception that ``dedupe_key`` raises.
        """
        return None if self._dedupe_key is None else checked_key(self._dedupe_key(item))

    def free(self, keys: Iterable[Hashable]) -> None:
        """Remove these keys from the taken keys, because their items do not wait any more."""
        take_out(keys, self.taken)


def take_out(keys: Iterable[Hashable], known: dict[Hashable, V]) -> None:
    """Remove these keys from a dict; ignore keys that are not in it.

    If a user has changed a key, it may be impossible to hash or compare the key now. Such a key is
    found by its identity and removed. In this case all other such keys in the dict are removed,
    too, because no lookup can find them any more.
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
            with suppress(Exception):  # this key was changed, too: leave it out
                known[other] = value


def checked_key(key: Any, of: str = "key", function: str = "dedupe_key") -> Hashable:
    """Check a key that a function of the user has returned, and return the key.

    Raises:
        TypeError: ``key`` is not hashable, or is awaitable.
    """
    if type(key) in PLAIN_KEYS:
        return key  # type: ignore[no-any-return]  # its type is one of PLAIN_KEYS
    if hasattr(key, "__await__"):
        discard(key)
        raise TypeError(f"{function} must not be async: it returned {key!r}")
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(f"the {of} of an item must be hashable, not {key!r}") from error
    return key  # type: ignore[no-any-return]  # hash() has just succeeded


def discard(awaitable: Any) -> None:
    """Close ``awaitable`` if it is a coroutine, because nobody will await it."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()
