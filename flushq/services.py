"""A queue that lives as long as a service, and a service that ends with its queue.

Theory of operation. A server such as uvicorn, gunicorn or aiohttp ends well at SIGTERM: it answers
the requests under way, and then leaves the block in which the queue runs. So that signal is how a
queue that has failed ends its service.

But when all is over uvicorn raises the same signal again, with the handler that was there before
it: the process is killed, and its status is that of an ordinary stop. So if a queue has lost
anything, the signal is blocked from the end of its block on. Once the task of the block is over, a
signal that is pending is the one that would have killed the process: it ends then, with status 1.
Other servers let the exception of the queue out of the program, which has the same status.

A program that does not handle SIGTERM would be killed by it: there the task is cancelled, and what
the queue raises is the end of the program. So it is where the handler raises, as ``sys.exit`` does,
which would leave the loop at once, with a status that is not that of a failure.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from flushq.aio.cancellation import until_done
from flushq.aio.queue import FlushQueue
from flushq.telling import logger

T = TypeVar("T")

__all__ = ["running"]


@asynccontextmanager
async def running(queue: FlushQueue[T], left: Path | None = None) -> AsyncIterator[FlushQueue[T]]:
    """Run a queue for the length of a block, as long as a service lives, and yield it.

    For a lifespan of FastAPI or Starlette, a cleanup context of aiohttp, or a ``main()``. At its
    end the queue drains, within its ``max_shutdown_wait``. If the queue ends by itself, so does the
    service, at once: SIGTERM is raised, or the task of the block is cancelled, if the program does
    not handle that signal, or its handler raises. The exit status is 1 if the queue has failed, or
    if anything is left after the drain; else it is that of the server, as if there were no queue.
    So it is, whatever is left, after Ctrl-C, to which uvicorn answers 0, and if a handler of the
    program calls ``sys.exit``.

    A cancellation of the block drains the queue, and goes on after that; another one, during the
    drain, aborts it. A WARNING of the logger ``flushq`` tells how many items are left for the next
    start, and in which file.

    Args:
        queue: The queue; it has not been started.
        left: The file of one process that keeps as JSON what is left: ``in_doubt``, and then
            ``undelivered``, which are not the items if there is a ``lost_as``. At the next start
            that is stored before the block begins; an item that was a tuple, or a list, comes back
            as a tuple. A queue that displaces items keeps those for which it has room. None: what
            is left is lost.

    Raises:
        FlushFailed, PolicyError: The queue has failed; if it was at the start, the file is as it
            was.
        ShutdownTimeout: The drain was cut short.
        OSError, ValueError: The file cannot be read or written, or has no such JSON.
        TypeError: An item that is left is not a JSON value.
    """
    task = asyncio.create_task(queue.run())
    try:
        await _bring_back(queue, left)
    except BaseException:
        await asyncio.gather(queue.aclose(), task, return_exceptions=True)
        raise
    service = _Service()
    task.add_done_callback(service.end)
    try:
        yield queue
    finally:
        with service:
            try:
                await _drain(queue, task)
            finally:
                _write(left, queue.in_doubt + queue.undelivered)


async def _drain(queue: FlushQueue[Any], task: asyncio.Task[None]) -> None:
    """Close the queue, and return when it and its task have ended, also after a cancellation."""
    ending = asyncio.gather(queue.aclose(), task, return_exceptions=True)
    cancelled = await until_done(ending, sys.exception())
    error = ending.exception() or cancelled or next(filter(None, ending.result()), None)
    if error is not None:
        raise error


async def _bring_back(queue: FlushQueue[Any], left: Path | None) -> None:
    """Store what was left; the file is empty after that, so if it cannot be written, it fails."""
    if left is None:
        return
    for item in _read(left):
        await queue.enqueue(tuple(item) if isinstance(item, list) else item)
    await queue.flush()
    _write(left, [])


def _read(left: Path) -> list[Any]:
    match json.loads(left.read_text()) if left.exists() else []:
        case list(items):
            return items
        case other:
            raise ValueError(f"{left} must hold an array of items, not {other!r}")


def _write(left: Path | None, items: list[Any]) -> None:
    if left is not None:
        new = left.with_name(f"{left.name}.new")
        new.write_text(json.dumps(items))
        new.replace(left)  # so that it has all of this, or what it had before
        if items:
            logger.warning("items that are left for the next start, in %s: %d", left, len(items))


class _Service:
    """The service that the task which makes this is part of; its block ends as the queue does."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._is_cancelled = self._is_over = False

    def end(self, queue: asyncio.Task[None]) -> None:
        """End it, for others to start it anew, unless its queue was closed and has lost nothing."""
        if not self._is_over and (queue.cancelled() or queue.exception() is not None):
            self._is_cancelled = not _raise_sigterm() and self._task.cancel()

    def __enter__(self) -> None:
        self._is_over = True
        if self._is_cancelled:
            self._task.uncancel()

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        can_block = hasattr(signal, "pthread_sigmask")  # Windows has none
        if kind is not None and can_block and _handles_sigterm():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            self._task.add_done_callback(_end_as_failed)


def _end_as_failed(_: object) -> None:
    """End the process with status 1 if it would be killed by the signal."""
    if signal.SIGTERM in signal.sigpending() and not _handles_sigterm():
        os._exit(1)
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _raise_sigterm() -> bool:
    """Raise the signal if the program handles it; return whether a handler has taken it.

    It is sent to the main thread, which calls the handler, and may sleep.
    """
    if not _handles_sigterm():
        return False
    main = threading.main_thread().ident
    try:
        if main is not None and hasattr(signal, "pthread_kill"):  # Windows has none
            signal.pthread_kill(main, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)
    except BaseException:
        return False
    return True


def _handles_sigterm() -> bool:
    return callable(signal.getsignal(signal.SIGTERM))
