"""One flush, call by call: of flush_fn, and after a failure of the handler and of flush_fn again.

Whether a caller is inside a running flush is told by flushq.inside.

What comes of a batch stays on the batch, and nothing here raises: a flush runs in a task of its
own, and what it has done must be known whatever becomes of that task.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, Generic, TypeVar

from flushq.arguments import check_callable, shown
from flushq.core.attempts import Ask, Attempts, Call, Pause
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.inside import go_inside
from flushq.outcomes import Failure, Verdict

T = TypeVar("T")

FlushFn = Callable[[list[T]], Awaitable[object]]
OnFailure = Callable[[Failure[T]], Verdict | Awaitable[Verdict]]


class Calls(Generic[T]):
    """The calls of a queue's flush_fn and failure handler.

    Args:
        core: What decides.
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        wake: Asks for a pass.
        wait: Waits in a registry of the core, and returns the answer.
        clock: The loop's.

    Raises:
        TypeError: One of the functions cannot be called.
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
        if on_failure is not None:
            check_callable("on_failure", on_failure)
        self._core = core
        self._flush_fn = flush_fn
        self._on_failure = on_failure
        self._wake = wake
        self._wait = wait
        self._clock = clock

    async def deliver(self, batch: Batch[T]) -> None:
        """Call flush_fn with a batch, until all of it has ended. Nothing is raised."""
        if self._core.batcher.stopped is not None:
            return
        go_inside(batch)
        attempts = None
        try:
            await self._called(batch.call(batch.items))
        except BaseException as error:  # KeyboardInterrupt too: it is raised on at the end
            attempts = self._core.attempts(batch, has_handler=self._on_failure is not None)
            self._raised(attempts, error)
        else:
            batch.returned()
        while attempts is not None and attempts.next is not None:
            self._wake()  # what has ended by now is told now
            await self._follow(attempts.next, attempts)

    def _called(self, items: list[T]) -> Awaitable[object]:
        result: Any = self._flush_fn(items)
        if type(result) is not CoroutineType and not inspect.isawaitable(result):
            raise TypeError(
                f"flush_fn must be async: it returned {shown(result)}; "
                "a function that blocks is run by flushq.threads, or by asyncio.to_thread"
            )
        return result

    async def _follow(self, step: Call[T] | Pause | Ask[T], attempts: Attempts[T]) -> None:
        """Do what comes next after a failure."""
        if isinstance(step, Ask):
            await self._ask(attempts, step.failure)
        elif isinstance(step, Pause):
            await self._wait_in_line(attempts)
        else:
            await self._call_again(attempts, step.items)

    async def _ask(self, attempts: Attempts[T], failure: Failure[T]) -> None:
        try:
            verdict: Any = self._on_failure(failure)  # type: ignore[misc]  # or nobody is asked
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except BaseException as error:
            attempts.broke(error)
        else:
            attempts.judged(verdict)

    async def _wait_in_line(self, attempts: Attempts[T]) -> None:
        try:
            if not await self._wait(self._core.starts, attempts, self._clock()):
                raise asyncio.CancelledError("cut short between two attempts")  # noqa: TRY301 - so
        except BaseException as error:
            attempts.cut(error)
        else:
            attempts.paused()

    async def _call_again(self, attempts: Attempts[T], items: list[T]) -> None:
        try:
            await self._called(items)
        except BaseException as error:
            self._raised(attempts, error)
        else:
            attempts.returned(self._clock())

    def _raised(self, attempts: Attempts[T], error: BaseException) -> None:
        attempts.raised(error, self._clock(), may_ask=is_failure(error))


def is_failure(error: BaseException) -> bool:
    """Whether an exception is a failure of what this task has called, and not of the task.

    A CancelledError is one unless the task was cancelled. Whether it was says nothing of another
    exception: up to Python 3.12 a TaskGroup that has failed leaves it marked as cancelled.
    """
    if not isinstance(error, asyncio.CancelledError):
        return isinstance(error, Exception)
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
