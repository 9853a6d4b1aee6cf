"""Messages from NATS JetStream into PostgreSQL: by ``flushq work``, and by a loop without a queue.

All messages are in the stream before a process starts to work. The time from the first
acknowledgement to the last one is measured.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import asyncpg
import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks import server

MESSAGES = int(os.environ.get("FLUSHQ_BENCHMARK_MESSAGES", "100000"))
BODY = "one of the lines of a log, about as long as such a line is: GET /a/path HTTP/1.1 200 {}"
BY_HAND = (sys.executable, "-m", "benchmarks.candidates.messages")
COMMAND = (sys.executable, "-m", "flushq", "work")

_numbers = count(1)


async def _timed(command: Sequence[str], workers: int) -> float:
    """Run ``command`` in ``workers`` processes, which copy all messages of a new stream to a table.

    Return seconds per message.
    """
    name = f"MESSAGES_{os.getpid()}_{next(_numbers)}"
    nats_url, postgres_url = os.environ[server.NATS_URL], os.environ[server.URL]
    async with await nats.connect(nats_url) as connection:
        await _fill(connection, name)
        config = ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT)
        config.max_ack_pending = 20_000
        await connection.jetstream().add_consumer(name, config)
        with _running([*command, nats_url, name, name, postgres_url], workers):
            seconds = await _until_empty(connection, name)
        await connection.jetstream().delete_stream(name)
    await _check(postgres_url)
    return seconds / MESSAGES


async def _fill(connection: Client, name: str) -> None:
    jetstream = connection.jetstream()
    await jetstream.add_stream(name=name, subjects=[name])
    for number in range(MESSAGES):
        await connection.publish(name, BODY.format(number).encode())
        if number % 10_000 == 0:
            await connection.flush()
    while await _stored(jetstream, name) < MESSAGES:  # noqa: ASYNC110 - a server is polled
        await asyncio.sleep(0.02)


async def _stored(jetstream: JetStreamContext, name: str) -> int:
    return (await jetstream.stream_info(name)).state.messages


@contextmanager
def _running(command: Sequence[str], workers: int) -> Iterator[None]:
    output: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, **output) for _ in range(workers)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


async def _until_empty(connection: Client, name: str) -> float:
    started = 0.0
    while True:
        info = await connection.jetstream().consumer_info(name, name)
        left = (info.num_pending or 0) + (info.num_ack_pending or 0)
        if not started and left < MESSAGES:
            started = time.perf_counter()
        if not left:
            return time.perf_counter() - started
        await asyncio.sleep(0.02)


async def _check(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    stored = await connection.fetchval("SELECT count(*) FROM events")
    await connection.execute("DROP TABLE events")
    await connection.close()
    if stored != MESSAGES:
        raise AssertionError(f"{stored} messages were stored, not {MESSAGES}")


by_hand = partial(_timed, BY_HAND, 1)
one_worker = partial(_timed, COMMAND, 1)
two_workers = partial(_timed, COMMAND, 2)
four_workers = partial(_timed, COMMAND, 4)


async def _by_hand(nats_url: str, stream: str, consumer: str, postgres_url: str) -> None:
    """Copy the messages into the table without a queue."""
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


if __name__ == "__main__":
    asyncio.run(_by_hand(*sys.argv[1:]))
