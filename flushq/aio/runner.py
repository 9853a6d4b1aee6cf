"""The Runner of a Core on an event loop: passes, a task for each flush, a timer, a deadline.

Every event schedules one pass: a callback in the next iteration of the loop. Only a pass starts
flushes. If only one item arrives in each iteration of the loop, each item costs a whole pass. So
each step of the pass begins with a cheap check whether the step is needed.

A flush is a task that runs in a copy of the contextvars context in which the queue was started.
Whatever happens to the task, the outcome of the items is recorded on the Batch. The next pass
reports this outcome to the core.
"""

import asyncio
import contextvars
import math
import sys
import weakref
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from flushq.aio.calls import Calls, FlushFn, OnFailure
from flushq.arguments import as_float, check_sync_callable
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.core.waiter import Facts, Registry
from flushq.inside import current_flushes, flush_inside
from flushq.telling import (
    START_SECONDS,
    OnReport,
    hand_out_reports,
    log_displaced,
    log_failure,
    log_not_started,
)

T = TypeVar("T")

_HAS_EAGER_TASKS = sys.version_info >= (3, 12)


class Runner(Generic[T]):
    """The part of a queue that works on the event loop.

    Args:
        core: The core of the queue; it makes all decisions.
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        on_report: A function that is called with the report of each flush. None: no reports.

    Raises:
        TypeError: One of the functions cannot be called, or ``on_report`` is async.

    Attributes:
        loop: The event loop of the queue: the loop on which the queue was first used.
    """

    __slots__ = (
        "_bound",
        "_calls",
        "_core",
        "_deadline_timer",
        "_flush_context",
        "_on_report",
        "_pass_context",
        "_start_timer",
        "_starting_batch",
        "_task_name",
        "_tasks",
        "_timer",
        "_timer_at",
        "_woken",
        "loop",
    )

    loop: asyncio.AbstractEventLoop
    _flush_context: contextvars.Context
    _pass_context: contextvars.Context

    def __init__(
        self,
        core: Core[T],
        flush_fn: FlushFn[T],
        on_failure: OnFailure[T] | None,
        on_report: OnReport | None,
    ) -> None:
        check_sync_callable("on_report", on_report)
        self._core = core
        self._calls = Calls(core, flush_fn, on_failure, self.wake, self.wait, self.now)
        self._on_report = on_report
        self._task_name = f"flushq{core.name} flush"
        self._bound = self._woken = False
        self._tasks: dict[asyncio.Task[None], Batch[T]] = {}
        self._starting_batch: Batch[T] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._start_timer: asyncio.TimerHandle | None = None

    # The loop and the context.

    def bind(self) -> None:
        """Bind the queue to the running loop; if it is bound already, check that this is its loop.

        Raises:
            RuntimeError: No loop runs, or the queue is bound to another loop.
        """
        loop = asyncio.get_running_loop()
        if not self._bound:
            self.loop = loop
            self._copy_context()
            self._bound = True
        elif loop is not self.loop:
            raise RuntimeError(
                f"{self._core!r} belongs to another event loop, and must not be used on {loop!r}"
            )

    def _copy_context(self) -> None:
        """Copy the context of the caller twice: for the passes, and as a template for flushes."""
        self._flush_context = contextvars.copy_context()
        self._pass_context = contextvars.copy_context()

    def now(self) -> float:
        """Return the time of the loop, in seconds."""
        return self.loop.time()

    def inside(self) -> Batch[T] | None:
        """Return the running flush of this queue that the caller is inside of, or None."""
        return flush_inside(self._core.batcher)

    def check_not_inside(self, what: str) -> None:
        """Raise RuntimeError if the caller is inside a flush of this queue: it must not wait there.

        ``what`` is the name of the forbidden action in the message.
        """
        self._core.check_not_inside(self.inside(), what)

    def check_may_wait(self) -> None:
        """Raise RuntimeError if the caller is inside a flush of this queue, or on another loop."""
        if not self._bound or asyncio.get_running_loop() is not self.loop:
            self.bind()
        if current_flushes():
            self.check_not_inside("waiting for an item")

    # Life.

    def start(self) -> None:
        """Start the queue; flush_fn will run in copies of the context of the caller."""
        self._core.ending.start()
        if self._start_timer is not None:
            self._start_timer.cancel()
        self._copy_context()
        self.wake()

    def warn_if_not_started(self) -> None:
        """Log a warning if the queue is not started within START_SECONDS of its first item."""
        if self._start_timer is None:
            core = weakref.ref(self._core)  # a weak reference keeps no queue alive
            self._start_timer = self.loop.call_later(START_SECONDS, _log_not_started, core)

    def close(self) -> None:
        """Begin a drain of at most ``max_shutdown_wait`` seconds."""
        self._core.close()
        self.wake()
        self._set_deadline()

    def stop(self, why: str) -> None:
        """Start no more flushes, and cancel the running flushes; ``why`` is for the messages."""
        self._core.ending.stop(why)
        self._interrupt()

    def _set_deadline(self) -> None:
        """Set the deadline, and a timer for it, unless the deadline is set already."""
        if self._core.ending.deadline is not None:
            return
        now = self.now()
        deadline = self._core.ending.set_deadline(now)
        if deadline <= now:
            self._on_deadline()
        elif deadline < math.inf:
            self._deadline_timer = self.loop.call_at(
                deadline, self._on_deadline, context=self._pass_context
            )

    def _on_deadline(self) -> None:
        self._core.ending.stop_at_deadline()
        self._interrupt()

    def _interrupt(self) -> None:
        self._cancel_deadline_timer()
        self.wake()
        if self._starting_batch is not None:
            self._starting_batch.interrupt()
        for task, batch in self._tasks.items():
            if task.cancel():
                batch.interrupt()

    def _cancel_deadline_timer(self) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()

    # Callers that wait.

    async def wait(self, registry: Registry[*Facts], *facts: *Facts) -> Any:
        """Add a new waiter to ``registry``; wait for the answer of the core, and return it."""
        waiter = self.loop.create_future()
        registry.join(waiter, *facts)
        try:
            answer = await waiter
        except BaseException:
            registry.leave(waiter)
            self.wake()  # another producer may get the room that the caller does not take
            raise
        registry.leave(waiter)
        return answer

    # The pass.

    def wake(self) -> None:
        """Schedule a pass in the next iteration of the loop, unless the loop is closed."""
        if self._woken:
            return
        try:
            self.loop.call_soon(self._pass, context=self._pass_context)
        except RuntimeError:
            if not self.loop.is_closed():
                raise
        else:
            self._woken = True  # only now: if call_soon raises, the next wake() must try again

    def _pass(self) -> None:
        """Make one pass; flushq.core.core explains the order of the steps."""
        core = self._core
        self._woken = False
        try:
            core.observe()
            if (batch := core.start_next_flush(self.loop.time)) is not None:
                self._start_flushes(batch)
            ending = core.ending.has_begun
            if ending:
                self._set_deadline()
            core.respond()
            if ending:  # after respond(), which revokes the credit: a logging handler may enqueue
                log_failure(core.ending.take_failure())
            if core.admission.displaced_lately:
                log_displaced(core, self.loop.time())
            if (when := core.wake_at) != self._timer_at:
                self._set_timer(when)
            if core.reports and self._on_report is not None:
                hand_out_reports(core, self._on_report)
            if ending and core.ending.finish():
                self._cancel_deadline_timer()
        except BaseException:  # raised by the policy, on_report or logging
            core.admission.revoke_credit()  # respond() may not have been reached
            self.wake()  # else the rest of this pass would never be done
            raise

    def _start_flushes(self, first: Batch[T]) -> None:
        core, clock = self._core, self.loop.time
        self._start_flush(first)
        while (batch := core.start_next_flush(clock)) is not None:
            self._start_flush(batch)
        if core.flushes_ended:  # some flushes did not suspend
            core.observe()
            if core.is_due:  # the next pass starts it: other tasks must run before that
                self.wake()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = None
        if as_float(when) < math.inf:
            at = as_float(when)
            self._timer = self.loop.call_at(at, self._on_timer, context=self._pass_context)

    def _on_timer(self) -> None:
        self._core.timer_fired = max(self.now(), self._timer_at)
        self._timer, self._timer_at = None, math.inf
        self.wake()

    # Flushes.

    def _start_flush(self, batch: Batch[T]) -> None:
        flush, self._starting_batch = self._calls.run_flush(batch), batch
        try:
            task = new_task(flush, self.loop, self._task_name, self._flush_context.copy())
        except BaseException as error:  # a task factory of the user may raise anything
            flush.close()
            batch.fail(error)
            self._core.note_flush_end(batch, self.loop.time())
            self.wake()
            if not isinstance(error, Exception):
                raise
            return
        finally:
            self._starting_batch = None
        if task.done():
            self._finish_flush(batch)
            return
        self._tasks[task] = batch
        task.add_done_callback(self._on_done, context=self._pass_context)
        if batch.interrupted:  # the queue was stopped before flush_fn suspended
            task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self.wake()
        self._finish_flush(self._tasks.pop(task))

    def _finish_flush(self, batch: Batch[T]) -> None:
        if not batch.attempts:
            batch.fail(asyncio.CancelledError("the flush was cut short before flush_fn was called"))
        self._core.note_flush_end(batch, self.loop.time())
        if batch.error is not None and isinstance(batch.error, KeyboardInterrupt | SystemExit):
            raise batch.error


def new_task(
    flush: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop,
    name: str,
    context: contextvars.Context,
) -> asyncio.Task[None]:
    """Return a task for a flush: an eager task if Python can make one and no task factory is set.

    An eager task calls flush_fn one iteration of the loop earlier than a usual task. If the flush
    does not suspend, an eager task has ended when this function returns.
    """
    if _HAS_EAGER_TASKS and loop.get_task_factory() is None:
        return asyncio.Task(flush, loop=loop, name=name, context=context, eager_start=True)
    return loop.create_task(flush, name=name, context=context)


def _log_not_started(core_ref: weakref.ref[Core[Any]]) -> None:
    core = core_ref()
    if core is not None and core.buffer.items:
        log_not_started(core, "async with, or run()")
