"""A consumer on a fake NATS server: a test delivers its messages."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

REPLY = "$JS.ACK.S.c.1.7.1.0.0"
"""The subject to which a message is acknowledged."""


class Server:
    """A stand-in for a NATS connection: it records requests and answers, and delivers messages.

    Attributes:
        requests: The requests for messages, each with the time at which it came.
        answers: The payloads that answered messages; an acknowledgement is empty.
        info_error: The error that ``consumer_info`` raises, or None if it must succeed.
        drained: The event for which ``drain`` waits: no message is on its way any more.
        is_drained: Whether ``drain`` was called and has returned.
    """

    def __init__(self) -> None:
        self.is_connected = True
        self.requests: list[tuple[float, dict[str, int]]] = []
        self.answers: list[bytes] = []
        self.info_error: Exception | None = None
        self.drained = asyncio.Event()
        self.drained.set()
        self.is_drained = False
        self.subscribed = asyncio.Event()
        self._callback: Callable[[Msg], Awaitable[None]]

    # The methods of nats-py.

    def new_inbox(self) -> str:
        """Return the subject to which the server sends messages."""
        return "inbox"

    def jetstream(self) -> "Server":
        """Return the server itself, which also stands in for the JetStream context."""
        return self

    async def subscribe(self, inbox: str, cb: Callable[[Msg], Awaitable[None]]) -> "Server":
        """Keep the callback; return the server itself, which stands in for the subscription."""
        self._callback = cb
        self.subscribed.set()
        return self

    async def drain(self) -> None:
        """Wait for ``drained``, then set ``is_drained``."""
        await self.drained.wait()
        self.is_drained = True

    async def publish(self, subject: str, payload: bytes = b"", inbox: str = "") -> None:
        """Record a request for messages and its time, or the answer to a message."""
        if subject == REPLY:
            self.answers.append(payload)
            return
        assert ("$JS.API.CONSUMER.MSG.NEXT.S.c", "inbox") == (subject, inbox)
        self.requests.append((asyncio.get_running_loop().time(), json.loads(payload)))
        if not self.is_connected:
            raise nats.errors.OutboundBufferLimitError

    async def consumer_info(self, *names: str) -> None:
        """Return, or raise the error in ``info_error``."""
        assert ("S", "c") == names
        if self.info_error is not None:
            raise self.info_error

    # The methods that tests call.

    async def deliver(self, count: int, data: bytes = b"", subject: str = "") -> None:
        """Deliver so many messages to the subscriber."""
        for _ in range(count):
            await self._callback(Msg(cast(Client, self), subject, REPLY, data))
        await asyncio.sleep(0)

    async def end(self, status: str, **headers: str) -> None:
        """Deliver a status message, which ends a request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self._callback(Msg(cast(Client, self), headers={"Status": status, **named}))
        await asyncio.sleep(0)
