"""Ship log records of all threads, in batches.

    logging.getLogger().addHandler(Shipper(send))

``send`` is called with a list of lines, in a thread of the queue. If it raises, it is called again,
up to twice, after pauses of a second. For ``dictConfig`` the handler is ``{"()":
"log_shipping.Shipper", "send": "ext://shop.send"}``.

A logging call never waits: if too many records wait, the oldest are dropped. ``lost`` counts all
records that were not shipped. ``flush()`` waits until earlier records are sent or lost. ``close()``
sends the rest. Both take at most 5 seconds. ``logging.shutdown`` calls both at exit; call it
yourself before ``os._exit``. After a fork each process ships its own records. Records of the logger
``flushq`` and of ``send`` (also in threads with its context) are ignored, to prevent a loop.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context

import flushq
from flushq.threads import FlushQueue

_shipping = ContextVar("shipping", default=False)


class Shipper(logging.Handler):
    """A logging handler with a queue, which calls ``send`` with lists of lines."""

    def __init__(self, send: Callable[[list[str]], object], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        policy = flushq.IntervalPolicy(max_wait_seconds=1.0, max_records=500)
        self.queue = FlushQueue(
            send, policy, when_full="drop_oldest", max_shutdown_wait=5.0, on_failure=_give_up
        )
        self._refused: dict[int, int] = defaultdict(int)  # by process id, as a fork copies it
        context = copy_context()  # the queue calls ``send`` in this context
        context.run(_shipping.set, True)
        context.run(self.queue.start)

    @property
    def lost(self) -> int:
        """The number of records of this process that were dropped, refused, or left at the end."""
        stats, refused = self.queue.stats(), self._refused[os.getpid()]
        return refused + stats.dropped + stats.displaced + stats.undelivered + stats.in_doubt

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record without the lock, which ``logging.shutdown`` holds until all is sent."""
        if record.name == "flushq" or _shipping.get():
            return False
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Enqueue a record, or count it if it is refused."""
        try:
            self.queue.enqueue_nowait(self.format(record))
        except Exception as error:
            self._refused[os.getpid()] += 1
            if not isinstance(error, flushq.FlushqError):  # FlushqError: the queue is closed
                self.handleError(record)  # the record cannot be formatted

    def flush(self) -> None:
        """Return when all records that wait have been sent or lost, at the latest in 5 seconds."""
        with suppress(flushq.FlushqError, TimeoutError):
            self.queue.flush(5.0)

    def close(self) -> None:
        """Send the records that wait, within 5 seconds; records logged later are lost."""
        super().close()
        with suppress(flushq.FlushqError):
            self.queue.close()


def _give_up(failure: flushq.Failure[str]) -> flushq.Verdict:
    return flushq.Retry(after=1.0) if failure.attempt < 3 else flushq.Drop()
