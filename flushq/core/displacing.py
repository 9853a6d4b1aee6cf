"""Displacing: a full queue gives up items instead of letting producers wait for room.

An item is *displaced* if the queue gives the item up because there is no room: the queue has
accepted the item, but never calls flush_fn with it. A queue displaces either its oldest items or
its new items (``when_full`` says which). A duplicate needs no room, so nothing is displaced when it
comes. There is one exception: the queue merges the duplicate, and there is no room for the weight
that the merge adds.

*Pressure* makes the queue flush even if its policy would wait. In a queue whose producers wait for
room, pressure needs a producer in line (flushq.core.admission). A queue that displaces has no such
line: it is under pressure if it is full, or has displaced an item since it last took a batch.
Therefore items are displaced only in two cases: no flush may start (for example, because every slot
is busy), or more items arrive in one burst than there is room for.

The driver writes a log record when the first item is displaced. It writes another when an item is
displaced at least 30 seconds after the last of these records. No timer is needed for this.
"""

import math
from collections.abc import Callable, Hashable
from typing import Literal, TypeVar

from flushq.arguments import shown
from flushq.core.admission import Admission
from flushq.core.batcher import Batcher
from flushq.core.fairness import BURST
from flushq.core.need import Need
from flushq.core.receipts import DISPLACED

T = TypeVar("T")

WhenFull = Literal["wait", "drop_oldest", "drop_newest"]

REPORT_SECONDS = 30.0
"""The shortest time between two log records about displaced items, in seconds."""


class Displacing(Admission[T]):
    """The part of a queue that admits items, and displaces items if there is no room for all.

    Args:
        batcher, max_queue_size, label, burst: See :class:`Admission`.

    Attributes:
        displaced_lately: Whether an item was displaced since the last call of
            :meth:`count_to_report`.
        on_displaced: The function to call when an item that waited is displaced. Its arguments are
            the sequence number of the item, and the item.
    """

    displaces = True

    def __init__(
        self,
        batcher: Batcher[T],
        max_queue_size: int,
        label: str = "",
        burst: float = BURST,
    ) -> None:
        super().__init__(batcher, max_queue_size, label, burst)
        self.displaced_lately = False
        self.on_displaced: Callable[[int, T], object] = lambda number, item: None
        self._told = 0
        self._told_at = -math.inf

    def must_join_line(self, need: Need) -> bool:
        """Return False: no producer waits for room."""
        return False

    def check_room(self, need: Need) -> None:
        """Do nothing: an item is displaced if there is no room."""

    def claim_room(self, need: Need) -> None:
        """Revoke the credit, but claim no room: the producer needs no claim."""
        self.revoke_credit()

    def end_claim(self, need: Need) -> None:
        """Do nothing: the producer has no claim to room."""

    def may_enter(self, need: Need) -> bool:
        """Return True: no producer stands in line."""
        return True

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Make room and call :meth:`Admission.add`, or displace the item and return DISPLACED."""
        return super().add(item, key, weight) if self.make_room(item, key, weight) else DISPLACED

    @property
    def is_pressed(self) -> bool:
        """Whether the queue is full, or has displaced an item since it last took a batch."""
        if self._batcher.overflowed:
            return True
        if len(self._buffer.items) >= self._max_queue_size:
            return True
        return self._batcher.weight >= self._buffer.max_queue_weight

    def count_to_report(self, now: float) -> int:
        """Return how many items were displaced since the last log record; 0 if no record is due."""
        was_displaced, self.displaced_lately = self.displaced_lately, False
        if not was_displaced or now < self._told_at + REPORT_SECONDS:
            return 0
        told, self._told, self._told_at = self._told, self._batcher.displaced, now
        return self._told - told


class DropNewest(Displacing[T]):
    """The admission that displaces a new item if there is no room for it."""

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """Return True if there is room; otherwise displace the new item and return False."""
        if self.fits(self.need_of(item, key, weight)):
            return True
        self._batcher.turn_away()
        self.displaced_lately = True
        return False


class DropOldest(Displacing[T]):
    """The admission that displaces the oldest items until there is room for a new item."""

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """Displace the oldest items until there is room for the new item, and return True.

        If this displaces the waiting item that has the same key as the new item, the new item is
        not merged. In a queue that has stopped no item waits, so nothing is displaced.
        """
        while self._buffer.items and not self.fits(self.need_of(item, key, weight)):
            self.on_displaced(*self._batcher.displace())
            self.displaced_lately = True
        return True


def check_when_full(when_full: object) -> None:
    """Raise unless ``when_full`` is "wait", "drop_oldest" or "drop_newest".

    Raises:
        TypeError: ``when_full`` is not a str.
        ValueError: ``when_full`` is another str.
    """
    if not isinstance(when_full, str):
        raise TypeError(f"when_full must be a str, not {shown(when_full)}")
    if when_full not in ("wait", "drop_oldest", "drop_newest"):
        raise ValueError(
            f'when_full must be "wait", "drop_oldest" or "drop_newest", not {when_full!r}'
        )
