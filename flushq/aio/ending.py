"""How a caller waits for the end of a queue, and is told how it ended.

A cancellation of such a caller starts the drain, or cuts it short, and goes on afterwards; what was
lost meanwhile is told beside it, in a log record and in a note.
"""

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

from flushq.aio.runner import Runner, logger
from flushq.core.core import Core

T = TypeVar("T")


async def until_ended(
    core: Core[T], runner: Runner[T], *, owner: bool
) -> asyncio.CancelledError | None:
    """Wait for the end, and return the last cancellation after which it was worth waiting."""
    cancelled = None
    while not core.ended:
        try:
            with _shield():
                await runner.wait(core.closers, owner)
        except asyncio.CancelledError as error:
            if not core.may_end_sooner(owner=owner):
                raise
            cancelled = error
            if core.closing:
                runner.cut_short("the close was cancelled")
            else:
                runner.close()
    return cancelled


def raise_outcome(
    core: Core[T], cancelled: BaseException | None, error: BaseException | None = None
) -> None:
    """Raise a cancellation, else the outcome, unless the body's ``error`` goes on by itself.

    An outcome that is not raised is told beside what is.
    """
    outcome = core.outcome()
    if outcome is not None:
        _note_loss(core, outcome, error if cancelled is None else cancelled)
    if cancelled is not None:
        raise cancelled
    if outcome is not None and error is None:
        raise outcome


def _note_loss(core: Core[T], outcome: BaseException, error: BaseException | None) -> None:
    """Tell of the outcome beside another exception, unless that tells of it already."""
    if error is None or core.carries_loss(error):
        return
    end = f"{type(outcome).__name__}: {outcome}"
    with suppress(Exception):  # an exception that takes no notes
        error.add_note(f"flushq: the queue ended with {end}")
    with suppress(Exception):  # a logging that fails
        logger.error("the queue ended with %s", end, exc_info=outcome)


def _shield() -> AbstractContextManager[object]:
    """Keep anyio from cancelling again a task that was cancelled once.

    A scope of anyio that is cancelled cancels the tasks in it in every iteration of the loop; a
    shield leaves one cancellation of it. asyncio's own cancellations pass.
    """
    anyio: Any = sys.modules.get("anyio")
    task = asyncio.current_task()
    if anyio is None or task is None or not task.cancelling():
        return nullcontext()
    shield: AbstractContextManager[object] = anyio.CancelScope(shield=True)
    return shield
