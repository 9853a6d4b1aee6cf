"""The asyncio queue: the calls of its users, each of which checks, waits and leaves.

What is decided is decided by the Core; what happens on the loop is the Runner's; items come in by
the Entrance.
"""

from types import TracebackType
from typing import Self, TypeVar

from flushq.aio.calls import FlushFn, OnFailure
from flushq.aio.cancellation import until_ended
from flushq.aio.entrance import Entrance
from flushq.aio.runner import Runner
from flushq.core.caps import Weigh
from flushq.core.core import Core
from flushq.core.displacing import WhenFull
from flushq.core.duplicates import DedupeKey
from flushq.core.losses import LostAs
from flushq.core.merging import Merge
from flushq.core.partitioned_buffer import PartitionKey
from flushq.policy import FlushPolicy
from flushq.telling import OnReport, raise_outcome, tell_dropped
from flushq.throttles import Throttle

T = TypeVar("T")


class FlushQueue(Entrance[T]):
    """A queue that hands its items to ``flush_fn`` in batches, when its policy says so.

    Use it as ``async with FlushQueue(...) as queue``, or ``run()`` it in a TaskGroup. It belongs
    to the event loop that first uses it, and is not thread-safe. Threads bring items by asyncio's
    ``run_coroutine_threadsafe``, finalizers and signal handlers by ``loop.call_soon_threadsafe``.

    Every accepted item ends in exactly one place: delivered (``flush_fn`` returned), counted as a
    duplicate, dropped by the failure handler, displaced (``when_full``), in ``undelivered``
    (``flush_fn`` was never called with it) or in ``in_doubt`` (it was called, and raised or was
    interrupted).

    Args:
        flush_fn: An async callable that takes a list of items, oldest first. The list is its own
            to change. What it returns is ignored. If it raises, the failure handler is asked; after
            a PartialFailure about those items alone, and the others are delivered. It runs in a
            copy of the context in which the queue was started.
        policy: When to flush. The queue runs a deep copy of it.
        dedupe_key: The key of an item, hashable. An item whose key is that of a waiting item is
            accepted, counted and dropped; the first stays. None: nothing is a duplicate.
        weigh: The weight of an item, a real number from 0 to 1e300. Needed for ``max_weight``.
        partition_key: The partition of an item, hashable: a batch holds items of one partition
            only. A partition exists while items of it wait or run, with a copy of the policy of its
            own; what that has learnt goes with it. None: there are no partitions.
        max_queue_size: How many items may wait; those in flight are not counted.
        max_queue_weight: What the items that wait may weigh together, within which room is given as
            within ``max_queue_size``; needs ``weigh``. None: any weight.
        when_full: What happens to an item for which there is no room. "wait": its producer waits.
            "drop_oldest": it is accepted, and as many of the oldest waiting items as needed are
            displaced. "drop_newest": it is accepted and displaced at once. What is displaced is
            counted, logged, and never handed over; then enqueue never waits for room. A queue that
            is full or has displaced anything flushes as soon as it may, whatever the policy says.
        merge: A plain function of the waiting item and a new one with the same key, that returns
            what waits from now on, in the same place: ``lambda old, new: new`` for the last to win.
            It must return an item with the same key, and change neither of the two. Needs
            ``dedupe_key``. None: the first stays as it is.
        max_in_flight: How many flushes may run at a time.
        max_in_flight_per_partition: How many of one partition; with 1 its batches also end in
            order. None: no limit but ``max_in_flight``.
        max_shutdown_wait: Seconds that a close may take, and that running flushes have after a
            failure. None: no limit. 0: no flush is started any more, running ones are cancelled.
        throttle: When a call of flush_fn may start, retries included; no reason to flush overrules
            it. The queue runs a deep copy of it. None: at any time.
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
            policy or the throttle cannot be deep-copied, ``weigh`` is missing (for a ``max_weight``
            or ``max_queue_weight``), or ``dedupe_key`` (for ``merge``).
        ValueError: A number is zero, negative or NaN where it must not be, or ``when_full`` is not
            one of the three.
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        flush_fn: FlushFn[T],
        policy: FlushPolicy,
        *,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        partition_key: PartitionKey[T] | None = None,
        max_queue_size: int = 10_000,
        max_queue_weight: float | None = None,
        when_full: WhenFull = "wait",
        merge: Merge[T] | None = None,
        max_in_flight: int = 1,
        max_in_flight_per_partition: int | None = 1,
        max_shutdown_wait: float | None = None,
        throttle: Throttle | None = None,
        on_failure: OnFailure[T] | None = None,
        on_report: OnReport | None = None,
        name: str | None = None,
        lost_as: LostAs[T] | None = None,
    ) -> None:
        core: Core[T] = Core(
            policy,
            dedupe_key=dedupe_key,
            weigh=weigh,
            partition_key=partition_key,
            max_queue_size=max_queue_size,
            max_queue_weight=max_queue_weight,
            when_full=when_full,
            merge=merge,
            max_in_flight=max_in_flight,
            max_in_flight_per_partition=max_in_flight_per_partition,
            max_shutdown_wait=max_shutdown_wait,
            throttle=throttle,
            name=name,
            lost_as=lost_as,
            keeps_reports=on_report is not None,
        )
        super().__init__(core, Runner(core, flush_fn, on_failure, on_report))

    def __del__(self) -> None:
        core: Core[T] | None = getattr(self, "_core", None)
        if core is not None and (items := len(core.buffer) + core.batcher.in_flight):
            tell_dropped(core, items, self)

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
