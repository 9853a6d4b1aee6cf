"""The queue for asyncio: the methods that its users call.

The Core decides, and the Runner acts on the event loop. Items come in through the Entrance:
flushq.aio.entrance explains the hot path of ``enqueue``.
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
from flushq.telling import OnReport, log_collected, raise_outcome
from flushq.throttles import Throttle

T = TypeVar("T")


class FlushQueue(Entrance[T]):
    """A queue that hands its items to ``flush_fn`` in batches, when its policy says so.

    Use it as ``async with FlushQueue(...) as queue``, or call ``run()`` in a task of a TaskGroup.
    The queue belongs to the event loop on which it is first used, and is not thread-safe. Other
    threads must enqueue items with asyncio's ``run_coroutine_threadsafe``. Finalizers and signal
    handlers must enqueue items with ``loop.call_soon_threadsafe``.

    Every accepted item ends in exactly one way: it is delivered (``flush_fn`` returned), counted as
    a duplicate, dropped by the failure handler, displaced (``when_full``), or lost. A lost item is
    in ``undelivered`` if ``flush_fn`` was never called with it, and in ``in_doubt`` if ``flush_fn``
    was called with it, and raised or was interrupted.

    Args:
        flush_fn: An async callable that takes a list of items, oldest first. It may change the
            list, and its result is ignored. If it raises, the failure handler is asked. After a
            PartialFailure the handler is asked only about the failed items; the other items are
            delivered. ``flush_fn`` runs in a copy of the contextvars context in which the queue was
            started.
        policy: The policy, which decides when to flush. The queue runs a deep copy of it.
        dedupe_key: A function that returns the key of an item, a hashable value. An item with the
            key of a waiting item is accepted, counted and discarded. None: no item is a duplicate.
        weigh: A function that returns the weight of an item, a real number from 0 to 1e300. Needed
            for ``max_weight`` of the policy and for ``max_queue_weight``.
        partition_key: A function that returns the partition of an item, a hashable value: a batch
            holds items of one partition only. A partition exists while its items wait or are
            in flight. It has its own copy of the policy; when the partition ends, all that this
            copy has learnt is forgotten. None: there are no partitions.
        max_queue_size: The most items that may wait; those in flight are not counted.
        max_queue_weight: The most weight that the waiting items may have together; a second limit
            beside ``max_queue_size``. Needs ``weigh``. None: any weight.
        when_full: What happens to an item for which there is no room. "wait": its producer waits.
            "drop_oldest": the item is accepted, and the oldest waiting items are displaced until
            there is room. "drop_newest": the item is accepted and displaced at once. Displaced
            items are counted, logged, and never handed to ``flush_fn``. In the last two modes
            enqueue never waits for room. In these modes a queue flushes as soon as it can, whatever
            the policy says, if it is full or has displaced an item since its last batch.
        merge: A plain function of the waiting item and a new item with the same key. It returns the
            item that waits from now on, in the same place: ``lambda old, new: new`` keeps the new
            item. It must return an item with the same key, and must not change the two items. Needs
            ``dedupe_key``. None: the waiting item stays as it is.
        max_in_flight: The most flushes that may run at a time.
        max_in_flight_per_partition: The most flushes of one partition that may run at a time; with
            1 the batches of a partition also end in order. None: no limit but ``max_in_flight``.
        max_shutdown_wait: The most seconds that a close may take, or that running flushes may take
            after a failure. After this time no flush starts, and running flushes are cancelled.
            With 0 this happens at once. None: no limit.
        throttle: The throttle, which decides when each call of flush_fn may start, even a retry; no
            reason to flush overrules the throttle. The queue runs a deep copy of it. None: a call
            may start at any time.
        on_failure: The failure handler: a function, plain or async, that takes a Failure and
            returns a verdict. It is called when flush_fn has raised, and may return the class of a
            verdict: Retry means Retry(0). The handler is part of the flush: it runs in the context
            of the flush, and is cancelled with the flush. If the handler raises or returns anything
            else, the queue ends with FlushFailed. The handler is not asked about the cancellation
            of a flush, nor about KeyboardInterrupt, SystemExit, or an invalid PartialFailure. None:
            every failure ends the queue.
        on_report: A plain function that is called with a FlushReport after every flush. An
            exception that it raises is logged.
        name: The name of the queue in its repr, in exceptions, log records and tasks.
        lost_as: A function that returns the entry for a lost item in ``undelivered`` or
            ``in_doubt``, such as a field of the item. If ``lost_as`` is None or raises, the entry
            is the item itself.

    Raises:
        TypeError: An argument is of the wrong type, a function that must be plain is async, the
            policy or the throttle cannot be deep-copied, ``weigh`` is missing (for a ``max_weight``
            or ``max_queue_weight``), or ``dedupe_key`` is missing (for ``merge``).
        ValueError: A number is zero, negative or NaN where it must not be, or ``when_full`` is not
            one of the three modes.
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
            log_collected(core, items, self)

    async def flush(self) -> None:
        """Flush at once, and wait until all items that were accepted before this call have ended.

        Items that are accepted after the call began do not prolong the wait. A close does not
        interrupt the wait. A cancellation ends only the wait: the flush continues.

        Raises:
            FlushFailed, PolicyError, ShutdownTimeout: An item that this call waited for was lost,
                or the queue had failed before the call.
            QueueClosed: A close had begun before the call.
            RuntimeError: Called inside flush_fn, or on another event loop.
        """
        core, runner = self._core, self._runner
        runner.bind()
        runner.check_not_inside("flush()")
        core.ending.check_open(None)
        mark = core.barriers.set_barrier()
        if mark is None:
            return
        runner.wake()
        await runner.wait(core.barriers, mark)
        core.ending.check_delivered(mark)

    # Owners.

    async def __aenter__(self) -> Self:
        """Start the queue.

        Raises:
            RuntimeError: The queue was started before, is closed, or belongs to another event loop.
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

        An exception of the block is raised afterwards. A log record and a note on that exception
        tell what was lost. A cancellation during the drain aborts the drain, and is raised in place
        of the exception of the block.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and items are left.
            RuntimeError: The queue was never started; or the block was left inside flush_fn, or on
                another event loop.
        """
        self._runner.bind()
        if not self._core.batcher.started:
            raise RuntimeError(f"cannot leave {self!r}: it was never started")
        self._runner.check_not_inside("leaving the queue")
        self._runner.close()
        cancelled = await until_ended(self._core, self._runner, owner=True, error=error)
        raise_outcome(self._core, cancelled, error)

    async def run(self) -> None:
        """Start the queue, and return when the queue has ended: run this in a task of a TaskGroup.

        The queue ends when it is closed (:meth:`aclose`), when it fails, or when this call is
        cancelled. After a cancellation the queue drains, and then the CancelledError is raised. A
        second cancellation aborts the drain. If the queue is already closing, closed or failed,
        this call only waits for the end.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and items are left.
            RuntimeError: The queue was started before; or run() was called inside flush_fn, or on
                another event loop.
        """
        self._runner.bind()
        self._runner.check_not_inside("run()")
        if not self._core.ending.has_begun:
            self._runner.start()
        raise_outcome(self._core, await until_ended(self._core, self._runner, owner=True))

    async def aclose(self) -> None:
        """Refuse new items, drain, and return when the queue has ended.

        A queue that was never started is drained, too. Several calls share one drain, one outcome
        and one time limit (``max_shutdown_wait``). A cancellation aborts the drain, unless an owner
        (``async with``, :meth:`run`) waits for the drain. With or without an owner, the
        CancelledError is raised.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and items are left.
            RuntimeError: Called inside flush_fn, or on another event loop.
        """
        self._runner.bind()
        self._runner.check_not_inside("aclose()")
        if not self._core.batcher.started:
            self._runner.start()
        self._runner.close()
        raise_outcome(self._core, await until_ended(self._core, self._runner, owner=False))
