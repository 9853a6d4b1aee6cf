"""Who may come in: room, claims, bursts, credit, pressure, deadlock.

*Room* is for ``max_queue_size`` items that wait. Producers have *claims* to it: those who were
given room and have not run yet (reservations), those who give way so that others run first, and
those who stand in line. A producer that comes later waits behind all of them. "Somebody comes
before you" and "there is no room" are two facts: only the second is *pressure*, which overrides the
policy.

*Bursts and fairness.* Arrivals are told to the policy in bursts: the first item after a pass opens
a burst and notes the time. After 256 items a producer gives way, so that others run. An item whose
producer is about to wait for its end makes the burst longer by one, since others run then.

*Credit* is how many items may come in without a second look. The invariant: it is never more than
room and burst allow, and none is left while anybody is in line or once the queue ends. So it may
outlive a pass, which makes room and begins a new burst; whatever else takes room (to give way), and
the end, must revoke it. Else the queue would take an item that it has no room for, or that it
refuses.

*Deadlock.* If every slot is taken by a flush that waits for room in its own queue, no room is ever
made: then the last of those producers is rejected.
"""

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from flushq.arguments import check_count
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.waitlist import WaitList
from flushq.errors import QueueFull

T = TypeVar("T")

BURST = 256
"""How many items may come before others run."""


NO_CREDIT: Iterator[None] = iter(())


class Admission(Generic[T]):
    """The entrance of a queue.

    Attributes:
        waitlist: The producers in line for room, each with the flush that it is a part of.
        giving_way: How many producers let others run first, with a claim to room.
        opened: When the burst was opened; None while it is not.
        on_burst_closed: Is called when the next item has to open a burst.
    """

    def __init__(
        self, batcher: Batcher[T], max_queue_size: int, label: str = "", burst: float = BURST
    ) -> None:
        check_count("max_queue_size", max_queue_size)
        self.waitlist: WaitList[Batch[T] | None] = WaitList()
        self.giving_way = 0
        self.opened: float | None = None
        self.on_burst_closed: Callable[[], None] = lambda: None
        self._batcher = batcher
        self._buffer = batcher.buffer
        self._max_queue_size = max_queue_size
        self._label = label
        self._usual_limit = self._limit = burst
        self._credit: list[None] = []

    # May it come in?

    @property
    def room(self) -> int:
        """How many items there is room for, beside those whose producers give way."""
        return self._max_queue_size - len(self._buffer.items) - self.giving_way

    def must_wait(self, key: Hashable) -> bool:
        """Whether a producer must stand in line: a duplicate needs no room."""
        if self.waitlist.claims or self.room <= 0:
            return not self._buffer.is_duplicate(key)
        return False

    @property
    def must_give_way(self) -> bool:
        """Whether others are to run first.

        The burst is too long; or this is the first item of a queue that has not started, and a
        task of run() that was just made is to begin.
        """
        if self._batcher.burst_size >= self._limit:
            return True
        return not self._batcher.started and self._buffer.next_number == 0

    def check_room(self, key: Hashable) -> None:
        """Raise QueueFull if there is no room for one that cannot wait."""
        if self.room > self.waitlist.claims or self._buffer.is_duplicate(key):
            return
        raise QueueFull(
            f"{self._label}no room: {len(self._buffer)} items wait (max_queue_size="
            f"{self._max_queue_size}), and {self.waitlist.claims + self.giving_way} producers come "
            "first"
        )

    def give_way(self, key: Hashable) -> bool:
        """A producer lets others run, with a claim to room if it needs any; return whether."""
        needs_room = not self._buffer.is_duplicate(key)
        self.revoke_credit()
        self.giving_way += needs_room
        return needs_room

    def come_back(self, *, claimed: bool) -> None:
        """It goes on: it takes the room that it has claimed at once, or gives it back."""
        self.giving_way -= claimed

    # Credit.

    def grant_credit(self) -> Iterator[None]:
        """Credit for items behind the one that is about to be added: an element for each.

        An iterator, as nothing costs less to count down; over a list, as to clear that revokes it.
        """
        if self.waitlist.claims:
            return NO_CREDIT
        credit = min(self.room, self._limit - self._batcher.burst_size) - 1
        self._credit = [None] * int(credit)
        return iter(self._credit)

    def revoke_credit(self) -> None:
        """Have every item that comes looked at again."""
        self._credit.clear()

    # Bursts.

    def open_burst(self, now: float) -> None:
        """The first item of a burst comes."""
        self.opened = now

    def prolong_burst(self) -> None:
        """An item came in whose producer lets others run by itself."""
        self._limit += 1

    def tell_burst(self) -> None:
        """Announce the arrivals, if there are any: before any other event, as they came first.

        The burst stays open for producers that were given room and have not run yet: what they
        bring has been here from the moment that they had room.
        """
        if self.opened is None:
            return
        opened, self._limit = self.opened, self._usual_limit
        if not self.waitlist.reserved:
            self.opened = None
            self.on_burst_closed()
        self._batcher.announce(opened)

    # The line.

    @property
    def is_full(self) -> bool:
        """Whether the items that wait fill the queue by themselves, without any claims."""
        return len(self._buffer.items) >= self._max_queue_size

    def admit(self, clock: Callable[[], float]) -> None:
        """Give room to the line; what those producers bring has been here from now on."""
        if self.waitlist.admit(self.room) and self.opened is None:
            self.open_burst(clock())

    def break_deadlock(self, describe: Callable[[], str]) -> None:
        """Reject the last producer whose flush waits for room, if all flushes do."""
        waitlist, running = self.waitlist, self._batcher.running
        if self._batcher.has_free_slot or waitlist.reserved or self.giving_way:
            return
        if all(batch in waitlist.by_owner and not batch.over for batch in running):
            what = f"every flush that could make room waits for room: {describe()}"
            waitlist.reject_last(running, QueueFull(what))
