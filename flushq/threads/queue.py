"""The queue for threads: the methods that its users call. Each one checks, waits and returns.

The Core decides, and the Runner does the work in threads. Items come in through the Entrance:
flushq.threads.entrance explains the hot path of ``enqueue``.
"""

from collections.abc import Callable
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from flushq.core.caps import Weigh
from flushq.core.core import Core
from flushq.core.displacing import WhenFull
from flushq.core.duplicates import DedupeKey
from flushq.core.losses import LostAs
from flushq.core.merging import Merge
from flushq.core.partitioned_buffer import PartitionKey
from flushq.core.view import QueueView
from flushq.outcomes import QueueStats
from flushq.policy import FlushPolicy
from flushq.telling import OnReport, log_collected, raise_outcome
from flushq.threads import primitives, process
from flushq.threads.calls import FlushFn, OnFailure
from flushq.threads.entrance import ONE_STEP
from flushq.threads.interrupts import until_ended
from flushq.threads.primitives import Waiter, check_timeout, end_of
from flushq.threads.receipt import Awaited, Receipt
from flushq.threads.runner import Runner
from flushq.throttles import Throttle

T = TypeVar("T")


class FlushQueue(QueueView[T]):
    """A queue that hands its items to ``flush_fn`` in batches, when its policy says so.

    Use it as ``with FlushQueue(...) as queue``, or call :meth:`start` and :meth:`close`. Any thread
    may use it. A finalizer or a signal handler may interrupt another call of the queue, so it must
    use :meth:`enqueue_nowait` alone.

    Every accepted item ends in exactly one place: delivered (``flush_fn`` returned), counted as a
    duplicate, dropped by the failure handler, displaced (``when_full``), in ``undelivered``
    (``flush_fn`` was never called with it) or in ``in_doubt`` (``flush_fn`` was called with it, and
    raised or was abandoned).

    *The end of the interpreter*: after all threads that are not daemons have ended, an open queue
    is drained, within ``max_shutdown_wait`` (10 s if that is None). Lost items are logged.

    *A fork* does not change the queue in the parent. In the child the queue is empty, with a new
    copy of the policy and new counts. It is closed there if it was closing, closed or failed.

    Args:
        flush_fn: A plain callable that takes a list of items, oldest first, which it may change.
            Its result is ignored. If it raises, the failure handler is asked: after a
            PartialFailure only about the items in it, and the others are delivered. It runs in a
            thread of the queue, in a copy of the contextvars context of the start.
        policy: The policy that decides when to flush. The queue runs a deep copy of it.
        dedupe_key: A function that returns the key of an item, hashable. An item with the key of a
            waiting item is accepted, counted and dropped; the first one stays. None: nothing is a
            duplicate.
        weigh: A function that returns the weight of an item, a real number from 0 to 1e300. It is
            needed for ``max_weight`` and ``max_queue_weight``.
        partition_key: A function that returns the partition of an item, hashable. A batch holds
            items of one partition only. A partition exists while items of it wait or are in flight,
            with its own copy of the policy, which ends with it. None: there are no partitions.
        max_queue_size: The number of items that may wait; items in flight are not counted.
        max_queue_weight: The weight that the waiting items may have together. It limits the room
            like ``max_queue_size``, and needs ``weigh``. None: any weight.
        when_full: What happens to an item for which there is no room. "wait": its producer waits.
            "drop_oldest": it is accepted, and as many of the oldest waiting items as needed are
            displaced. "drop_newest": it is accepted and displaced at once. Displaced items are
            counted and logged, and flush_fn never gets them. With either "drop" word, ``enqueue``
            never waits for room, and a queue that is full or has displaced an item flushes as soon
            as it may, whatever the policy says.
        merge: A plain function of a waiting item and a new one with the same key. It returns the
            item that waits from then on, in the same place: ``lambda old, new: new`` keeps the last
            one. The key must stay the same, and neither argument may be changed. It needs
            ``dedupe_key``. None: the first item stays as it is.
        max_in_flight: The number of flushes that may run at a time. Each runs in a thread of its
            own, which is made when it is first needed, and kept.
        max_in_flight_per_partition: The number of flushes of one partition that may run at a time.
            With 1, its batches also end in order. None: no limit but ``max_in_flight``.
        max_shutdown_wait: The seconds that a close may take, and that running flushes have after a
            failure. None: no limit. A thread cannot be cancelled, so a flush that still runs then
            is abandoned: its items are in doubt, and what it does later changes nothing.
        throttle: The throttle that decides when a call of flush_fn may start, retries included. No
            reason to flush overrules it. The queue runs a deep copy of it. None: at any time.
        on_failure: The failure handler: a plain function that is called when flush_fn has raised,
            in the thread of the flush. It gets a Failure and returns a verdict; a class means its
            instance, so Retry is Retry(0). If it raises or returns anything else, the queue ends
            with FlushFailed. It is not asked about a PartialFailure that makes no sense, nor about
            KeyboardInterrupt, SystemExit and the like: these end the queue with a FlushFailed,
            whose ``__cause__`` tells why. None: every failure ends the queue.
        on_report: A plain function that gets a FlushReport after every flush. It runs in the thread
            that keeps the time of the queue, so it must be quick: meanwhile flushes and other
            reports may have to wait. An exception that it raises is logged.
        name: The name of the queue in its repr, in exceptions, log records and thread names.
        lost_as: A function that returns what the lists of lost items hold for an item, such as a
            field of it. None, or if it raises: the item itself.

    Raises:
        TypeError: An argument has the wrong type, a function is async, the policy or the throttle
            cannot be deep-copied, ``weigh`` is missing for ``max_weight`` or ``max_queue_weight``,
            or ``dedupe_key`` is missing for ``merge``.
        ValueError: A number is zero, negative or NaN where that is not allowed, or ``when_full`` is
            none of the three words.
    """

    __slots__ = ("__weakref__", "_entrance", "_make", "_runner")

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
        make_core: Callable[[], Core[T]] = partial(
            Core,
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
            burst=float("inf"),
            keeps_reports=on_report is not None,
        )
        is_plain = dedupe_key is None and weigh is None and partition_key is None
        make_runner: Callable[[Core[T], Context | None], Runner[T]] = partial(
            Runner[T], flush_fn, on_failure, on_report, is_plain
        )
        self._make = make_core, make_runner
        self._set_up(None)
        process.renew_in_child(self._renew)

    def _set_up(self, context: Context | None) -> None:
        make_core, make_runner = self._make
        self._core = make_core()
        self._runner = make_runner(self._core, context)
        self._entrance = self._runner.entrance
        self._clock = primitives.clock

    def _renew(self) -> None:
        """Make the queue a new one in the same state, in the child of a fork."""
        was, context = self._core, self._runner.context
        self._set_up(context)
        self._core.batcher.started = was.batcher.started
        if was.ending.has_begun:
            self._core.close()
            self._core.ending.finish()

    def __del__(self) -> None:
        runner: Runner[T] | None = getattr(self, "_runner", None)
        if runner is not None and not runner.drain_unreferenced():
            items = len(self._core.buffer) + self._core.batcher.in_flight
            if items:
                log_collected(self._core, items, self)

    # Producers.

    def enqueue(self, item: T, timeout: float | None = None) -> None:
        """Wait for room, then accept the item.

        If this returns, the item was accepted, once. If this raises, even a KeyboardInterrupt, the
        item was not accepted. Producers get room in the order in which they came.

        Raises:
            TimeoutError: There was no room within ``timeout`` seconds. None: no limit.
            QueueClosed: The queue is closing or closed.
            FlushFailed, PolicyError: The queue has failed.
            ItemTooLarge: The item, alone or merged, weighs more than ``max_weight`` or
                ``max_queue_weight``.
            QueueFull: There is no room, and the call must not wait: it is in on_report, or inside
                flush_fn while every slot is taken by a flush that waits for room.
            TypeError: The key or the partition cannot be hashed, the weight or the timeout is not a
                real number, or a function that returns one of them is async.
            ValueError: The weight is not from 0 to 1e300, the timeout is negative or NaN, or
                ``merge`` changed the key.
            Exception: ``dedupe_key``, ``weigh``, ``partition_key`` or ``merge`` raised it. The
                queue stays usable.
        """
        if timeout is not None:
            check_timeout(timeout)
        entrance = self._entrance
        items, one = entrance.items, (item,) if ONE_STEP else iter((item,))
        for _ in entrance.credit: items += one; return  # noqa: E701, E702 - tracers come between lines  # fmt: skip
        entrance.enter(item, end_of(timeout))

    def enqueue_nowait(self, item: T) -> None:
        """Accept the item now, without waiting.

        Raises:
            QueueFull: There is no room, or producers that came before claim all of it.
            Exception: The same as for :meth:`enqueue`.
        """
        entrance = self._entrance
        items, one = entrance.items, (item,) if ONE_STEP else iter((item,))
        for _ in entrance.credit: items += one; return  # noqa: E701, E702 - tracers come between lines  # fmt: skip
        entrance.enter(item, 0.0, waits=False)

    def submit(self, item: T, timeout: float | None = None) -> Receipt[T]:
        """Wait for room and accept the item, like :meth:`enqueue`; return its receipt.

        A duplicate gets a receipt of the item that stayed.
        """
        check_timeout(timeout)
        make: Any = partial(Receipt[T], self._runner)
        receipt: Any = self._entrance.enter(item, end_of(timeout), make_result=make)
        return receipt  # type: ignore[no-any-return]  # what make_result() has made

    def deliver(
        self,
        item: T,
        timeout: float | None = None,
        *,
        on_accepted: Callable[[T], object] | None = None,
    ) -> None:
        """Wait for room, accept the item, and return after it was delivered.

        ``timeout`` limits the whole call. After a TimeoutError the caller does not know whether the
        item was accepted: use :meth:`submit` to know it. ``on_accepted`` is called in the step that
        accepts the item, with the item (for a duplicate: the item that stayed). It must not raise.

        Raises:
            TimeoutError: The item was not accepted and delivered within ``timeout`` seconds.
            ItemFailed, Dropped, Displaced, ShutdownTimeout: The item was accepted, and not
                delivered: see :class:`Receipt`.
            FlushFailed, PolicyError: The queue has failed, before it accepted the item or after.
            QueueClosed, ItemTooLarge, TypeError, ValueError, Exception: The item was not accepted:
                see :meth:`enqueue`.
            RuntimeError: Called inside flush_fn or on_report. The item was not accepted.
        """
        check_timeout(timeout)
        until, runner, enter = end_of(timeout), self._runner, self._entrance.enter
        runner.check_not_inside("waiting for an item")
        awaited: Any = enter(item, until, make_result=Awaited[T], on_accepted=on_accepted)
        awaited.wait(runner, until)

    def flush(self, timeout: float | None = None) -> None:
        """Flush at once, and return when all items accepted before the call have ended.

        It does not wait for items that are accepted later. A close does not interrupt it.

        Raises:
            TimeoutError: The items have not ended within ``timeout`` seconds (None: no limit). They
                are still flushed at once.
            FlushFailed, PolicyError, ShutdownTimeout: An item accepted before the call was lost,
                or the queue had failed before the call.
            QueueClosed: A close began before the call.
            RuntimeError: Called inside flush_fn or on_report.
            TypeError, ValueError: ``timeout`` is not a number of seconds that is at least 0.
        """
        check_timeout(timeout)
        core, runner, mark = self._core, self._runner, 0

        def join(waiter: Waiter) -> None:
            nonlocal mark
            core.ending.check_open(None)
            mark = core.barriers.set_barrier() or 0
            if mark:
                core.barriers.join(waiter, mark)
                runner.wake()
            else:
                waiter.set_result(None)

        runner.check_not_inside("flush()")
        if not runner.wait(end_of(timeout), join, core.barriers.leave):
            raise TimeoutError(
                f"flush() of {self!r} took longer than {timeout!r} s; its items are still flushed"
            )
        self._entrance.locked(core.ending.check_delivered, mark)

    # Owners.

    def start(self) -> None:
        """Start the queue. A ``with`` block does so by itself.

        Raises:
            RuntimeError: The queue was started before, or is closing or closed.
        """
        self._runner.start()

    def close(self) -> None:
        """Refuse new items, drain the queue, and return when it has ended.

        A queue that was never started is drained, too. Several calls share one drain, one limit and
        one outcome. An interrupt (KeyboardInterrupt) aborts the drain, unless the thread of a
        ``with`` block waits for the end, too. In both cases the interrupt is raised on.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and items were lost.
            RuntimeError: Called inside flush_fn or on_report.
        """
        self._runner.check_not_inside("close()")
        raise_outcome(self._core, until_ended(self._core, self._runner, owner=False))

    def __enter__(self) -> Self:
        """Start the queue, like :meth:`start`."""
        self._runner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the queue and drain it, like :meth:`close`.

        An exception of the block is raised on; a log record and a note on it tell what was lost. An
        interrupt always aborts the drain.
        """
        self._runner.check_not_inside("leaving the queue")
        raise_outcome(self._core, until_ended(self._core, self._runner, owner=True), error)

    # The counts.

    def stats(self) -> QueueStats:
        """Return the counts of this moment. They add up: see :class:`flushq.QueueStats`."""
        return self._entrance.locked(self._account)

    def _account(self) -> QueueStats:
        self._entrance.revoke_credit()  # else items could come in while they are counted
        return super().stats()
