"""A span of OpenTelemetry for each call of ``flush_fn``, linked to those of its items.

    queue = FlushQueue(traced(get_tracer("flushq"), "store events", store), policy)
    await queue.enqueue(Carried(event))

A ``Carried`` is an item with the span in which it is made, as that of a request. The items of a
batch come from many requests, so its span is a child of none of them: it begins a trace of its own,
and links to each of them once. The spans that ``store`` makes are children of it. A call that fails
has the error on its span; a retry is a call, and has another span.

A span keeps 128 links, unless you set OTEL_SPAN_LINK_COUNT_LIMIT to the ``max_records`` of the
policy. The functions of the queue (``dedupe_key``, ``weigh``, ``on_failure``) get what is carried.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Tracer, get_current_span

T = TypeVar("T")
FlushFn = Callable[[list[T]], Awaitable[object]]


@attrs.frozen
class Carried(Generic[T]):
    """An item, and the span in which it is enqueued."""

    item: T
    span: SpanContext = attrs.field(factory=lambda: get_current_span().get_span_context())


def traced(tracer: Tracer, name: str, store: FlushFn[T]) -> FlushFn[Carried[T]]:
    """A flush function that calls another one in a span of this name."""

    async def flush(batch: list[Carried[T]]) -> None:
        links = [Link(span) for span in {each.span.span_id: each.span for each in batch}.values()]
        count = {"messaging.batch.message_count": len(batch)}
        with tracer.start_as_current_span(name, Context(), SpanKind.CONSUMER, count, links):
            await store([each.item for each in batch])

    return flush
