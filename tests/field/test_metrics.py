"""The recipes for metrics: the values of a scrape or an export, in virtual time."""

import asyncio
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import opentelemetry_metrics
import prometheus_metrics
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flushq import (
    Drop,
    Failure,
    FlushFailed,
    FlushQueue,
    FlushReport,
    IntervalPolicy,
    QueueStats,
    Split,
    Verdict,
)
from tests.field.servers import PATIENCE

README = Path(__file__).parents[1] / "recipes" / "README.rst"


async def insert(batch: list[int]) -> None:
    """Sleep for 0.25 seconds, and raise if the batch has the number 13."""
    await asyncio.sleep(0.25)
    if 13 in batch:
        raise ValueError(13)


def isolate(failure: Failure[int]) -> Verdict:
    """Split a batch that failed, and drop an item that failed alone."""
    return Split() if len(failure.items) > 1 else Drop()


def reporting(on_report: Callable[[FlushReport], None]) -> FlushQueue[int]:
    """Return a queue with ``on_report`` and one partition."""
    policy = IntervalPolicy(max_wait_seconds=1.0, max_records=4)
    return FlushQueue(insert, policy, partition_key=type, on_failure=isolate, on_report=on_report)


async def use(queue: FlushQueue[int]) -> None:
    """Flush 4 items, then 2 items, one of them refused, and let an item wait half a second."""
    for number in (1, 2, 3, 4):
        await queue.enqueue(number)
    await asyncio.sleep(1.0)
    for number in (13, 14):
        await queue.enqueue(number)
    await asyncio.sleep(2.0)
    await queue.enqueue(15)
    await asyncio.sleep(0.5)


async def scrape() -> str:
    """Return what Prometheus gets of a queue after ``use``."""
    registry = CollectorRegistry()
    metrics = prometheus_metrics.QueueMetrics(registry)
    async with reporting(partial(metrics.observe, "events")) as queue:
        metrics.queues["events"] = queue
        await use(queue)
        return generate_latest(registry).decode()


async def test_prometheus() -> None:
    """Prometheus gets items, flushes by reason, waits, durations and batch sizes, with units."""
    families = list(text_string_to_metric_families(await scrape()))
    scraped = {
        (sample.name, *(value for name, value in sample.labels.items() if name != "queue")): sample
        for family in families
        for sample in family.samples
    }
    assert {"events"} == {sample.labels["queue"] for sample in scraped.values()}
    expected = {
        ("flushq_items_total", "delivered"): 5,
        ("flushq_items_total", "dropped"): 1,
        ("flushq_items_total", "displaced"): 0,
        ("flushq_items_total", "in_doubt"): 0,
        ("flushq_flushes_total", "full"): 1,
        ("flushq_flushes_total", "age"): 1,
        ("flushq_pending_items",): 1,
        ("flushq_oldest_age_seconds",): 0.5,
        ("flushq_partitions",): 1,
        ("flushq_flush_duration_seconds_sum",): 1.0,
        ("flushq_flush_duration_seconds_bucket", "0.25"): 1,
        ("flushq_wait_seconds_sum",): 1.0,
        ("flushq_wait_seconds_count",): 2,
        ("flushq_batch_items_sum",): 6,
    }
    assert expected == {key: scraped[key].value for key in expected}


async def test_the_graphs_of_the_readme() -> None:
    """Every metric that the graphs of the README use exists."""
    drawn = re.findall(r"flushq_[a-z_]+", README.read_text())
    scraped = re.findall(r"^flushq_[a-z_]+", await scrape(), re.MULTILINE)
    assert len(set(drawn)) >= 6
    assert set() == set(drawn) - set(scraped)


def opentelemetry(every: float) -> tuple[InMemoryMetricReader, opentelemetry_metrics.QueueMetrics]:
    """Return a reader, and the metrics of the recipe that it reads."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("flushq")
    return reader, opentelemetry_metrics.QueueMetrics(meter, every)


async def test_opentelemetry() -> None:
    """OpenTelemetry gets items, flushes by reason, waits, durations and sizes, with units."""
    reader, metrics = opentelemetry(every=0.5)
    queue = reporting(partial(metrics.observe, "events"))
    async with metrics.watch("events", queue), queue:
        await use(queue)
        await asyncio.sleep(0)
        values = exported(reader)

    expected = {
        ("flushq.items", "{item}", "delivered"): 5,
        ("flushq.items", "{item}", "duplicates"): 0,
        ("flushq.items", "{item}", "dropped"): 1,
        ("flushq.items", "{item}", "undelivered"): 0,
        ("flushq.items", "{item}", "displaced"): 0,
        ("flushq.items", "{item}", "in_doubt"): 0,
        ("flushq.flushes", "{flush}", "full"): 1,
        ("flushq.flushes", "{flush}", "age"): 1,
        ("flushq.flush.duration", "s"): 1.0,
        ("flushq.wait.duration", "s"): 1.0,
        ("flushq.batch.size", "{item}"): 6,
        ("flushq.pending", "{item}"): 1,
        ("flushq.oldest.age", "s"): 0.5,
        ("flushq.partitions", "{partition}"): 1,
    }
    assert expected == values


async def refuse(batch: list[int]) -> None:
    """Raise an error."""
    raise OSError("no room")


async def test_opentelemetry_at_the_end() -> None:
    """The last exported values are the final counts of the queue, even after a failure."""
    reader, metrics = opentelemetry(every=60.0)
    policy = IntervalPolicy(max_wait_seconds=1.0, max_records=10)
    queue = FlushQueue(refuse, policy, dedupe_key=lambda number: number % 200)
    with pytest.raises(FlushFailed):
        async with metrics.watch("events", queue), queue:
            for number in range(250):
                queue.enqueue_nowait(number)
            await asyncio.sleep(1.0)
    values = exported(reader)

    fates = {"delivered": 0, "duplicates": 50, "dropped": 0, "undelivered": 190, "in_doubt": 10}
    assert fates == {fate: values["flushq.items", "{item}", fate] for fate in fates}
    assert sum(fates.values()) == queue.stats().accepted
    assert 1 == values["flushq.flushes", "{flush}", "full"]
    assert 0 == values["flushq.pending", "{item}"] == values["flushq.oldest.age", "s"]


async def test_opentelemetry_in_a_thread() -> None:
    """A reader in another thread neither calls the queue nor waits for its loop."""
    asked_by: set[threading.Thread] = set()

    class Watched(FlushQueue[int]):
        def stats(self) -> QueueStats:
            asked_by.add(threading.current_thread())
            return super().stats()

    reader, metrics = opentelemetry(every=1.0)
    values: list[float] = []
    reading = threading.Thread(
        target=lambda: values.append(exported(reader)["flushq.pending", "{item}"])
    )
    queue = Watched(insert, IntervalPolicy(max_wait_seconds=60.0))
    async with metrics.watch("events", queue), queue:
        await queue.enqueue(1)
        await asyncio.sleep(1.5)
        reading.start()
        reading.join(PATIENCE)

    assert [1] == values
    assert {threading.current_thread()} == asked_by


def exported(reader: InMemoryMetricReader) -> dict[tuple[str, ...], float]:
    """Return the value, or the sum, of each metric, by its name, unit and labels but the queue."""
    data: Any = reader.get_metrics_data()
    values = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            labels = dict(point.attributes)
            assert "events" == labels.pop("queue")
            value = point.sum if hasattr(point, "sum") else point.value
            values[metric.name, metric.unit, *labels.values()] = value
    return values
