"""Ship log records, from any thread, in batches.

    async with shipping(send, logging.getLogger()):
        ...

What cannot be shipped is counted, and never holds up who logs. What ``send`` and the queue log
themselves is not shipped: it would feed itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

from flushq import Drop, Failure, FlushqError, FlushQueue, IntervalPolicy, Retry, Verdict

_shipping = ContextVar("shipping", default=False)


class Shipper(logging.Handler):
    """Hands records to a queue.

    Attributes:
        refused: How many records were not accepted, because too many wait or the queue is closed.
    """

    def __init__(self, queue: FlushQueue[str]) -> None:
        super().__init__()
        self.refused = 0
        self._queue = queue
        self._loop = asyncio.get_running_loop()

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what is logged about the shipping."""
        return record.name != "flushq" and not _shipping.get()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._enqueue, self.format(record))
        except Exception:  # the loop is closed, or the record does not format
            self.refused += 1

    def _enqueue(self, line: str) -> None:
        try:
            self._queue.enqueue_nowait(line)
        except FlushqError:
            self.refused += 1


@asynccontextmanager
async def shipping(
    send: Callable[[list[str]], Awaitable[object]], logger: logging.Logger
) -> AsyncIterator[Shipper]:
    """Ship what this logger gets by calling ``send`` with batches; at the end within 5 seconds."""

    async def ship(lines: list[str]) -> None:
        _shipping.set(True)
        await send(lines)

    policy = IntervalPolicy(max_wait_seconds=1.0, max_records=500)
    async with FlushQueue(ship, policy, max_shutdown_wait=5.0, on_failure=_give_up) as queue:
        shipper = Shipper(queue)
        logger.addHandler(shipper)
        try:
            yield shipper
        finally:
            logger.removeHandler(shipper)
            await asyncio.sleep(0)  # what other threads have handed over comes in


def _give_up(failure: Failure[str]) -> Verdict:
    return Retry(after=1.0) if failure.attempt < 3 else Drop()
