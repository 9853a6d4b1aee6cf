"""Ship log records, from any thread, in batches.

    async with shipping(send, logging.getLogger()):
        ...

What is not shipped is counted; it never holds up who logs, nor ends the service. What ``send`` and
the queue log themselves is left out, for it would feed itself: what ``send`` does in a thread runs
in a copy of its context, as in ``asyncio.to_thread``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

import flushq

_shipping = ContextVar("shipping", default=False)


class Shipper(logging.Handler):
    """Hands records to a queue."""

    def __init__(self, queue: flushq.FlushQueue[str]) -> None:
        super().__init__()
        self.queue = queue
        self._loop = asyncio.get_running_loop()
        self._records = 0

    @property
    def lost(self) -> int:
        """How many records are neither shipped nor waiting: refused, given up, left at the end."""
        stats = self.queue.stats()
        return self._records - stats.delivered - stats.in_flight - stats.pending

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        """Leave out what is logged about the shipping."""
        return record.name != "flushq" and not _shipping.get() and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over, from any thread; the lock of the handler is held."""
        self._records += 1
        with suppress(Exception):  # the loop is closed, or the record does not format
            self._loop.call_soon_threadsafe(self._enqueue, self.format(record))

    def _enqueue(self, line: str) -> None:
        with suppress(flushq.FlushqError):  # too many wait, or the queue is closed
            self.queue.enqueue_nowait(line)


@asynccontextmanager
async def shipping(
    send: Callable[[list[str]], Awaitable[object]], logger: logging.Logger
) -> AsyncIterator[Shipper]:
    """Ship what this logger gets by calling ``send`` with batches; at the end within 5 seconds."""

    async def ship(lines: list[str]) -> None:
        _shipping.set(True)
        await send(lines)

    policy = flushq.IntervalPolicy(max_wait_seconds=1.0, max_records=500)
    queue = flushq.FlushQueue(ship, policy, max_shutdown_wait=5.0, on_failure=_give_up)
    try:
        async with queue:
            logger.addHandler(shipper := Shipper(queue))
            try:
                yield shipper
            finally:
                logger.removeHandler(shipper)
                await asyncio.sleep(0)  # what other threads have handed over comes in
    except flushq.ShutdownTimeout as error:
        if error.undelivered is not queue.undelivered:  # it is another queue's
            raise


def _give_up(failure: flushq.Failure[str]) -> flushq.Verdict:
    return flushq.Retry(after=1.0) if failure.attempt < 3 else flushq.Drop()
