"""Metrics of queues for Prometheus: outcomes of items, reasons and durations of flushes.

    metrics = QueueMetrics(registry)
    async with FlushQueue(insert, policy, on_report=partial(metrics.observe, "events")) as queue:
        metrics.queues["events"] = queue

A queue belongs to its event loop. So answer the scrape with ``generate_latest(registry)`` in a
request handler of the service, not with a server that runs in a thread.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from flushq import FlushQueue, FlushReport

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OUTCOMES = ("delivered", "duplicates", "dropped", "displaced", "undelivered", "in_doubt")
ITEMS = (1, 4, 16, 64, 256, 1024, 4096, 16384)


class QueueMetrics(Collector):
    """The metrics of all queues of a process; create only one.

    Attributes:
        queues: The queues to watch; the key is the value of the label ``queue``.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queues: dict[str, FlushQueue[Any]] = {}

        def histogram(name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, what, ["queue"], buckets=buckets, registry=registry)

        what = "How long a flush took, including its retries"
        self._seconds = histogram("flushq_flush_duration_seconds", what, SECONDS)
        what = "How long the oldest item of a batch had waited"
        self._waited = histogram("flushq_wait_seconds", what, SECONDS)
        self._items = histogram("flushq_batch_items", "How many items a batch had", ITEMS)
        registry.register(self)

    def observe(self, queue: str, report: FlushReport) -> None:
        """Record a flush of the queue with this name: use it as ``on_report``."""
        self._seconds.labels(queue).observe(report.seconds)
        self._waited.labels(queue).observe(report.waited)
        self._items.labels(queue).observe(report.count)

    def collect(self) -> Iterator[Metric]:
        """Yield the counts of all queues, as metrics."""
        labels = ["queue", "outcome"]
        items = CounterMetricFamily("flushq_items", "Items, by their outcome", labels=labels)
        labels = ["queue", "reason"]
        flushes = CounterMetricFamily("flushq_flushes", "Flushes, by their reason", labels=labels)
        pending = GaugeMetricFamily("flushq_pending_items", "Items that wait", labels=["queue"])
        age = GaugeMetricFamily(
            "flushq_oldest_age_seconds", "Age of the oldest item", labels=["queue"]
        )
        partitions = GaugeMetricFamily(
            "flushq_partitions", "Partitions that exist", labels=["queue"]
        )
        for name, queue in self.queues.items():
            stats = queue.stats()
            for outcome in OUTCOMES:
                items.add_metric([name, outcome], getattr(stats, outcome))
            for reason, count in stats.flushes.items():
                flushes.add_metric([name, reason], count)
            pending.add_metric([name], stats.pending)
            age.add_metric([name], stats.oldest_age)
            partitions.add_metric([name], stats.partitions)
        yield from (items, flushes, pending, age, partitions)
