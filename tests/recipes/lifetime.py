"""A queue that lives as long as a service, and a service that ends with its queue."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flushq import FlushQueue


@asynccontextmanager
async def running(queue: FlushQueue[Any], file: Path) -> AsyncIterator[None]:
    """Run a queue of tuples, drain it at the end, and keep what is left for the next start.

    Args:
        queue: The queue; it has not been started.
        file: Where to keep that. It belongs to one process.
    """
    kept = _read(file)
    try:
        async with _draining(queue):
            for item in kept:
                await queue.enqueue(tuple(item))
            await queue.flush()
            kept = []
            _write(file, kept)  # if it cannot be written, the service does not start
            yield
    finally:
        _write(file, kept or queue.in_doubt + queue.undelivered)


def _read(file: Path) -> list[list[Any]]:
    items: list[list[Any]] = json.loads(file.read_text()) if file.exists() else []
    return items


def _write(file: Path, items: list[Any]) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(items))
    new.replace(file)  # so that it has all of this, or what it had before


@asynccontextmanager
async def _draining(queue: FlushQueue[Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    task.add_done_callback(_end_service)
    try:
        yield
    finally:
        task.remove_done_callback(_end_service)
        await asyncio.gather(queue.aclose(), task)


def _end_service(running: asyncio.Task[None]) -> None:
    """The queue has ended by itself: so does the service, for others to start it anew."""
    signal.raise_signal(signal.SIGTERM)
