"""NATS JetStream: a connection that lasts, a stream, and a consumer.

What is missing is made, and told on standard error. A stream takes what comes under the subject of
its own name, and keeps it on the disk without a limit. A consumer delivers all of a stream, and
delivers again what is not acknowledged within 30 seconds. What is there is used as it is.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import nats.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from flushq.cli.table import CannotOpen
from flushq.cli.terminal import Complaints, complain

CONNECT_SECONDS = 4.0
CLOSE_SECONDS = 5
LOOK_SECONDS = 1
MAX_ACK_PENDING = 20_000
NANOSECONDS = 10**9

TROUBLES = (nats.errors.Error, ValueError)  # also of a name that none can have


@asynccontextmanager
async def connected(
    url: str, on_return: Callable[[], object] = lambda: None
) -> AsyncIterator[Client]:
    """Connect to a server; at the end wait, for CLOSE_SECONDS, until it has got all that was sent.

    While the server is away, it is looked for every LOOK_SECONDS, and up to 2 MB of what is sent
    are kept for it. Troubles are told on standard error.

    Args:
        url: Where the server is.
        on_return: Called when the server is back.

    Raises:
        CannotOpen: It cannot be connected to within CONNECT_SECONDS.
    """
    connection = Client()
    try:
        await _connect(connection, url, on_return)
        yield connection
    finally:
        with suppress(Exception):  # the server may be away; nats-py fails in several ways then
            async with asyncio.timeout(CLOSE_SECONDS):
                if connection.is_connected:
                    await connection.flush(CLOSE_SECONDS)
                await connection.close()


async def _connect(connection: Client, url: str, on_return: Callable[[], object]) -> None:
    troubles = Complaints("troubles with NATS")

    async def tell(error: Exception) -> None:
        if connection.is_reconnecting:
            troubles.complain(f"NATS is away: {error}")

    async def tell_return() -> None:
        complain("NATS is back")
        troubles.start_anew()
        on_return()

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect(
                url,
                error_cb=tell,
                reconnected_cb=tell_return,
                reconnect_time_wait=LOOK_SECONDS,
                max_reconnect_attempts=-1,
            )
    except (OSError, *TROUBLES) as error:
        why = connection.last_error or str(error) or "it does not answer"
        raise CannotOpen(f"cannot connect to NATS: {why}") from error


async def first_subject(connection: Client, stream: str) -> str:
    """Return the first subject of a stream, which is made if it is missing.

    Raises:
        CannotOpen: It cannot be made or looked at, has no subject, or one that is a pattern.
    """
    subjects = await ensure_stream(connection, stream)
    if not subjects or {"*", ">"} & {*subjects[0].split(".")}:
        first = repr(subjects[0]) if subjects else "none"
        raise CannotOpen(f"cannot publish to stream {stream!r}: its first subject is {first}")
    return subjects[0]


async def ensure_stream(connection: Client, stream: str) -> list[str]:
    """Return the subjects of a stream, which is made if it is missing.

    Raises:
        CannotOpen: It cannot be made or looked at.
    """
    jetstream = connection.jetstream()
    try:
        try:
            config = (await jetstream.stream_info(stream)).config
        except NotFoundError:
            config = (await jetstream.add_stream(name=stream, subjects=[stream])).config
            complain(f"made stream {stream!r} with the subject {stream!r}")
    except TROUBLES as error:
        raise CannotOpen(f"cannot use stream {stream!r}: {error}") from error
    return config.subjects or []


@attrs.frozen
class Consumer:
    """A durable pull consumer, and the limits that it has for those who ask it for messages.

    Attributes:
        stream: The name of its stream.
        name: Its own name.
        max_batch: How many messages a request may ask for; 0: any number.
        max_expires: How long a request may wait, in seconds; 0: any time.
    """

    stream: str
    name: str
    max_batch: int = 0
    max_expires: float = 0.0


async def ensure_consumer(connection: Client, stream: str, name: str) -> Consumer:
    """Return a consumer, which is made if it is missing, and its stream too.

    Raises:
        CannotOpen: It cannot be made or looked at, or is not one for workers: it pushes messages,
            or does not want each of them to be acknowledged.
    """
    jetstream = connection.jetstream()
    wanted = ConsumerConfig(
        durable_name=name, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=MAX_ACK_PENDING
    )
    await ensure_stream(connection, stream)
    try:
        try:
            await jetstream.consumer_info(stream, name)
        except NotFoundError:
            await jetstream.add_consumer(stream, wanted)
            complain(f"made consumer {name!r} of stream {stream!r}")
        config = await _config(connection, stream, name)
    except TROUBLES as error:
        raise CannotOpen(f"cannot use consumer {name!r}: {error}") from error
    if config.get("deliver_subject") or config.get("ack_policy") != AckPolicy.EXPLICIT:
        raise CannotOpen(
            f"cannot use consumer {name!r}: it must be a pull consumer with ack policy 'explicit'"
        )
    return Consumer(
        stream, name, config.get("max_batch", 0), config.get("max_expires", 0) / NANOSECONDS
    )


async def _config(connection: Client, stream: str, name: str) -> dict[str, Any]:
    """All that the server knows of a consumer; nats-py leaves out its limits."""
    answer = await connection.request(f"$JS.API.CONSUMER.INFO.{stream}.{name}", timeout=5.0)
    config: dict[str, Any] = json.loads(answer.data)["config"]
    return config
