"""The recipe for FastStream: a message is acknowledged after it was stored, and not before."""

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.field.conftest import RECIPES, Start, ended
from tests.field.servers import Nats, until
from tests.field.workers import SECONDS, Field, Program, end, new_field

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

FASTSTREAM = Program((str(RECIPES / "faststream_worker.py"),), 0)


@pytest.fixture
async def field(nats_server: Nats, database: str, start: Start) -> AsyncIterator[Field]:
    """A new stream, and a new database."""
    async with new_field(nats_server, database, FASTSTREAM, start) as field:
        yield field


async def test_a_stop_while_the_table_is_locked(field: Field) -> None:
    """No message is acknowledged while the table is locked; running calls end, and store theirs."""
    await field.add_consumer(ack_wait=3600 * SECONDS, max_ack_pending=10_000)
    await field.publish([b"%d" % number for number in range(500)])
    connection = await asyncpg.connect(field.database)
    await connection.execute("CREATE TABLE events (id text PRIMARY KEY, body text)")
    async with connection.transaction():
        await connection.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        process = field.start()
        await until(lambda: is_waited_for(connection))
        assert 500 == await kept(field)
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(until_logged, process, "shutting down")
        await field.publish([b"too late for a call"])
        await until(lambda: is_kept(field, 501))  # the server counts the message a moment later
    await connection.close()

    _, _, code = await ended(process)

    assert 0 == code
    stored = len(await field.stored(least=1))
    await until(lambda: is_kept(field, 501 - stored))  # acknowledgements may still arrive
    delivered = (await field.info()).delivered
    assert delivered is not None
    assert delivered.stream_seq == delivered.consumer_seq  # no call found the queue closed


@pytest.mark.long
async def test_one_is_killed_and_one_is_stopped(field: Field) -> None:
    """Each message is stored once, except one that is not text: its id is printed."""
    bodies = [b"%d" % number for number in range(10_000)]
    await field.add_consumer(ack_wait=2 * SECONDS, max_ack_pending=3_000)
    await field.publish([b"not \xff UTF-8", *bodies])
    killed, stopped = sorted(random.choices(range(5_000), k=2))

    process = field.start()
    await field.stored(least=killed)
    _, first = await end(process, signal.SIGKILL)
    process = field.start()
    await field.stored(least=stopped)
    code, second = await end(process, signal.SIGTERM)
    last = field.start()
    await field.stored(least=len(bodies))
    await until(field.settled)

    assert (0, sorted(body.decode() for body in bodies)) == (code, sorted(await field.stored()))
    code, third = await end(last, signal.SIGTERM)
    assert 0 == code
    assert f"refused: {field.stream}:1: " in first + second + third
    assert "Traceback" not in first + second + third


@pytest.mark.long
async def test_a_queue_that_fails_ends_the_worker(field: Field) -> None:
    """If the table lacks a column, the exit code is 1, and the stream keeps the messages."""
    await field.add_consumer(ack_wait=3600 * SECONDS, max_ack_pending=10_000)
    await field.publish([b"%d" % number for number in range(10)])
    connection = await asyncpg.connect(field.database)
    await connection.execute("CREATE TABLE events (id text PRIMARY KEY)")
    await connection.close()

    _, log, code = await ended(field.start())

    assert (1, True) == (code, "FlushFailed" in log)
    assert 10 == await kept(field)


async def is_waited_for(connection: asyncpg.Connection) -> bool:
    """Return whether a worker waits for the lock of the table."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass"
    return bool(await connection.fetchval(waiting))


async def is_kept(field: Field, count: int) -> bool:
    """Return whether the server keeps so many messages."""
    return count == await kept(field)


async def kept(field: Field) -> int:
    """Return how many messages the server keeps because they are not acknowledged."""
    info = await field.info()
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


def until_logged(process: subprocess.Popen[str], words: str) -> None:
    """Read the log of a worker, up to the line with these words."""
    assert process.stderr is not None
    assert any(words in line for line in process.stderr)
