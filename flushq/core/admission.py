"""The admission of items: room, claims, credit, pressure, deadlock.

*Room* is limited: at most ``max_queue_size`` items may wait, and their total weight may be at most
``max_queue_weight``. An item *needs* a place and room for its weight. A duplicate needs no place,
but it needs room for the weight that its merge adds. Three kinds of producers *claim* room:

* producers that were given room, but have not run since then (their room is *reserved*);
* producers that *give way* (let other tasks run first);
* producers that stand in line.

A producer that comes later must not take the claimed room. A producer stands in line either because
other producers come first, or because waiting items fill the queue. The second case is called
*pressure*: the queue flushes even if its policy would wait.

A producer in line claims a place even if its item is a duplicate, because the waiting item with the
same key may leave before the turn of the producer comes. At its turn the producer computes its need
again. If it was given less room than it needs, and the unclaimed room is not enough either, it
joins the line again, near the front.

*Credit* says how many items may come in without a check. Credit never exceeds the free places, nor
the rest of the burst. There is no credit while a producer is in line, nor after the end of the
queue has begun. Credit may stay valid after a pass: a pass makes room but takes no room, and the
next item begins a new burst. But a step that takes or claims room, and does not use the credit for
this, must revoke the credit (for example, the step in which a producer gives way). The end of the
queue must revoke it, too. Otherwise an item could come in although there is no room for it, or
although the queue must refuse it. If ``max_queue_weight`` is set, there is no credit, and
each item is checked.

``enqueue_nowait`` cannot wait, so it cannot let other tasks run either. Therefore it gets an
*overdraft* when the burst is used up: credit for at most as many items as a new burst may have.
Other methods get no credit then. When new credit is granted, the old credit is revoked.

*Deadlock.* If every slot is taken by a flush that waits for room in this queue, no room is ever
made. The same is true if a slot is free, but the throttle allows no call of flush_fn (not even a
retry) before one of these flushes has ended. In both cases the core looks at the producers in line
that are part of such flushes, and rejects the last of them.
"""

import math
from collections.abc import Callable, Container, Hashable, Iterator
from typing import TypeVar

from flushq.arguments import check_count
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.fairness import BURST, Fairness
from flushq.core.need import NOTHING, ONE_PLACE, Need
from flushq.errors import QueueFull

T = TypeVar("T")

NO_CREDIT: Iterator[None] = iter(())


class Admission(Fairness[T]):
    """The part of a queue that decides which items may come in, and when.

    Args:
        batcher: The batcher of the queue.
        max_queue_size: The most items that may wait.
        label: The prefix of the messages of exceptions.
        burst: How many items may come before a producer must let other tasks run.

    Raises:
        TypeError, ValueError: ``max_queue_size`` is not an int, or is less than 1.

    Attributes:
        places_giving_way: How many places are claimed by producers that give way.
        displaces: Whether a full queue displaces items.
        displaced_lately: Whether an item was displaced since the last call of
            :meth:`count_to_report`.
        unmerged: The exceptions that say why :meth:`add_late` displaced items. The driver reports
            them.
    """

    displaces = displaced_lately = False

    def __init__(
        self, batcher: Batcher[T], max_queue_size: int, label: str = "", burst: float = BURST
    ) -> None:
        super().__init__(batcher, burst)
        check_count("max_queue_size", max_queue_size)
        self.places_giving_way = self._pauses = 0
        self._weight_giving_way: float = 0
        self._buffer = batcher.buffer
        self._is_bounded = batcher.buffer.max_queue_weight < math.inf
        self._max_queue_size = max_queue_size
        self._label = label
        self._credit: list[None] = []
        self.unmerged: list[Exception] = []

    # The room for an item.

    @property
    def room(self) -> int:
        """How many places are free and not claimed by producers that give way.

        Reserved places count as free here.
        """
        return self._max_queue_size - len(self._buffer.items) - self.places_giving_way

    @property
    def room_for_newcomers(self) -> int:
        """How many places new producers may take; 0 if producers stand in line."""
        return 0 if self.waitlist.line else self.room - self.waitlist.reserved

    def need_of(self, item: T, key: Hashable, weight: float) -> Need:
        """Return the room that an item with this key and weight needs.

        Raises:
            Exception: The item cannot be merged: see :meth:`Merging.growth`.
        """
        if not self._buffer.is_duplicate(key):
            return Need(1, weight) if weight else ONE_PLACE
        growth = self._buffer.growth(item, key) if self._is_bounded else 0
        return Need(0, growth) if growth > 0 else NOTHING

    def recheck_need(self, item: T, key: Hashable, weight: float, given: Need) -> Need:
        """Return ``given`` if the item can come in now, otherwise the room that the item needs.

        ``given`` is the room that the producer of the item was given. The item can come in if this
        room is enough, or if there is enough unclaimed room.

        Raises:
            Exception: The item cannot be merged: see :meth:`need_of`.
        """
        if not self._is_bounded:  # then no item needs more than one place
            return given
        need = self.need_of(item, key, weight)
        return given if need.is_met_by(given) or self.fits(need) else need

    def fits(self, need: Need) -> bool:
        """Return whether enough room for ``need`` is neither reserved nor claimed.

        The claims of producers that give way count here. The claims of producers in line do not.
        """
        if need.places and need.places > self.room - self.waitlist.reserved:
            return False
        return not self._is_bounded or self._bears_beside_claims(need.weight)

    def _bears_beside_claims(self, weight: float) -> bool:
        return self._bears(weight, self._weight_giving_way + self.waitlist.reserved_weight)

    def _bears(self, weight: float, claimed: float = 0) -> bool:
        """Return whether there is room for ``weight`` if producers claim the weight ``claimed``."""
        heavier = self._batcher.weight + claimed + weight
        return weight <= 0 or heavier <= self._buffer.max_queue_weight

    def must_join_line(self, need: Need) -> bool:
        """Return whether a new producer must stand in line (asyncio and simulations use this).

        A producer that needs room must stand in line in three cases: other producers stand in line,
        other producers have not taken their reserved room yet, or there is not enough room.
        """
        return need is not NOTHING and (self.waitlist.claims > 0 or not self.fits(need))

    def may_enter(self, need: Need) -> bool:
        """Return whether a new producer may come in without standing in line (threads use this).

        A producer must not overtake the producers in line, and must not take reserved room. But it
        need not wait for a thread whose room is reserved, because that thread may run much later.
        """
        return need is NOTHING or (not self.waitlist.line and self.fits(need))

    def check_room(self, need: Need) -> None:
        """Raise QueueFull if there is no room for the item of a producer that cannot wait."""
        if need is not NOTHING and not self._fits_beside_line(need):
            raise self.no_room()

    def _fits_beside_line(self, need: Need) -> bool:
        line = len(self.waitlist.line)
        if line and self._is_bounded:
            return False
        return self.fits(Need(need.places + line, need.weight))

    def no_room(self) -> QueueFull:
        """Return a QueueFull that says why there is no room for a new item."""
        what = f"{self._label}no room: {len(self._buffer)} items wait ({self.bounds})"
        if earlier := self.waitlist.claims + self.places_giving_way:
            what += f"; producers that come before this item: {earlier}"
        return QueueFull(what)

    @property
    def bounds(self) -> str:
        """The limits of the room as text: ``max_queue_size``, and ``max_queue_weight`` if set."""
        bounds = f"max_queue_size={self._max_queue_size}"
        if self._is_bounded:
            bounds += f", max_queue_weight={self._buffer.max_queue_weight!r}"
        return bounds

    def claim_room(self, need: Need) -> None:
        """Claim room for a producer that gives way; no other producer may take this room then."""
        self.revoke_credit()
        self.places_giving_way += need.places
        self._weight_giving_way += need.weight
        self._pauses += 1

    def end_claim(self, need: Need) -> None:
        """End the claim of a producer: the producer takes the claimed room now, or loses it."""
        self.places_giving_way -= need.places
        self._pauses -= 1
        self._weight_giving_way = self._weight_giving_way - need.weight if self._pauses else 0

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """Make room for a new item and return True, or displace the new item and return False.

        This class displaces nothing, and the caller has checked that there is room: return True.
        """
        return True

    def count_to_report(self, now: float) -> int:
        """Return how many items were displaced since the last report; 0 if no report is due.

        This class displaces nothing: return 0.
        """
        return 0

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Add an item, and return the result of ``Buffer.add``. The caller has checked the room."""
        return self._buffer.add(item, key, weight)

    def add_late(self, item: T, key: Hashable, weight: float) -> None:
        """Add an item that was put aside because it came while a step of the queue was running.

        The producer of the item has already continued. A duplicate that cannot be merged is
        displaced. In a queue that displaces items, :meth:`add` makes room. In any other queue, a
        place and the weight of the item were claimed for it, but a merge may add more weight than
        this. If there is no room for the weight that the merge adds, the item is displaced, too.
        """
        try:
            need = self.need_of(item, key, weight)
            if self.displaces or need.is_met_by(Need(1, weight)) or self.fits(need):
                self.add(item, key, weight)
                return
            why: Exception = self.no_room()
        except Exception as error:
            why = error
        self._batcher.turn_away()
        self.unmerged.append(why)

    # Credit.

    def grant_credit(self) -> tuple[Iterator[None], Iterator[None]]:
        """Return credit and overdraft for the items that come after the item that is being added.

        Both are iterators, because an iterator is the quickest counter. One of them is empty. The
        other one iterates over a list with one element for each item that may come in without a
        check (or is empty, too). To revoke the credit or the overdraft, the list is cleared.
        """
        self._credit.clear()
        if self.waitlist.claims or self._is_bounded:
            return NO_CREDIT, NO_CREDIT
        left = self._limit - self._batcher.burst_size
        self._credit = [None] * int(min(self.room, left if left > 0 else self._usual_limit) - 1)
        granted = iter(self._credit)
        return (granted, NO_CREDIT) if left > 0 else (NO_CREDIT, granted)

    def revoke_credit(self) -> None:
        """Revoke credit and overdraft: from now on, each item is checked."""
        self._credit.clear()

    # The line of producers.

    @property
    def is_pressed(self) -> bool:
        """Whether producers stand in line, and waiting items (not only claims) fill the queue."""
        if not self.waitlist.line:
            return False
        if len(self._buffer.items) >= self._max_queue_size:
            return True
        return self._is_bounded and not self._bears(self.waitlist.first_weight)

    def admit(self, clock: Callable[[], float]) -> None:
        """Give room to the first producers in line; open a burst for them if no burst is open."""
        bears = self._bears_beside_claims if self._is_bounded else None
        if self.waitlist.admit(self.room, bears) and self.opened is None:
            self.open_burst(clock())

    def break_deadlock(
        self,
        describe: Callable[[], str],
        *,
        is_blocked: bool = False,
        blocked: Container[Batch[T]] = (),
    ) -> None:
        """If there is a deadlock, reject the last producer in line that is part of a flush.

        ``is_blocked`` says whether the throttle allows no call of flush_fn before another call has
        ended: then a free slot does not help. ``blocked`` contains the batches whose retries wait
        until another call has ended: their flushes cannot make room, and their producers are not
        rejected.
        ``describe`` returns the text that stands for the queue in the message.
        """
        waitlist = self.waitlist
        has_way_out = self._batcher.has_free_slot and not is_blocked
        if has_way_out or waitlist.reserved or self.places_giving_way or self._weight_giving_way:
            return
        running = [batch for batch in self._batcher.running if batch not in blocked]
        if all(batch in waitlist.by_owner and not batch.over for batch in running):
            what = f"deadlock: every flush that could make room waits for room: {describe()}"
            waitlist.reject_last(running, QueueFull(what))
