"""How many messages a second come from NATS JetStream into PostgreSQL, and by whom.

    python -m tests.field.throughput [MESSAGES]

The messages are there before the workers start, and each row has all of them, with a consumer and a
table of its own. Measured is the time from the first acknowledgement to the last. By hand is a loop
that fetches 500 messages, copies them and acknowledges them.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import attrs
import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from tests.field.servers import Nats, Postgres, until

STREAM = "THROUGHPUT"
BODY = "one of the lines of a log, about as long as such a line is: GET /a/path HTTP/1.1 200 {}"
BY_HAND = (sys.executable, "-m", "tests.field.throughput")
COMMAND = (sys.executable, "-m", "flushq", "work")

ROWS = {
    "by hand": (BY_HAND, 1),
    "work, 1 worker": (COMMAND, 1),
    "work, 2 workers": (COMMAND, 2),
    "work, 4 workers": (COMMAND, 4),
}


@attrs.frozen
class Place:
    """The servers, and a stream that is full."""

    nats_url: str
    postgres: Postgres
    messages: int

    async def measure(self, name: str, command: Sequence[str], workers: int) -> float:
        """Return how many messages a second come into a new table, each once."""
        database = self.postgres.create(name)
        async with await nats.connect(self.nats_url) as connection:
            config = ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT)
            config.max_ack_pending = 20_000
            await connection.jetstream().add_consumer(STREAM, config)
            with _running([*command, self.nats_url, STREAM, name, database], workers):
                seconds = await self._until_empty(connection, name)
        await self._check(database)
        return self.messages / seconds

    async def _until_empty(self, connection: Client, name: str) -> float:
        """Wait until all messages are acknowledged; return how long that has taken."""
        started = 0.0
        while True:
            info = await connection.jetstream().consumer_info(STREAM, name)
            left = (info.num_pending or 0) + (info.num_ack_pending or 0)
            if not started and left < self.messages:
                started = time.perf_counter()
            if not left:
                return time.perf_counter() - started
            await asyncio.sleep(0.02)

    async def _check(self, database: str) -> None:
        connection = await asyncpg.connect(database)
        stored = await connection.fetchval("SELECT count(*) FROM events")
        await connection.execute("DROP TABLE events")
        await connection.close()
        assert self.messages == stored


@contextmanager
def _running(command: Sequence[str], workers: int) -> Iterator[None]:
    """Have some workers run, and stop them."""
    output: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, **output) for _ in range(workers)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


async def fill(nats_url: str, messages: int) -> None:
    """Make the stream, and publish the messages."""
    async with await nats.connect(nats_url) as connection:
        jetstream = connection.jetstream()
        await jetstream.add_stream(name=STREAM, subjects=[STREAM])
        for number in range(messages):
            await connection.publish(STREAM, BODY.format(number).encode())
            if number % 10_000 == 0:
                await connection.flush()
        await connection.flush()

        async def is_full() -> bool:
            return bool((await jetstream.stream_info(STREAM)).state.messages == messages)

        await until(is_full)


async def by_hand(nats_url: str, stream: str, consumer: str, postgres_url: str) -> None:
    """Bring the messages into the table without a queue."""
    database = await asyncpg.connect(postgres_url)
    await database.execute("CREATE TABLE events (id text PRIMARY KEY, body text)")
    await database.execute(
        "CREATE TEMPORARY TABLE incoming (id text, body text) ON COMMIT DELETE ROWS"
    )
    insert = "INSERT INTO events SELECT * FROM incoming ON CONFLICT (id) DO NOTHING"
    connection = await nats.connect(nats_url)
    messages = await connection.jetstream().pull_subscribe("", consumer, stream)
    while True:
        batch = await messages.fetch(500, timeout=3600)
        rows = [(f"{stream}:{each.metadata.sequence.stream}", each.data.decode()) for each in batch]
        async with database.transaction():
            await database.copy_records_to_table("incoming", records=rows)
            await database.execute(insert)
        for message in batch:
            await message.ack()


async def compare(messages: int) -> None:
    """Print what each row has measured."""
    nats_server, postgres = Nats(), Postgres()
    try:
        await fill(nats_server.url, messages)
        place = Place(nats_server.url, postgres, messages)
        for name, (command, workers) in ROWS.items():
            rate = await place.measure(name.replace(",", "").replace(" ", "_"), command, workers)
            print(f"{name:20} {rate:8.0f} messages/s", flush=True)  # noqa: T201 - it is a program
    finally:
        nats_server.close()
        postgres.close()


if __name__ == "__main__":
    if len(sys.argv) == 5:
        asyncio.run(by_hand(*sys.argv[1:]))
    else:
        asyncio.run(compare(int([*sys.argv, "1000000"][1])))
