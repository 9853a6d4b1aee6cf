"""The queue for threads: the methods that its users call.

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
    may use it; finalizers and signal handlers must call nothing but :meth:`enqueue_nowait`.

    Every accepted item ends in exactly one way: it is delivered (``flush_fn`` returned), counted as
    a duplicate, dropped by the failure handler, displaced (``when_full``), or lost. A lost item is
    in ``undelivered`` if ``flush_fn`` was never called with it, and in ``in_doubt`` if ``flush_fn``
    was called with it, and raised or was abandoned.

    *Interpreter shutdown*: after all threads that are not daemons have ended, an open queue is
    drained, within ``max_shutdown_wait`` (10 s if that is None). A log record tells of losses.

    *A fork* does not change the queue in the parent. In the child the queue is empty, with a new
    copy of the policy and new counts. A queue that was closing, closed or failed is closed there.

    Args:
        flush_fn: A plain callable that takes a list of items, oldest first. It may change the list,
            and its result is ignored. If it raises, the failure handler is asked. After a
            PartialFailure the handler is asked only about the failed items; the other items are
            delivered. ``flush_fn`` runs in a copy of the contextvars context in which the queue was
            started, and in a thread of the queue. If no thread can be started, it runs in a thread
            that waits for the queue.
        policy: The policy, which decides when to flush. The queue runs a deep copy of it.
        dedupe_key: A function that returns the key of an item, a hashable value. An item with the
            key of a waiting item is accepted, counted and discarded. None: no item is a duplicate.
        weigh: A function that returns the weight of an item, a real number from 0 to 1e300. Needed
            for ``max_weight`` of the policy and for ``max_queue_weight``.
        partition_key: A function that returns the partition of an item, a hashable value: a batch
            holds items of one partition only. A partition exists while its items wait or are in
            flight. It has its own copy of the policy while it exists. None: no partitions.
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
        max_in_flight: The most flushes that may run at a time, each in one thread of the queue.
        max_in_flight_per_partition: The most flushes of one partition that may run at a time; with
            1 the batches of a partition also end in order. None: no limit but ``max_in_flight``.
        max_shutdown_wait: The most seconds that a close may take, or that running flushes may take
            after a failure. After this time no flush starts, and running flushes are abandoned, as
            a thread cannot be cancelled: their items are in doubt, and the queue ignores how these
            flushes end. With 0 this happens at once. None: no limit.
        throttle: The throttle, which decides when each call of flush_fn may start, even a retry; no
            reason to flush overrules it. The queue runs a deep copy of it. None: at any time.
        on_failure: The failure handler: a plain function that takes a Failure and returns a verdict
            or its class (Retry means Retry(0)). It is called when flush_fn has raised, in the same
            thread. If the handler raises or returns anything else, the queue ends with FlushFailed.
            If flush_fn raises KeyboardInterrupt, SystemExit or an invalid PartialFailure, the same
            happens, and the handler is not called. None: every failure ends the queue.
        on_report: A plain function that is called with a FlushReport after every flush. It runs in
            the thread that starts flushes on time, so it must be quick: flushes and other reports
            may have to wait for it. An exception that it raises is logged.
        name: The name of the queue in its repr, in exceptions, log records and thread names.
        lost_as: A function that returns the entry for a lost item in ``undelivered`` or
            ``in_doubt``, such as a field of the item. If it is None or raises: the item itself.

    Raises:
        TypeError: An argument is of the wrong type, a function is async, the policy or the throttle
            cannot be deep-copied, ``weigh`` is missing (for a ``max_weight`` or
            ``max_queue_weight``), or ``dedupe_key`` is missing (for ``merge``).
        ValueError: A number is zero, negative or NaN where it must not be, or ``when_full`` is not
            one of the three modes.
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
        """Give the queue a new core and a new runner, in the child of a fork."""
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

        When this returns, the item was accepted, exactly once. When this raises, it was not. But in
        a queue with keys, weights or partitions, a KeyboardInterrupt may be raised after the item
        was accepted. Waiting producers get room in the order in which they came.

        Raises:
            TimeoutError: There was no room within ``timeout`` seconds (None: no limit).
            QueueClosed: The queue is closing or closed.
            FlushFailed, PolicyError: The queue has failed.
            ItemTooLarge: The item, alone or merged, weighs more than ``max_weight`` or
                ``max_queue_weight``.
            QueueFull: There is no room, and waiting would never end. This can happen in on_report,
                and inside flush_fn if each flush that could make room waits for room itself.
            TypeError: A key cannot be hashed, the weight or the timeout is not a real number, or a
                function that returns a key or the weight is async.
            ValueError: The weight is not from 0 to 1e300, the timeout is negative or NaN, or
                ``merge`` has changed the key.
            Exception: Raised by ``dedupe_key``, ``weigh``, ``partition_key`` or ``merge``.
        """
        if timeout is not None:
            check_timeout(timeout)
        entrance = self._entrance
        items, one = entrance.items, (item,) if ONE_STEP else iter((item,))
        for _ in entrance.credit: items += one; return  # noqa: E701, E702 - one line, as a tracer may run between two  # fmt: skip
        entrance.enter(item, end_of(timeout))

    def enqueue_nowait(self, item: T) -> None:
        """Accept the item now, or raise QueueFull.

        Raises:
            QueueFull: There is no free room, or other producers claim all free room.
            Exception: The same as for :meth:`enqueue`.
        """
        entrance = self._entrance
        items, one = entrance.items, (item,) if ONE_STEP else iter((item,))
        for _ in entrance.credit: items += one; return  # noqa: E701, E702 - one line, as a tracer may run between two  # fmt: skip
        entrance.enter(item, 0.0, waits=False)

    def submit(self, item: T, timeout: float | None = None) -> Receipt[T]:
        """Do the same as :meth:`enqueue`, and return a receipt of the item.

        For a duplicate, this is a receipt of the item that waits.
        """
        check_timeout(timeout)
        make: Any = partial(Receipt[T], self._runner)
        receipt: Any = self._entrance.enter(item, end_of(timeout), make_result=make)
        return receipt  # type: ignore[no-any-return]  # what make_result() returned

    def deliver(
        self,
        item: T,
        timeout: float | None = None,
        *,
        on_accepted: Callable[[T], object] | None = None,
    ) -> None:
        """Wait for room, accept the item, and return when the item was delivered.

        ``timeout`` limits the whole call. After a TimeoutError or an interrupt (KeyboardInterrupt)
        the queue keeps an item that was accepted; use :meth:`submit` to know whether it was.
        ``on_accepted`` is called in the step that accepts the item. It gets the item or, for a
        duplicate, the item that stays in the queue. ``on_accepted`` must not raise.

        Raises:
            TimeoutError: The item, accepted or not, was not delivered within ``timeout`` seconds.
            ItemFailed, Dropped, Displaced, ShutdownTimeout: The item was accepted, but not
                delivered: see :class:`Receipt`.
            FlushFailed, PolicyError: The queue has failed, before or after it accepted the item.
            QueueClosed, ItemTooLarge, TypeError, ValueError, Exception: The item was not accepted:
                see :meth:`enqueue`.
            RuntimeError: Called inside flush_fn or on_report; the item was not accepted.
        """
        check_timeout(timeout)
        until, runner, enter = end_of(timeout), self._runner, self._entrance.enter
        runner.check_not_inside("waiting for an item")
        awaited: Any = enter(item, until, make_result=Awaited[T], on_accepted=on_accepted)
        awaited.wait(runner, until)

    def flush(self, timeout: float | None = None) -> None:
        """Flush at once, and wait until all items that were accepted before this call have ended.

        Items that are accepted after the call began do not prolong the wait, and a close does not
        interrupt it. A timeout or a KeyboardInterrupt ends only the wait: the flush continues.

        Raises:
            TimeoutError: The items have not ended within ``timeout`` seconds (None: no limit).
            FlushFailed, PolicyError, ShutdownTimeout: An item that this call waited for was lost,
                or the queue had failed before the call.
            QueueClosed: A close had begun before the call.
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
                f"flush() of {self!r} took longer than {timeout!r} s; the flush continues"
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
        """Refuse new items, drain, and return when the queue has ended.

        A queue that was never started is drained, too. Several calls share one drain, one outcome
        and one time limit (``max_shutdown_wait``). An interrupt (KeyboardInterrupt) is raised.
        It also aborts the drain, unless an owner (``with``) waits for the end of the queue.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and items are left.
            RuntimeError: Called inside flush_fn or on_report.
        """
        self._runner.check_not_inside("close()")
        raise_outcome(self._core, until_ended(self._core, self._runner, owner=False))

    def __enter__(self) -> Self:
        """Start the queue: see :meth:`start`."""
        self._runner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the queue and drain it: see :meth:`close`.

        Afterwards the exception of the block is raised, or an interrupt (KeyboardInterrupt) that
        has aborted the drain. A log record and a note on the raised exception tell what was lost.
        """
        self._runner.check_not_inside("leaving the queue")
        raise_outcome(self._core, until_ended(self._core, self._runner, owner=True), error)

    # The counts.

    def stats(self) -> QueueStats:
        """Return the account at this moment: see :class:`flushq.QueueStats`."""
        return self._entrance.locked(self._account)

    def _account(self) -> QueueStats:
        self._entrance.revoke_credit()  # else items could come in during the count
        return super().stats()
