"""A consumer whose messages a test delivers, on a server that is not there."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

REPLY = "$JS.ACK.S.c.1.7.1.0.0"
"""Where a message is acknowledged."""


class Server:
    """Notes what it is asked for and told, and says what it is told to say.

    Attributes:
        requests: What it was asked for, and when.
        told: What it was told of messages: an acknowledgement is empty.
        trouble: What it answers to the question for the consumer, if it does not answer well.
        drained: Set when nothing is on its way any more.
        is_drained: Whether the end of what is on its way was waited for.
    """

    def __init__(self) -> None:
        self.is_connected = True
        self.requests: list[tuple[float, dict[str, int]]] = []
        self.told: list[bytes] = []
        self.trouble: Exception | None = None
        self.drained = asyncio.Event()
        self.drained.set()
        self.is_drained = False
        self.subscribed = asyncio.Event()
        self._hear: Callable[[Msg], Awaitable[None]]

    # What nats-py has.

    def new_inbox(self) -> str:
        """The subject that it answers to."""
        return "inbox"

    def jetstream(self) -> "Server":
        """Itself."""
        return self

    async def subscribe(self, inbox: str, cb: Callable[[Msg], Awaitable[None]]) -> "Server":
        """Itself."""
        self._hear = cb
        self.subscribed.set()
        return self

    async def drain(self) -> None:
        """Wait, and note it."""
        await self.drained.wait()
        self.is_drained = True

    async def publish(self, subject: str, payload: bytes = b"", inbox: str = "") -> None:
        """Note a request, and when it came, or what is told of a message."""
        if subject == REPLY:
            self.told.append(payload)
            return
        assert ("$JS.API.CONSUMER.MSG.NEXT.S.c", "inbox") == (subject, inbox)
        self.requests.append((asyncio.get_running_loop().time(), json.loads(payload)))
        if not self.is_connected:
            raise nats.errors.OutboundBufferLimitError

    async def consumer_info(self, *names: str) -> None:
        """Answer, unless there is a trouble."""
        assert ("S", "c") == names
        if self.trouble is not None:
            raise self.trouble

    # What a test makes it say.

    async def say(self, count: int, data: bytes = b"", subject: str = "") -> None:
        """Deliver messages."""
        for _ in range(count):
            await self._hear(Msg(cast(Client, self), subject, REPLY, data))
        await asyncio.sleep(0)

    async def end(self, status: str, **headers: str) -> None:
        """Tell of the end of a request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self._hear(Msg(cast(Client, self), headers={"Status": status, **named}))
        await asyncio.sleep(0)
