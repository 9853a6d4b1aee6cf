"""NATS JetStream: functions that connect to a server, and look up a stream or a consumer.

A missing stream or consumer is created, and this is reported on standard error. An existing stream
or consumer keeps its settings. The subject of a new stream is the name of the stream. A new stream
keeps its messages on the disk, without a limit. A new consumer delivers all messages of its stream;
it delivers a message again if the message is not acknowledged within 30 seconds.
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

from flushq.cli.table import CannotStart
from flushq.cli.terminal import Complaints, complain

CONNECT_SECONDS = 4.0
CLOSE_SECONDS = 5
RECONNECT_SECONDS = 1
MAX_ACK_PENDING = 20_000
NANOSECONDS = 10**9

NATS_ERRORS = (nats.errors.Error, ValueError)  # ValueError: a name is not valid


@asynccontextmanager
async def connected(
    url: str, on_return: Callable[[], object] = lambda: None
) -> AsyncIterator[Client]:
    """Connect to a server, and yield the connection; close the connection at the end.

    While the server is unreachable, the client tries to reconnect every RECONNECT_SECONDS, and
    buffers up to 2 MB of data to send. Errors of the connection are reported on standard error.
    At the end, the client waits up to CLOSE_SECONDS until the server has received all data.

    Args:
        url: The URL of the server.
        on_return: The function to call after each reconnection.

    Raises:
        CannotStart: No connection to the server can be made within CONNECT_SECONDS.
    """
    connection = Client()
    try:
        await _connect(connection, url, on_return)
        yield connection
    finally:
        with suppress(Exception):  # if the server is unreachable, nats-py raises various errors
            async with asyncio.timeout(CLOSE_SECONDS):
                if connection.is_connected:
                    await connection.flush(CLOSE_SECONDS)
                await connection.close()


async def _connect(connection: Client, url: str, on_return: Callable[[], object]) -> None:
    complaints = Complaints("problems with NATS")

    async def tell(error: Exception) -> None:
        if connection.is_reconnecting:
            complaints.complain(f"NATS is unreachable: {error}")

    async def tell_return() -> None:
        complain("NATS is reachable again")
        complaints.start_anew()
        on_return()

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect(
                url,
                error_cb=tell,
                reconnected_cb=tell_return,
                reconnect_time_wait=RECONNECT_SECONDS,
                max_reconnect_attempts=-1,
            )
    except (OSError, *NATS_ERRORS) as error:
        why = connection.last_error or str(error) or "it does not answer"
        raise CannotStart(f"cannot connect to NATS: {why}") from error


async def first_subject(connection: Client, stream: str) -> str:
    """Return the first subject of a stream; create the stream if it is missing.

    Raises:
        CannotStart: The stream cannot be created or looked up, or has no subject, or its first
            subject contains a wildcard.
    """
    subjects = await ensure_stream(connection, stream)
    if not subjects or {"*", ">"} & {*subjects[0].split(".")}:
        first = repr(subjects[0]) if subjects else "missing"
        raise CannotStart(
            f"cannot publish to stream {stream!r}: "
            f"its first subject must exist and contain no wildcards, but it is {first}"
        )
    return subjects[0]


async def ensure_stream(connection: Client, stream: str) -> list[str]:
    """Return the subjects of a stream; create the stream if it is missing.

    Raises:
        CannotStart: The stream cannot be created or looked up.
    """
    jetstream = connection.jetstream()
    try:
        try:
            config = (await jetstream.stream_info(stream)).config
        except NotFoundError:
            config = (await jetstream.add_stream(name=stream, subjects=[stream])).config
            complain(f"created stream {stream!r} with the subject {stream!r}")
    except NATS_ERRORS as error:
        raise CannotStart(f"cannot use stream {stream!r}: {error}") from error
    return config.subjects or []


@attrs.frozen
class Consumer:
    """A durable pull consumer, and the limits that it sets for each request for messages.

    Attributes:
        stream: The name of the stream.
        name: The name of the consumer.
        max_batch: The largest number of messages that a request may ask for; 0 means no limit.
        max_expires: The longest time that a request may wait, in seconds; 0 means no limit.
    """

    stream: str
    name: str
    max_batch: int = 0
    max_expires: float = 0.0


async def ensure_consumer(connection: Client, stream: str, name: str) -> Consumer:
    """Return a consumer; create the consumer and its stream if they are missing.

    Raises:
        CannotStart: The consumer or its stream cannot be created or looked up. Or the consumer
            cannot serve a worker: it pushes messages, or its ``ack_policy`` is not explicit.
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
            complain(f"created consumer {name!r} of stream {stream!r}")
        config = await _config(connection, stream, name)
    except NATS_ERRORS as error:
        raise CannotStart(f"cannot use consumer {name!r}: {error}") from error
    if config.get("deliver_subject") or config.get("ack_policy") != AckPolicy.EXPLICIT:
        raise CannotStart(
            f"cannot use consumer {name!r}: it must be a pull consumer with ack policy 'explicit'"
        )
    return Consumer(
        stream, name, config.get("max_batch", 0), config.get("max_expires", 0) / NANOSECONDS
    )


async def _config(connection: Client, stream: str, name: str) -> dict[str, Any]:
    """Return the configuration of a consumer, with the limits of a request (nats-py omits them)."""
    answer = await connection.request(f"$JS.API.CONSUMER.INFO.{stream}.{name}", timeout=5.0)
    config: dict[str, Any] = json.loads(answer.data)["config"]
    return config
