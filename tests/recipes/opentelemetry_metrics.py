"""Metrics of queues for OpenTelemetry: what becomes of items, why flushes start, what they take.

    metrics = QueueMetrics(get_meter("flushq"))
    async with FlushQueue(insert, policy, on_report=partial(metrics.observe, "events")) as queue:
        sampling = asyncio.create_task(metrics.sample("events", queue))

A queue belongs to its event loop, and the reader of the metrics has a thread of its own: so a task
takes the samples.
"""

import asyncio
from typing import Any

from opentelemetry.metrics import Meter

from flushq import FlushQueue, FlushReport


class QueueMetrics:
    """The metrics of all queues of a process.

    Args:
        meter: What makes the instruments.
    """

    def __init__(self, meter: Meter) -> None:
        self._items = meter.create_counter(
            "flushq.items", "{item}", "Items, by what became of them"
        )
        self._flushes = meter.create_counter(
            "flushq.flushes", "{flush}", "Flushes, by their reason"
        )
        self._seconds = meter.create_histogram(
            "flushq.flush.duration", "s", "How long a flush took, retries included"
        )
        self._waited = meter.create_histogram(
            "flushq.wait.duration", "s", "How long the oldest item of a batch had waited"
        )
        self._batch = meter.create_histogram("flushq.batch.size", "{item}", "Items of a batch")
        self._pending = meter.create_gauge("flushq.pending", "{item}", "Items that wait")
        self._age = meter.create_gauge("flushq.oldest.age", "s", "Of the items that wait")

    def observe(self, queue: str, report: FlushReport) -> None:
        """Note a flush of the queue of this name: for ``on_report``."""
        name = {"queue": queue}
        self._flushes.add(1, name | {"reason": report.reason})
        lost = report.count - report.delivered - report.dropped
        outcomes = {"delivered": report.delivered, "dropped": report.dropped, "lost": lost}
        for outcome, count in outcomes.items():
            if count:
                self._items.add(count, name | {"outcome": outcome})
        self._seconds.record(report.seconds, name)
        self._waited.record(report.waited, name)
        self._batch.record(report.count, name)

    async def sample(self, queue: str, of: FlushQueue[Any], every: float = 1.0) -> None:
        """Note how much waits, every so many seconds, until cancelled."""
        while True:
            stats = of.stats()
            self._pending.set(stats.pending, {"queue": queue})
            self._age.set(stats.oldest_age, {"queue": queue})
            await asyncio.sleep(every)
