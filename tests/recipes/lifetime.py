"""A queue that lives as long as a service, and a service that ends with its queue."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from flushq import FlushQueue


@asynccontextmanager
async def running(queue: FlushQueue[Any]) -> AsyncIterator[None]:
    """Run the queue, and drain it at the end."""
    task = asyncio.create_task(queue.run())
    task.add_done_callback(end_service)
    try:
        yield
    finally:
        task.remove_done_callback(end_service)
        await asyncio.gather(queue.aclose(), task)


def end_service(running: asyncio.Task[None]) -> None:
    """The queue has ended, whyever: so does the service, for whoever starts it anew."""
    signal.raise_signal(signal.SIGTERM)
