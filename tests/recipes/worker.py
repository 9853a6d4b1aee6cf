"""Store the messages of a JetStream consumer in PostgreSQL; start as many workers as you need.

    python tests/recipes/worker.py NATS_URL STREAM CONSUMER POSTGRES_URL

A worker acknowledges a message after the commit. At SIGTERM the worker drains, and exits with 143.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from functools import partial

import asyncpg
import nats
import postgres
import urls
from nats.aio.client import Client
from nats.aio.msg import Msg
from postgres_failures import handler, tell

from flushq import FlushQueue, NaturalPolicy


def name(message: Msg) -> str:
    """Return the id of a message, which is the same at each delivery."""
    return f"{message.metadata.stream}:{message.metadata.sequence.stream}"


async def store(pool: asyncpg.Pool, batch: list[Msg]) -> None:
    """Store messages in one transaction, and then acknowledge them."""
    await postgres.store(pool, [(name(message), message.data.decode()) for message in batch])
    for message in batch:
        await message.ack()  # while NATS is down, nats-py keeps the ack


async def give_up(message: Msg, error: BaseException) -> None:
    """Print the id of a message that cannot be stored, and stop its delivery."""
    await tell(name(message), error)
    await message.term()


async def pull(connection: Client, stream: str, consumer: str, queue: FlushQueue[Msg]) -> None:
    """Enqueue the messages of a consumer until SIGTERM."""
    config = nats.js.api.ConsumerConfig(max_ack_pending=10_000)  # if it creates the consumer
    messages = await connection.jetstream().pull_subscribe("", consumer, stream, config)
    answer = await connection.request(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", timeout=5.0)
    most = min(500, json.loads(answer.data)["config"].get("max_batch", 500))  # nats-py omits it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, (stop := asyncio.Event()).set)
    while not stop.is_set():
        with suppress(TimeoutError):
            if queue.pending > 9_000:  # in a full queue, enqueue would ignore SIGTERM
                await asyncio.wait_for(stop.wait(), timeout=0.1)
            for message in await messages.fetch(most, timeout=1.0):
                await queue.enqueue(message)
    with suppress(nats.errors.Error):  # the last fetch may have brought more messages
        await connection.flush(timeout=5)
        await messages.unsubscribe()
        for message in await messages.fetch(most, timeout=0.01):
            await queue.enqueue(message)


async def main(nats_url: str, stream: str, consumer: str, postgres_url: str) -> None:
    """Run the worker until SIGTERM."""
    urls.check(nats_url)
    async with await nats.connect(nats_url) as connection, postgres.connect(postgres_url) as pool:
        flush, judge, policy = partial(store, pool), handler(give_up), NaturalPolicy(1_000)
        queue = FlushQueue(flush, policy, dedupe_key=name, max_shutdown_wait=15, on_failure=judge)
        async with queue:
            await pull(connection, stream, consumer, queue)
        with suppress(Exception):  # if NATS is down, nats-py fails in several ways
            await asyncio.wait_for(connection.close(), 5.0)
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))  # no message yet
    asyncio.run(main(*sys.argv[1:]))
