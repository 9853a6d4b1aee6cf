"""The lock of a queue, and the only way in for items.

Theory of operation. Code that reads or changes the core holds the lock, with one exception: as
long as there is *credit* (flushq.core.admission), producers add items without the lock. The credit
is an iterator with one element for each such item, so most items cost one step of this iterator and
one append (``+=``). The credit is granted with the lock held, and all producers may use it. To
revoke the credit, an empty iterator is put in the place of this iterator.

*Acceptance is the last step.* CPython switches threads and checks for signals at three places only:
after a call, at the start of a function, and at a backward jump. So no other code runs between the
step of the iterator, the ``+=`` and the return. A KeyboardInterrupt comes either before the credit
for an item is used, or after the item was accepted. (On Python 3.11, making an iterator may run the
garbage collector. So the iterator for ``+=`` is made before the credit is used.) If an item comes
in with the lock held, ``+=`` gets an iterator that yields the item and then releases the lock. This
is one step, too, and the last one. Before that, a similar ``+=`` takes the lock and fills the list
``held``. So after an interrupt, ``held`` tells whether the call has taken the lock. With keys,
weights or partitions, adding an item takes several steps; an interrupt may come between them.

*A finalizer or a signal handler* may interrupt a call that holds the lock, and enqueue an item. The
lock is reentrant, so there is no deadlock. If ``_is_in_step`` is true, such a call was interrupted.
Then the item is put aside with a claim to room, and comes in before the lock is released.
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
"""Whether no other code (thread, signal handler, finalizer) can run during ``+=`` with a tuple."""

_ONCE = (True,)


class Entrance(Generic[T]):
    """The lock of a queue, and the way in for items.

    Args:
        core: The core of the queue.
        is_plain: Whether items have no keys, no weights and no partitions.
        wake: A function that asks for a pass (flushq.core.core).
        wait_for: A function that waits until a waiter is completed or a given time has come.
        may_wait: A function that returns whether the caller may wait for room.
        lacks_keeper: A function that returns whether the queue needs a keeper and has none.
        start_keeper: A function that tries to start the keeper (flushq.threads.keeper).

    Attributes:
        credit: An iterator with one element for each item that may come in without the lock.
        items: The waiting items of the buffer; new items are added here.
        needs_keeper: Whether the keeper must be started. The caller must not hold the lock then: it
            waits for the new thread, and a finalizer in that thread may ask for the lock.
    """

    __slots__ = (
        "_coming_weight",
        "_core",
        "_inbox",
        "_is_in_step",
        "_is_plain",
        "_lacks_keeper",
        "_lock",
        "_may_wait",
        "_start_keeper",
        "_wait_for",
        "_wake",
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
        self._is_in_step = False
        self._coming_weight: float = 0
        self._inbox: deque[tuple[T, Hashable, float]] = deque()

    # The lock.

    def locked(self, step: Callable[[*Args], R], *args: *Args) -> R:
        """Call ``step`` with the lock held, and return its result.

        Raises:
            RuntimeError: The caller is a finalizer or a signal handler that interrupted a step.
        """
        with self._lock:
            if self._is_in_step:
                raise self._refusal()
            self._is_in_step = True
            try:
                result = step(*args)
            finally:
                try:
                    while self._inbox:
                        self._take_inbox()
                finally:  # no call from here to the release, so no item is put aside any more
                    self._is_in_step = False
        if self.needs_keeper:
            self._start_keeper()
        return result

    def replace_lock(self) -> None:
        """Replace the lock in the child of a fork, where the thread that holds it may not exist."""
        self._lock = primitives.RLock()
        self._is_in_step = False
        self.revoke_credit()

    def check_not_in_step(self) -> None:
        """Raise RuntimeError if the caller has interrupted a step of its own thread."""
        with self._lock:
            is_in_step = self._is_in_step
        if is_in_step:
            raise self._refusal()

    def _refusal(self) -> RuntimeError:
        return RuntimeError(
            f"{self._core.label}this call interrupted another call of the same queue in the same "
            "thread: a finalizer or a signal handler must call nothing but enqueue_nowait"
        )

    def revoke_credit(self) -> None:
        """Revoke the credit, so that items need the lock until new credit is granted."""
        self.credit = NO_CREDIT

    # The way in.

    def enter(
        self,
        item: T,
        until: float,
        *,
        waits: bool = True,
        make_result: Callable[[Completion[T]], R] | None = None,
        on_accepted: Callable[[T], object] | None = None,
    ) -> R | None:
        """Wait for room, and accept an item; return the result of ``make_result``, if given.

        Raises:
            TimeoutError: There was no room before the time ``until``.
            QueueFull: There is no room, and the caller must not wait.
        """
        core, inside = self._core, flush_inside(self._core.batcher)
        if core.ending.has_begun:
            core.ending.check_open(inside)
        key, weight = core.buffer.measure(item)
        waits = waits and self._may_wait()
        entry = Entry(item, key, weight, inside, waits, until, make_result, on_accepted)
        with self._lock:
            is_in_step = self._is_in_step
        if is_in_step:
            self._put_aside(entry)
            return None
        try:
            while True:
                is_in, result = self._let_in(entry)
                if is_in:
                    return result  # type: ignore[no-any-return]  # what make_result() returned
                if entry.waiter is not None:
                    self._wait_for(entry.waiter, until)
                else:
                    entry.tried_keeper = True
                    self._start_keeper()
        except BaseException:
            if entry.waiter is not None:
                self.locked(self._leave_line, entry.waiter)
            raise

    def _let_in(self, entry: Entry[T]) -> tuple[bool, Any]:
        """Accept an item, as the last step, or put its producer in the line of producers.

        Return whether the item was accepted, and the result of ``make_result``. If the keeper must
        be started first, do neither, and return False and None.
        """
        if not self._is_plain:
            return self.locked(self._let_in_measured, entry)
        held: list[Any] = []
        try:
            held += map(self._lock.acquire, _ONCE)
            self._is_in_step = True
            self.revoke_credit()  # else another item could come first, with the number of this one
            passes = self._needs_no_keeper(entry) and self._let_pass_or_join_line(entry)
            while True:
                while self._inbox:
                    self._take_inbox()
                comes = passes and self._make_room(entry)
                result = self._make_result(entry) if passes else None
                credit = self._new_credit() if comes else NO_CREDIT
                items, coming = self.items, iter((entry.item,) if comes else ())
                last_step = chain(coming, iter(self._lock.release, None))
                if not self._inbox:
                    break
            self.credit = credit  # no call from here to the end, except in the last step
            self._is_in_step = False
            items += last_step
            return passes, result
        except BaseException:
            if held:
                self._release()
            raise

    def _release(self) -> None:
        try:
            while self._inbox:
                self._take_inbox()
        finally:
            self._is_in_step = False
            self._lock.release()

    def _let_in_measured(self, entry: Entry[T]) -> tuple[bool, Any]:
        """Do the work of ``_let_in`` for an item that is not plain; :meth:`locked` calls this."""
        core, item = self._core, entry.item
        try:
            if not self._let_pass_or_join_line(entry):
                return False, None
            kept_number = core.admission.add(item, entry.key, entry.weight)
        finally:
            self._coming_weight = 0
        if entry.on_accepted is not None:
            entry.on_accepted(
                item if kept_number in (None, DISPLACED) else core.buffer[kept_number]
            )
        return True, entry.make_result and entry.make_result(
            core.receipts.completion_of(item, kept_number)
        )

    def _needs_no_keeper(self, entry: Entry[T]) -> bool:
        """Return whether the caller need not start the keeper before its item comes in."""
        return entry.tried_keeper or entry.waiter is not None or not self._lacks_keeper()

    def _let_pass_or_join_line(self, entry: Entry[T]) -> bool:
        """Return whether there is room; if not, put the caller in the line of producers."""
        core, admission = self._core, self._core.admission
        core.ending.check_open(entry.inside)
        if entry.waiter is not None:
            self._leave_line(entry.waiter)
            self._check_not_refused(entry.waiter)
        need = admission.need_of(entry.item, entry.key, entry.weight)
        self._coming_weight = need.weight
        if entry.waiter is not None:
            may_enter = need.is_met_by(entry.need) or admission.fits(need)
        else:
            may_enter = admission.may_enter(need)
        if not may_enter:
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
        entry.waiter = waiter = Waiter()
        admission.waitlist.join(waiter, entry.inside, need.weight, entry.turn)
        if self._core.batcher.has_free_slot or entry.inside is not None:
            # The pass may start a flush to make room, or find a deadlock. While no slot is free, no
            # pass is needed: the end of a flush causes one.
            self._wake()

    def _leave_line(self, waiter: Waiter) -> None:
        """Take the caller out of the line of producers; ask for a pass, which may admit others."""
        self._wake()
        self._core.admission.waitlist.leave(waiter)

    def _check_not_refused(self, waiter: Waiter) -> None:
        if not waiter.done():
            raise TimeoutError(str(self._core.admission.no_room()))
        if waiter.result() is not None:
            raise waiter.result()

    def _open_burst(self) -> None:
        self._wake()
        if self._core.admission.opened is None:
            self._core.admission.open_burst(primitives.clock())

    def _make_room(self, entry: Entry[T]) -> bool:
        """Make room for the new item and return True, or displace it and return False."""
        make_room = self._core.admission.make_room
        has_room = not entry.is_displaced and make_room(entry.item, entry.key, entry.weight)
        entry.is_displaced = not has_room
        return has_room

    def _make_result(self, entry: Entry[T]) -> Any:
        receipts = self._core.receipts
        completion_of = receipts.displaced if entry.is_displaced else receipts.completion_of_next
        return entry.make_result and entry.make_result(completion_of(entry.item))

    def _new_credit(self) -> Iterator[None]:
        """Return the credit for the items that come after the item that is about to come in."""
        room = self._core.admission.room_for_newcomers - 1
        return NO_CREDIT if room <= 0 or self._core.ending.has_begun else repeat(None, room)

    # Finalizers and signal handlers.

    def _put_aside(self, entry: Entry[T]) -> None:
        """Accept an item of a caller that has interrupted a step, or raise QueueFull."""
        admission = self._core.admission
        if entry.make_result is not None:
            self.check_not_in_step()
        if not admission.may_enter(Need(2, self._coming_weight + entry.weight)):
            raise admission.no_room()
        self.revoke_credit()
        admission.claim_room(Need(1, entry.weight))
        self._inbox += ((entry.item, entry.key, entry.weight),)

    def _take_inbox(self) -> None:
        item, key, weight = self._inbox.popleft()
        self._core.admission.end_claim(Need(1, weight))
        self._open_burst()
        self._core.admission.add_late(item, key, weight)
