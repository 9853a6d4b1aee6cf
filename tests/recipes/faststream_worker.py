"""Store the messages of a JetStream consumer in PostgreSQL, with FastStream.

    python tests/recipes/faststream_worker.py NATS_URL STREAM CONSUMER POSTGRES_URL

FastStream calls the subscriber once for each message. The call returns when the message is stored.
Then FastStream acknowledges the message. Up to 1,000 calls run at a time, and the messages
that wait are stored together. Start as many workers as you need: the table recognises a message
that comes twice.

At SIGTERM FastStream starts no more calls, and waits up to 15 seconds for those that run. Then
``lifespan`` closes the queue. Messages that were not stored come again after ``ack_wait``. If the
queue fails, the worker ends. The exit code is 1 then, or if not all messages were stored in time.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import postgres
import urls
from faststream import AckPolicy, FastStream
from faststream.exceptions import RejectMessage
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.annotations import NatsMessage
from nats.js.api import ConsumerConfig
from postgres_failures import handler, tell

from flushq import Dropped, FlushQueue, NaturalPolicy, services

Item = tuple[str, bytes]


async def store(pool: asyncpg.Pool, batch: list[Item]) -> None:
    """Store messages in one transaction."""
    await postgres.store(pool, [(name, body.decode()) for name, body in batch])


async def bury(item: Item, error: BaseException) -> None:
    """Print the id of a message that cannot be stored."""
    await tell(item[0], error)


def make_app(nats_url: str, stream: str, consumer: str, postgres_url: str) -> FastStream:
    """Return the worker."""
    broker = NatsBroker(nats_url, graceful_timeout=15.0, log_level=logging.DEBUG)
    queues: list[FlushQueue[Item]] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with postgres.connect(postgres_url) as pool:
            flush, policy = partial(store, pool), NaturalPolicy(1_000)
            queue = FlushQueue(flush, policy, max_shutdown_wait=5.0, on_failure=handler(bury))
            queues.append(queue)
            async with services.running(queue):
                yield

    @broker.subscriber(
        stream=JStream(stream, declare=False), durable=consumer, config=ConsumerConfig(),
        pull_sub=PullSub(batch_size=500, timeout=1.0), max_workers=1_000,
        ack_policy=AckPolicy.NACK_ON_ERROR,  # by default a failed message never comes again
    )  # fmt: skip
    async def take(message: NatsMessage) -> None:
        place = message.raw_message.metadata
        name = f"{place.stream}:{place.sequence.stream}"  # the same at each delivery
        try:
            await queues[0].deliver((name, message.body))
        except Dropped as error:  # bury has printed its id
            raise RejectMessage from error

    return FastStream(broker, lifespan=lifespan)


if __name__ == "__main__":
    urls.check(sys.argv[1])
    asyncio.run(make_app(*sys.argv[1:]).run())
