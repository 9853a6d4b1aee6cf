"""The cancellation of a caller that waits for the end of a queue, and its effect on the queue.

The cancellation starts the drain of the queue. If the drain has begun already, the cancellation
cuts the drain short. The CancelledError is raised again when the queue has ended. If items were
lost, a note on the CancelledError and a log record say so (flushq.telling).
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core

T = TypeVar("T")


async def until_ended(
    core: Core[T], runner: Runner[T], *, owner: bool, error: BaseException | None = None
) -> asyncio.CancelledError | None:
    """Wait for the end of the queue; return the last cancellation during the wait, or None.

    ``owner`` says whether the caller is an owner of the queue (flushq.core.ending). If an owner
    waits for the end, or has waited for it, the cancellation of a caller that is no owner is raised
    at once, and does not affect the queue. ``error`` is the exception with which the caller left
    the block of the queue, or None. If it is a CancelledError, the caller was cancelled already.
    """
    cancelled, shielded = None, isinstance(error, asyncio.CancelledError)
    while not core.ending.ended:
        try:
            with _shield_from_anyio() if shielded else nullcontext():
                await runner.wait(core.ending, owner)
        except asyncio.CancelledError as cancellation:
            if not core.ending.cancellation_ends_queue(is_owner=owner):
                raise
            cancelled, shielded = cancellation, True
            if core.ending.closing:
                runner.stop("the close was cancelled")
            else:
                runner.close()
    return cancelled


async def until_done(
    task: asyncio.Future[Any], error: BaseException | None
) -> asyncio.CancelledError | None:
    """Wait for the end of a task; return the last cancellation during the wait, or None.

    Each cancellation is passed on to the task. ``error`` is the same as in :func:`until_ended`.
    """
    cancelled, shielded = None, isinstance(error, asyncio.CancelledError)
    while not task.done():
        try:
            with _shield_from_anyio() if shielded else nullcontext():
                await asyncio.wait([task])
        except asyncio.CancelledError as cancellation:
            cancelled, shielded = cancellation, True
            task.cancel()
    return cancelled


@contextmanager
def _shield_from_anyio() -> Iterator[None]:
    """Keep anyio from cancelling a caller again after the first cancellation.

    When a scope of anyio was cancelled, it cancels its tasks again in every iteration of the event
    loop. The shield stops these repetitions. It does not stop the cancellations of asyncio itself.
    """
    make_scope: Any = getattr(sys.modules.get("anyio"), "CancelScope", None)
    if make_scope is None:
        yield
        return
    scope = make_scope(shield=True)
    scope.__enter__()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # raised if another task closes this coroutine
            scope.__exit__(None, None, None)
