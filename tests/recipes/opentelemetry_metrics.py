"""Metrics of queues for OpenTelemetry: what becomes of items, why flushes start, what they take.

    metrics = QueueMetrics(get_meter("flushq"))
    queue = FlushQueue(insert, policy, on_report=partial(metrics.observe, "events"))
    async with metrics.watch("events", queue), queue:

A queue belongs to its event loop, and the reader of the metrics has its own thread: so the loop
notes the account of the queue every second, and when the block ends; the reader is told the latest.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from flushq import FlushQueue, FlushReport, QueueStats


class QueueMetrics:
    """The metrics of all queues of a process.

    Args:
        meter: What makes the instruments.
        every: Seconds from one account of a queue to the next.
    """

    def __init__(self, meter: Meter, every: float = 1.0) -> None:
        self._every = every
        self._accounts: dict[str, QueueStats] = {}  # replaced, never changed: a thread reads it
        count, gauge = meter.create_observable_counter, meter.create_observable_gauge
        count("flushq.items", [self._items], "{item}", "Items, by what became of them")
        count("flushq.flushes", [self._flushes], "{flush}", "Flushes, by their reason")
        gauge("flushq.pending", [partial(self._now, "pending")], "{item}", "Items that wait")
        gauge("flushq.oldest.age", [partial(self._now, "oldest_age")], "s", "Of these the oldest")
        gauge("flushq.partitions", [partial(self._now, "partitions")], "{partition}", "Partitions")
        record = meter.create_histogram
        self._seconds = record("flushq.flush.duration", "s", "How long a flush took, with retries")
        self._waited = record("flushq.wait.duration", "s", "How long the oldest of a batch waited")
        self._batch = record("flushq.batch.size", "{item}", "Items of a batch")

    def observe(self, queue: str, report: FlushReport) -> None:
        """Note a flush of the queue of this name: for ``on_report``."""
        self._seconds.record(report.seconds, {"queue": queue})
        self._waited.record(report.waited, {"queue": queue})
        self._batch.record(report.count, {"queue": queue})

    @asynccontextmanager
    async def watch(self, name: str, queue: FlushQueue[Any]) -> AsyncIterator[None]:
        """Note the account of a queue again and again, and at the end of the block."""
        sampling = asyncio.create_task(self._sample(name, queue))
        try:
            yield
        finally:
            sampling.cancel()
            self._note(name, queue)

    async def _sample(self, name: str, queue: FlushQueue[Any]) -> None:
        while True:
            self._note(name, queue)
            await asyncio.sleep(self._every)

    def _note(self, name: str, queue: FlushQueue[Any]) -> None:
        self._accounts = {**self._accounts, name: queue.stats()}

    def _items(self, _: CallbackOptions) -> Iterator[Observation]:
        for fate in ("delivered", "duplicates", "dropped", "displaced", "undelivered", "in_doubt"):
            for name, stats in self._accounts.items():
                yield Observation(getattr(stats, fate), {"queue": name, "outcome": fate})

    def _flushes(self, _: CallbackOptions) -> Iterator[Observation]:
        for name, stats in self._accounts.items():
            for reason, count in stats.flushes.items():
                yield Observation(count, {"queue": name, "reason": reason})

    def _now(self, what: str, _: CallbackOptions) -> Iterator[Observation]:
        for name, stats in self._accounts.items():
            yield Observation(getattr(stats, what), {"queue": name})
