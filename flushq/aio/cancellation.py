"""What a cancellation does to a caller that waits for the end of a queue.

It starts the drain, or cuts it short, and is never swallowed: it goes on afterwards. What was lost
meanwhile is told beside it (flushq.telling).
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
    """Wait for the end, and return the last cancellation after which it was worth waiting.

    ``error`` is what the body of an owner has raised: a cancellation of the body is the first.
    """
    cancelled, shielded = None, isinstance(error, asyncio.CancelledError)
    while not core.ending.ended:
        try:
            with _shield_from_anyio() if shielded else nullcontext():
                await runner.wait(core.ending, owner)
        except asyncio.CancelledError as cancellation:
            if not core.ending.may_be_hastened(is_owner=owner):
                raise
            cancelled, shielded = cancellation, True
            if core.ending.closing:
                runner.cut_short("the close was cancelled")
            else:
                runner.close()
    return cancelled


async def until_done(
    task: asyncio.Future[Any], error: BaseException | None
) -> asyncio.CancelledError | None:
    """Wait for the end of a task that was cancelled, and return the last cancellation meanwhile.

    Each is passed on to the task. ``error`` is as in :func:`until_ended`.
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
    """Keep anyio from cancelling again a caller that was cancelled once.

    A scope of anyio that is cancelled cancels the tasks in it in every iteration of the loop; a
    shield leaves one cancellation of it. asyncio's own cancellations pass.
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
        with suppress(RuntimeError):  # of a coroutine that another task closes
            scope.__exit__(None, None, None)
