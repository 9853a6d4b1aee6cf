"""The calls that a flush makes: flush_fn and, after a failure, the handler and flush_fn again.

The functions of the user (flush_fn and the failure handler) are called without the lock of the
queue. When such a function has ended, its result is reported to the core, with the lock held.
Before that, the flush may have been *abandoned*: a thread cannot be cancelled, so a queue abandons
its running flushes when ``max_shutdown_wait`` is over or ``Runner.stop`` is called. Then those
items of the flush that have no outcome yet are lost, and the result of the function is ignored.
"""

import inspect
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextvars import Context
from typing import Any, Generic, TypeVar

import attrs

from flushq.arguments import check_callable, check_handler, check_sync_callable, shown
from flushq.core.attempts import Ask, Attempts, Call, Pause
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.core.duplicates import discard
from flushq.core.waiter import wake
from flushq.inside import go_inside
from flushq.outcomes import Failure, Verdict
from flushq.threads import primitives
from flushq.threads.primitives import Waiter

T = TypeVar("T")

FlushFn = Callable[[list[T]], object]
OnFailure = Callable[[Failure[T]], Verdict]

Step = Call[T] | Pause | Ask[T]
Result = Callable[[Attempts[T]], object]
"""A function that reports the result of a step to the ``Attempts`` of a flush."""


@attrs.define(eq=False)
class RunningFlush(Generic[T]):
    """A flush that runs.

    Attributes:
        batch: The batch of the flush.
        context: The contextvars context in which flush_fn and the handler are called.
        attempts: The object that decides the next step after a failure. None until flush_fn has
            raised.
        waiter: The waiter of the flush in the line of calls (flushq.core.starts). None until the
            flush joins this line.
    """

    batch: Batch[T]
    context: Context
    attempts: Attempts[T] | None = None
    waiter: Waiter | None = None

    def abandon(self) -> None:
        """Abandon the flush: those of its items that have no outcome yet are lost.

        These items are in doubt; but if flush_fn was not called yet, they are undelivered.
        """
        self.batch.interrupt()
        error = CancelledError(
            "the flush was abandoned when the queue ended; flush_fn may still deliver its items"
        )
        if self.attempts is None:
            self.batch.fail(error)
        else:
            self.attempts.pause_cut_short(error)
        if self.waiter is not None:
            wake(self.waiter, answer=False)


def check_not_async(name: str, function: object) -> None:
    """Raise TypeError if ``function`` cannot be called, or is known to be async."""
    check_callable(name, function)
    try:
        check_sync_callable(name, function)
    except TypeError as error:
        raise TypeError(
            f"{error}; for async functions, use flushq.FlushQueue, flushq.Batched and "
            "flushq.FailureHandler"
        ) from None


def check_handler_not_async(on_failure: object) -> None:
    """Raise TypeError if ``on_failure`` cannot be a failure handler, or is known to be async."""
    check_handler(on_failure)
    if on_failure is not None:
        check_not_async("on_failure", on_failure)


class Calls(Generic[T]):
    """The part of a queue that calls flush_fn and the failure handler.

    Args:
        core: The core of the queue.
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        wake: A function that asks for a pass (flushq.core.core). It is called with the lock held.
        wait: A function that waits until a pass completes the given waiter. It is called without
            the lock.

    Raises:
        TypeError: ``flush_fn`` or ``on_failure`` cannot be called, or is async.
    """

    def __init__(
        self,
        core: Core[T],
        flush_fn: FlushFn[T],
        on_failure: OnFailure[T] | None,
        wake: Callable[[], None],
        wait: Callable[[Waiter], None],
    ) -> None:
        check_not_async("flush_fn", flush_fn)
        check_handler_not_async(on_failure)
        self._core = core
        self._flush_fn = flush_fn
        self._on_failure = on_failure
        self._wake = wake
        self._wait = wait

    # The lock is held.

    def first_step(self, flush: RunningFlush[T]) -> Step[T] | None:
        """Return the first step of a flush, or None if flush_fn must not be called."""
        batch = flush.batch
        if batch.over:
            return None
        if self._core.batcher.stopped is not None:
            batch.fail(CancelledError("the flush was cut short before flush_fn was called"))
            return None
        flush.context.run(go_inside, batch)
        return Call(batch.call(batch.items))

    def next_step(self, flush: RunningFlush[T], result: Result[T]) -> Step[T] | None:
        """Report the result of a step; return the next step, or None if the flush has ended."""
        batch, attempts = flush.batch, flush.attempts
        if batch.over:
            return None
        if attempts is None:
            if result is _returned:
                batch.returned()
                return None
            attempts = self._core.new_attempts(batch, has_handler=self._on_failure is not None)
            flush.attempts = attempts
        result(attempts)
        if isinstance(attempts.next, Pause):
            flush.waiter = Waiter()
            self._core.starts.join(flush.waiter, attempts, primitives.clock())
        self._wake()  # a pass answers the callers of items that have ended by now
        return attempts.next

    # The lock is not held.

    def do_step(self, step: Step[T], flush: RunningFlush[T]) -> Result[T]:
        """Do a step; return a function that reports the result or the exception of the step."""
        if isinstance(step, Call):
            return self._call(step.items, flush.context)
        if isinstance(step, Ask):
            return self._ask(step.failure, flush.context)
        assert flush.waiter is not None
        self._wait(flush.waiter)
        return _paused if flush.waiter.result() else _cut

    def _call(self, items: list[T], context: Context) -> Result[T]:
        try:
            result: Any = context.run(self._flush_fn, items)
            if result is not None and inspect.isawaitable(result):
                discard(result)
                raise TypeError(  # noqa: TRY301 - handled like an exception of flush_fn
                    f"flush_fn must not be async: it returned {shown(result)}; for an async "
                    "flush_fn, use flushq.FlushQueue"
                )
        except BaseException as error:
            return _raised(error)
        return _returned

    def _ask(self, failure: Failure[T], context: Context) -> Result[T]:
        try:
            verdict: Any = context.run(self._on_failure, failure)  # type: ignore[arg-type]  # it is not None
        except BaseException as error:
            return _broke(error)
        discard(verdict)  # if the verdict is a coroutine, this closes it
        return lambda attempts: attempts.handler_answered(verdict)


def _returned(attempts: Attempts[Any]) -> None:
    attempts.returned(primitives.clock())


def _paused(attempts: Attempts[Any]) -> None:
    attempts.paused()


def _cut(attempts: Attempts[Any]) -> None:
    attempts.pause_cut_short(CancelledError("the flush was cut short between two calls"))


def _raised(error: BaseException) -> Result[Any]:
    now, may_ask = primitives.clock(), isinstance(error, Exception)
    return lambda attempts: attempts.raised(error, now, may_ask=may_ask)


def _broke(error: BaseException) -> Result[Any]:
    return lambda attempts: attempts.handler_raised(error)
