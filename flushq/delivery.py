"""One flush: hands a batch over, asks the failure handler, and hands over again what it says.

What comes of a batch is kept with the batch, and nothing here raises: a flush runs in a task of its
own, and what it has done must be known whatever becomes of that task. The queue that cancels a
flush says so on the batch; then nothing is handed over any more and nobody is asked.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from flushq.arguments import shown
from flushq.batcher import Batch
from flushq.outcomes import FAIL, Failure, Verdict
from flushq.parts import Parts

T = TypeVar("T")

FlushFn = Callable[[list[T]], Awaitable[object]]
OnFailure = Callable[[Failure[T]], Verdict | Awaitable[Verdict]]
OnProgress = Callable[[Batch[T], Mapping[int, BaseException | None]], None]


class Delivery(Generic[T]):
    """How the batches of one queue are delivered.

    Args:
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        on_progress: Is told which positions of a batch have ended while the others go on: with
            None if they were delivered, with the exception if they were dropped.

    Raises:
        TypeError: One of them cannot be called.
    """

    def __init__(
        self,
        flush_fn: FlushFn[T],
        on_failure: OnFailure[T] | None,
        on_progress: OnProgress[T],
    ) -> None:
        if not callable(flush_fn):
            raise TypeError(f"flush_fn must be callable, not {flush_fn!r}")
        if on_failure is not None and not callable(on_failure):
            raise TypeError(f"on_failure must be callable, not {on_failure!r}")
        self._flush_fn = flush_fn
        self._on_failure = on_failure
        self._on_progress = on_progress

    async def deliver(self, batch: Batch[T]) -> None:
        """Hand a batch over, until all of it has ended or something ends the queue."""
        batch.handed = True
        batch.attempts = 1
        try:
            await self._called(list(batch.items))
        except BaseException as error:  # KeyboardInterrupt too: the queue raises it on
            batch.error = error
        try:
            if batch.error is not None:
                await self._recover(batch, batch.error)
        finally:
            batch.returned = True

    async def _recover(self, batch: Batch[T], error: BaseException) -> None:
        """See a batch through that failed; what ends the queue stays as its error."""
        batch.error = None
        parts = Parts(batch.items, batch.reason)
        try:
            await self._ask(batch, parts, error)
            while parts.open:
                self._tell_ended(batch, parts)
                await self._hand_over(batch, parts)
        except BaseException as final:
            batch.error = final
        batch.dropped, batch.failed, batch.lost = parts.dropped, parts.failed, parts.lost
        parts.error = None  # whose traceback leads back here
        parts.ended.clear()  # likewise

    def _tell_ended(self, batch: Batch[T], parts: Parts[T]) -> None:
        if parts.ended:
            self._on_progress(batch, parts.take_ended())

    async def _hand_over(self, batch: Batch[T], parts: Parts[T]) -> None:
        try:
            _check_uninterrupted(batch)
            await asyncio.sleep(parts.pause)
        except BaseException as cut:
            raise cut from parts.error
        batch.attempts += 1
        try:
            await self._called(parts.items())
        except BaseException as error:
            await self._ask(batch, parts, error)
        else:
            parts.returned()

    def _called(self, items: list[T]) -> Awaitable[object]:
        result: Any = self._flush_fn(items)
        if not inspect.isawaitable(result):
            raise TypeError(f"flush_fn must be async: it returned {shown(result)}")
        return result

    async def _ask(self, batch: Batch[T], parts: Parts[T], error: BaseException) -> None:
        """Have the failure judged, and raise what ends the queue, if that is the verdict."""
        seconds = asyncio.get_running_loop().time() - batch.started
        failure = parts.raised(error, max(0.0, seconds))
        if batch.interrupted:
            raise error
        self._tell_ended(batch, parts)
        try:
            verdict = await self._verdict(failure) if is_failure(error) else FAIL
        except BaseException as broken:
            if not batch.interrupted:
                parts.judge(FAIL)
            known = broken is error or broken is error.__cause__
            if broken.__cause__ is None and not known:
                broken.__cause__ = error
            raise
        parts.judge(verdict)
        if parts.failed:
            raise error

    async def _verdict(self, failure: Failure[T]) -> Verdict:
        if self._on_failure is None:
            return FAIL
        verdict: Any = self._on_failure(failure)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if not isinstance(verdict, Verdict):
            raise TypeError(f"on_failure must answer with a verdict, not {shown(verdict)}")
        return verdict


def is_failure(error: BaseException) -> bool:
    """Whether an exception is a failure of what this task has called, and not of the task."""
    if not isinstance(error, Exception | asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


def _check_uninterrupted(batch: Batch[Any]) -> None:
    if batch.interrupted:
        raise asyncio.CancelledError("cut short between two attempts")
