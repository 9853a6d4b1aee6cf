"""Who may come in: room, claims, credit, pressure, deadlock.

*Room* is for ``max_queue_size`` items that wait, and for ``max_queue_weight`` of their weight. What
an item *needs* of it is a place and its weight; a duplicate needs nothing, and one that is merged
needs what the item that waits weighs more by it. Producers have *claims* to room: those who were
given room and have not run yet (reservations), those who give way so that others run first, and
those who stand in line. A producer that comes later waits behind all of them. "Somebody comes
before you" and "there is no room" are two facts: only the second is *pressure*, which overrides the
policy.

A producer in line claims a place in any case, as its duplicate may have left when its turn comes.
What it needs is looked at again then. If that is more than it was given, it stands in line again,
at the front.

*Credit* is how many items may come in without a second look. The invariant: it is never more than
room and burst allow, and none is left while anybody is in line or once the queue ends. So it may
outlive a pass, which makes room and begins a new burst; whatever else takes room (to give way), and
the end, must revoke it. Else the queue would take an item that it has no room for, or that it
refuses. Where weight is bounded there is no credit: each item is looked at. Who cannot wait, cannot
let others run: once the burst is used up, such producers alone get an *overdraft*, for as many
items as another burst has. What is granted revokes what was.

*Deadlock.* If every slot is taken by a flush that waits for room in its own queue, or no call may
start before one of those has ended, not even that of a flush that is tried again, no room is ever
made: then the last of those producers is rejected.
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
    """The entrance of a queue: fairness, and what needs room.

    Attributes:
        giving_way: How many producers let others run first, with a claim to a place.
        displaces: Whether items are displaced by those for which there is no room.
        displaced_lately: Whether any was since somebody asked.
        unmerged: Why items of :meth:`add_late` were displaced, for the driver to tell.
    """

    displaces = displaced_lately = False

    def __init__(
        self, batcher: Batcher[T], max_queue_size: int, label: str = "", burst: float = BURST
    ) -> None:
        super().__init__(batcher, burst)
        check_count("max_queue_size", max_queue_size)
        self.giving_way = self._pauses = 0
        self._weight_giving_way: float = 0
        self._buffer = batcher.buffer
        self._is_bounded = batcher.buffer.max_queue_weight < math.inf
        self._max_queue_size = max_queue_size
        self._label = label
        self._credit: list[None] = []
        self.unmerged: list[Exception] = []

    # May it come in?

    @property
    def room(self) -> int:
        """How many places there are, beside those whose producers give way."""
        return self._max_queue_size - len(self._buffer.items) - self.giving_way

    @property
    def room_for_newcomers(self) -> int:
        """How many places are left for those who need not stand in line."""
        return 0 if self.waitlist.line else self.room - self.waitlist.reserved

    def need_of(self, item: T, key: Hashable, weight: float) -> Need:
        """What room an item needs, by its key and weight.

        Raises:
            Exception: What a merge raises: see :meth:`Merging.growth`.
        """
        if not self._buffer.is_duplicate(key):
            return Need(1, weight) if weight else ONE_PLACE
        growth = self._buffer.growth(item, key) if self._is_bounded else 0
        return Need(0, growth) if growth > 0 else NOTHING

    def need_now(self, item: T, key: Hashable, weight: float, given: Need) -> Need:
        """What room an item needs by now; ``given`` itself if that is enough, or there is more.

        Raises:
            Exception: As of :meth:`need_of`.
        """
        if not self._is_bounded:  # a place is all that any item needs
            return given
        need = self.need_of(item, key, weight)
        return given if need.is_met_by(given) or self.fits(need) else need

    def fits(self, need: Need) -> bool:
        """Whether there is room beside what others were given and claim, but for those in line."""
        if need.places and need.places > self.room - self.waitlist.reserved:
            return False
        return not self._is_bounded or self._bears_beside_claims(need.weight)

    def _bears_beside_claims(self, weight: float) -> bool:
        return self._bears(weight, self._weight_giving_way + self.waitlist.reserved_weight)

    def _bears(self, weight: float, claimed: float = 0) -> bool:
        """Whether what waits may weigh so much more, beside what others claim."""
        heavier = self._batcher.weight + claimed + weight
        return weight <= 0 or heavier <= self._buffer.max_queue_weight

    def must_wait(self, need: Need) -> bool:
        """Whether a producer must stand in line; if it needs nothing, never."""
        return need is not NOTHING and (self.waitlist.claims > 0 or not self.fits(need))

    def may_come(self, need: Need) -> bool:
        """Whether a producer need not stand in line: not past others, nor into room that was given.

        With threads, those who were given room may take long to run: others need not wait for that.
        """
        return need is NOTHING or (not self.waitlist.line and self.fits(need))

    def check_room(self, need: Need) -> None:
        """Raise QueueFull if there is no room for one that cannot wait."""
        if need is not NOTHING and not self._fits_beside_line(need):
            raise self.no_room()

    def _fits_beside_line(self, need: Need) -> bool:
        line = len(self.waitlist.line)
        if line and self._is_bounded:
            return False
        return self.fits(Need(need.places + line, need.weight))

    def no_room(self) -> QueueFull:
        """What tells that there is no room beside what is claimed."""
        return QueueFull(
            f"{self._label}no room: {len(self._buffer)} items wait ({self.bounds}), and "
            f"{self.waitlist.claims + self.giving_way} producers come first"
        )

    @property
    def bounds(self) -> str:
        """How many items may wait, and of what weight, as a message tells it."""
        bounds = f"max_queue_size={self._max_queue_size}"
        if self._is_bounded:
            bounds += f", max_queue_weight={self._buffer.max_queue_weight!r}"
        return bounds

    def give_way(self, need: Need) -> None:
        """A producer lets others run, with a claim to the room that it needs."""
        self.revoke_credit()
        self.giving_way += need.places
        self._weight_giving_way += need.weight
        self._pauses += 1

    def come_back(self, need: Need) -> None:
        """It goes on: it takes the room that it has claimed at once, or gives it back."""
        self.giving_way -= need.places
        self._pauses -= 1
        self._weight_giving_way = self._weight_giving_way - need.weight if self._pauses else 0

    def make_room(self, item: T, key: Hashable, weight: float) -> bool:
        """Make room for an item that comes, and return True; or displace it."""
        return True

    def news(self, now: float) -> int:
        """How many items were displaced since that was told, if it is time to tell it; else 0."""
        return 0

    def add(self, item: T, key: Hashable, weight: float) -> int | None:
        """Let an item in for which there is room; return as ``append`` of a Buffer does."""
        return self._buffer.add(item, key, weight)

    def add_late(self, item: T, key: Hashable, weight: float) -> None:
        """Let an item in that was promised its own weight, and whose producer has gone on.

        One that cannot be merged, or for whose merge there is no room, is displaced.
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
        """Credit and overdraft behind the item that is about to be added: an element for each item.

        Iterators, as nothing costs less to count down; over a list, as to clear that revokes them.
        """
        self._credit.clear()
        if self.waitlist.claims or self._is_bounded:
            return NO_CREDIT, NO_CREDIT
        left = self._limit - self._batcher.burst_size
        self._credit = [None] * int(min(self.room, left if left > 0 else self._usual_limit) - 1)
        granted = iter(self._credit)
        return (granted, NO_CREDIT) if left > 0 else (NO_CREDIT, granted)

    def revoke_credit(self) -> None:
        """Have every item that comes looked at again."""
        self._credit.clear()

    # The line.

    @property
    def is_pressed(self) -> bool:
        """Whether producers stand in line for a queue that is full of items, not of claims."""
        if not self.waitlist.line:
            return False
        if len(self._buffer.items) >= self._max_queue_size:
            return True
        return self._is_bounded and not self._bears(self.waitlist.first_weight)

    def admit(self, clock: Callable[[], float]) -> None:
        """Give room to the line; what those producers bring has been here from now on."""
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
        """Reject the last producer whose flush waits for room, if all flushes do.

        ``is_blocked`` says that no call starts before one has ended, whatever slot is free;
        ``blocked`` are the running flushes that wait for that, to be tried again.
        """
        waitlist = self.waitlist
        has_way_out = self._batcher.has_free_slot and not is_blocked
        if has_way_out or waitlist.reserved or self.giving_way or self._weight_giving_way:
            return
        running = [batch for batch in self._batcher.running if batch not in blocked]
        if all(batch in waitlist.by_owner and not batch.over for batch in running):
            what = f"every flush that could make room waits for room: {describe()}"
            waitlist.reject_last(running, QueueFull(what))
