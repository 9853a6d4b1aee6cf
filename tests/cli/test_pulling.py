"""The requests of a worker to a consumer, in virtual time, on a fake server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from flushq.cli.jetstream import Consumer
from flushq.cli.pulling import ConsumerGone, Pull
from tests.cli.consumers import Server


class Pulled(Server):
    """A fake server with a worker that pulls from it."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Msg] = []
        self.seconds_to_take = 0.0

    async def _take(self, message: Msg) -> None:
        await asyncio.sleep(self.seconds_to_take)
        self.taken.append(message)

    @asynccontextmanager
    async def pulled(self, **limits: Any) -> AsyncIterator[tuple[Pull, "asyncio.Task[None]"]]:
        """Run a ``Pull`` from this server; yield the pull and the task of its requests."""
        pull = Pull(cast(Client, self), Consumer("S", "c", **limits), self._take)
        async with pull.running() as asking:
            await asyncio.sleep(0)
            yield pull, asking

    @property
    def times(self) -> list[float]:
        """The times of the requests."""
        return [time for time, _ in self.requests]


@pytest.mark.parametrize(
    ("limits", "batch", "seconds"),
    [
        ({}, 500, 30),
        ({"max_batch": 100, "max_expires": 5.0}, 100, 5),
        ({"max_batch": 900}, 500, 30),
    ],
)
async def test_it_asks_for_what_it_may_have(
    limits: dict[str, Any], batch: int, seconds: int
) -> None:
    """A request asks for as many messages, and waits as long, as the consumer allows."""
    server = Pulled()
    async with server.pulled(**limits):
        pass
    assert [(0.0, {"batch": batch, "expires": seconds * 10**9})] == server.requests
    assert server.is_drained


async def test_it_asks_again_when_half_is_here() -> None:
    """The next request follows when half of the messages of the last one have arrived."""
    server = Pulled()
    async with server.pulled(max_batch=10):
        await server.deliver(4)
        assert 1 == len(server.requests)
        await server.deliver(1)
        await server.end("408", Nats_Pending_Messages="0")
        assert 2 == len(server.requests)
        await server.deliver(9)
        assert 2 == len(server.requests)
        await server.deliver(1)
    assert (3, 15) == (len(server.requests), len(server.taken))


async def test_what_was_asked_for_is_waited_for() -> None:
    """At the end the worker waits for requested messages: the server counts them as delivered."""
    server = Pulled()

    async def deliver() -> None:
        for count in (4, 3, 3):
            await asyncio.sleep(0.06)
            assert not server.is_drained
            await server.deliver(count)

    async with server.pulled(max_batch=10):
        delivering = asyncio.create_task(deliver())
    await delivering
    assert (1, 10, True) == (len(server.requests), len(server.taken), server.is_drained)


async def test_a_request_that_has_expired_is_made_again() -> None:
    """Messages that an expired request did not bring are no longer expected."""
    server = Pulled()
    async with server.pulled(max_batch=10):
        await server.deliver(2)
        await server.end("408", Nats_Pending_Messages="8")
        assert 2 == len(server.requests)
        await server.end("408")
        assert 3 == len(server.requests)


async def test_an_end_that_is_lost() -> None:
    """If the end of a request is lost, another request follows some seconds after that end."""
    server = Pulled()
    async with server.pulled(max_expires=10.0):
        await asyncio.sleep(40)
    assert [0.0, 15.0, 30.0] == server.times


async def test_a_message_that_waits_to_be_accepted() -> None:
    """While a message waits to be accepted no timeout makes a request: memory would fill up."""
    server = Pulled()
    server.seconds_to_take = 100.0
    async with server.pulled(max_expires=10.0):
        await server.deliver(1)
        assert [0.0] == server.times
        await asyncio.sleep(20)
    assert [0.0, 105.0] == server.times


async def test_a_server_that_comes_back() -> None:
    """After a reconnection the earlier request is forgotten, and the next one is made."""
    server = Pulled()
    server.is_connected = False
    async with server.pulled() as (pull, _):
        pull.request_again()
        await asyncio.sleep(0)
        assert 2 == len(server.requests)
    assert not server.is_drained


async def test_a_trouble_that_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """A problem is reported; after each pause the consumer is checked, until it answers."""
    server = Pulled()
    async with server.pulled():
        server.info_error = nats.errors.NoRespondersError()
        await server.end("503")
        await asyncio.sleep(1.5)
        server.info_error = None
        await asyncio.sleep(1)
        await server.end("409", Description="Leadership Change")
        await asyncio.sleep(1)
    assert [0.0, 2.0, 3.5] == server.times
    told = ["status 503", "nats: no responders available for request", "Leadership Change"]
    assert [f"NATS: {trouble}" for trouble in told] == capsys.readouterr().err.splitlines()


async def test_a_consumer_that_is_deleted() -> None:
    """If the consumer was deleted the requests end with ConsumerGone."""
    server = Pulled()
    server.info_error = NotFoundError()
    async with server.pulled() as (_, asking):
        await server.end("409", Description="Consumer Deleted")
        with pytest.raises(ConsumerGone, match="consumer 'c' was deleted"):
            await asking
