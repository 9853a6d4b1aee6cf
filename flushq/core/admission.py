"""The admission of items: room, claims, credit, pressure, deadlock.

*Room* is limited: ``max_queue_size`` items may wait, and their total weight may be at most
``max_queue_weight``. An item *needs* a place and room for its weight. A duplicate needs nothing, or
room for the weight that its merge adds. Three kinds of producers have *claims* to room: producers
that were given room and have not run yet (reservations), producers that give way so that others run
first, and producers that stand in line. A producer that comes later waits behind all of them.
A producer may have to wait because others come first, or because there is no room. Only the lack of
room is *pressure*, which overrides the policy.

A producer in line claims a place even if its item is a duplicate, because the item that waits may
have left when the turn of the producer comes. At its turn the producer computes its need again. If
it needs more than it was given, it joins the line again, at the front.

*Credit* is the number of items that may come in without another check. The invariant: credit never
exceeds what room and burst allow; and there is no credit while a producer is in line, nor after the
end of the queue has begun. Credit may stay valid after a pass, because a pass only makes room and
begins a new burst. Every other step that takes room (a producer gives way), and the end, must
revoke the credit. Otherwise the queue would accept an item for which it has no room, or which it
must refuse. If the weight is bounded, there is no credit, and each item is checked. A call that
cannot wait (``enqueue_nowait``) cannot let others run either. So when the burst is used up, only
such calls get credit: an *overdraft*, for as many items as another burst has. A new grant revokes
the last one.

*Deadlock.* If every slot is taken by a flush that waits for room in its own queue, no room is ever
made. The same is true if slots are free, but no call of flush_fn, not even a retry, may start
before one of those flushes has ended. In both cases the last producer that waits inside one of
those flushes is rejected.
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
    """The admission of items to a queue, by fairness and by room.

    Args:
        batcher: The batcher of the queue.
        max_queue_size: The most items that may wait.
        label: The prefix of the messages of exceptions.
        burst: The number of items that may come before a producer must let others run.

    Raises:
        TypeError, ValueError: ``max_queue_size`` is not an int, or is less than 1.

    Attributes:
        places_giving_way: The number of places claimed by producers that let others run first.
        displaces: Whether a full queue displaces items.
        displaced_lately: Whether an item was displaced since the last :meth:`count_to_report`.
        unmerged: The reasons why :meth:`add_late` displaced items, for the driver to report.
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
        """The number of free places, without those claimed by producers that give way."""
        return self._max_queue_size - len(self._buffer.items) - self.places_giving_way

    @property
    def room_for_newcomers(self) -> int:
        """The number of places for new producers; 0 if producers stand in line."""
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

        The item can come in if ``given`` is enough for it, or if there is enough other room.

        Raises:
            Exception: The item cannot be merged: see :meth:`need_of`.
        """
        if not self._is_bounded:  # a place is all that any item needs
            return given
        need = self.need_of(item, key, weight)
        return given if need.is_met_by(given) or self.fits(need) else need

    def fits(self, need: Need) -> bool:
        """Return whether there is enough room, without the room that others claim.

        Claims of producers in line do not count.
        """
        if need.places and need.places > self.room - self.waitlist.reserved:
            return False
        return not self._is_bounded or self._bears_beside_claims(need.weight)

    def _bears_beside_claims(self, weight: float) -> bool:
        return self._bears(weight, self._weight_giving_way + self.waitlist.reserved_weight)

    def _bears(self, weight: float, claimed: float = 0) -> bool:
        """Return whether there is room for ``weight`` beside the weight that others claim."""
        heavier = self._batcher.weight + claimed + weight
        return weight <= 0 or heavier <= self._buffer.max_queue_weight

    def must_join_line(self, need: Need) -> bool:
        """Return whether a new producer must stand in line (asyncio and simulations use this).

        A producer that needs room must do so while others stand in line, while others have not yet
        taken the room that they were given, or if there is not enough room.
        """
        return need is not NOTHING and (self.waitlist.claims > 0 or not self.fits(need))

    def may_enter(self, need: Need) -> bool:
        """Return whether a new producer may come in without standing in line (threads use this).

        A producer must not overtake others in the line, nor use room that others were given. But a
        thread that was given room may run much later, and a new producer need not wait until then.
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
        """Return the error for a producer that finds no room beside the room that others claim."""
        return QueueFull(
            f"{self._label}no room: {len(self._buffer)} items wait ({self.bounds}), and "
            f"{self.waitlist.claims + self.places_giving_way} producers come before this item"
        )

    @property
    def bounds(self) -> str:
        """The limits on the number and the weight of waiting items, as text for messages."""
        bounds = f"max_queue_size={self._max_queue_size}"
        if self._is_bounded:
            bounds += f", max_queue_weight={self._buffer.max_queue_weight!r}"
        return bounds

    def claim_room(self, need: Need) -> None:
        """Claim the room that a producer needs while this producer lets others run."""
        self.revoke_credit()
        self.places_giving_way += need.places
        self._weight_giving_way += need.weight
        self._pauses += 1

    def end_claim(self, need: Need) -> None:
        """End the claim of a producer that gave way: it takes the room at once, or frees it."""
        self.places_giving_way -= need.places
        self._pauses -= 1
        self._weight_giving_way = self._weight_giving_way - need.weight if self._pauses else 0

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """Make room for a new item and return True, or displace the new item and return False.

        Here nothing is displaced, and the caller has checked that there is room: return True.
        """
        return True

    def count_to_report(self, now: float) -> int:
        """Return the number of items displaced since the last report; 0 if no report is due.

        Here nothing is displaced: return 0.
        """
        return 0

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Add an item for which there is room; return what ``Buffer.add`` returns."""
        return self._buffer.add(item, key, weight)

    def add_late(self, item: T, key: Hashable, weight: float) -> None:
        """Add an item that was put aside while a step ran; its producer has already continued.

        Room for the item was claimed, but not for the weight that a merge may add. The item is
        displaced if it cannot be merged, or if there is no room for the merge.
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
        """Return credit and overdraft for the items that follow the one that is about to be added.

        Each is an iterator with one element for each item, because this is the quickest counter.
        Both iterators read one list, so that clearing the list revokes them.
        """
        self._credit.clear()
        if self.waitlist.claims or self._is_bounded:
            return NO_CREDIT, NO_CREDIT
        left = self._limit - self._batcher.burst_size
        self._credit = [None] * int(min(self.room, left if left > 0 else self._usual_limit) - 1)
        granted = iter(self._credit)
        return (granted, NO_CREDIT) if left > 0 else (NO_CREDIT, granted)

    def revoke_credit(self) -> None:
        """Revoke credit and overdraft, so that every new item is checked again."""
        self._credit.clear()

    # The line of producers.

    @property
    def is_pressed(self) -> bool:
        """Whether producers stand in line, and items (not only claims) fill the queue."""
        if not self.waitlist.line:
            return False
        if len(self._buffer.items) >= self._max_queue_size:
            return True
        return self._is_bounded and not self._bears(self.waitlist.first_weight)

    def admit(self, clock: Callable[[], float]) -> None:
        """Give room to the first producers in line; unless a burst is open, open one for them."""
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
        """Reject the last producer that waits inside a flush, if all flushes wait for room.

        ``is_blocked`` says that no call may start before another call has ended, even if a slot is
        free. ``blocked`` holds the running flushes whose retries wait for the end of another call.
        ``describe`` returns the text for the queue in the message.
        """
        waitlist = self.waitlist
        has_way_out = self._batcher.has_free_slot and not is_blocked
        if has_way_out or waitlist.reserved or self.places_giving_way or self._weight_giving_way:
            return
        running = [batch for batch in self._batcher.running if batch not in blocked]
        if all(batch in waitlist.by_owner and not batch.over for batch in running):
            what = f"deadlock: every flush that could make room waits for room: {describe()}"
            waitlist.reject_last(running, QueueFull(what))
