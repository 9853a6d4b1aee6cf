"""Workers, a stream and a database between which they are, and how they end."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import asyncpg
import attrs
import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from tests.field.conftest import RECIPES, Start, ended
from tests.field.servers import Nats, until

Worker = subprocess.Popen[str]

CONSUMER = "workers"

SECONDS = 10**9
"""JetStream counts in nanoseconds."""

_numbers = count(1)


@attrs.frozen
class Program:
    """One of the programs that are workers.

    Attributes:
        arguments: What Python is called with.
        stopped: The exit code after SIGTERM.
        variables: What its environment has more than that of the tests.
    """

    arguments: tuple[str, ...]
    stopped: int
    variables: dict[str, str] = attrs.field(factory=dict)


MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}

RECIPE = Program((str(RECIPES / "worker.py"),), 143)
COMMAND = Program(("-m", "flushq", "work"), 0, MEASURED)


@attrs.frozen
class Field:
    """A stream and a database, and the workers between them.

    Attributes:
        stream: The name of the stream, and its subject.
        database: The URL of the database.
        jetstream: Where the stream is.
        nats_url: The URL of that.
    """

    stream: str
    database: str
    jetstream: JetStreamContext
    nats_url: str
    _program: Program
    _start: Start

    @property
    def stopped(self) -> int:
        """The exit code of a worker after SIGTERM."""
        return self._program.stopped

    def start(self, *options: str, nats_url: str = "", postgres_url: str = "") -> Worker:
        """Start a worker, with the servers or with what stands in their place."""
        source = nats_url or self.nats_url
        sink = postgres_url or f"{self.database}&application_name={self.stream}"
        arguments = (*self._program.arguments, source, self.stream, CONSUMER, sink, *options)
        return self._start(*arguments, **self._program.variables)

    async def add_consumer(self, **limits: int) -> None:
        """Make the consumer, before a worker does; nats-py does not know all limits."""
        config = {"durable_name": CONSUMER, "ack_policy": "explicit", **limits}
        request = json.dumps({"stream_name": self.stream, "config": config}).encode()
        subject = f"$JS.API.CONSUMER.DURABLE.CREATE.{self.stream}.{CONSUMER}"
        async with await nats.connect(self.nats_url) as connection:
            answer = json.loads((await connection.request(subject, request, timeout=5.0)).data)
        assert limits.items() <= answer["config"].items()

    async def publish(self, bodies: list[bytes], subject: str = "") -> None:
        """Publish a message for each body."""
        for first in range(0, len(bodies), 500):
            publish = self.jetstream.publish
            sent = (publish(subject or self.stream, body) for body in bodies[first : first + 500])
            await asyncio.gather(*sent)

    async def info(self) -> ConsumerInfo:
        """What the server knows of the consumer."""
        info: ConsumerInfo = await self.jetstream.consumer_info(self.stream, CONSUMER)
        return info

    async def until_idle(self, workers: int) -> None:
        """Wait until so many workers are connected to both servers, and wait for messages.

        Requests that wait are not enough, as one worker may have two; but it has one session.
        """
        connection = await asyncpg.connect(self.database)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"

        async def all_wait() -> bool:
            try:
                waiting = (await self.info()).num_waiting or 0
            except NotFoundError:  # no worker has made it yet
                return False
            return bool(min(await connection.fetchval(sessions, self.stream), waiting) >= workers)

        try:
            await until(all_wait)
        finally:
            await connection.close()

    async def acknowledged(self) -> bool:
        """Whether there is no message that a worker has and has not acknowledged."""
        return not (await self.info()).num_ack_pending

    async def settled(self) -> bool:
        """Whether there is no such message, and none that waits for a worker."""
        info = await self.info()
        return not info.num_pending and not info.num_ack_pending

    async def stored(self, least: int = 0) -> list[str]:
        """Wait for so many rows, and return the bodies of all."""
        connection = await asyncpg.connect(self.database)

        async def are_enough() -> bool:
            try:
                found = await connection.fetchval("SELECT count(*) FROM events")
            except asyncpg.UndefinedTableError:
                found = 0
            return bool(found >= least)

        try:
            await until(are_enough)
            return [row[0] for row in await connection.fetch("SELECT body FROM events")]
        finally:
            await connection.close()


async def end(process: Worker, number: signal.Signals) -> tuple[int, str]:
    """Send a signal to a worker, and return how it ended and what it complained of."""
    process.send_signal(number)
    _, told, code = await ended(process)
    return code, told.replace("created table 'events'\n", "")


async def end_all(processes: list[Worker]) -> list[tuple[int, str]]:
    """Stop workers, all at once."""
    return await asyncio.gather(*(end(process, signal.SIGTERM) for process in processes))


@asynccontextmanager
async def new_field(
    nats_server: Nats, database: str, program: Program, start: Start
) -> AsyncIterator[Field]:
    """Have a new stream and a new database."""
    async with await nats.connect(nats_server.url) as connection:
        jetstream = connection.jetstream()
        stream = f"FIELD{next(_numbers)}"
        await jetstream.add_stream(name=stream, subjects=[stream, f"{stream}.*"])
        yield Field(stream, database, jetstream, nats_server.url, program, start)
        await jetstream.delete_stream(stream)
