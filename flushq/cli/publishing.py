"""A stream of NATS JetStream as the sink of an ingestion.

Each line is published as a message to the first subject of the stream. The id of the message
(``Nats-Msg-Id``) consists of the source, the number and a digest of the line. So if a line is
published again, by a retry or by another run, within the duplicate window of the stream, the
stream ignores it. The digest is needed if a file was replaced by another file with the same name.
Standard input and pipes have different lines in each run. So the ids of their lines have a random
part, new in each run.
"""

import asyncio
import json
import secrets
from collections.abc import Iterable
from contextlib import AsyncExitStack
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Self

from nats.aio.msg import Msg
from nats.js.api import Header

from flushq.cli.jetstream import connected, first_subject
from flushq.cli.reading import STANDARD_INPUT, Row
from flushq.cli.sink import NotPublished

ACK_SECONDS = 5.0

HEAD = 64
"""The largest size of the headers of a message, in bytes, without the message id."""

TOO_LONG = 10054
"""The error code of JetStream for a message that is longer than the stream allows."""

Ack = asyncio.Future[bool]
"""The future of an acknowledgement: its result is True if the stream had the line already.

If the line is not accepted, the exception of the future is a NotPublished.
"""

NO_RESPONDERS = "503"


class LineIds:
    """A function that returns the id of a line; each run must make a new object of this class."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(8)
        self._names: dict[str, str] = {}

    def __call__(self, row: Row) -> str:
        """Return the id of a line."""
        source, line, body = row
        name = self._names.get(source) or self._name(source)
        return f"{name}:{line}:{blake2b(body.encode(), digest_size=8).hexdigest()}"

    def _name(self, source: str) -> str:
        """Return a name for a source: the path of a file, else a name that is new in each run."""
        is_file = source != STANDARD_INPUT and Path(source).is_file()
        return self._names.setdefault(source, source if is_file else f"{source}:{self._run}")


class Publisher:
    """A stream as a sink; ``async with`` opens the stream, and creates it if it does not exist.

    Attributes:
        stored: The number of lines that were added to the stream.
        ignored: The number of lines that the stream had already.
        batches: The number of batches whose lines were all acknowledged.
    """

    def __init__(self, url: str, stream: str) -> None:
        self.stored = 0
        self.ignored = 0
        self.batches = 0
        self._url = url
        self._stream = stream
        self._id_of = LineIds()
        self._opened = AsyncExitStack()
        self._acknowledged: set[str] = set()
        self._numbers = count()
        self._expected: dict[str, Ack] = {}

    def __str__(self) -> str:
        """Return the name of the stream, for messages."""
        return f"stream {self._stream!r}"

    async def __aenter__(self) -> Self:
        """Connect to the server, and create the stream if it does not exist.

        Raises:
            CannotStart: The server does not answer, or lines cannot be published to the stream.
        """
        async with AsyncExitStack() as opening:
            self._connection = await opening.enter_async_context(connected(self._url))
            self._subject = await first_subject(self._connection, self._stream)
            self._inbox = self._connection.new_inbox()
            await self._connection.subscribe(f"{self._inbox}.*", cb=self._on_ack)
            self._opened = opening.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._opened.aclose()

    async def write(self, rows: list[Row]) -> None:
        """Publish lines, and return when the stream has acknowledged all of them.

        Acknowledged lines are counted even if this raises an error. If the batch is then retried,
        only the lines that the stream has not acknowledged are published again.

        Raises:
            NotPublished: The stream has not acknowledged all lines: the server is unreachable, has
                not answered within ACK_SECONDS, or has refused a line.
        """
        named = [(self._id_of(row), row[2].encode()) for row in rows]
        left = [message for message in named if message[0] not in self._acknowledged]
        failures = await self._publish(left)
        if failures:
            raise min(failures, key=lambda failure: failure.refused)
        self._acknowledged.difference_update(name for name, _ in named)
        self.batches += 1

    async def _publish(self, messages: Iterable[tuple[str, bytes]]) -> list[NotPublished]:
        """Publish messages, wait up to ACK_SECONDS for acknowledgements; return the failures."""
        sent: list[tuple[str, Ack]] = []
        failures = []
        for name, body in messages:
            try:
                sent.append((name, await self._send(name, body)))
            except NotPublished as failure:
                failures.append(failure)
        if sent:
            await asyncio.wait([each for _, each in sent], timeout=ACK_SECONDS)
        self._expected.clear()
        for name, acknowledgement in sent:
            try:
                self._count(name, acknowledgement)
            except NotPublished as failure:
                failures.append(failure)
        return failures

    async def _send(self, name: str, body: bytes) -> Ack:
        """Send a message, and return the future of its acknowledgement."""
        if len(name.encode()) + len(body) + HEAD > self._connection.max_payload:
            raise NotPublished(f"a line of {len(body)} bytes is too long for NATS", refused=True)
        if not self._connection.is_connected:
            raise NotPublished("NATS is unreachable")
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._expected[reply] = Ack()
        await self._connection.publish(self._subject, body, reply, {Header.MSG_ID: name})
        return self._expected[reply]

    async def _on_ack(self, message: Msg) -> None:
        """Handle an acknowledgement; ignore an acknowledgement that comes too late."""
        expected = self._expected.pop(message.subject, None)
        if expected is None:
            return
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            expected.set_exception(NotPublished("no stream accepts the line"))
            return
        answer = json.loads(message.data)
        if error := answer.get("error"):
            refused = error["err_code"] == TOO_LONG
            expected.set_exception(NotPublished(error["description"], refused=refused))
        else:
            expected.set_result(answer.get("duplicate", False))

    def _count(self, name: str, acknowledgement: Ack) -> None:
        if not acknowledgement.done():
            raise NotPublished(f"NATS has not answered within {ACK_SECONDS:g} s")
        if acknowledgement.result():
            self.ignored += 1
        else:
            self.stored += 1
        self._acknowledged.add(name)
