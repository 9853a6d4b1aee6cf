"""A queue that runs as long as a service, and a service that ends when its queue fails.

Theory of operation. A server such as uvicorn, gunicorn or aiohttp stops in an orderly way at
SIGTERM: it answers the requests under way, and then leaves the block in which the queue runs. So if
the queue fails, this module raises SIGTERM to end the service.

At its end uvicorn restores the handler of SIGTERM that it had replaced, and raises SIGTERM again.
This kills the process, and the exit status is that of an ordinary stop. So if a queue has failed or
lost items, this module holds SIGTERM back (``SIG_BLOCK``) from the end of the block on. When the
task of the block has ended, a SIGTERM may be pending that would kill the process. In that case the
process is ended with status 1 instead. Other servers let the exception of the queue end the
program. Then the status is 1, too.

SIGTERM would kill a program that has no handler for it. In such a program the task of the block is
cancelled instead, and the exception of the queue ends the program. The task is also cancelled if
the handler of SIGTERM raises an exception, for example by ``sys.exit``. Otherwise that exception
would leave the event loop at once, and the program would not end with the status of a failure.
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
    """Run a queue as long as a block of a service runs, and yield the queue.

    Use it in a lifespan of FastAPI or Starlette, in a cleanup context of aiohttp, or in a
    ``main()``. At the end of the block the queue drains, within its ``max_shutdown_wait``. If the
    queue fails or loses items before the end of the block, the service ends at once: SIGTERM is
    raised. If the program has no handler for SIGTERM, or the handler raises an exception, the task
    of the block is cancelled instead.

    The exit status is 1 if the queue has failed, or if items are left after the drain. Otherwise
    the exit status is that of the server, as if there were no queue. In two cases it is that of the
    server although items are left: after Ctrl-C, and if a signal handler of the program calls
    ``sys.exit``. (After Ctrl-C, uvicorn exits with 0.)

    If the block is cancelled, the queue drains, and then the cancellation is raised. A second
    cancellation, during the drain, aborts the drain.

    If items are written to the file ``left``, a WARNING of the logger ``flushq`` tells how many
    items, and in which file.

    Args:
        queue: The queue. It must not have been started.
        left: The file for the items that are left. It holds a JSON array: first the items in
            ``in_doubt``, then those in ``undelivered``. Each process needs a file of its own. If
            the queue has a ``lost_as``, the file holds the values that ``lost_as`` returned, not
            the items. The next start delivers the items in the file before the block begins. An
            item that was a tuple or a list comes back as a tuple. If ``when_full`` is not "wait",
            the queue may displace some items of the file. None: items that are left are lost.

    Raises:
        FlushFailed, PolicyError: The queue has failed. If it failed before the block began, the
            file is unchanged.
        ShutdownTimeout: The drain was cut short.
        OSError, ValueError: The file cannot be read or written, or does not hold a JSON array.
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
    """Close the queue and wait for its end, even after a cancellation; then raise any error."""
    ending = asyncio.gather(queue.aclose(), task, return_exceptions=True)
    cancelled = await until_done(ending, sys.exception())
    error = ending.exception() or cancelled or next(filter(None, ending.result()), None)
    if error is not None:
        raise error


async def _bring_back(queue: FlushQueue[Any], left: Path | None) -> None:
    """Deliver the items in the file, then empty the file.

    Raises:
        OSError, ValueError: The file cannot be read or written, or does not hold a JSON array.
    """
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
            raise ValueError(f"{left} must hold a JSON array of items, not {other!r}")


def _write(left: Path | None, items: list[Any]) -> None:
    if left is not None:
        new = left.with_name(f"{left.name}.new")
        new.write_text(json.dumps(items))
        new.replace(left)  # in one step: the file holds all new items, or still all old ones
        if items:
            logger.warning("the file %s keeps %d items for the next start", left, len(items))


class _Service:
    """The service in which the current task runs; :meth:`end` ends this service."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._is_cancelled = self._is_over = False

    def end(self, queue_task: asyncio.Task[None]) -> None:
        """If the block has not ended, and the queue has failed or lost items, end the service."""
        if not self._is_over and (queue_task.cancelled() or queue_task.exception() is not None):
            self._is_cancelled = not _raise_sigterm() and self._task.cancel()

    def __enter__(self) -> None:
        self._is_over = True
        if self._is_cancelled:
            self._task.uncancel()

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        can_block = hasattr(signal, "pthread_sigmask")  # not on Windows
        if kind is not None and can_block and _handles_sigterm():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            self._task.add_done_callback(_end_as_failed)


def _end_as_failed(_: object) -> None:
    """End the process with status 1 if a pending SIGTERM would kill it; else unblock SIGTERM."""
    if signal.SIGTERM in signal.sigpending() and not _handles_sigterm():
        os._exit(1)
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _raise_sigterm() -> bool:
    """Raise SIGTERM if the program has a handler for it, and return whether this succeeded.

    The result is False if there is no handler, or if the handler raised an exception. The signal is
    sent to the main thread, because only the main thread runs signal handlers. If the main thread
    sleeps, the signal wakes it.
    """
    if not _handles_sigterm():
        return False
    main = threading.main_thread().ident
    try:
        if main is not None and hasattr(signal, "pthread_kill"):  # not on Windows
            signal.pthread_kill(main, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)
    except BaseException:
        return False
    return True


def _handles_sigterm() -> bool:
    return callable(signal.getsignal(signal.SIGTERM))
