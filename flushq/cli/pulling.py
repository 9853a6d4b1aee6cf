"""Pulling: what a worker asks of a JetStream consumer, and what it gets.

Theory of operation. A request asks for up to BATCH messages and waits at the server for up to
EXPIRES seconds, until they have come. When half of what was asked for is here, the next request is
sent, so that the server always has one. All messages come to one subject. A message has a subject
to be acknowledged at; what has none tells that a request has ended, and with how many messages to
go. If such an end is lost, or the server was away, nothing is asked for any more: so after a while
without an event, and whenever the server is back, what was asked for is forgotten, and asked for
again.

The messages are handed over one after the other. While one waits to be taken, no more are asked for
than one request has. At the end the inbox stays open as long as messages come for which was asked:
what the server sends to one that is closed it takes for delivered, and sends again after
``ack_wait`` only.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from flushq.cli.jetstream import NANOSECONDS, Consumer
from flushq.cli.terminal import Complaints

BATCH = 500
EXPIRES = 30.0
GRACE = 5.0
DRAIN = 2.0
PAUSE = 1.0
QUIET = 0.1
EXPIRED = "408"


class ConsumerGone(Exception):
    """The consumer was deleted."""


class Pull:
    """Asks for messages, and hands them over.

    Args:
        connection: Whom to ask.
        consumer: What to ask for.
        take: Takes a message; while it does not return, no other is handed over.
    """

    def __init__(
        self, connection: Client, consumer: Consumer, take: Callable[[Msg], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._consumer = consumer
        self._take = take
        self._size = min(BATCH, consumer.max_batch or BATCH)
        self._expires = min(EXPIRES, consumer.max_expires or EXPIRES)
        self._inbox = connection.new_inbox()
        self._asked = 0
        self._due = asyncio.Event()
        self._trouble = ""
        self._troubles = Complaints("troubles with the consumer")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Ask for messages, inside a block; yields the task, which ends with a ConsumerGone alone.

        At the end of the block no more are asked for. The inbox is closed when all is here that was
        asked for, or nothing has come for QUIET seconds; and what has come is handed over, as far
        as it is taken within DRAIN seconds.
        """
        subscription = await self._connection.subscribe(self._inbox, cb=self._hear)
        asking = asyncio.create_task(self._ask())
        try:
            yield asking
        finally:
            asking.cancel()
            if self._connection.is_connected:
                with suppress(nats.errors.Error, TimeoutError):  # what is on its way comes again
                    async with asyncio.timeout(DRAIN):
                        await self._until_quiet()
                        await subscription.drain()  # type: ignore[no-untyped-call]  # nats-py

    async def _until_quiet(self) -> None:
        """Wait until all is here that was asked for, or the server has nothing more at once."""
        missing = math.inf
        while 0 < self._asked < missing:
            missing = self._asked
            await asyncio.sleep(QUIET)

    def ask_again(self) -> None:
        """Forget what was asked for, since nothing will come of it."""
        self._asked = 0
        self._due.set()

    async def _ask(self) -> None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._consumer.stream}.{self._consumer.name}"
        request = {"batch": self._size, "expires": int(self._expires * NANOSECONDS)}
        payload = json.dumps(request).encode()
        while True:
            while self._trouble:
                await self._find_out()
            if self._is_due():
                self._asked += self._size
                with suppress(nats.errors.Error):  # the server is away; it is asked when it is back
                    await self._connection.publish(subject, payload, self._inbox)
            self._due.clear()
            try:
                async with asyncio.timeout(self._expires + GRACE):
                    await self._due.wait()
            except TimeoutError:
                self._asked = 0

    def _is_due(self) -> bool:
        return self._asked * 2 <= self._size

    async def _find_out(self) -> None:
        """Whatever the trouble is, try again after a pause; but a consumer that is gone is gone.

        Raises:
            ConsumerGone: It is.
        """
        self._troubles.complain(f"NATS: {self._trouble}")
        self._trouble = ""
        await asyncio.sleep(PAUSE)
        jetstream = self._connection.jetstream()
        try:
            await jetstream.consumer_info(self._consumer.stream, self._consumer.name)
        except NotFoundError:
            raise ConsumerGone(f"consumer {self._consumer.name!r} was deleted") from None
        except nats.errors.Error as error:
            self._trouble = str(error)

    async def _hear(self, message: Msg) -> None:
        if not message.reply:
            self._hear_end(message.headers or {})
            return
        self._asked = max(0, self._asked - 1)
        if self._is_due():
            self._due.set()
        await self._take(message)

    def _hear_end(self, headers: dict[str, str]) -> None:
        """A request has ended: by itself, or because of a trouble."""
        if headers.get("Status") == EXPIRED:
            left = int(headers.get("Nats-Pending-Messages", self._asked))
            self._asked = max(0, self._asked - left)
        else:
            self._asked = 0
            self._trouble = headers.get("Description") or f"status {headers.get('Status')}"
        self._due.set()
