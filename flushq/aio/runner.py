"""A Core on an event loop: passes, a task for each flush, a timer, a deadline.

Whatever happens schedules one pass, a callback in the next iteration of the loop, and nobody but
the pass starts anything. With one item a loop iteration the pass is most of what the item costs, so
each of its steps begins with a cheap question.

A flush is a task, in a copy of the context in which the queue was started. What became of its items
stays on the batch, whatever becomes of the task, until a pass tells the core of it.
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
from flushq.telling import OnReport, logger, tell_displaced, tell_failure, tell_reports

T = TypeVar("T")

_CAN_BEGIN = sys.version_info >= (3, 12)

START_SECONDS = 1.0
"""How long after its first item a queue is expected to have been started."""


class Runner(Generic[T]):
    """What an event loop does for a queue.

    Args:
        core: What decides.
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        on_report: Is called with the report of each flush. None: nobody asks.

    Raises:
        TypeError: One of them cannot be called, or on_report is async.

    Attributes:
        loop: The loop of the first call that needed one.
    """

    __slots__ = (
        "_beginning",
        "_bound",
        "_calls",
        "_context",
        "_core",
        "_limit",
        "_on_report",
        "_own_context",
        "_start_limit",
        "_task_name",
        "_tasks",
        "_timer",
        "_timer_at",
        "_woken",
        "loop",
    )

    loop: asyncio.AbstractEventLoop
    _context: contextvars.Context
    _own_context: contextvars.Context

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
        self._beginning: Batch[T] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._limit: asyncio.TimerHandle | None = None
        self._start_limit: asyncio.TimerHandle | None = None

    # The loop and the context.

    def bind(self) -> None:
        """Belong to the running loop, from the first call that needs one.

        Raises:
            RuntimeError: No loop runs, or another than before.
        """
        loop = asyncio.get_running_loop()
        if not self._bound:
            self.loop = loop
            self._keep_context()
            self._bound = True
        elif loop is not self.loop:
            raise RuntimeError(f"{self._core!r} belongs to another event loop than {loop!r}")

    def _keep_context(self) -> None:
        """Run in the context of the caller; flushes in copies of it that no pass has changed."""
        self._context = contextvars.copy_context()
        self._own_context = contextvars.copy_context()

    def now(self) -> float:
        """The time of the loop, in seconds."""
        return self.loop.time()

    def inside(self) -> Batch[T] | None:
        """The running flush of this queue that the caller is part of."""
        return flush_inside(self._core.batcher)

    def refuse_inside(self, what: str) -> None:
        """Refuse, within a running flush of this queue, what would wait for that flush."""
        self._core.refuse_inside(self.inside(), what)

    def check_waiter(self) -> None:
        """Refuse a caller that must not wait for the end of an item: on another loop, inside."""
        if not self._bound or asyncio.get_running_loop() is not self.loop:
            self.bind()
        if current_flushes():
            self.refuse_inside("waiting for an item")

    # Life.

    def start(self) -> None:
        """Start the queue, in the context of the caller."""
        self._core.ending.start()
        if self._start_limit is not None:
            self._start_limit.cancel()
        self._keep_context()
        self.wake()

    def expect_start(self) -> None:
        """The queue holds items and has not started: tell so, once, if it is not started soon."""
        if self._start_limit is None:
            core = weakref.ref(self._core)  # so that a queue that is dropped is gone
            self._start_limit = self.loop.call_later(START_SECONDS, _log_not_started, core)

    def close(self) -> None:
        """Begin to drain, within the limit."""
        self._core.close()
        self.wake()
        self._keep_deadline()

    def cut_short(self, why: str) -> None:
        """Start no flush any more, and cancel those that run."""
        self._core.ending.cut_short(why)
        self._interrupt()

    def _keep_deadline(self) -> None:
        """Have the deadline kept, from the first close or failure on."""
        if self._core.ending.deadline is not None:
            return
        now = self.now()
        deadline = self._core.ending.set_deadline(now)
        if deadline <= now:
            self._on_deadline()
        elif deadline < math.inf:
            self._limit = self.loop.call_at(deadline, self._on_deadline, context=self._own_context)

    def _on_deadline(self) -> None:
        self._core.ending.pass_deadline()
        self._interrupt()

    def _interrupt(self) -> None:
        self._forget_deadline()
        self.wake()
        if self._beginning is not None:
            self._beginning.interrupt()
        for task, batch in self._tasks.items():
            if task.cancel():
                batch.interrupt()

    def _forget_deadline(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    # Those who wait.

    async def wait(self, registry: Registry[*Facts], *facts: *Facts) -> Any:
        """Wait until the core completes the caller's waiter, and return with what."""
        waiter = self.loop.create_future()
        registry.join(waiter, *facts)
        try:
            answer = await waiter
        except BaseException:
            registry.leave(waiter)
            self.wake()  # room that it has not taken may be somebody else's
            raise
        registry.leave(waiter)
        return answer

    # The pass.

    def wake(self) -> None:
        """Have a pass in the next iteration of the loop, unless the loop is closed."""
        if self._woken:
            return
        try:
            self.loop.call_soon(self._pass, context=self._own_context)
        except RuntimeError:
            if not self.loop.is_closed():
                raise
        else:
            self._woken = True  # last: if call_soon fails, another wake() may succeed

    def _pass(self) -> None:
        """Make one pass; flushq.core.core says why in this order."""
        core = self._core
        self._woken = False
        try:
            core.observe()
            if (batch := core.next_flush(self.loop.time)) is not None:
                self._start_flushes(batch)
            ending = core.ending.begun
            if ending:
                self._keep_deadline()
            core.respond()
            if ending:  # now nothing is accepted any more, whatever a handler of logging does
                tell_failure(core.ending.take_failure())
            if core.admission.displaced_lately:
                tell_displaced(core, self.loop.time())
            if (when := core.wake_at) != self._timer_at:
                self._set_timer(when)
            if core.reports and self._on_report is not None:
                tell_reports(core, self._on_report)
            if ending and core.ending.finish():
                self._forget_deadline()
        except BaseException:  # of the policy, of on_report, of a logging that fails
            core.admission.revoke_credit()  # respond() may not have been reached
            self.wake()  # else what this pass has not done would never be done
            raise

    def _start_flushes(self, first: Batch[T]) -> None:
        core, clock = self._core, self.loop.time
        self._launch(first)
        while (batch := core.next_flush(clock)) is not None:
            self._launch(batch)
        if core.flushes_ended:  # those that have not suspended
            core.observe()
            if core.is_due:  # in the next pass: others run before
                self.wake()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = None
        if as_float(when) < math.inf:
            at = as_float(when)
            self._timer = self.loop.call_at(at, self._on_timer, context=self._own_context)

    def _on_timer(self) -> None:
        self._core.timer_fired = max(self.now(), self._timer_at)
        self._timer, self._timer_at = None, math.inf
        self.wake()

    # Flushes.

    def _launch(self, batch: Batch[T]) -> None:
        flush, self._beginning = self._calls.deliver(batch), batch
        try:
            task = new_task(flush, self.loop, self._task_name, self._context.copy())
        except BaseException as error:  # whatever a task factory of the user raises
            flush.close()
            batch.fail(error)
            self._core.flush_ended(batch, self.loop.time())
            self.wake()
            if not isinstance(error, Exception):
                raise
            return
        finally:
            self._beginning = None
        if task.done():
            self._end(batch)
            return
        self._tasks[task] = batch
        task.add_done_callback(self._on_done, context=self._own_context)
        if batch.interrupted:  # by what flush_fn has done before it suspended
            task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self.wake()
        self._end(self._tasks.pop(task))

    def _end(self, batch: Batch[T]) -> None:
        if not batch.attempts:
            batch.fail(asyncio.CancelledError("cut short before flush_fn was called"))
        self._core.flush_ended(batch, self.loop.time())
        if batch.error is not None and isinstance(batch.error, KeyboardInterrupt | SystemExit):
            raise batch.error


def new_task(
    flush: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop,
    name: str,
    context: contextvars.Context,
) -> asyncio.Task[None]:
    """A task for a flush: one that has begun, where asyncio can and the user has no task factory.

    So flush_fn is called an iteration of the loop earlier, and a flush that does not suspend has
    ended when this returns.
    """
    if _CAN_BEGIN and loop.get_task_factory() is None:
        return asyncio.Task(flush, loop=loop, name=name, context=context, eager_start=True)
    return loop.create_task(flush, name=name, context=context)


def _log_not_started(core: weakref.ref[Core[Any]]) -> None:
    queue = core()
    if queue is not None and queue.buffer.items:
        logger.warning("%r holds items: start it by async with, or by run()", queue)
