"""The asyncio queue: the calls of its users, each of which checks, waits and leaves.

What is decided is decided by the Core; what happens on the loop is the Runner's. Here is also the
hot path. ``enqueue`` uses up a credit (flushq.core.admission): so many items need no second look,
and cost one step of an iterator and one append. The rest goes the slow way, and gets new credit.
``_append`` is the buffer's own, but for the first item of a burst, which notes the time and asks
for a pass. The attributes are slots, without a default in the class: so CPython reads them fastest.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from flushq.aio.calls import FlushFn, OnFailure
from flushq.aio.cancellation import until_ended
from flushq.aio.producers import check_open, give_way, leave_line, wait_in_line
from flushq.aio.receipt import Receipt, receipt_of
from flushq.aio.runner import Runner
from flushq.core.admission import NO_CREDIT
from flushq.core.caps import Weigh
from flushq.core.core import Core
from flushq.core.duplicates import DedupeKey
from flushq.core.losses import LostAs
from flushq.core.partitioned_buffer import PartitionKey
from flushq.core.receipts import FailureFactory
from flushq.core.view import QueueView
from flushq.policy import FlushPolicy
from flushq.telling import OnReport, raise_outcome, tell_dropped

T = TypeVar("T")


class FlushQueue(QueueView[T]):
    """A queue that hands its items to ``flush_fn`` in batches, when its policy says so.

    Use it as ``async with FlushQueue(...) as queue``, or ``run()`` it in a TaskGroup. It belongs
    to the event loop that first uses it, and is not thread-safe. Threads bring items by asyncio's
    ``run_coroutine_threadsafe``, finalizers and signal handlers by ``loop.call_soon_threadsafe``.

    Every accepted item ends in exactly one place: delivered (``flush_fn`` returned), counted as a
    duplicate, dropped by the failure handler, in ``undelivered`` (``flush_fn`` was never called
    with it) or in ``in_doubt`` (it was called, and raised or was interrupted).

    Args:
        flush_fn: An async callable that takes a list of items, oldest first. The list is its own
            to change. What it returns is ignored. If it raises, the failure handler is asked; after
            a PartialFailure about those items alone, and the others are delivered. It runs in a
            copy of the context in which the queue was started.
        policy: When to flush. The queue runs a deep copy of it.
        dedupe_key: The key of an item, hashable. An item whose key is that of a waiting item is
            accepted, counted and dropped; the first stays. None: nothing is a duplicate.
        weigh: The weight of an item, a real number from 0 to 1e300. Needed for ``max_weight``.
        max_queue_size: How many items may wait; those in flight are not counted.
        max_in_flight: How many flushes may run at a time.
        max_shutdown_wait: Seconds that a close may take, and that running flushes have after a
            failure. None: no limit. 0: no flush is started any more, running ones are cancelled.
        on_failure: What is to be done when flush_fn has raised: a function, plain or async, of a
            Failure that returns a verdict; a class means its instance, so Retry is Retry(0). It is
            part of the flush: it runs in its context, and a limit or a second cancellation cuts it
            short. If it raises or returns anything else, the queue ends with FlushFailed. It is not
            asked about the cancellation of a flush, nor about KeyboardInterrupt, SystemExit, or a
            PartialFailure that makes no sense. None: every failure ends the queue.
        on_report: A plain function that is called with a FlushReport after every flush. What it
            raises is logged.
        name: What the queue is called in its repr, in exceptions, log records and tasks.
        lost_as: What a lost item is listed as, a field of it say. None, or if it raises: the item.

    Raises:
        TypeError: An argument is of the wrong type, a function is async that must not be, the
            policy cannot be deep-copied, or it has a ``max_weight`` and there is no ``weigh``.
        ValueError: A number is zero, negative or NaN where it must not be.
    """

    __slots__ = ("__weakref__", "_append", "_credit", "_overdraft", "_runner")

    def __init__(
        self,
        flush_fn: FlushFn[T],
        policy: FlushPolicy,
        *,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        partition_key: PartitionKey[T] | None = None,
        max_queue_size: int = 10_000,
        max_in_flight: int = 1,
        max_in_flight_per_partition: int | None = 1,
        max_shutdown_wait: float | None = None,
        on_failure: OnFailure[T] | None = None,
        on_report: OnReport | None = None,
        name: str | None = None,
        lost_as: LostAs[T] | None = None,
    ) -> None:
        self._core: Core[T] = Core(
            policy,
            dedupe_key=dedupe_key,
            weigh=weigh,
            partition_key=partition_key,
            max_queue_size=max_queue_size,
            max_in_flight=max_in_flight,
            max_in_flight_per_partition=max_in_flight_per_partition,
            max_shutdown_wait=max_shutdown_wait,
            name=name,
            lost_as=lost_as,
            keeps_reports=on_report is not None,
        )
        self._runner: Runner[T] = Runner(self._core, flush_fn, on_failure, on_report)
        self._clock = self._runner.now
        self._credit: Iterator[None] = NO_CREDIT
        self._overdraft: Iterator[None] = NO_CREDIT
        self._append: Callable[[T], int | None] = self._append_first
        expect_burst = partial(setattr, self, "_append", self._append_first)
        self._core.admission.on_burst_closed = expect_burst

    def __del__(self) -> None:
        core: Core[T] | None = getattr(self, "_core", None)
        if core is not None and (items := len(core.buffer) + core.batcher.in_flight):
            tell_dropped(core, items, self)

    # Producers.

    async def enqueue(self, item: T) -> None:
        """Wait for room, then accept the item.

        When this returns the item is accepted, once. When it raises, cancellation included, it is
        not. Producers that wait are served first come, first served. At least every 512 items
        the loop is let run, and at the first item if the queue has not started.

        Raises:
            QueueClosed: The queue is closing or closed.
            FlushFailed, PolicyError: The queue has failed.
            ItemTooLarge: The item alone weighs more than ``max_weight``.
            QueueFull: Called inside flush_fn, where waiting could never end: every slot is taken,
                and every running flush waits for room in this queue.
            RuntimeError: No event loop runs, or another than that of the queue. (Between two
                passes this is noticed in asyncio's debug mode only.)
            TypeError: The key cannot be hashed, the weight is not a real number, or one of the two
                must be awaited.
            ValueError: The weight is not from 0 to 1e300.
            Exception: What ``dedupe_key`` or ``weigh`` raised; the queue goes on.
        """
        for _ in self._credit:  # one step uses up the credit of one item
            self._append(item)
            return
        await self._enqueue_slow(item)

    def enqueue_nowait(self, item: T) -> None:
        """Accept the item now.

        Raises:
            QueueFull: There is no room beside what is claimed by the producers that came before.
            Exception: As :meth:`enqueue`.
        """
        for _ in self._credit:
            self._append(item)
            return
        for _ in self._overdraft:
            self._append(item)
            return
        self._enqueue_now(item)

    async def submit(self, item: T) -> Receipt[T]:
        """As :meth:`enqueue`, and return the receipt; for a duplicate, that of the waiting item."""
        for _ in self._credit:
            stays = self._append(item)
            break
        else:
            stays = await self._enqueue_slow(item)
        return receipt_of(item, stays, self._core, self._runner)

    def submit_nowait(self, item: T) -> Receipt[T]:
        """As :meth:`enqueue_nowait`, and return the receipt, as :meth:`submit` does."""
        return receipt_of(item, self._enqueue_now(item), self._core, self._runner)

    async def deliver(self, item: T, *, on_accepted: Callable[[T], object] | None = None) -> None:
        """Wait for room, accept the item, and return when it was delivered.

        A cancellation after the item was accepted takes nothing back. ``on_accepted`` is called in
        the step that accepts it, with the item (for a duplicate: the one that stayed), and must not
        raise.

        Raises:
            ItemFailed, Dropped, ShutdownTimeout: It was accepted, and not delivered: see
                :class:`Receipt`.
            FlushFailed, PolicyError: The queue has failed, before the item was accepted or after;
                :meth:`submit` tells the two apart.
            QueueClosed, ItemTooLarge, TypeError, ValueError, Exception: It was not accepted: see
                :meth:`enqueue`.
            RuntimeError: Called inside flush_fn, or on another event loop: it was not accepted.
        """
        self._runner.check_waiter()
        for _ in self._credit:
            stays = self._append(item)
            break
        else:
            stays = await self._enqueue_slow(item)
        self._core.admission.prolong_burst()  # others run while this caller waits
        number = self._core.buffer.number_of(item, stays)
        waiter: asyncio.Future[FailureFactory | None] = self._runner.loop.create_future()
        self._core.receipts.watch(number, waiter)
        try:
            if on_accepted is not None:
                on_accepted(item if stays is None else self._core.buffer[stays])
            failure = await waiter
        except BaseException:  # it was told nothing, and is not to be
            self._core.receipts.leave(number, waiter)
            raise
        if failure is not None:
            raise failure()

    async def flush(self) -> None:
        """Flush at once, and return when all that was accepted before the call has ended.

        What is accepted later is not waited for. A close does not interrupt it. A cancellation
        ends the waiting alone: the flush goes on.

        Raises:
            FlushFailed, PolicyError, ShutdownTimeout: Something it waited for was not delivered,
                or the queue had failed before the call.
            QueueClosed: Closing has begun before the call.
            RuntimeError: Called inside flush_fn, or on another event loop.
        """
        core, runner = self._core, self._runner
        runner.bind()
        runner.refuse_inside("flush()")
        core.ending.check_open(None)
        mark = core.barriers.raise_barrier()
        if mark is None:
            return
        runner.wake()
        await runner.wait(core.barriers, mark)
        core.ending.check_delivered(mark)

    # Owners.

    async def __aenter__(self) -> Self:
        """Start the queue.

        Raises:
            RuntimeError: It was started before, is closed, or belongs to another event loop.
        """
        self._runner.bind()
        self._runner.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the queue and drain it.

        An exception of the body goes on: what was lost goes into a log record and a note on it. A
        cancellation during the drain aborts it, and is raised in its place.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and something is left.
            RuntimeError: The queue was never started, or belongs to another event loop; or this is
                inside its flush_fn.
        """
        self._runner.bind()
        if not self._core.batcher.started:
            raise RuntimeError(f"cannot leave {self!r}: it was never started")
        self._runner.refuse_inside("leaving the queue")
        self._runner.close()
        cancelled = await until_ended(self._core, self._runner, owner=True, error=error)
        raise_outcome(self._core, cancelled, error)

    async def run(self) -> None:
        """Start the queue, and return when it has ended: for a child of a TaskGroup.

        It ends when it is closed (:meth:`aclose`), when a flush fails, or when this call is
        cancelled: then it drains, and the CancelledError goes on. A second cancellation aborts the
        drain. Of a queue that is closing or closed it only waits for the end.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and something is left.
            RuntimeError: The queue was started before, or belongs to another event loop; or this is
                inside its flush_fn.
        """
        self._runner.bind()
        self._runner.refuse_inside("run()")
        if not self._core.ending.begun:
            self._runner.start()
        raise_outcome(self._core, await until_ended(self._core, self._runner, owner=True))

    async def aclose(self) -> None:
        """Refuse new items, drain, and return when the queue has ended.

        Several calls share one drain, one limit and one outcome. A cancellation aborts the drain,
        unless an owner (``async with``, :meth:`run`) waits for it; the CancelledError goes on.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and something is left.
            RuntimeError: Called inside flush_fn, or on another event loop.
        """
        self._runner.bind()
        self._runner.refuse_inside("aclose()")
        if not self._core.batcher.started:
            self._runner.start()
        self._runner.close()
        raise_outcome(self._core, await until_ended(self._core, self._runner, owner=False))

    # Items come in.

    def _enqueue_now(self, item: T) -> int | None:
        """Accept the item, as :meth:`_accept`, if there is room."""
        key, weight = self._measure(item)
        self._core.admission.check_room(key)
        return self._accept(item, key, weight)

    async def _enqueue_slow(self, item: T) -> int | None:
        """Wait for room, or let others run first; then accept the item, as :meth:`_accept`."""
        key, weight = self._measure(item)
        if self._core.admission.must_wait(key):
            leave_line(self._core, self._runner, await wait_in_line(self._core, self._runner))
        elif self._core.admission.must_give_way:
            await give_way(self._core, self._runner, key)
        return self._accept(item, key, weight)  # no await before: the room was given for this step

    def _measure(self, item: T) -> tuple[Hashable, float]:
        self._runner.bind()
        check_open(self._core, self._runner)
        return self._core.buffer.measure(item)

    def _accept(self, item: T, key: Hashable, weight: float) -> int | None:
        """Let an item in; return the number of the one that stays if it is a duplicate."""
        self._open_burst()
        if not self._core.batcher.started:
            self._runner.expect_start()
        if self._core.ending.begun or self._runner.loop.get_debug():
            self._core.admission.revoke_credit()  # every item needs a second look
        else:
            self._credit, self._overdraft = self._core.admission.grant_credit()
        return self._core.buffer.add(item, key, weight)  # last: nothing can fail once it is in

    def _append_first(self, item: T) -> int | None:
        """Let in the first item of a burst; those that follow go straight into the buffer."""
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
