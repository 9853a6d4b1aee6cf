"""A span of OpenTelemetry for each call of ``flush_fn``, linked to the spans of its items.

    queue = FlushQueue(traced(get_tracer("flushq"), "store events", store), policy)
    await queue.enqueue(Carried(event))

A ``Carried`` is an item with the span that was current when it was created: often a request's
span. The items of a batch come from many requests. So the span of a call is no child of their
spans: it begins its own trace, and links to each of them once. Spans that ``store`` makes are its
children. The span of a call that fails has the error; a retry is another call, with its own span.

A span keeps 128 links; set OTEL_SPAN_LINK_COUNT_LIMIT to the ``max_records`` of the policy if that
is more. ``dedupe_key``, ``weigh`` and ``on_failure`` of the queue get the ``Carried``.
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
    """An item, and the span that was current when this object was created."""

    item: T
    span: SpanContext = attrs.field(factory=lambda: get_current_span().get_span_context())


def traced(tracer: Tracer, name: str, store: FlushFn[T]) -> FlushFn[Carried[T]]:
    """Return a flush function that calls another one in a span with this name."""

    async def flush(batch: list[Carried[T]]) -> None:
        links = [Link(span) for span in {each.span.span_id: each.span for each in batch}.values()]
        count = {"messaging.batch.message_count": len(batch)}
        with tracer.start_as_current_span(name, Context(), SpanKind.CONSUMER, count, links):
            await store([each.item for each in batch])

    return flush
