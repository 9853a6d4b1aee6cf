"""The calls that a flush makes: flush_fn and, after a failure, the handler and flush_fn again.

``run_flush`` raises nothing, and records the outcome of a batch on the Batch. A flush runs in a
task of its own, and the outcome must be known whatever happens to that task.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, Generic, TypeVar

from flushq.arguments import check_callable, check_handler, shown
from flushq.core.attempts import Ask, Attempts, Call, Pause
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.inside import go_inside
from flushq.outcomes import Failure, Verdict

T = TypeVar("T")

FlushFn = Callable[[list[T]], Awaitable[object]]
OnFailure = Callable[[Failure[T]], Verdict | Awaitable[Verdict]]


class Calls(Generic[T]):
    """The part of a queue that calls flush_fn and the failure handler.

    Args:
        core: The core of the queue; it decides the next step after a failure.
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        wake: A function that schedules a pass (flushq.core.core).
        wait: An async function that waits for an answer of the core, and returns it: the method
            ``Runner.wait``.
        clock: A function that returns the time of the event loop.

    Raises:
        TypeError: ``flush_fn`` or ``on_failure`` cannot be called.
    """

    __slots__ = ("_clock", "_core", "_flush_fn", "_on_failure", "_wait", "_wake")

    def __init__(
        self,
        core: Core[T],
        flush_fn: FlushFn[T],
        on_failure: OnFailure[T] | None,
        wake: Callable[[], None],
        wait: Callable[..., Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        check_callable("flush_fn", flush_fn)
        check_handler(on_failure)
        self._core = core
        self._flush_fn = flush_fn
        self._on_failure = on_failure
        self._wake = wake
        self._wait = wait
        self._clock = clock

    async def run_flush(self, batch: Batch[T]) -> None:
        """Call flush_fn with a batch; after a failure, do as the core decides. Raise nothing."""
        if self._core.batcher.stopped is not None:
            return
        go_inside(batch)
        attempts = None
        try:
            await self._call(batch.call(batch.items))
        except BaseException as error:  # also KeyboardInterrupt: the Runner raises it again
            attempts = self._core.new_attempts(batch, has_handler=self._on_failure is not None)
            self._raised(attempts, error)
        else:
            batch.returned()
        while attempts is not None and attempts.next is not None:
            self._wake()  # a pass answers the callers of items that have ended by now
            await self._do_step(attempts.next, attempts)

    def _call(self, items: list[T]) -> Awaitable[object]:
        result: Any = self._flush_fn(items)
        if type(result) is not CoroutineType and not inspect.isawaitable(result):
            raise TypeError(
                f"flush_fn must be async: it returned {shown(result)}; "
                "for a function that blocks, use flushq.threads or asyncio.to_thread"
            )
        return result

    async def _do_step(self, step: Call[T] | Pause | Ask[T], attempts: Attempts[T]) -> None:
        """Do the next step after a failure."""
        if isinstance(step, Ask):
            await self._ask(attempts, step.failure)
        elif isinstance(step, Pause):
            await self._wait_in_line(attempts)
        else:
            await self._call_again(attempts, step.items)

    async def _ask(self, attempts: Attempts[T], failure: Failure[T]) -> None:
        try:
            verdict: Any = self._on_failure(failure)  # type: ignore[misc]  # it is not None
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except BaseException as error:
            attempts.handler_raised(error)
        else:
            attempts.handler_answered(verdict)

    async def _wait_in_line(self, attempts: Attempts[T]) -> None:
        try:
            if not await self._wait(self._core.starts, attempts, self._clock()):
                raise asyncio.CancelledError("the flush was cut short between two calls")  # noqa: TRY301 - caught below
        except BaseException as error:
            attempts.pause_cut_short(error)
        else:
            attempts.paused()

    async def _call_again(self, attempts: Attempts[T], items: list[T]) -> None:
        try:
            await self._call(items)
        except BaseException as error:
            self._raised(attempts, error)
        else:
            attempts.returned(self._clock())

    def _raised(self, attempts: Attempts[T], error: BaseException) -> None:
        attempts.raised(error, self._clock(), may_ask=is_failure(error))


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is a failure of the function that this task has called.

    A CancelledError is a failure unless this task was cancelled. Each other exception is a failure
    if its class is a subclass of ``Exception``, even if the task is marked as cancelled: up to
    Python 3.12, a TaskGroup that has failed leaves this mark on its task.
    """
    if not isinstance(error, asyncio.CancelledError):
        return isinstance(error, Exception)
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
