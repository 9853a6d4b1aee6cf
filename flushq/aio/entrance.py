"""The entrance of the asyncio queue: the methods that producers call to enqueue items.

This is the hot path. *Credit* (flushq.core.admission) is the number of items that may come in
without a check. While there is credit, ``enqueue`` takes one step of an iterator and one append.
Without credit, an item takes the slow path: the item is checked, and new credit is granted for the
next items. ``_append`` is usually the append method of the buffer. For the first item of a burst
(flushq.core.fairness), ``_append`` is a method that also records the time and schedules a pass. The
attributes are in ``__slots__``, because CPython reads such attributes fastest.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import NoReturn, TypeVar

from flushq.aio.producers import check_open, give_way, raise_if_refused, wait_in_line
from flushq.aio.receipt import Receipt, receipt_of
from flushq.aio.runner import Runner
from flushq.core.admission import NO_CREDIT
from flushq.core.core import Core
from flushq.core.receipts import DISPLACED, FailureFactory
from flushq.core.view import QueueView

T = TypeVar("T")


class Entrance(QueueView[T]):
    """The part of a queue that producers use: the base class of the queue."""

    __slots__ = ("_append", "_credit", "_overdraft", "_runner")

    def __init__(self, core: Core[T], runner: Runner[T]) -> None:
        self._core = core
        self._runner = runner
        self._clock = runner.now
        self._credit: Iterator[None] = NO_CREDIT
        self._overdraft: Iterator[None] = NO_CREDIT
        self._append: Callable[[T], int | None] = self._append_first
        core.admission.on_burst_closed = partial(setattr, self, "_append", self._append_first)

    async def enqueue(self, item: T) -> None:
        """Wait for room, then accept the item.

        When this returns, the item was accepted, exactly once. When this raises, for example after
        a cancellation, the item was not accepted. Waiting producers get room in the order in
        which they came. After 512 items in a row, and before the first item of a queue that has
        not started, the producer first lets other tasks run.

        Raises:
            QueueClosed: The queue is closing or closed.
            FlushFailed, PolicyError: The queue has failed.
            ItemTooLarge: The item, alone or merged, weighs more than ``max_weight`` or
                ``max_queue_weight``.
            QueueFull: There is no room, and waiting would never end. This can happen inside
                flush_fn if each flush that could make room waits for room itself.
            RuntimeError: No event loop runs, or the running loop is not that of the queue. (In
                asyncio's debug mode, every call checks this; otherwise some calls do not.)
            TypeError: A key cannot be hashed, the weight is not a real number, or a function that
                returns a key or the weight is async.
            ValueError: The weight is not from 0 to 1e300, or ``merge`` has changed the key.
            Exception: Raised by ``dedupe_key``, ``weigh``, ``partition_key`` or ``merge``.
        """
        for _ in self._credit:  # one step uses up the credit for one item
            self._append(item)
            return
        await self._enqueue_slow(item)

    def enqueue_nowait(self, item: T) -> None:
        """Accept the item now, or raise QueueFull.

        Raises:
            QueueFull: There is no free room, or other producers claim all free room.
            Exception: The same as for :meth:`enqueue`.
        """
        for _ in self._credit:
            self._append(item)
            return
        for _ in self._overdraft:
            self._append(item)
            return
        self._enqueue_now(item)

    async def submit(self, item: T) -> Receipt[T]:
        """Do the same as :meth:`enqueue`, and return the receipt of the item.

        For a duplicate, this is the receipt of the item that waits.
        """
        for _ in self._credit:
            kept_number = self._append(item)
            break
        else:
            kept_number = await self._enqueue_slow(item)
        return receipt_of(item, kept_number, self._core, self._runner)

    def submit_nowait(self, item: T) -> Receipt[T]:
        """Do the same as :meth:`enqueue_nowait`, and return the receipt of the item."""
        return receipt_of(item, self._enqueue_now(item), self._core, self._runner)

    async def deliver(self, item: T, *, on_accepted: Callable[[T], object] | None = None) -> None:
        """Wait for room, accept the item, and return when the item was delivered.

        If the call is cancelled after the item was accepted, the queue keeps the item.
        ``on_accepted`` is called in the step that accepts the item. It gets the item or, for a
        duplicate, the item that stays in the queue. ``on_accepted`` must not raise.

        Raises:
            ItemFailed, Dropped, Displaced, ShutdownTimeout: The item was accepted, but not
                delivered: see :class:`Receipt`.
            FlushFailed, PolicyError: The queue has failed, before or after it accepted the item.
                Use :meth:`submit` to tell these two cases apart.
            QueueClosed, ItemTooLarge, TypeError, ValueError, Exception: The item was not accepted:
                see :meth:`enqueue`.
            RuntimeError: Called inside flush_fn, or on another event loop; the item was not
                accepted.
        """
        self._runner.check_may_wait()
        for _ in self._credit:
            kept_number = self._append(item)
            break
        else:
            kept_number = await self._enqueue_slow(item)
            if kept_number == DISPLACED:
                self._raise_displaced(item, on_accepted)
        self._core.admission.prolong_burst()  # other tasks run while this caller waits
        number = self._core.buffer.number_of(item, kept_number)
        waiter: asyncio.Future[FailureFactory | None] = self._runner.loop.create_future()
        self._core.receipts.watch(number, waiter)
        try:
            if on_accepted is not None:
                on_accepted(item if kept_number is None else self._core.buffer[kept_number])
            failure = await waiter
        except BaseException:  # the waiter was not completed, and must not be completed later
            self._core.receipts.leave(number, waiter)
            raise
        if failure is not None:
            raise failure()

    def _raise_displaced(self, item: T, on_accepted: Callable[[T], object] | None) -> NoReturn:
        if on_accepted is not None:
            on_accepted(item)
        failure = self._core.receipts.displaced(item).failure
        assert failure is not None
        raise failure()

    # Items come in.

    def _enqueue_now(self, item: T) -> int | None:
        """Do the same as :meth:`_accept` if there is room; otherwise raise QueueFull."""
        key, weight = self._measure(item)
        admission = self._core.admission
        admission.check_room(admission.need_of(item, key, weight))
        return self._accept(item, key, weight)

    async def _enqueue_slow(self, item: T) -> int | None:
        """Wait for room, or let other tasks run first; then do the same as :meth:`_accept`."""
        key, weight = self._measure(item)
        core, runner, admission = self._core, self._runner, self._core.admission
        need = admission.need_of(item, key, weight)
        must_join_line, turn = admission.must_join_line(need), next(admission.waitlist.turns)
        if not must_join_line and admission.must_give_way:
            await give_way(core, runner, need)
            claim, need = need, admission.need_of(item, key, weight)
            must_join_line = not need.is_met_by(claim) and admission.must_join_line(need)
        while must_join_line:
            refusal = await wait_in_line(core, runner, need, turn)
            raise_if_refused(core, runner, refusal)
            given, need = need, admission.recheck_need(item, key, weight, need)
            must_join_line = need is not given
        return self._accept(item, key, weight)  # no await before this: others could take the room

    def _measure(self, item: T) -> tuple[Hashable, float]:
        self._runner.bind()
        check_open(self._core, self._runner)
        return self._core.buffer.measure(item)

    def _accept(self, item: T, key: Hashable, weight: float) -> int | None:
        """Accept an item, after the check for room; return the result of ``Admission.add``."""
        self._open_burst()
        if not self._core.batcher.started:
            self._runner.warn_if_not_started()
        if self._core.ending.has_begun or self._runner.loop.get_debug():
            self._core.admission.revoke_credit()  # every item must be checked
        else:
            self._credit, self._overdraft = self._core.admission.grant_credit()
        return self._core.admission.add(item, key, weight)  # last: nothing may fail after this

    def _append_first(self, item: T) -> int | None:
        """Accept the first item of a burst; the items after it go straight into the buffer."""
        if asyncio.get_running_loop() is not self._runner.loop:
            self._runner.bind()
        self._open_burst()
        return self._core.buffer.append(item)

    def _open_burst(self) -> None:
        self._runner.wake()
        self._append = self._core.buffer.append
        admission = self._core.admission
        if admission.opened is None:
            admission.open_burst(self._runner.loop.time())
