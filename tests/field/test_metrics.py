"""The recipes for metrics: what a scrape or an export says, in virtual time."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import opentelemetry_metrics
import prometheus_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flushq import Drop, Failure, FlushQueue, FlushReport, IntervalPolicy, Split, Verdict

README = Path(__file__).parents[2] / "README.rst"


async def insert(batch: list[int]) -> None:
    """Take 0.25 seconds, and refuse the number 13."""
    await asyncio.sleep(0.25)
    if 13 in batch:
        raise ValueError(13)


def isolate(failure: Failure[int]) -> Verdict:
    """Drop what is refused alone."""
    return Split() if len(failure.items) > 1 else Drop()


@asynccontextmanager
async def reporting(on_report: Callable[[FlushReport], None]) -> AsyncIterator[FlushQueue[int]]:
    """A queue that reports."""
    policy = IntervalPolicy(max_wait_seconds=1.0, max_records=4)
    async with FlushQueue(insert, policy, on_failure=isolate, on_report=on_report) as queue:
        yield queue


async def use(queue: FlushQueue[int]) -> None:
    """Flush 4 items, then 2 of which one is refused, and leave one that waits half a second."""
    for number in (1, 2, 3, 4):
        await queue.enqueue(number)
    await asyncio.sleep(1.0)
    for number in (13, 14):
        await queue.enqueue(number)
    await asyncio.sleep(2.0)
    await queue.enqueue(15)
    await asyncio.sleep(0.5)


async def scrape() -> str:
    """What Prometheus is told of a queue that was used."""
    registry = CollectorRegistry()
    metrics = prometheus_metrics.QueueMetrics(registry)
    async with reporting(partial(metrics.observe, "events")) as queue:
        metrics.queues["events"] = queue
        await use(queue)
        return generate_latest(registry).decode()


async def test_prometheus() -> None:
    """Items, flushes by reason, waiting, durations and batches are told, with their units."""
    families = list(text_string_to_metric_families(await scrape()))
    told = {
        (sample.name, *(value for name, value in sample.labels.items() if name != "queue")): sample
        for family in families
        for sample in family.samples
    }
    assert {"events"} == {sample.labels["queue"] for sample in told.values()}
    expected = {
        ("flushq_items_total", "delivered"): 5,
        ("flushq_items_total", "dropped"): 1,
        ("flushq_items_total", "in_doubt"): 0,
        ("flushq_flushes_total", "full"): 1,
        ("flushq_flushes_total", "age"): 1,
        ("flushq_pending_items",): 1,
        ("flushq_oldest_age_seconds",): 0.5,
        ("flushq_flush_duration_seconds_sum",): 1.0,
        ("flushq_flush_duration_seconds_bucket", "0.25"): 1,
        ("flushq_wait_seconds_sum",): 1.0,
        ("flushq_wait_seconds_count",): 2,
        ("flushq_batch_items_sum",): 6,
    }
    assert expected == {key: told[key].value for key in expected}


async def test_the_graphs_of_the_readme() -> None:
    """What the README would have drawn is told."""
    drawn = re.findall(r"flushq_[a-z_]+", README.read_text())
    told = re.findall(r"^flushq_[a-z_]+", await scrape(), re.MULTILINE)
    assert len(set(drawn)) >= 6
    assert set() == set(drawn) - set(told)


async def test_opentelemetry() -> None:
    """Items, flushes by reason, waiting, durations and batches are told, with their units."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics = opentelemetry_metrics.QueueMetrics(provider.get_meter("flushq"))
    async with reporting(partial(metrics.observe, "events")) as queue:
        sampling = asyncio.create_task(metrics.sample("events", queue, every=0.5))
        await use(queue)
        await asyncio.sleep(0)
        told = exported(reader)
        sampling.cancel()
    provider.shutdown()

    expected = {
        ("flushq.items", "{item}", "delivered"): 5,
        ("flushq.items", "{item}", "dropped"): 1,
        ("flushq.flushes", "{flush}", "full"): 1,
        ("flushq.flushes", "{flush}", "age"): 1,
        ("flushq.flush.duration", "s"): 1.0,
        ("flushq.wait.duration", "s"): 1.0,
        ("flushq.batch.size", "{item}"): 6,
        ("flushq.pending", "{item}"): 1,
        ("flushq.oldest.age", "s"): 0.5,
    }
    assert expected == told


def exported(reader: InMemoryMetricReader) -> dict[tuple[str, ...], float]:
    """The value, or the sum, of each metric of the queue, by its name, unit and other label."""
    data: Any = reader.get_metrics_data()
    values = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            labels = dict(point.attributes)
            assert "events" == labels.pop("queue")
            value = point.sum if hasattr(point, "sum") else point.value
            values[metric.name, metric.unit, *labels.values()] = value
    return values
