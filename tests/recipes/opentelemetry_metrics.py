"""Metrics of queues for OpenTelemetry: outcomes of items, reasons and durations of flushes.

    metrics = QueueMetrics(get_meter("flushq"))
    queue = FlushQueue(insert, policy, on_report=partial(metrics.observe, "events"))
    async with metrics.watch("events", queue), queue:

A queue belongs to its event loop, but the reader of the metrics has its own thread. So the loop
copies the counts of the queue every second, and when the block ends; the reader gets the last copy.
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
        meter: The meter that creates the instruments.
        every: The seconds between two copies of the counts of a queue.
    """

    def __init__(self, meter: Meter, every: float = 1.0) -> None:
        self._every = every
        self._accounts: dict[str, QueueStats] = {}  # replaced, not changed: a thread reads it
        count, gauge = meter.create_observable_counter, meter.create_observable_gauge
        count("flushq.items", [self._items], "{item}", "Items, by their outcome")
        count("flushq.flushes", [self._flushes], "{flush}", "Flushes, by their reason")
        gauge("flushq.pending", [partial(self._now, "pending")], "{item}", "Items that wait")
        gauge("flushq.oldest.age", [partial(self._now, "oldest_age")], "s", "Age of the oldest")
        gauge("flushq.partitions", [partial(self._now, "partitions")], "{partition}", "Partitions")
        record = meter.create_histogram
        self._seconds = record("flushq.flush.duration", "s", "How long a flush took, with retries")
        self._waited = record("flushq.wait.duration", "s", "Wait of the oldest item of a batch")
        self._batch = record("flushq.batch.size", "{item}", "Items of a batch")

    def observe(self, queue: str, report: FlushReport) -> None:
        """Record a flush of the queue with this name: use it as ``on_report``."""
        self._seconds.record(report.seconds, {"queue": queue})
        self._waited.record(report.waited, {"queue": queue})
        self._batch.record(report.count, {"queue": queue})

    @asynccontextmanager
    async def watch(self, name: str, queue: FlushQueue[Any]) -> AsyncIterator[None]:
        """Copy the counts of a queue at regular intervals, and at the end of the block."""
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
