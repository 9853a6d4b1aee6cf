"""Who may come in: room, claims, credit, pressure, deadlock.

*Room* is for ``max_queue_size`` items that wait. Producers have *claims* to it: those who were
given room and have not run yet (reservations), those who give way so that others run first, and
those who stand in line. A producer that comes later waits behind all of them. "Somebody comes
before you" and "there is no room" are two facts: only the second is *pressure*, which overrides the
policy.

*Credit* is how many items may come in without a second look. The invariant: it is never more than
room and burst allow, and none is left while anybody is in line or once the queue ends. So it may
outlive a pass, which makes room and begins a new burst; whatever else takes room (to give way), and
the end, must revoke it. Else the queue would take an item that it has no room for, or that it
refuses. Who cannot wait, cannot let others run: once the burst is used up, such producers alone get
an *overdraft*, for as many items as another burst has. What is granted revokes what was.

*Deadlock.* If every slot is taken by a flush that waits for room in its own queue, or no flush may
start before one of those has ended, no room is ever made: then the last of those producers is
rejected.
"""

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

from flushq.arguments import check_count
from flushq.core.batcher import Batcher
from flushq.core.fairness import BURST, Fairness
from flushq.errors import QueueFull

T = TypeVar("T")

NO_CREDIT: Iterator[None] = iter(())


class Admission(Fairness[T]):
    """The entrance of a queue: fairness, and what needs room.

    Attributes:
        giving_way: How many producers let others run first, with a claim to room.
    """

    def __init__(
        self, batcher: Batcher[T], max_queue_size: int, label: str = "", burst: float = BURST
    ) -> None:
        super().__init__(batcher, burst)
        check_count("max_queue_size", max_queue_size)
        self.giving_way = 0
        self._buffer = batcher.buffer
        self._max_queue_size = max_queue_size
        self._label = label
        self._credit: list[None] = []

    # May it come in?

    @property
    def room(self) -> int:
        """How many items there is room for, beside those whose producers give way."""
        return self._max_queue_size - len(self._buffer.items) - self.giving_way

    @property
    def room_for_newcomers(self) -> int:
        """How many items may come in at once: none past a line, nor into room that was given.

        With threads, those who were given room may take long to run: others need not wait for that.
        """
        return 0 if self.waitlist.line else self.room - self.waitlist.reserved

    def must_wait(self, key: Hashable) -> bool:
        """Whether a producer must stand in line; with a duplicate, never."""
        if self.waitlist.claims or self.room <= 0:
            return not self._buffer.is_duplicate(key)
        return False

    def check_room(self, key: Hashable) -> None:
        """Raise QueueFull if there is no room for one that cannot wait."""
        if self.room > self.waitlist.claims or self._buffer.is_duplicate(key):
            return
        raise self.no_room()

    def no_room(self) -> QueueFull:
        """What tells that there is no room beside what is claimed."""
        return QueueFull(
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

    def grant_credit(self) -> tuple[Iterator[None], Iterator[None]]:
        """Credit and overdraft behind the item that is about to be added: an element for each item.

        Iterators, as nothing costs less to count down; over a list, as to clear that revokes them.
        """
        self._credit.clear()
        if self.waitlist.claims:
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
        return bool(self.waitlist.line) and len(self._buffer.items) >= self._max_queue_size

    def admit(self, clock: Callable[[], float]) -> None:
        """Give room to the line; what those producers bring has been here from now on."""
        if self.waitlist.admit(self.room) and self.opened is None:
            self.open_burst(clock())

    def break_deadlock(self, describe: Callable[[], str], *, is_blocked: bool = False) -> None:
        """Reject the last producer whose flush waits for room, if all flushes do.

        ``is_blocked`` says that no flush starts before one has ended, whatever slot is free.
        """
        waitlist, running = self.waitlist, self._batcher.running
        has_way_out = self._batcher.has_free_slot and not is_blocked
        if has_way_out or waitlist.reserved or self.giving_way:
            return
        if all(batch in waitlist.by_owner and not batch.over for batch in running):
            what = f"every flush that could make room waits for room: {describe()}"
            waitlist.reject_last(running, QueueFull(what))
