"""A stream of NATS JetStream as the place where an ingestion brings its lines.

A line is a message under the first subject of the stream. Its id (``Nats-Msg-Id``) is made of its
source, its number and a digest of its text, so that a stream which has got it already, by a try
before or by a run before, ignores it; the stream knows that for as long as its duplicate window is.
The digest is for a file that has been replaced by another of the same name: its lines are others.
Of standard input and of pipes nothing is known that lasts, so their ids have a random part, which
is another one for each run.
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
"""More bytes than the headers of a message have beside its id."""

TOO_LONG = 10054
"""What JetStream answers to a message that is longer than the stream allows."""

Ack = asyncio.Future[bool]
"""Whether the stream had the line already; a NotPublished if it has refused."""

NO_RESPONDERS = "503"


class LineIds:
    """The ids of the lines of a run."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(8)
        self._names: dict[str, str] = {}

    def __call__(self, row: Row) -> str:
        """The id of a line."""
        source, line, body = row
        name = self._names.get(source) or self._name(source)
        return f"{name}:{line}:{blake2b(body.encode(), digest_size=8).hexdigest()}"

    def _name(self, source: str) -> str:
        """A name that no other source has, at any time, but a file that is in its place."""
        is_file = source != STANDARD_INPUT and Path(source).is_file()
        return self._names.setdefault(source, source if is_file else f"{source}:{self._run}")


class Publisher:
    """A stream; ``async with`` connects to it, and makes it if it is not there.

    Attributes:
        stored: How many lines the stream has got.
        ignored: How many others it had already.
        batches: In how many calls of :meth:`write` that went well.
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
        """What to call it."""
        return f"stream {self._stream!r}"

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            CannotOpen: The server does not answer, or lines cannot be published to the stream.
        """
        async with AsyncExitStack() as opening:
            self._connection = await opening.enter_async_context(connected(self._url))
            self._subject = await first_subject(self._connection, self._stream)
            self._inbox = self._connection.new_inbox()
            await self._connection.subscribe(f"{self._inbox}.*", cb=self._hear)
            self._opened = opening.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._opened.aclose()

    async def write(self, rows: list[Row]) -> None:
        """Publish lines, and return when the stream has got all of them.

        What it has got is counted, also if this raises. It is not published again then by a call
        with lines that were left.

        Raises:
            NotPublished: The stream has not got all of them: the server is away, has not answered
                within ACK_SECONDS or has refused.
        """
        named = [(self._id_of(row), row[2].encode()) for row in rows]
        left = [message for message in named if message[0] not in self._acknowledged]
        failures = await self._publish(left)
        if failures:
            raise min(failures, key=lambda failure: failure.refused)
        self._acknowledged.difference_update(name for name, _ in named)
        self.batches += 1

    async def _publish(self, messages: Iterable[tuple[str, bytes]]) -> list[NotPublished]:
        """Publish messages, all at once; return why some of them are not in the stream."""
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
        """Send a message, and return what will be its acknowledgement."""
        if len(name.encode()) + len(body) + HEAD > self._connection.max_payload:
            raise NotPublished(f"a line of {len(body)} bytes is too long", refused=True)
        if not self._connection.is_connected:
            raise NotPublished("NATS is away")
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._expected[reply] = Ack()
        await self._connection.publish(self._subject, body, reply, {Header.MSG_ID: name})
        return self._expected[reply]

    async def _hear(self, message: Msg) -> None:
        """Take an acknowledgement, if it is still waited for."""
        expected = self._expected.pop(message.subject, None)
        if expected is None:
            return
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            expected.set_exception(NotPublished("no stream takes it"))
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
