"""The HTTP server of a worker: it serves the health and the metrics of the queue.

``/health`` answers with the state of the queue. The HTTP status is 200 if the state is "running",
and 503 otherwise. ``/metrics`` answers with the statistics of the queue and histograms of its
flushes, in the format of Prometheus; the package ``prometheus_client`` writes this format. The
server needs no web framework: it has only two pages, which are requested every few seconds. It
answers one request on each connection, and then closes the connection. It runs in the event loop of
the worker, not in a thread, because the queue belongs to this loop. So the server does not answer
while the loop is blocked.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from flushq import FlushQueue, FlushReport
from flushq.cli.table import CannotStart

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ITEMS = (1, 4, 16, 64, 256, 1024)
OUTCOMES = ("delivered", "duplicates", "dropped", "undelivered", "in_doubt")
REQUEST_SECONDS = 5.0
PLAIN = "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]


class Metrics(Collector):
    """The metrics of a queue. All methods must be called in the event loop of the queue.

    Args:
        name: The value of the label ``queue``.
        queue: The queue.
    """

    def __init__(self, name: str, queue: FlushQueue[Any]) -> None:
        self._name = name
        self._queue = queue
        self._registry = CollectorRegistry()
        self._seconds = self._histogram(
            "flushq_flush_duration_seconds", "How long a flush took, retries included", SECONDS
        )
        self._waited = self._histogram(
            "flushq_wait_seconds", "How long the oldest item of a batch waited", SECONDS
        )
        self._items = self._histogram("flushq_batch_items", "How many items a batch had", ITEMS)
        self._registry.register(self)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(name, what, ["queue"], buckets=buckets, registry=self._registry)
        return histogram.labels(self._name)

    def observe(self, report: FlushReport) -> None:
        """Add a flush to the histograms; call this for each report of the queue."""
        self._seconds.observe(report.seconds)
        self._waited.observe(report.waited)
        self._items.observe(report.count)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are made from the statistics of the queue."""
        stats = self._queue.stats()
        items = self._counter("flushq_items", "Items, by their outcome", "outcome")
        for outcome in OUTCOMES:
            items.add_metric([self._name, outcome], getattr(stats, outcome))
        flushes = self._counter("flushq_flushes", "Flushes, by their reason", "reason")
        for reason, count in stats.flushes.items():
            flushes.add_metric([self._name, reason], count)
        pending = GaugeMetricFamily("flushq_pending_items", "Items that wait", labels=["queue"])
        pending.add_metric([self._name], stats.pending)
        what = "How long the oldest pending item has waited"
        age = GaugeMetricFamily("flushq_oldest_age_seconds", what, labels=["queue"])
        age.add_metric([self._name], stats.oldest_age)
        yield from (items, flushes, pending, age)

    def _counter(self, name: str, what: str, label: str) -> CounterMetricFamily:
        return CounterMetricFamily(name, what, labels=["queue", label])

    def health(self) -> Answer:
        """Return the answer to ``/health``: the state of the queue."""
        state = self._queue.state
        status = HTTPStatus.OK if state == "running" else HTTPStatus.SERVICE_UNAVAILABLE
        return status, PLAIN, f"{state}\n".encode()

    def metrics(self) -> Answer:
        """Return the answer to ``/metrics``: all metrics."""
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self._registry)


class Monitor:
    """The HTTP server for the paths ``/health`` and ``/metrics``.

    Args:
        metrics: The object that returns the answer for each path.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._pages = {"/health": metrics.health, "/metrics": metrics.metrics}

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve inside a ``with`` block, and yield the port; if ``port`` is 0, take a free port.

        Raises:
            CannotStart: The port is in use or not permitted to this user, or the host is not an
                address of this machine.
        """
        try:
            server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise CannotStart(
                f"cannot serve at port {port} of {host}: {error.strerror or error}"
            ) from error
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request))
                await writer.drain()
        writer.close()

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode(errors="replace")
        status, kind, body = self._answer(method, path)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == b"HEAD" else body)

    def _answer(self, method: bytes, path: str) -> Answer:
        if method not in {b"GET", b"HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, PLAIN, b"only GET and HEAD are allowed\n"
        if path not in self._pages:
            return HTTPStatus.NOT_FOUND, PLAIN, b"only /health and /metrics exist\n"
        return self._pages[path]()
