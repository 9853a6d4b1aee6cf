"""What a full queue does where nobody is to wait: it displaces an item for each that comes.

An item is *displaced* if it is given up because there is no room: it was accepted, and is never
handed to flush_fn. A queue gives up the oldest items that wait, or those that come. A duplicate
needs no room and displaces nothing.

Nobody stands in line, so pressure is another: the queue is full, or it has displaced an item since
it took a batch. So items are displaced only while every slot is busy, or within a burst that is
longer than the room there was.

That items are displaced is *news*, to be told when it begins, and again with the first that is
displaced so many seconds after it was told. No timer is needed for that.
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

NEWS_SECONDS = 30.0
"""How long after it was told that items are displaced it is told again."""


class Displacing(Admission[T]):
    """The entrance of a queue where nobody waits for room.

    Args:
        batcher, max_queue_size, label, burst: As of an Admission.

    Attributes:
        displaced_lately: Whether any item was displaced since :meth:`news` was asked.
        on_displaced: Is called with the number of an item that waited and is displaced, and the
            item.
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

    def must_wait(self, need: Need) -> bool:
        """As of an Admission: never."""
        return False

    def check_room(self, need: Need) -> None:
        """As of an Admission: room is made."""

    def give_way(self, need: Need) -> None:
        """As of an Admission: nobody needs a claim to room."""
        self.revoke_credit()

    def come_back(self, need: Need) -> None:
        """As of an Admission."""

    def may_come(self, need: Need) -> bool:
        """As of an Admission: always."""
        return True

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """As of an Admission; but DISPLACED for an item that is displaced as it comes."""
        return super().add(item, key, weight) if self.make_room(item, key, weight) else DISPLACED

    @property
    def is_pressed(self) -> bool:
        """Whether the queue is full, or has displaced anything since a batch was taken."""
        if self._batcher.overflowed:
            return True
        if len(self._buffer.items) >= self._max_queue_size:
            return True
        return self._batcher.weight >= self._buffer.max_queue_weight

    def news(self, now: float) -> int:
        """How many were displaced since that was told, if it is time to tell it; else 0."""
        is_news, self.displaced_lately = self.displaced_lately, False
        if not is_news or now < self._told_at + NEWS_SECONDS:
            return 0
        told, self._told, self._told_at = self._told, self._batcher.displaced, now
        return self._told - told


class DropNewest(Displacing[T]):
    """An item for which there is no room is displaced as it comes."""

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """As of an Admission: if there is none, the item is displaced."""
        if self.fits(self.need_of(item, key, weight)):
            return True
        self._batcher.turn_away()
        self.displaced_lately = True
        return False


class DropOldest(Displacing[T]):
    """The oldest items that wait are displaced, as many as it takes."""

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """As of an Admission: there always is.

        If that displaces what the item was to be merged into, it comes in alone. One that comes to
        a queue that has stopped meanwhile finds nothing that waits.
        """
        while self._buffer.items and not self.fits(self.need_of(item, key, weight)):
            self.on_displaced(*self._batcher.displace())
            self.displaced_lately = True
        return True


def check_when_full(when_full: object) -> None:
    """Refuse what is not one of the three.

    Raises:
        TypeError, ValueError: It is not.
    """
    if not isinstance(when_full, str):
        raise TypeError(f"when_full must be a str, not {shown(when_full)}")
    if when_full not in ("wait", "drop_oldest", "drop_newest"):
        raise ValueError(
            f'when_full must be "wait", "drop_oldest" or "drop_newest", not {when_full!r}'
        )
