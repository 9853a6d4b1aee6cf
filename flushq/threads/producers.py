"""The lock of a queue, and the one way in.

Theory of operation. Whatever reads or changes the core holds the lock. *Credit*
(flushq.core.admission) is how many items may come in without it: so most items cost a step of an
iterator and an append. It is granted with the lock, to whom it may concern, and revoked by
putting an empty iterator in its place.

*Acceptance is the last step.* CPython switches threads, and looks for signals, only after a call,
at the start of a function and at a jump back. So nothing comes between the step of the iterator,
the ``+=`` and the return: an item whose credit was used up is in, and a KeyboardInterrupt hits
the caller either before both or after both. (To make an iterator may run the garbage collector of
Python 3.11, so there ``+=`` takes one that was made before.) Where an item comes in with the lock
held, ``+=`` takes the item and then an iterator that releases the lock: again one step, the last.
The lock is taken in the same way, by an iterator that is added to a list: if the list is not
empty the lock is held, whatever was raised. With keys, weights or partitions to
add an item is several steps, and an interrupt between two of them is not guarded against.

*A finalizer or a signal handler* may interrupt a call that holds the lock, and bring an item. The
lock lets its own thread in again, and ``_within`` tells. Such an item is put aside with a claim to
room, and comes in before the lock is released.
"""

import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from itertools import chain, repeat
from typing import Any, Generic, TypeVar, TypeVarTuple

from flushq.core.admission import NO_CREDIT
from flushq.core.core import Core
from flushq.core.need import Need
from flushq.core.receipts import DISPLACED, Completion
from flushq.inside import flush_inside
from flushq.threads import primitives
from flushq.threads.entry import Entry
from flushq.threads.primitives import Waiter

T = TypeVar("T")
R = TypeVar("R")
Args = TypeVarTuple("Args")

ONE_STEP = sys.version_info >= (3, 12)
"""Whether ``+=`` of a tuple is one step."""

_ONCE = (True,)


class Entrance(Generic[T]):
    """The lock, and the way in.

    Args:
        core: What decides.
        is_plain: Whether items have neither keys nor weights.
        wake: Asks for a pass.
        wait_for: Waits until a waiter is completed, or until then.
        may_wait: Returns whether the caller may wait for room.
        lacks_keeper: Returns whether there should be a keeper, and is none.
        start_keeper: Starts it, if that can be done.

    Attributes:
        credit: So many items may come in as they are: an element for each.
        items: Where they come in.
        needs_keeper: Whether the thread that keeps the time is to be started. That is done without
            the lock: in the new thread a finalizer may run that asks for the lock, before the start
            is over.
    """

    __slots__ = (
        "_coming",
        "_core",
        "_inbox",
        "_is_plain",
        "_lacks_keeper",
        "_lock",
        "_may_wait",
        "_start_keeper",
        "_wait_for",
        "_wake",
        "_within",
        "credit",
        "items",
        "needs_keeper",
    )

    def __init__(
        self,
        core: Core[T],
        *,
        is_plain: bool,
        wake: Callable[[], None],
        wait_for: Callable[[Waiter, float], None],
        may_wait: Callable[[], bool],
        lacks_keeper: Callable[[], bool],
        start_keeper: Callable[[], None],
    ) -> None:
        self.credit: Iterator[None] = NO_CREDIT
        self.needs_keeper = False
        self._lacks_keeper = lacks_keeper
        self._start_keeper = start_keeper
        self.items = core.buffer.items
        self._core = core
        self._is_plain = is_plain
        self._wake = wake
        self._wait_for = wait_for
        self._may_wait = may_wait
        self._lock = primitives.RLock()
        self._within = False
        self._coming: float = 0
        self._inbox: deque[tuple[T, Hashable, float]] = deque()

    # The lock.

    def locked(self, step: Callable[[*Args], R], *args: *Args) -> R:
        """Do a step with the lock held, and return what it returns.

        Raises:
            RuntimeError: A finalizer or a signal handler asks, which has interrupted such a step.
        """
        with self._lock:
            if self._within:
                raise self._refusal()
            self._within = True
            try:
                result = step(*args)
            finally:
                try:
                    while self._inbox:
                        self._take_inbox()
                finally:  # no call from here to the release: what is put aside is not forgotten
                    self._within = False
        if self.needs_keeper:
            self._start_keeper()
        return result

    def forget_lock(self) -> None:
        """In the child of a fork: threads that hold the lock are gone."""
        self._lock = primitives.RLock()
        self._within = False
        self.revoke_credit()

    def check_free(self) -> None:
        """Refuse a call that has interrupted such a step, in the same thread."""
        with self._lock:
            within = self._within
        if within:
            raise self._refusal()

    def _refusal(self) -> RuntimeError:
        return RuntimeError(
            f"{self._core.label}this call has interrupted another one of the same queue in the "
            "same thread: a finalizer or a signal handler may use enqueue_nowait alone"
        )

    def revoke_credit(self) -> None:
        """Have every item that comes looked at again."""
        self.credit = NO_CREDIT

    # The way in.

    def enter(
        self,
        item: T,
        until: float,
        *,
        waits: bool = True,
        watch: Callable[[Completion[T]], R] | None = None,
        on_accepted: Callable[[T], object] | None = None,
    ) -> R | None:
        """Wait for room and let an item in; return what ``watch`` makes of its completion.

        Raises:
            TimeoutError: There was no room in time.
            QueueFull: There is no room, and the caller cannot wait.
        """
        core, inside = self._core, flush_inside(self._core.batcher)
        if core.ending.begun:
            core.ending.check_open(inside)
        key, weight = core.buffer.measure(item)
        waits = waits and self._may_wait()
        entry = Entry(item, key, weight, inside, waits, until, watch, on_accepted)
        with self._lock:
            within = self._within
        if within:
            self._put_aside(entry)
            return None
        try:
            while True:
                is_in, watched = self._let_in(entry)
                if is_in:
                    return watched  # type: ignore[no-any-return]  # it is what watch() returns
                if entry.place is not None:
                    self._wait_for(entry.place, until)
                else:
                    entry.has_keeper = True
                    self._start_keeper()
        except BaseException:
            if entry.place is not None:
                self.locked(self._leave_line, entry.place)
            raise

    def _let_in(self, entry: Entry[T]) -> tuple[bool, Any]:
        """Let an item in as the last step, and return True; or have its caller stand in line.

        It does neither if a keeper is to be started before.
        """
        if not self._is_plain:
            return self.locked(self._let_in_measured, entry)
        held: list[Any] = []
        try:
            held += map(self._lock.acquire, _ONCE)
            self._within = True
            self.revoke_credit()  # else others would come in before, and take the item's number
            is_next = self._has_keeper(entry) and self._is_next(entry)
            while True:
                while self._inbox:
                    self._take_inbox()
                comes = is_next and self._has_room(entry)
                watched = self._foresee(entry) if is_next else None
                credit = self._new_credit() if comes else NO_CREDIT
                items, coming = self.items, iter((entry.item,) if comes else ())
                last_step = chain(coming, iter(self._lock.release, None))
                if not self._inbox:
                    break
            self.credit = credit  # no call from here to the end, but what the last step does
            self._within = False
            items += last_step
            return is_next, watched
        except BaseException:
            if held:
                self._release()
            raise

    def _release(self) -> None:
        try:
            while self._inbox:
                self._take_inbox()
        finally:
            self._within = False
            self._lock.release()

    def _let_in_measured(self, entry: Entry[T]) -> tuple[bool, Any]:
        """Let an item with a key or a weight in, or have its caller stand in line."""
        core, item = self._core, entry.item
        try:
            if not self._is_next(entry):
                return False, None
            stays = core.admission.add(item, entry.key, entry.weight)
        finally:
            self._coming = 0
        if entry.on_accepted is not None:
            entry.on_accepted(item if stays in (None, DISPLACED) else core.buffer[stays])
        return True, entry.watch and entry.watch(core.receipts.completion_of(item, stays))

    def _has_keeper(self, entry: Entry[T]) -> bool:
        """Whether there is a keeper, or none to be started before the item comes in."""
        return entry.has_keeper or entry.place is not None or not self._lacks_keeper()

    def _is_next(self, entry: Entry[T]) -> bool:
        """Whether there is room for the item; if not, its caller stands in line from now on."""
        core, admission = self._core, self._core.admission
        core.ending.check_open(entry.inside)
        if entry.place is not None:
            self._leave_line(entry.place)
            self._check_place(entry.place)
        need = admission.need_of(entry.item, entry.key, entry.weight)
        self._coming = need.weight
        if entry.place is not None:
            may_come = need.is_met_by(entry.need) or admission.fits(need)
        else:
            may_come = admission.may_come(need)
        if not may_come:
            self._join_line(entry, need)
            return False
        self._open_burst()
        if self._is_plain and entry.on_accepted is not None:
            entry.on_accepted(entry.item)
        return True

    def _join_line(self, entry: Entry[T], need: Need) -> None:
        admission = self._core.admission
        if not entry.waits:
            raise admission.no_room()
        if entry.until <= primitives.clock():
            raise TimeoutError(str(admission.no_room()))
        self.revoke_credit()
        entry.turn = entry.turn or next(admission.waitlist.turns)
        entry.need = need
        entry.place = place = Waiter()
        admission.waitlist.join(place, entry.inside, need.weight, entry.turn)
        if self._core.batcher.has_free_slot or entry.inside is not None:
            self._wake()  # to flush under pressure, or to find a deadlock; else the next flush ends

    def _leave_line(self, place: Waiter) -> None:
        """Leave, if it has joined: what the caller does not take may be somebody else's."""
        self._wake()
        self._core.admission.waitlist.leave(place)

    def _check_place(self, place: Waiter) -> None:
        if not place.done():
            raise TimeoutError(str(self._core.admission.no_room()))
        if place.result() is not None:
            raise place.result()

    def _open_burst(self) -> None:
        self._wake()
        if self._core.admission.opened is None:
            self._core.admission.open_burst(primitives.clock())

    def _has_room(self, entry: Entry[T]) -> bool:
        """Whether there is room by now for an item that is next; if not, it has been displaced."""
        make_room = self._core.admission.make_room
        has_room = not entry.is_displaced and make_room(entry.item, entry.key, entry.weight)
        entry.is_displaced = not has_room
        return has_room

    def _foresee(self, entry: Entry[T]) -> Any:
        receipts = self._core.receipts
        foresee = receipts.displaced if entry.is_displaced else receipts.foresee
        return entry.watch and entry.watch(foresee(entry.item))

    def _new_credit(self) -> Iterator[None]:
        """For those who come behind the item that is about to come in."""
        room = self._core.admission.room_for_newcomers - 1
        return NO_CREDIT if room <= 0 or self._core.ending.begun else repeat(None, room)

    # Finalizers and signal handlers.

    def _put_aside(self, entry: Entry[T]) -> None:
        """Accept an item within a step: there must be room beside the item of that step."""
        admission = self._core.admission
        if entry.watch is not None:
            self.check_free()
        if not admission.may_come(Need(2, self._coming + entry.weight)):
            raise admission.no_room()
        self.revoke_credit()
        admission.give_way(Need(1, entry.weight))
        self._inbox += ((entry.item, entry.key, entry.weight),)

    def _take_inbox(self) -> None:
        item, key, weight = self._inbox.popleft()
        self._core.admission.come_back(Need(1, weight))
        self._open_burst()
        self._core.admission.add_late(item, key, weight)
