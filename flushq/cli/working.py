"""A worker: it moves messages from a JetStream consumer to a table in PostgreSQL.

    consumer -> Pull -> FlushQueue -> PostgresTable

A message is acknowledged after the transaction that stored it. Until then, the server keeps it: if
this process is killed, the server delivers the message again, to any worker. If the message is
stored already, the table recognises its id. So a worker has no state to save. After a signal, the
worker requests no more messages; it stores and acknowledges the messages that it has received. The
figures show how many messages ended in each way.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Hashable
from contextlib import AsyncExitStack, suppress
from operator import attrgetter

import attrs
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushqError,
    FlushQueue,
    FlushReport,
    NaturalPolicy,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from flushq.cli.jetstream import connected, ensure_consumer
from flushq.cli.messages import IdOf, place
from flushq.cli.monitoring import Metrics, Monitor
from flushq.cli.postgres import POSTGRES_ERRORS, PostgresTable, is_refusal, is_temporary, reason
from flushq.cli.pulling import ConsumerGone, Pull
from flushq.cli.signals import Shutdown, current_task
from flushq.cli.terminal import Complaints, complain, say, shown_live
from flushq.throttles import Throttle

MAX_RECORDS = 1_000
MAX_QUEUE_SIZE = 2_000
MAX_WEIGHT = 64 * 1024 * 1024
"""The largest weight of a batch, and of the queue, in bytes: NATS allows no larger message."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


@attrs.frozen
class Source:
    """The JetStream consumer that the messages come from, with its stream and its server."""

    nats_url: str
    stream: str
    consumer: str

    def __str__(self) -> str:
        """Return a name for labels and logs, without the URL, which may contain a password."""
        return f"{self.stream}/{self.consumer}"


class Work:
    """One run of the command ``work``.

    Args:
        source: The consumer that the messages come from.
        table: The table that stores the messages.
        id_of: The function that returns the id of a message.
        by_subject: Whether all messages of a batch must have the same subject.
        max_in_flight: The largest number of transactions that run at the same time.
        throttle: The throttle that decides when a transaction may start; None for no throttle.
        address: The host and the port of the HTTP server; None for no HTTP server.
        max_shutdown_wait: The longest time for storing messages after a signal, in seconds.
    """

    def __init__(
        self,
        source: Source,
        table: PostgresTable,
        *,
        id_of: IdOf,
        by_subject: bool,
        max_in_flight: int,
        throttle: Throttle | None,
        address: tuple[str, int] | None,
        max_shutdown_wait: float,
    ) -> None:
        self._source = source
        self._table = table
        self._id_of = id_of
        self._address = address
        self._limit = max_shutdown_wait
        self._queue: FlushQueue[Msg] = FlushQueue(
            self._store,
            NaturalPolicy(MAX_RECORDS, max_weight=MAX_WEIGHT),
            weigh=lambda message: len(message.data),
            partition_key=attrgetter("subject") if by_subject else None,
            max_queue_size=MAX_QUEUE_SIZE,
            max_queue_weight=MAX_WEIGHT,
            max_in_flight=max_in_flight,
            max_shutdown_wait=max_shutdown_wait,
            throttle=throttle,
            on_failure=self._judge,
            on_report=self._on_report,
            name=str(source),
        )
        self._metrics = Metrics(str(source), self._queue)
        self._stats = self._queue.stats()
        self._started = time.perf_counter()
        self._retries = Complaints("retries")
        self._failing: set[Hashable] = set()  # the partitions with a batch that is retried
        self._refusals = Complaints("refused messages")
        self._end: Callable[[], object] = lambda: None
        self._on_return: Callable[[], object] = lambda: None
        self._end_reason = ""
        self._failed = False
        self._aborted = False

    async def run(self) -> int:
        """Work until a signal or a failure, print the figures, and return the exit code.

        Raises:
            CannotStart: The port, the server, the consumer or the table cannot be used; no message
                was stored.
        """
        shutdown = Shutdown(self._stop, None)
        self._end = current_task().cancel
        with suppress(asyncio.CancelledError):  # a signal before the work, or a second signal
            async with AsyncExitStack() as opened:
                if self._address is not None:
                    serving = Monitor(self._metrics).serving(*self._address)
                    complain(f"serving at port {await opened.enter_async_context(serving)}")
                connecting = connected(self._source.nats_url, self._returned)
                connection = await opened.enter_async_context(connecting)
                await opened.enter_async_context(self._table)
                await self._work(connection)
        if self._failed:
            return 1
        return 128 + shutdown.signal if self._aborted and shutdown.signal else 0

    async def _work(self, connection: Client) -> None:
        source = self._source
        consumer = await ensure_consumer(connection, source.stream, source.consumer)
        pull = Pull(connection, consumer, self._take)
        self._on_return = pull.request_again
        self._started = time.perf_counter()
        try:
            with shown_live(self._figures):
                await self._feed(pull)
        except FlushFailed as failure:
            self._fail(f"cannot write to {self._table}: {failure.__cause__}")
            if not isinstance(failure.__cause__, POSTGRES_ERRORS):
                raise
        except ConsumerGone as gone:
            self._fail(str(gone))
        except ShutdownTimeout:
            self._fail(f"not all messages were stored within {self._limit:g} s")
        except asyncio.CancelledError:
            self._aborted = True
            raise
        finally:
            self._report()

    async def _feed(self, pull: Pull) -> None:
        """Enqueue messages, then drain the queue. A cancellation of this task stops both."""
        async with self._queue:
            try:
                async with pull.running() as requesting:
                    self._end = requesting.cancel
                    await asyncio.wait([requesting])
                    if not requesting.cancelled():
                        requesting.result()
            except asyncio.CancelledError:
                current_task().cancel()
                raise

    async def _take(self, message: Msg) -> None:
        try:
            await self._queue.enqueue(message)
        except FlushqError:  # the queue accepts no more items: another worker can take the message
            with suppress(nats.errors.Error):
                await message.nak()

    def _returned(self) -> None:
        self._on_return()

    def _stop(self, number: signal.Signals) -> None:
        self._end_reason = f"stopped by {number.name}"
        self._end()

    def _fail(self, why: str) -> None:
        self._failed = True
        self._end_reason = why

    # The handling of a batch.

    async def _store(self, messages: list[Msg]) -> None:
        """Store messages in one transaction, and then acknowledge them."""
        id_of = self._id_of
        await self._table.store([(id_of(each), each.data.decode()) for each in messages])
        with suppress(nats.errors.Error):  # messages without an ack are delivered again
            for message in messages:
                await message.ack()

    async def _judge(self, failure: Failure[Msg]) -> Verdict:
        """Return the verdict for a failure.

        A refused batch is split, and a refused message is reported and dropped. After a temporary
        error, the batch is retried, without a limit. Any other error ends the queue.
        """
        error = failure.error
        if is_refusal(error) and len(failure.items) > 1:
            return Split()
        if is_refusal(error):
            return await self._give_up(failure.items[0], error)
        return self._try_again(failure) if is_temporary(error) else Fail()

    def _try_again(self, failure: Failure[Msg]) -> Retry:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * failure.attempt)
        why = f"cannot write to {self._table}: {reason(failure.error)}"
        self._retries.complain(f"{why}; trying again in {pause:g} s")
        self._failing.add(failure.partition)
        return Retry(pause)

    async def _give_up(self, message: Msg, error: BaseException) -> Drop:
        """Report a message that the table refuses, and ask the server not to deliver it again."""
        self._refusals.complain(f"refused message {place(message)}: {error}")
        with suppress(nats.errors.Error):  # if this fails, the message is refused again
            await message.term()
        return Drop()

    def _on_report(self, report: FlushReport) -> None:
        """Update the statistics. If messages were lost, end the run: no more can be stored."""
        self._stats = self._queue.stats()
        self._metrics.observe(report)
        if report.delivered + report.dropped < report.count:
            self._end()
        elif report.partition in self._failing:
            self._recover(report.partition)

    def _recover(self, partition: Hashable) -> None:
        """Record that a retried batch has ended; report a recovery if no retried batch is left."""
        self._failing.remove(partition)
        if not self._failing:
            complain(f"{self._table} can be written to again")
            self._retries.start_anew()

    # The figures.

    def _report(self) -> None:
        self._stats = self._queue.stats()
        left = self._stats.undelivered + self._stats.in_doubt
        if left or self._failed:
            complain(f"{self._end_reason}; messages that NATS will deliver again: {left}")
        if not say(", ".join(f"{name} {value}" for name, value in self._figures().items())):
            self._failed = True

    def _figures(self) -> dict[str, str]:
        """Return the figures so far.

        The live display calls this in a thread, where ``stats()`` of the queue must not be called.
        """
        stats, table = self._stats, self._table
        seconds = time.perf_counter() - self._started
        written = table.stored + table.known
        others = {
            "stored before": table.known,
            "refused": stats.dropped,
            "left": stats.undelivered + stats.in_doubt,
        }
        reasons = ", ".join(f"{count} {reason}" for reason, count in stats.flushes.items())
        return (
            {
                "messages": str(table.stored),
                "messages/s": f"{table.stored / seconds:.0f}",
                "batches": str(table.batches),
                "mean batch": f"{written / max(1, table.batches):.1f}",
                "waiting": str(self._queue.pending),
            }
            | {name: str(count) for name, count in others.items() if count}
            | ({"flushes": f"{sum(stats.flushes.values())} ({reasons})"} if reasons else {})
        )
