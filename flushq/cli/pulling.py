"""The part of a worker that requests messages from a JetStream consumer and receives them.

Theory of operation. A request asks for up to BATCH messages. The request stays at the server until
the server has sent all these messages, but for at most EXPIRES seconds. When half of the requested
messages have arrived, the next request is sent, so the server always has a request. Messages and
statuses arrive at the same inbox. A message has a reply subject: the acknowledgement is sent to
this subject. A status has no reply subject. It says that a request has ended, and how many
requested messages were not sent. If a status is lost, or the server was unreachable, some requested
messages never arrive. So after EXPIRES + GRACE seconds without a new request, and after each
reconnection, the count of requested messages is set to 0, and a new request is sent.

The messages are handed over one at a time. While a message waits to be accepted, at most one
request is sent, plus one request after each reconnection. With more requests, the messages would
fill the memory during a long outage of the database. At the end, the inbox stays open while
requested messages arrive: the server counts a message to a closed inbox as delivered, and sends the
message again only after ``ack_wait``.
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
    """The error for a consumer that was deleted."""


class Pull:
    """A loop that requests messages and hands over each message to a function.

    Args:
        connection: The connection to the server.
        consumer: The consumer whose messages are requested.
        take: The function that accepts a message. The next message is handed over after this
            function has returned.
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
        self._requested = 0
        self._handing_over = False
        self._due = asyncio.Event()
        self._problem = ""
        self._complaints = Complaints("problems with the consumer")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Request messages inside a ``with`` block, and yield the task that requests them.

        The task ends only if it is cancelled or the consumer was deleted. If the consumer was
        deleted, the task raises ConsumerGone. After the end of the block, no more requests are
        sent. The inbox is closed when all requested messages have arrived, or when no message has
        arrived for QUIET seconds. The messages that have arrived are handed over. All this takes at
        most DRAIN seconds.
        """
        subscription = await self._connection.subscribe(self._inbox, cb=self._on_message)
        requesting = asyncio.create_task(self._request_messages())
        try:
            yield requesting
        finally:
            requesting.cancel()
            if self._connection.is_connected:
                with suppress(nats.errors.Error, TimeoutError):  # missed messages are redelivered
                    async with asyncio.timeout(DRAIN):
                        await self._until_quiet()
                        await subscription.drain()  # type: ignore[no-untyped-call]  # nats-py

    async def _until_quiet(self) -> None:
        """Wait until all requested messages arrived, or no message arrives for QUIET seconds."""
        missing = math.inf
        while 0 < self._requested < missing:
            missing = self._requested
            await asyncio.sleep(QUIET)

    def request_again(self) -> None:
        """Send a new request, and expect no more messages for the earlier requests."""
        self._requested = 0
        self._due.set()

    async def _request_messages(self) -> None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._consumer.stream}.{self._consumer.name}"
        request = {"batch": self._size, "expires": int(self._expires * NANOSECONDS)}
        payload = json.dumps(request).encode()
        while True:
            while self._problem:
                await self._check_consumer()
            if self._is_due():
                self._requested += self._size
                with suppress(nats.errors.Error):  # a new request is sent after the reconnection
                    await self._connection.publish(subject, payload, self._inbox)
            self._due.clear()
            try:
                async with asyncio.timeout(self._expires + GRACE):
                    await self._due.wait()
            except TimeoutError:
                if not self._handing_over:
                    self._requested = 0

    def _is_due(self) -> bool:
        return self._requested * 2 <= self._size

    async def _check_consumer(self) -> None:
        """Report why the last request or check failed, pause, and check that the consumer exists.

        Raises:
            ConsumerGone: The consumer was deleted.
        """
        self._complaints.complain(f"NATS: {self._problem}")
        self._problem = ""
        await asyncio.sleep(PAUSE)
        jetstream = self._connection.jetstream()
        try:
            await jetstream.consumer_info(self._consumer.stream, self._consumer.name)
        except NotFoundError:
            raise ConsumerGone(f"consumer {self._consumer.name!r} was deleted") from None
        except nats.errors.Error as error:
            self._problem = str(error)

    async def _on_message(self, message: Msg) -> None:
        if not message.reply:
            self._on_request_end(message.headers or {})
            return
        self._requested = max(0, self._requested - 1)
        if self._is_due():
            self._due.set()
        self._handing_over = True
        await self._take(message)
        self._handing_over = False

    def _on_request_end(self, headers: dict[str, str]) -> None:
        """Handle the status at the end of a request: the request expired, or has failed."""
        if headers.get("Status") == EXPIRED:
            left = int(headers.get("Nats-Pending-Messages", self._requested))
            self._requested = max(0, self._requested - left)
        else:
            self._requested = 0
            self._problem = headers.get("Description") or f"status {headers.get('Status')}"
        self._due.set()
