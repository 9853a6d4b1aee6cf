"""The asyncio driver: it waits, wakes and calls. What to do is decided by the Batcher.

Theory of operation. Whatever happens (an item arrives, a flush ends, the timer fires, a barrier,
the close) is noted with its time and schedules one *turn*, a callback in the next iteration of the
loop. The turn tells the Batcher what has happened (arrivals first, since they carry the oldest
time) and does what is due by then: cuts batches and starts their flushes, lets waiting producers
in, answers barriers, sets the timer, ends the queue. So a burst of arrivals costs one callback,
what arrives before the turn joins the batch, and nobody but the turn starts anything.

Arrivals are told in bursts: the first item of a loop iteration opens a burst and notes the time,
the turn tells the policy how many there were. ``enqueue`` has a credit: so many items that need no
second look, because there is room and the loop will run soon enough. It is never more than either
allows, so it outlives a turn, which only makes room; what takes room in another way, and the end,
take it away. Everything else goes the long way, at the end of which there is new credit. An item
whose producer is about to wait for its end does not make a burst too long, since the loop runs
then. Since this is what an item costs, the credit is an iterator with an element for each item,
which is cheaper than a count to keep; and the attributes are slots, and none has a default in the
class: so CPython reads them fastest.

A flush is a task that lets a `Delivery` hand the batch over. What became of the items stays with
the batch until the turn tells the Batcher of it, settles the receipts and reports. A turn asks for
nothing of which there is none: with one item a loop iteration, the turn is most of its price.
"""

import asyncio
import contextvars
import logging
import math
import sys
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import repeat
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flushq.arguments import check_count, check_number, check_plain
from flushq.batcher import Batch, Batcher
from flushq.buffer import DedupeKey, Weigh
from flushq.delivery import Delivery, FlushFn, OnFailure
from flushq.errors import FlushqError, QueueClosed, QueueEnded, QueueFull
from flushq.gate import Gate
from flushq.outcomes import FlushReport, QueueStats
from flushq.policy import Flush, FlushPolicy
from flushq.receipts import Receipt, Receipts, give_up

T = TypeVar("T")

OnReport = Callable[[FlushReport], object]

BURST = 256

NO_CREDIT: Iterator[None] = iter(())

_logger = logging.getLogger("flushq")

_flushes: contextvars.ContextVar[tuple[Batch[Any], ...]] = contextvars.ContextVar(
    "flushq_flushes", default=()
)


class FlushQueue(Generic[T]):
    """A queue that hands its items to ``flush_fn`` in batches, when its policy says so.

    Use it as ``async with FlushQueue(...) as queue``, or ``run()`` it in a TaskGroup. It belongs
    to the event loop that first uses it, and is not thread-safe: threads, finalizers and signal
    handlers hand over by ``loop.call_soon_threadsafe``.

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
            Failure that returns a verdict. It is part of the flush: it runs in its context, and a
            limit or a second cancellation cuts it short. If it raises or returns anything else, the
            queue ends with FlushFailed. It is not asked about a flush that was cancelled, nor about
            KeyboardInterrupt, SystemExit, or a PartialFailure that makes no sense. None: every
            failure ends the queue.
        on_report: A plain function that is called with a FlushReport after every flush. What it
            raises is logged.
        name: What the queue is called in its repr, in exceptions, log records and tasks.

    Raises:
        TypeError: An argument is of the wrong type, a function is async that must not be, the
            policy cannot be deep-copied, or it has a ``max_weight`` and there is no ``weigh``.
        ValueError: A number is zero, negative or NaN where it must not be.
    """

    __slots__ = (
        "__weakref__",
        "_append",
        "_barriers",
        "_batcher",
        "_bound",
        "_burst_limit",
        "_burst_opened",
        "_clock_runs",
        "_closers",
        "_closing",
        "_context",
        "_credit",
        "_delivery",
        "_done",
        "_ended",
        "_ended_parts",
        "_gate",
        "_label",
        "_limit",
        "_loop",
        "_max_queue_size",
        "_max_shutdown_wait",
        "_name",
        "_on_report",
        "_owned",
        "_pausing",
        "_receipts",
        "_reports",
        "_task_name",
        "_tasks",
        "_tick_at",
        "_timer",
        "_timer_at",
        "_woken",
    )

    _loop: asyncio.AbstractEventLoop
    _context: contextvars.Context

    def __init__(
        self,
        flush_fn: FlushFn[T],
        policy: FlushPolicy,
        *,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        max_queue_size: int = 10_000,
        max_in_flight: int = 1,
        max_shutdown_wait: float | None = None,
        on_failure: OnFailure[T] | None = None,
        on_report: OnReport | None = None,
        name: str | None = None,
    ) -> None:
        self._delivery = Delivery(flush_fn, on_failure, self._on_progress)
        check_count("max_queue_size", max_queue_size)
        if max_shutdown_wait is not None:
            check_number("max_shutdown_wait", max_shutdown_wait, least=0)
        check_plain("on_report", on_report)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str, not {name!r}")
        self._name = "" if name is None else f" {name!r}"
        self._label = "" if name is None else f"{name}: "
        self._task_name = f"flushq{self._name} flush"
        self._batcher: Batcher[T] = Batcher(policy, dedupe_key, weigh, max_in_flight, self._label)
        self._on_report = on_report
        self._max_queue_size = max_queue_size
        self._max_shutdown_wait = math.inf if max_shutdown_wait is None else max_shutdown_wait
        self._begin()

    def _begin(self) -> None:
        self._bound = self._woken = self._owned = False
        self._closing = self._clock_runs = self._ended = False
        self._gate: Gate[Batch[T] | None] = Gate()
        self._append: Callable[[T], int | None] = self._append_first
        self._credit: Iterator[None] = NO_CREDIT
        self._pausing = 0
        self._burst_limit = BURST
        self._burst_opened: float | None = None
        self._tasks: dict[asyncio.Task[None], Batch[T]] = {}
        self._ended_parts: deque[tuple[Batch[T], Mapping[int, BaseException | None]]] = deque()
        self._done: deque[tuple[Batch[T], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._tick_at = -math.inf
        self._limit: asyncio.TimerHandle | None = None
        self._barriers: dict[asyncio.Future[None], int] = {}
        self._closers: dict[asyncio.Future[None], None] = {}
        self._receipts: Receipts[T] = Receipts(
            self._loop_of_waiter, self._batcher.buffer, self._batcher.loss, self._label
        )
        self._reports: deque[FlushReport] = deque()

    # What can be seen.

    @property
    def policy(self) -> FlushPolicy:
        """The running copy of the policy."""
        return self._batcher.policy

    @property
    def pending(self) -> int:
        """How many items wait; those in flight are not counted."""
        return len(self._batcher.buffer)

    @property
    def undelivered(self) -> list[T]:
        """Accepted items that flush_fn was never called with, in order of acceptance.

        Always the same list; complete once the queue has ended.
        """
        return self._batcher.undelivered

    @property
    def in_doubt(self) -> list[T]:
        """Items of flushes that raised or were interrupted, in order of acceptance.

        Always the same list; complete once the queue has ended.
        """
        return self._batcher.in_doubt

    def stats(self) -> QueueStats:
        """The account of this moment, which adds up: to be called in the queue's own loop."""
        batcher, buffer = self._batcher, self._batcher.buffer
        undelivered, in_doubt = batcher.lost
        return QueueStats(
            accepted=buffer.end + buffer.duplicates,
            duplicates=buffer.duplicates,
            delivered=batcher.delivered,
            dropped=batcher.dropped,
            undelivered=undelivered,
            in_doubt=in_doubt,
            pending=len(buffer),
            in_flight=batcher.in_flight,
            waiting=len(self._gate),
            flushes=dict(batcher.flushes),
            oldest_age=self._oldest_age(),
        )

    def _oldest_age(self) -> float:
        if not self.pending:
            return 0.0
        oldest = self._batcher.policy.queue.oldest
        if self._burst_opened is not None:
            oldest = min(oldest, self._burst_opened)
        return max(0.0, self._loop.time() - oldest)

    def __repr__(self) -> str:
        if self._batcher.failed:
            state = "failed"
        elif self._ended:
            state = "closed"
        elif self._closing:
            state = "closing"
        else:
            state = "running" if self._batcher.started else "not started"
        in_flight = self._batcher.in_flight
        return f"<FlushQueue{self._name} {state}, {self.pending} pending, {in_flight} in flight>"

    def __del__(self) -> None:
        batcher: Batcher[T] | None = getattr(self, "_batcher", None)
        if batcher is None:
            return
        items = len(batcher.buffer) + batcher.in_flight
        if items:
            what = f"a FlushQueue{self._name} was dropped with {items} items in it"
            _logger.error(what)
            warnings.warn(what, ResourceWarning, stacklevel=2, source=self)

    # Producers.

    async def enqueue(self, item: T) -> None:
        """Wait for room, then accept the item.

        When this returns the item is accepted, once. When it raises, cancellation included, it is
        not. Producers that wait are served first come, first served. At least every 256 items
        the loop is let run, and at the first item if the queue has not started.

        Raises:
            QueueClosed: The queue is closing or closed.
            FlushFailed, PolicyError: The queue has failed.
            ItemTooLarge: The item alone weighs more than ``max_weight``.
            QueueFull: Called inside flush_fn, where waiting could never end: every slot is taken,
                and every running flush waits for room in this queue.
            RuntimeError: No event loop runs, or another than that of the queue. (Between two turns
                of a loop this is noticed in asyncio's debug mode only.)
            TypeError: The key cannot be hashed, the weight is no real number, or one of them must
                be awaited.
            ValueError: The weight is not from 0 to 1e300.
            Exception: What ``dedupe_key`` or ``weigh`` raised; the queue goes on.
        """
        for _ in self._credit:
            self._append(item)
            return
        await self._come_in(item)

    def enqueue_nowait(self, item: T) -> None:
        """Accept the item now.

        Raises:
            QueueFull: There is no room beside what is claimed by the producers that came before.
            Exception: As :meth:`enqueue`.
        """
        for _ in self._credit:
            self._append(item)
            return
        key, weight = self._measure(item)
        if self._room <= self._claims and not self._batcher.buffer.is_duplicate(key):
            raise QueueFull(
                f"{self._label}no room: {self.pending} items wait "
                f"(max_queue_size={self._max_queue_size}), and "
                f"{self._claims + self._pausing} producers come first"
            )
        self._accept(item, key, weight)

    async def submit(self, item: T) -> Receipt[T]:
        """Wait for room and accept the item, as :meth:`enqueue`; return its receipt.

        The receipt of a duplicate is that of the item that stayed.
        """
        return self._receipts.of(self._number(item, await self._come_in(item)))

    async def deliver(self, item: T) -> None:
        """Wait for room, accept the item, and return when it was delivered.

        A cancellation after the item was accepted takes nothing back.

        Raises:
            ItemFailed, Dropped, ShutdownTimeout: It was accepted, and not delivered: see
                :class:`Receipt`.
            FlushFailed, PolicyError: The queue has failed, before the item was accepted or after;
                :meth:`submit` tells the two apart.
            QueueClosed, ItemTooLarge, TypeError, ValueError, Exception: It was not accepted: see
                :meth:`enqueue`.
            RuntimeError: Called inside flush_fn, or on another event loop: it was not accepted.
        """
        waiter = self._receipts.waiter(await self._bring(item), self._loop)
        try:
            fate = await waiter
        finally:
            give_up(waiter)
        if fate is not None:
            raise fate()

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
        self._bind()
        self._refuse_inside("flush()")
        self._check_open()
        mark = self._batcher.barrier()
        if self._batcher.settled >= mark:
            return
        self._wake()
        settled = self._loop.create_future()
        self._barriers[settled] = mark
        try:
            await settled
        finally:
            del self._barriers[settled]
        outcome = self._batcher.outcome()
        if outcome is not None and self._batcher.first_lost < mark:
            raise outcome

    # Owners.

    async def __aenter__(self) -> Self:
        """Start the queue.

        Raises:
            RuntimeError: It was started before, is closed, or belongs to another event loop.
        """
        self._bind()
        self._start()
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
        self._bind()
        if not self._batcher.started:
            raise RuntimeError(f"cannot leave {self!r}: it was never started")
        self._refuse_inside("leaving the queue")
        self._close()
        self._leave(await self._end_as_owner(), error)

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
        self._bind()
        self._refuse_inside("run()")
        if not self._ending:
            self._start()
        self._leave(await self._end_as_owner())

    async def aclose(self) -> None:
        """Refuse new items, drain, and return when the queue has ended.

        Several calls share one drain, one limit and one outcome. A cancellation aborts the drain,
        unless an owner (``async with``, :meth:`run`) waits for it; the CancelledError goes on.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and something is left.
            RuntimeError: Called inside flush_fn, or on another event loop.
        """
        self._bind()
        self._refuse_inside("aclose()")
        if not self._batcher.started:
            self._start()
        self._close()
        self._leave(await self._until_ended(self._end_sooner_unless_owned))

    def _leave(self, cancelled: BaseException | None, error: BaseException | None = None) -> None:
        """Raise what there is to raise at the end: a cancellation, else the outcome."""
        outcome = self._batcher.outcome()
        self._attach(outcome, error if cancelled is None else cancelled)
        if cancelled is not None:
            raise cancelled
        if outcome is not None and error is None:
            raise outcome

    def _attach(self, outcome: QueueEnded | None, error: BaseException | None) -> None:
        """Tell of the outcome beside another exception, in a log record and a note."""
        if outcome is None or error is None or self._tells(error):
            return
        end = f"{type(outcome).__name__}: {outcome}"
        with suppress(Exception):
            error.add_note(f"flushq: the queue ended with {end}")
        with suppress(Exception):  # a logging that fails
            _logger.error("the queue ended with %s", end, exc_info=outcome)

    def _tells(self, error: BaseException) -> bool:
        """Whether an exception, or one in a group, carries the lists of this queue already."""
        if isinstance(error, BaseExceptionGroup):
            leaves: list[BaseException] = list(error.exceptions)
            return any(map(self._tells, leaves))
        return isinstance(error, QueueEnded) and error.undelivered is self.undelivered

    async def _end_as_owner(self) -> asyncio.CancelledError | None:
        """Wait for the end; a cancellation starts the close, or cuts it short."""
        self._owned = True
        return await self._until_ended(self._end_sooner)

    async def _until_ended(self, end_sooner: Callable[[], bool]) -> asyncio.CancelledError | None:
        """Wait for the end, and return the last cancellation after which it was worth waiting."""
        cancelled = None
        while not self._ended:
            ended = self._loop.create_future()
            self._closers[ended] = None
            try:
                with _shield():
                    await ended
            except asyncio.CancelledError as error:
                if not end_sooner():
                    raise
                cancelled = error
            finally:
                del self._closers[ended]
        return cancelled

    def _end_sooner(self) -> bool:
        """The owner was cancelled."""
        if self._closing:
            self._cut_short("the close was cancelled")
        else:
            self._close()
        return True

    def _end_sooner_unless_owned(self) -> bool:
        """Somebody who called aclose() was cancelled; an owner that waits decides for itself."""
        return not self._owned and self._end_sooner()

    # What is allowed.

    def _bind(self) -> None:
        """Belong to the running loop, from the first call that needs one."""
        loop = asyncio.get_running_loop()
        if not self._bound:
            self._loop = loop
            self._context = contextvars.copy_context()
            self._bound = True
        elif loop is not self._loop:
            raise RuntimeError(f"{self!r} belongs to another event loop than {loop!r}")

    def _inside(self) -> Batch[T] | None:
        """The running flush of this queue that the caller is part of."""
        flushes = _flushes.get()
        return next(filter(self._batcher.runs, flushes), None) if flushes else None

    def _refuse_inside(self, what: str) -> None:
        if self._inside() is not None:
            raise RuntimeError(
                f"{self._label}{what} inside flush_fn of the same queue would wait for itself"
            )

    def _loop_of_waiter(self) -> asyncio.AbstractEventLoop:
        """The loop, for somebody who is about to wait for the end of an item."""
        self._bind()
        if _flushes.get():
            self._refuse_inside("waiting for an item")
        return self._loop

    def _refusal(self, inside: Batch[T] | None) -> FlushqError | None:
        """Why an item is refused, if it is: a new exception."""
        if self._batcher.failed:
            return self._batcher.outcome()
        if self._closing and (self._batcher.stopped or not self._batcher.runs(inside)):
            return QueueClosed(f"{self!r} takes no items any more")
        return None

    def _check_open(self) -> None:
        if not self._ending:
            return
        refusal = self._refusal(self._inside())
        if refusal is not None:
            raise refusal

    # Items come in.

    async def _come_in(self, item: T) -> int | None:
        """The long way in: wait for room, or let the loop run if the burst is too long.

        It runs for the first item, too, so that a task of run() that was just made begins.
        """
        key, weight = self._measure(item)
        if self._must_wait(key):
            await self._wait_for_room()
        elif self._batcher.burst >= self._burst_limit or self._untouched:
            await self._pause(key)
        return self._accept(item, key, weight)

    @property
    def _untouched(self) -> bool:
        """Whether the queue has not started, and nothing has come in."""
        return not (self._batcher.started or self._batcher.buffer.end)

    def _measure(self, item: T) -> tuple[Hashable, float]:
        self._bind()
        self._check_open()
        return self._batcher.buffer.measure(item)

    @property
    def _claims(self) -> int:
        """How many producers are to have room, beside those that pause."""
        return len(self._gate) + self._gate.reserved

    def _must_wait(self, key: Hashable) -> bool:
        full = self._gate.busy or self._room <= 0
        return full and not self._batcher.buffer.is_duplicate(key)

    @property
    def _room(self) -> int:
        """How many items the queue has room for, beside those whose producers pause."""
        return self._max_queue_size - len(self._batcher.buffer.items) - self._pausing

    async def _pause(self, key: Hashable) -> None:
        """Let the loop run, with a claim to the room that there was, unless none is needed.

        Who leaves without taking it gives cause for a turn.
        """
        claims = not self._batcher.buffer.is_duplicate(key)
        self._credit = NO_CREDIT
        self._pausing += claims
        try:
            await asyncio.sleep(0)
        finally:
            self._pausing -= claims
            self._wake()
        self._check_open()
        if not claims and self._must_wait(key):  # it is no duplicate any more
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """Wait in line. Who comes and who leaves, however it leaves, gives cause for a turn."""
        self._wake()
        try:
            await self._gate.wait(self._inside())
        finally:
            self._wake()
        self._check_open()

    def _accept(self, item: T, key: Hashable, weight: float) -> int | None:
        """Let an item in; return the number of the one that stays if it is a duplicate.

        That is the last step, so that nothing can fail once it is in.
        """
        self._open_burst()
        if self._ending or self._gate.busy or self._loop.get_debug():
            self._credit = NO_CREDIT  # every item needs a second look
        else:
            credit = min(self._room, self._burst_limit - self._batcher.burst)
            self._credit = repeat(None, credit - 1)
        return self._batcher.buffer.add(item, key, weight)

    def _append_first(self, item: T) -> int | None:
        """Let in the first item of a burst; those that follow go straight into the buffer."""
        if asyncio.get_running_loop() is not self._loop:
            self._bind()
        self._open_burst()
        return self._batcher.buffer.append(item)

    def _open_burst(self) -> None:
        self._wake()
        self._append = self._batcher.buffer.append
        if self._burst_opened is None:
            self._burst_opened = self._loop.time()

    async def _bring(self, item: T) -> int:
        """Let an item in whose producer is about to wait for its end; return its number.

        Such a producer lets the loop run by itself: its items do not make anyone pause.
        """
        self._loop_of_waiter()
        for _ in self._credit:
            stays = self._append(item)
            break
        else:
            stays = await self._come_in(item)
        self._burst_limit += 1
        return self._number(item, stays)

    def _number(self, item: T, stays: int | None) -> int:
        """The number of an item that has just come, or of the one that stays instead."""
        return self._batcher.buffer.last(item) if stays is None else stays

    def _tell_arrivals(self, opened: float) -> None:
        """Close the burst: before any other event, so that the policy's time never runs back.

        It stays open for producers that were given room and have not run yet.
        """
        self._burst_limit = BURST
        if not self._gate.reserved:
            self._burst_opened = None
            self._append = self._append_first
        self._batcher.tell_arrivals(opened)

    # The turn.

    def _wake(self) -> None:
        """Have a turn in the next iteration of the loop."""
        if not self._woken and not self._loop.is_closed():
            self._loop.call_soon(self._turn, context=self._context)
            self._woken = True

    def _turn(self) -> None:
        """Tell the policy what has happened, and do what is due by then."""
        self._woken = False
        try:
            if self._burst_opened is not None:
                self._tell_arrivals(self._burst_opened)
            if self._ended_parts:
                self._tell_parts()
            if self._done:
                self._tell_ends()
            if self._tick_at > -math.inf:
                self._tell_time()
            while (due := self._batcher.due(pressed=self._pressed)) is not None:
                self._start_flush(due)
            self._answer()
        except BaseException:  # of the policy, of on_report, of a logging that fails
            self._credit = NO_CREDIT
            self._wake()
            raise

    @property
    def _pressed(self) -> bool:
        """Whether somebody waits because the queue is full, and not behind a reservation only."""
        return bool(self._gate.line) and len(self._batcher.buffer.items) >= self._max_queue_size

    def _answer(self) -> None:
        """Let everyone know who waits for something, if it is time."""
        batcher = self._batcher
        ending = self._closing or batcher.failed
        if self._gate.line:
            self._serve_line()
        if ending:
            self._credit = NO_CREDIT
            self._run_clock()
        if self._barriers:
            self._answer_barriers()
        when = batcher.wake_at
        if when != self._timer_at:
            self._set_timer(when)
        if batcher.stopped is not None:
            batcher.stop(batcher.stopped)  # what a finalizer has brought since
            if batcher.decided:
                self._receipts.settle_lost(batcher.running)
        if self._reports:
            self._tell_reports()
        if ending and batcher.finished:
            self._end()

    def _start_flush(self, due: Flush) -> None:
        batch = self._batcher.seal(due, self._loop.time())
        if batch is not None:
            self._launch(batch)
        if self._burst_opened is not None:  # by a flush that has begun in an eager task
            self._tell_arrivals(self._burst_opened)
        if self._gate.line:
            self._admit()

    def _admit(self) -> None:
        """Let waiting producers in; what they bring has been here from now on."""
        if self._gate.admit(self._room) and self._burst_opened is None:
            self._burst_opened = self._loop.time()

    def _launch(self, batch: Batch[T]) -> None:
        delivery = self._flush(batch)
        try:
            task = self._loop.create_task(
                delivery, name=self._task_name, context=self._context.copy()
            )
        except Exception as error:  # whatever a task factory of the user raises
            delivery.close()
            batch.error = error
            self._on_end(batch)
            return
        self._tasks[task] = batch
        task.add_done_callback(self._on_done, context=self._context)

    async def _flush(self, batch: Batch[T]) -> None:
        if self._batcher.stopped is None:
            _flushes.set((*_flushes.get(), batch))
            await self._delivery.deliver(batch)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        batch = self._tasks.pop(task)
        if not batch.handed:
            batch.error = asyncio.CancelledError("cut short before it was handed over")
        self._on_end(batch)
        if batch.error is not None and isinstance(batch.error, KeyboardInterrupt | SystemExit):
            raise batch.error

    def _on_end(self, batch: Batch[T]) -> None:
        self._done.append((batch, self._loop.time()))
        self._wake()

    def _on_progress(self, batch: Batch[T], ended: Mapping[int, BaseException | None]) -> None:
        self._ended_parts.append((batch, ended))
        self._wake()

    def _tell_parts(self) -> None:
        while self._ended_parts:
            batch, ended = self._ended_parts.popleft()
            self._batcher.end_part(batch, ended)
            self._receipts.settle_part(batch, ended)

    def _tell_ends(self) -> None:
        while self._done:
            batch, now = self._done.popleft()
            try:
                self._batcher.finish(batch, now, batch.error)
            finally:
                self._receipts.settle(batch)
                if self._on_report is not None:
                    self._reports.append(_report_of(batch))
                batch.forget()

    def _tell_reports(self) -> None:
        while self._reports and self._on_report is not None:
            report = self._reports.popleft()
            try:
                self._on_report(report)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # a CancelledError too: here it cancels nothing
                _logger.exception("%son_report raised for %r", self._label, report)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = None
        if _float(when) < math.inf:
            self._timer = self._loop.call_at(_float(when), self._on_timer, context=self._context)

    def _on_timer(self) -> None:
        self._tick_at = max(self._loop.time(), self._timer_at)
        self._timer, self._timer_at = None, math.inf
        self._wake()

    def _tell_time(self) -> None:
        now, self._tick_at = self._tick_at, -math.inf
        if self._batcher.wake_at <= now:
            self._batcher.tick(now)

    def _serve_line(self) -> None:
        """Let producers in for whom there is room; send away whom waiting would not help."""
        self._admit()
        if self._ending:
            self._gate.turn_away(self._refusal)
        if self._gate.line:
            self._break_deadlock()

    def _break_deadlock(self) -> None:
        """If every slot is taken by a flush that waits for room here, send the last one away."""
        running = self._batcher.running
        if not self._batcher.busy or self._gate.reserved or self._pausing:
            return
        if all(batch in self._gate.waiting and not batch.returned for batch in running):
            refusal = QueueFull(f"every flush that could make room waits for room: {self!r}")
            self._gate.turn_away_last(running, refusal)

    def _answer_barriers(self) -> None:
        settled = self._batcher.settled
        for waiting, mark in self._barriers.items():
            if mark > settled:
                return
            if not waiting.done():
                waiting.set_result(None)

    # The end.

    @property
    def _ending(self) -> bool:
        """Whether the queue ends, or has ended: by a close or a failure."""
        return self._closing or self._batcher.failed

    def _start(self) -> None:
        if self._closing:
            raise QueueClosed(f"{self!r} cannot be started again")
        if self._batcher.started:
            raise RuntimeError(f"{self!r} was started before")
        self._context = contextvars.copy_context()
        self._batcher.started = True
        self._wake()

    def _close(self) -> None:
        self._closing = True
        self._credit = NO_CREDIT
        self._batcher.draining = True
        self._wake()
        self._run_clock()

    def _run_clock(self) -> None:
        """Start the one clock of the end, at the first close or failure."""
        if self._clock_runs:
            return
        self._clock_runs = True
        if self._max_shutdown_wait == 0:
            self._on_limit()
        elif self._max_shutdown_wait < math.inf:
            limit = self._loop.time() + float(self._max_shutdown_wait)
            self._limit = self._loop.call_at(limit, self._on_limit, context=self._context)

    def _on_limit(self) -> None:
        self._cut_short(f"closing took longer than max_shutdown_wait={self._max_shutdown_wait!r} s")

    def _cut_short(self, why: str) -> None:
        """Start no flush any more, and cancel those that run."""
        if self._limit is not None:
            self._limit.cancel()
        self._wake()
        self._batcher.stop(why)
        for task, batch in self._tasks.items():
            if task.cancel():
                batch.interrupted = True

    def _end(self) -> None:
        self._ended = True
        if self._limit is not None:
            self._limit.cancel()
        for closer in self._closers:
            if not closer.done():
                closer.set_result(None)


def _shield() -> AbstractContextManager[object]:
    """Keep anyio from cancelling again a task that was cancelled once.

    A scope of anyio that is cancelled cancels the tasks in it in every iteration of the loop; a
    shield leaves one cancellation of it. asyncio's own cancellations pass.
    """
    anyio: Any = sys.modules.get("anyio")
    task = asyncio.current_task()
    if anyio is None or task is None or not task.cancelling():
        return nullcontext()
    shield: AbstractContextManager[object] = anyio.CancelScope(shield=True)
    return shield


def _report_of(batch: Batch[Any]) -> FlushReport:
    dropped = list(batch.dropped.values())
    return FlushReport(
        reason=batch.reason,
        count=batch.count,
        weight=batch.weight,
        waited=batch.started - batch.oldest,
        started=batch.started,
        seconds=batch.seconds,
        attempts=batch.attempts,
        error=dropped[-1] if dropped and batch.error is None else batch.error,
        delivered=batch.count - len(dropped) - len(batch.lost or ()),
        dropped=len(dropped),
        pending=batch.behind,
    )


def _float(seconds: float) -> float:
    """The time as the loop takes it: what no float can hold is never."""
    try:
        return float(seconds)
    except OverflowError:
        return math.inf
