"""The recipe for spans: the spans that an exporter gets, in virtual time."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry_spans import Carried, traced

from flushq import FailureHandler, FlushQueue, IntervalPolicy


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """An exporter that keeps the spans that have ended."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Iterator[Tracer]:
    """A tracer that creates spans for the exporter."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("flushq")
    provider.shutdown()


def spans_of(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """Return the spans with a name, in the order of their ends."""
    return [span for span in exporter.get_finished_spans() if span.name == name]


async def test_a_span_for_each_batch(exporter: InMemorySpanExporter, tracer: Tracer) -> None:
    """The span of a batch starts a trace, links once to each request, and has child spans.

    The queue is created in a span, too: the span of a batch is not a child of that span.
    """

    async def store(batch: list[str]) -> None:
        with tracer.start_as_current_span("insert"):
            await asyncio.sleep(1.0)

    with tracer.start_as_current_span("start"):
        queue = FlushQueue(traced(tracer, "flush", store), IntervalPolicy(1.0))
        async with queue:
            for item in ("a", "b"):
                with tracer.start_as_current_span("request"):
                    await queue.enqueue(Carried(item))
                    await queue.enqueue(Carried(item.upper()))

    (flush,) = spans_of(exporter, "flush")
    (insert,) = spans_of(exporter, "insert")
    assert insert.parent == flush.context
    assert (None, SpanKind.CONSUMER) == (flush.parent, flush.kind)
    requests = [span.context for span in spans_of(exporter, "request")]
    assert requests == [link.context for link in flush.links]
    assert {"messaging.batch.message_count": 4} == flush.attributes


async def test_a_span_for_each_attempt(exporter: InMemorySpanExporter, tracer: Tracer) -> None:
    """The span of a call that fails has the error; an item without a span gives no link."""
    errors = [OSError("reset by peer")]

    async def store(batch: list[str]) -> None:
        for error in [*errors]:
            errors.remove(error)
            raise error

    flush_fn, handler = traced(tracer, "flush", store), FailureHandler(retry=OSError)
    async with FlushQueue(flush_fn, IntervalPolicy(1.0), on_failure=handler) as queue:
        await queue.enqueue(Carried("a"))

    failed, retried = spans_of(exporter, "flush")
    assert [StatusCode.ERROR, StatusCode.UNSET] == [
        span.status.status_code for span in (failed, retried)
    ]
    (event,) = failed.events
    assert event.attributes is not None
    assert "reset by peer" == event.attributes["exception.message"]
    assert [] == [*failed.links, *retried.links]
