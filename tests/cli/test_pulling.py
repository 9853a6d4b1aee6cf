"""What a worker asks a consumer for, in virtual time, of a server that is not there."""

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
    """A server that somebody pulls from."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Msg] = []
        self.seconds_to_take = 0.0

    async def _take(self, message: Msg) -> None:
        await asyncio.sleep(self.seconds_to_take)
        self.taken.append(message)

    @asynccontextmanager
    async def pulled(self, **limits: Any) -> AsyncIterator[tuple[Pull, "asyncio.Task[None]"]]:
        """Have somebody pull from it."""
        pull = Pull(cast(Client, self), Consumer("S", "c", **limits), self._take)
        async with pull.running() as asking:
            await asyncio.sleep(0)
            yield pull, asking

    @property
    def times(self) -> list[float]:
        """When it was asked."""
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
    """A request is as large as the consumer allows, and waits as long."""
    server = Pulled()
    async with server.pulled(**limits):
        pass
    assert [(0.0, {"batch": batch, "expires": seconds * 10**9})] == server.requests
    assert server.is_drained


async def test_it_asks_again_when_half_is_here() -> None:
    """So the server has a request at any time, and never more than one and a half."""
    server = Pulled()
    async with server.pulled(max_batch=10):
        await server.say(4)
        assert 1 == len(server.requests)
        await server.say(1)
        await server.end("408", Nats_Pending_Messages="0")
        assert 2 == len(server.requests)
        await server.say(9)
        assert 2 == len(server.requests)
        await server.say(1)
    assert (3, 15) == (len(server.requests), len(server.taken))


async def test_what_was_asked_for_is_waited_for() -> None:
    """The inbox is closed when it is here: the server counts what it sends as delivered."""
    server = Pulled()

    async def say() -> None:
        for count in (4, 3, 3):
            await asyncio.sleep(0.06)
            assert not server.is_drained
            await server.say(count)

    async with server.pulled(max_batch=10):
        saying = asyncio.create_task(say())
    await saying
    assert (1, 10, True) == (len(server.requests), len(server.taken), server.is_drained)


async def test_a_request_that_has_expired_is_made_again() -> None:
    """What it did not bring is not counted on any more."""
    server = Pulled()
    async with server.pulled(max_batch=10):
        await server.say(2)
        await server.end("408", Nats_Pending_Messages="8")
        assert 2 == len(server.requests)
        await server.end("408")
        assert 3 == len(server.requests)


async def test_an_end_that_is_lost() -> None:
    """It is asked again, some seconds after the request must have ended."""
    server = Pulled()
    async with server.pulled(max_expires=10.0):
        await asyncio.sleep(40)
    assert [0.0, 15.0, 30.0] == server.times


async def test_a_message_that_waits_to_be_accepted() -> None:
    """No timeout sends a request meanwhile: its messages would fill the memory."""
    server = Pulled()
    server.seconds_to_take = 100.0
    async with server.pulled(max_expires=10.0):
        await server.say(1)
        assert [0.0] == server.times
        await asyncio.sleep(20)
    assert [0.0, 105.0] == server.times


async def test_a_server_that_comes_back() -> None:
    """What was asked for before is forgotten, and asked for again."""
    server = Pulled()
    server.is_connected = False
    async with server.pulled() as (pull, _):
        pull.request_again()
        await asyncio.sleep(0)
        assert 2 == len(server.requests)
    assert not server.is_drained


async def test_a_trouble_that_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and after a pause looked at and asked again, until the consumer is there."""
    server = Pulled()
    async with server.pulled():
        server.trouble = nats.errors.NoRespondersError()
        await server.end("503")
        await asyncio.sleep(1.5)
        server.trouble = None
        await asyncio.sleep(1)
        await server.end("409", Description="Leadership Change")
        await asyncio.sleep(1)
    assert [0.0, 2.0, 3.5] == server.times
    told = ["status 503", "nats: no responders available for request", "Leadership Change"]
    assert [f"NATS: {trouble}" for trouble in told] == capsys.readouterr().err.splitlines()


async def test_a_consumer_that_is_deleted() -> None:
    """Nothing more will come."""
    server = Pulled()
    server.trouble = NotFoundError()
    async with server.pulled() as (_, asking):
        await server.end("409", Description="Consumer Deleted")
        with pytest.raises(ConsumerGone, match="consumer 'c' was deleted"):
            await asking
