"""Workers between a stream and a database: how tests start and end them."""

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
    """A program that is a worker.

    Attributes:
        arguments: The arguments of Python.
        stopped: The exit code after SIGTERM.
        variables: The additional environment variables.
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
        jetstream: The JetStream context of the stream.
        nats_url: The URL of the NATS server.
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
        """Start a worker with these servers, or with the given URLs."""
        source = nats_url or self.nats_url
        sink = postgres_url or f"{self.database}&application_name={self.stream}"
        arguments = (*self._program.arguments, source, self.stream, CONSUMER, sink, *options)
        return self._start(*arguments, **self._program.variables)

    async def add_consumer(self, **limits: int) -> None:
        """Create the consumer before a worker does, by a request: nats-py lacks some limits."""
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
        """Return the state of the consumer."""
        info: ConsumerInfo = await self.jetstream.consumer_info(self.stream, CONSUMER)
        return info

    async def until_idle(self, workers: int) -> None:
        """Wait until so many workers are connected to both servers, and wait for messages.

        The number of waiting requests is not enough, as one worker may have two; so the database
        sessions are counted, too, of which a worker has one.
        """
        connection = await asyncpg.connect(self.database)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"

        async def all_wait() -> bool:
            try:
                waiting = (await self.info()).num_waiting or 0
            except NotFoundError:  # no worker has created it yet
                return False
            return bool(min(await connection.fetchval(sessions, self.stream), waiting) >= workers)

        try:
            await until(all_wait)
        finally:
            await connection.close()

    async def acknowledged(self) -> bool:
        """Return whether all messages that workers have fetched are acknowledged."""
        return not (await self.info()).num_ack_pending

    async def settled(self) -> bool:
        """Return whether all messages of the stream are acknowledged."""
        info = await self.info()
        return not info.num_pending and not info.num_ack_pending

    async def stored(self, least: int = 0) -> list[str]:
        """Wait until the table has so many rows, and return the bodies of all rows."""
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
    """Send a signal to a worker; return its exit code and its standard error."""
    process.send_signal(number)
    _, err, code = await ended(process)
    return code, err.replace("created table 'events'\n", "")


async def end_all(processes: list[Worker]) -> list[tuple[int, str]]:
    """Stop workers at the same time; return their exit codes and standard errors."""
    return await asyncio.gather(*(end(process, signal.SIGTERM) for process in processes))


@asynccontextmanager
async def new_field(
    nats_server: Nats, database: str, program: Program, start: Start
) -> AsyncIterator[Field]:
    """Create a stream, yield it with a database, and delete the stream at the end."""
    async with await nats.connect(nats_server.url) as connection:
        jetstream = connection.jetstream()
        stream = f"FIELD{next(_numbers)}"
        await jetstream.add_stream(name=stream, subjects=[stream, f"{stream}.*"])
        yield Field(stream, database, jetstream, nats_server.url, program, start)
        await jetstream.delete_stream(stream)
