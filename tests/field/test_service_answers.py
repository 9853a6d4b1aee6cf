"""The answers of the service with FastAPI to an order, in virtual time."""

import asyncio

import httpx
import pytest
import service
import sqlite
from starlette.types import Receive, Scope, Send

from flushq import FlushQueue, IntervalPolicy, ShutdownTimeout

ORDER = {"id": "1", "body": "a book"}


async def never(orders: list[sqlite.Row]) -> None:
    """Wait forever."""
    await asyncio.Event().wait()


def client_of(queue: FlushQueue[sqlite.Row]) -> httpx.AsyncClient:
    """Return a client of a service that has this queue."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await service.app({**scope, "state": {"queue": queue}}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def test_an_order_that_waits() -> None:
    """An order that is accepted, but not stored in time, is answered with 202."""
    stored: list[sqlite.Row] = []

    async def store(orders: list[sqlite.Row]) -> None:
        stored.extend(orders)

    async with FlushQueue(store, IntervalPolicy(60.0)) as queue, client_of(queue) as client:
        answer = await client.post("/orders", json=ORDER)
        assert (202, []) == (answer.status_code, stored)
    assert [("1", "a book")] == stored


async def test_an_order_that_finds_no_room() -> None:
    """An order for which there is no room in time is not accepted, and is answered with 503."""
    queue = FlushQueue(never, IntervalPolicy(60.0), max_queue_size=1, max_shutdown_wait=0)
    with pytest.raises(ShutdownTimeout):
        async with queue, client_of(queue) as client:
            await queue.enqueue(("in flight", ""))
            await queue.enqueue(("waiting", ""))
            answer = await client.post("/orders", json=ORDER)
            assert (503, "1") == (answer.status_code, answer.headers["Retry-After"])
    assert 2 == queue.stats().accepted


async def test_an_order_that_is_lost_at_the_end() -> None:
    """An order that is in doubt when the queue ends is answered with 503, not with 202."""
    queue = FlushQueue(never, IntervalPolicy(1.0), max_shutdown_wait=0)
    async with client_of(queue) as client:
        asked = asyncio.create_task(client.post("/orders", json=ORDER))
        with pytest.raises(ShutdownTimeout):
            async with queue:
                await asyncio.sleep(1.5)
        answer = await asked
    assert (503, {"detail": "ShutdownTimeout"}) == (answer.status_code, answer.json())
    assert [("1", "a book")] == queue.in_doubt
