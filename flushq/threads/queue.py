"""The queue for threads: the calls of its users, each of which checks, waits and leaves.

What is decided is decided by the Core; what happens in threads is the Runner's; items come in by
the Entrance, whose theory explains the hot path of ``enqueue``.
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
from flushq.telling import OnReport, raise_outcome, tell_dropped
from flushq.threads import primitives, process
from flushq.threads.calls import FlushFn, OnFailure
from flushq.threads.interrupts import until_ended
from flushq.threads.primitives import Waiter, check_timeout, end_of
from flushq.threads.producers import ONE_STEP
from flushq.threads.receipt import Awaited, Receipt
from flushq.threads.runner import Runner
from flushq.throttles import Throttle

T = TypeVar("T")


class FlushQueue(QueueView[T]):
    """A queue that hands its items to ``flush_fn`` in batches, when its policy says so.

    Use it as ``with FlushQueue(...) as queue``, or ``start()`` and ``close()`` it. Any thread may
    use it. A finalizer or a signal handler, which may interrupt another call, uses
    :meth:`enqueue_nowait`.

    Every accepted item ends in exactly one place, as in a :class:`flushq.FlushQueue`: delivered, a
    duplicate, dropped by the failure handler, displaced, in ``undelivered`` or in ``in_doubt``.

    *The end of the interpreter* drains a queue that is open, within ``max_shutdown_wait`` (10 s if
    that is None), after all threads that are no daemons have ended; what is left is logged.

    *A fork* leaves the parent's queue as it is. In the child it is the same queue, empty, with a
    new copy of the policy and an account of its own; one that was closing, closed or failed is
    closed there.

    Args:
        flush_fn: A plain callable that takes a list of items, oldest first. The list is its own
            to change. What it returns is ignored. If it raises, the failure handler is asked; after
            a PartialFailure about those items alone, and the others are delivered. It runs in a
            thread of the queue, in a copy of the contextvars context in which it was started.
        policy, dedupe_key, weigh, max_queue_size, max_queue_weight, when_full, merge, throttle,
            lost_as, name: As of a :class:`flushq.FlushQueue`. Threads are named after the queue.
        max_in_flight: How many flushes may run at a time, each in a thread of its own, which is
            made when it is first needed, and kept.
        max_shutdown_wait: Seconds that a close may take, and that running flushes have after a
            failure. None: no limit. A thread cannot be cancelled: a flush that runs on at the limit
            is abandoned. Its items are in doubt, and what it does later changes nothing.
        on_failure: What is to be done when flush_fn has raised: a plain function of a Failure that
            returns a verdict, called in the thread of the flush. None: every failure ends the
            queue. It is not asked about what is not an Exception (KeyboardInterrupt, SystemExit):
            that ends the queue, and is the cause that it tells.
        on_report: A plain function that is called with a FlushReport after every flush, in the
            thread that keeps the time of the queue, so it must be quick: it holds up flushes and
            other reports. What it raises is logged.

    Raises:
        TypeError: An argument is of the wrong type, a function is async, the policy or the throttle
            cannot be deep-copied, ``weigh`` is missing (for a ``max_weight`` or
            ``max_queue_weight``), or ``dedupe_key`` (for ``merge``).
        ValueError: A number is zero, negative or NaN where it must not be, or ``when_full`` is not
            one of the three.
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
        process.watch_queue(self._renew)

    def _set_up(self, context: Context | None) -> None:
        make_core, make_runner = self._make
        self._core = make_core()
        self._runner = make_runner(self._core, context)
        self._entrance = self._runner.entrance
        self._clock = primitives.clock

    def _renew(self) -> None:
        """Be a new queue in the same state: in the child of a fork."""
        was, context = self._core, self._runner.context
        self._set_up(context)
        self._core.batcher.started = was.batcher.started
        if was.ending.begun:
            self._core.close()
            self._core.ending.finish()

    def __del__(self) -> None:
        runner: Runner[T] | None = getattr(self, "_runner", None)
        if runner is not None and not runner.drop():
            items = len(self._core.buffer) + self._core.batcher.in_flight
            if items:
                tell_dropped(self._core, items, self)

    # Producers.

    def enqueue(self, item: T, timeout: float | None = None) -> None:
        """Wait for room, then accept the item.

        When this returns the item is accepted, once. When it raises, a TimeoutError and a
        KeyboardInterrupt included, it is not. Producers that wait are served first come, first
        served.

        Raises:
            TimeoutError: There was no room within ``timeout`` seconds; None: no limit.
            QueueClosed: The queue is closing or closed.
            FlushFailed, PolicyError: The queue has failed.
            ItemTooLarge: The item, alone or merged, weighs more than ``max_weight`` or
                ``max_queue_weight``.
            QueueFull: Called inside flush_fn, where waiting could never end, or in on_report.
            TypeError: The key cannot be hashed, the weight or the timeout is not a real number, or
                key or weight must be awaited.
            ValueError: The weight is not from 0 to 1e300, the timeout is negative or NaN, or
                ``merge`` has changed the key.
            Exception: What ``dedupe_key``, ``weigh``, ``partition_key`` or ``merge`` raised; the
                queue goes on.
        """
        if timeout is not None:
            check_timeout(timeout)
        entrance = self._entrance
        items, one = entrance.items, (item,) if ONE_STEP else iter((item,))
        for _ in entrance.credit: items += one; return  # noqa: E701, E702 - tracers come between lines  # fmt: skip
        entrance.enter(item, end_of(timeout))

    def enqueue_nowait(self, item: T) -> None:
        """Accept the item now.

        Raises:
            QueueFull: There is no room beside what is claimed by the producers that came before.
            Exception: As :meth:`enqueue`.
        """
        entrance = self._entrance
        items, one = entrance.items, (item,) if ONE_STEP else iter((item,))
        for _ in entrance.credit: items += one; return  # noqa: E701, E702 - tracers come between lines  # fmt: skip
        entrance.enter(item, 0.0, waits=False)

    def submit(self, item: T, timeout: float | None = None) -> Receipt[T]:
        """Wait for room and accept the item, as :meth:`enqueue`; return its receipt.

        The receipt of a duplicate is that of the item that stayed.
        """
        check_timeout(timeout)
        make: Any = partial(Receipt[T], self._runner)
        receipt: Any = self._entrance.enter(item, end_of(timeout), watch=make)
        return receipt  # type: ignore[no-any-return]  # what watch() has made

    def deliver(
        self,
        item: T,
        timeout: float | None = None,
        *,
        on_accepted: Callable[[T], object] | None = None,
    ) -> None:
        """Wait for room, accept the item, and return when it was delivered.

        ``timeout`` is the limit of the whole call: after a TimeoutError nobody knows whether the
        item was accepted; :meth:`submit` tells. ``on_accepted`` is called in the step that accepts
        it, with the item (for a duplicate: the one that stayed), and must not raise.

        Raises:
            TimeoutError: The item was not delivered in time, or not accepted in time.
            ItemFailed, Dropped, Displaced, ShutdownTimeout: It was accepted, and not delivered: see
                :class:`Receipt`.
            FlushFailed, PolicyError: The queue has failed.
            QueueClosed, ItemTooLarge, TypeError, ValueError, Exception: It was not accepted: see
                :meth:`enqueue`.
            RuntimeError: Called inside flush_fn or on_report: it was not accepted.
        """
        check_timeout(timeout)
        until, runner = end_of(timeout), self._runner
        runner.refuse_inside("waiting for an item")
        awaited: Any = self._entrance.enter(item, until, watch=Awaited[T], on_accepted=on_accepted)
        awaited.wait(runner, until)

    def flush(self, timeout: float | None = None) -> None:
        """Flush at once, and return when all that was accepted before the call has ended.

        What is accepted later is not waited for. A close does not interrupt it.

        Raises:
            TimeoutError: It takes longer than ``timeout`` seconds; the flush goes on.
            FlushFailed, PolicyError, ShutdownTimeout: Something it waited for was not delivered,
                or the queue had failed before the call.
            QueueClosed: Closing has begun before the call.
            RuntimeError: Called inside flush_fn or on_report.
            TypeError, ValueError: The timeout is not a number of seconds.
        """
        check_timeout(timeout)
        core, runner, mark = self._core, self._runner, 0

        def join(waiter: Waiter) -> None:
            nonlocal mark
            core.ending.check_open(None)
            mark = core.barriers.raise_barrier() or 0
            if mark:
                core.barriers.join(waiter, mark)
                runner.wake()
            else:
                waiter.set_result(None)

        runner.refuse_inside("flush()")
        if not runner.wait(end_of(timeout), join, core.barriers.leave):
            raise TimeoutError(f"flush() of {self!r} takes longer than {timeout!r} s; it goes on")
        self._entrance.locked(core.ending.check_delivered, mark)

    # Owners.

    def start(self) -> None:
        """Start the queue, for those who cannot use ``with``.

        Raises:
            RuntimeError: It was started before, or is closed.
        """
        self._runner.start()

    def close(self) -> None:
        """Refuse new items, drain, and return when the queue has ended.

        A queue that was never started is drained, too. Several calls share one drain, one limit and
        one outcome. An interrupt (KeyboardInterrupt) aborts the drain, and goes on.

        Raises:
            FlushFailed, PolicyError: The queue has failed.
            ShutdownTimeout: The drain was cut short, and something is left.
            RuntimeError: Called inside flush_fn or on_report.
        """
        self._runner.refuse_inside("close()")
        raise_outcome(self._core, until_ended(self._core, self._runner, owner=False))

    def __enter__(self) -> Self:
        """Start the queue, as :meth:`start`."""
        self._runner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the queue and drain it, as :meth:`close`.

        An exception of the body goes on: what was lost goes into a log record and a note on it.
        """
        self._runner.refuse_inside("leaving the queue")
        raise_outcome(self._core, until_ended(self._core, self._runner, owner=True), error)

    # What can be seen.

    def stats(self) -> QueueStats:
        """The account of this moment, which adds up."""
        return self._entrance.locked(self._account)

    def _account(self) -> QueueStats:
        self._entrance.revoke_credit()  # else items would come in meanwhile
        return super().stats()
