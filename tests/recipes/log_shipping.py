"""Ship log records, from any thread, in batches.

    logging.getLogger().addHandler(Shipper(send))

``send`` is called with lists of lines, in a thread of its own; if it raises, it is called again,
twice, with pauses of a second. For ``dictConfig`` the handler is ``{"()": "log_shipping.Shipper",
"send": "ext://shop.send"}``.

A call that logs never waits: if too many records wait, the oldest are dropped. What is not shipped
is counted. ``flush()`` returns once all that was logged before is sent or lost, ``close()`` sends
what is left, each within 5 seconds; ``logging.shutdown``, and so the end of the interpreter, calls
both. After a fork each process ships its own; one that ends by ``os._exit`` calls it before. What
``send``, also in threads with its context, and the queue log is left out: it would feed itself.
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
    """Hands records to a queue, which calls ``send`` with lists of lines."""

    def __init__(self, send: Callable[[list[str]], object], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        policy = flushq.IntervalPolicy(max_wait_seconds=1.0, max_records=500)
        self.queue = FlushQueue(
            send, policy, when_full="drop_oldest", max_shutdown_wait=5.0, on_failure=_give_up
        )
        self._refused: dict[int, int] = defaultdict(int)  # of each process, for a fork copies it
        context = copy_context()  # in which the queue calls ``send``
        context.run(_shipping.set, True)
        context.run(self.queue.start)

    @property
    def lost(self) -> int:
        """How many records of this process were dropped, given up, refused, or left at the end."""
        stats, refused = self.queue.stats(), self._refused[os.getpid()]
        return refused + stats.dropped + stats.displaced + stats.undelivered + stats.in_doubt

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record, without the lock: ``logging.shutdown`` holds that until all is sent."""
        if record.name == "flushq" or _shipping.get():
            return False
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over, or count it if it is refused."""
        try:
            self.queue.enqueue_nowait(self.format(record))
        except Exception as error:
            self._refused[os.getpid()] += 1
            if not isinstance(error, flushq.FlushqError):  # then the queue is closed
                self.handleError(record)  # it does not format

    def flush(self) -> None:
        """Return when what was logged before the call has been sent, or at the limit."""
        with suppress(flushq.FlushqError, TimeoutError):
            self.queue.flush(5.0)

    def close(self) -> None:
        """Send what is left, within the limit; what is logged from now on is lost."""
        super().close()
        with suppress(flushq.FlushqError):
            self.queue.close()


def _give_up(failure: flushq.Failure[str]) -> flushq.Verdict:
    return flushq.Retry(after=1.0) if failure.attempt < 3 else flushq.Drop()
