"""The HTTP endpoints of a worker."""

import asyncio
from typing import Any

import pytest

from flushq import FlushQueue, FlushReport, IntervalPolicy, NaturalPolicy
from flushq.cli import monitoring
from flushq.cli.monitoring import Metrics, Monitor
from flushq.cli.table import CannotStart

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])


async def ask(port: int, request: bytes) -> str:
    """Send a request, and return all bytes of the answer, decoded."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def get(port: int, path: str, method: str = "GET") -> tuple[str, str]:
    """Return the status and the body of an answer; check the length that its head states."""
    answer = await ask(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition("\r\n\r\n")
    assert method == "HEAD" or f"Content-Length: {len(body)}\r\n" in head
    return head.splitlines()[0].partition(" ")[2], body


async def nothing(_: list[Any]) -> None:
    """Store nothing."""


async def test_the_state_of_the_queue_is_the_health() -> None:
    """The health is good only while the queue runs, neither before nor afterwards."""
    queue = FlushQueue(nothing, NaturalPolicy())
    async with Monitor(Metrics("q", queue)).serving("127.0.0.1", 0) as port:
        assert ("503 Service Unavailable", "new\n") == await get(port, "/health")
        async with queue:
            assert ("200 OK", "running\n") == await get(port, "/health?why")
            assert ("200 OK", "") == await get(port, "/health", "HEAD")
        assert ("503 Service Unavailable", "closed\n") == await get(port, "/health")


async def test_metrics() -> None:
    """The metrics include the counts of the queue, its flushes by reason, and histograms."""
    reports: list[FlushReport] = []
    queue = FlushQueue(nothing, IntervalPolicy(3600.0), on_report=reports.append)
    metrics = Metrics("q", queue)
    async with Monitor(metrics).serving("127.0.0.1", 0) as port, queue:
        await queue.enqueue(1)
        await queue.enqueue(2)
        await queue.flush()
        for report in reports:
            metrics.observe(report)
        await queue.enqueue(3)
        status, body = await get(port, "/metrics")
    assert "200 OK" == status
    lines = body.splitlines()
    for figure in (
        'flushq_items_total{outcome="delivered",queue="q"} 2.0',
        'flushq_flushes_total{queue="q",reason="flush"} 1.0',
        'flushq_pending_items{queue="q"} 1.0',
        'flushq_batch_items_sum{queue="q"} 2.0',
        'flushq_flush_duration_seconds_count{queue="q"} 1.0',
        'flushq_wait_seconds_bucket{le="+Inf",queue="q"} 1.0',
    ):
        assert figure in lines
    assert any(line.startswith('flushq_oldest_age_seconds{queue="q"} ') for line in lines)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", "404 Not Found"), ("POST", "/health", "405 Method Not Allowed")],
)
async def test_other_requests(method: str, path: str, status: str) -> None:
    """Another path or method is refused with its status."""
    monitor = Monitor(Metrics("q", FlushQueue(nothing, NaturalPolicy())))
    async with monitor.serving("127.0.0.1", 0) as port:
        assert status == (await get(port, path, method))[0]


@pytest.mark.parametrize("request_", [b"GET /health", b"x" * 100_000], ids=["short", "long"])
async def test_what_is_not_a_request(monkeypatch: pytest.MonkeyPatch, request_: bytes) -> None:
    """An incomplete or overlong request gets no answer, and its connection is closed."""
    monkeypatch.setattr(monitoring, "REQUEST_SECONDS", 0.01)
    monitor = Monitor(Metrics("q", FlushQueue(nothing, NaturalPolicy())))
    async with monitor.serving("127.0.0.1", 0) as port:
        assert "" == await ask(port, request_)


async def test_an_address_of_another_machine() -> None:
    """A server cannot listen at an address of another machine, and the error says why."""
    monitor = Monitor(Metrics("q", FlushQueue(nothing, NaturalPolicy())))
    with pytest.raises(CannotStart, match=r"^cannot serve at port 0 of 192\.0\.2\.1: .* bind on "):
        async with monitor.serving("192.0.2.1", 0):
            pass
