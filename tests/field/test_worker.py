"""Workers that share a JetStream consumer: whatever becomes of them, a message is stored once."""

import asyncio
import json
import random
import re
import signal
import subprocess
import time
import traceback
from collections.abc import AsyncIterator
from itertools import count

import asyncpg
import attrs
import nats
import pytest
import worker
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from tests.field.conftest import Run, ended
from tests.field.servers import Nats, Server, until

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

LONG = pytest.mark.long

Worker = subprocess.Popen[str]

CONSUMER = "workers"

SECONDS = 10**9
"""JetStream counts in nanoseconds."""

_numbers = count(1)


@attrs.frozen
class Field:
    """A stream and a database, and the workers between them.

    Attributes:
        stream: The name of the stream, and its subject.
        database: The URL of the database.
        jetstream: Where the stream is.
    """

    stream: str
    database: str
    jetstream: JetStreamContext
    _nats: str
    _run: Run

    def start(self, nats_url: str = "", postgres_url: str = "") -> Worker:
        """Start a worker, with the servers or with what stands in their place."""
        source = nats_url or self._nats
        sink = postgres_url or f"{self.database}&application_name={self.stream}"
        return self._run("worker.py", source, self.stream, CONSUMER, sink)

    async def add_consumer(self, **limits: int) -> None:
        """Make the consumer, before a worker does; nats-py does not know all limits."""
        config = {"durable_name": CONSUMER, "ack_policy": "explicit", **limits}
        request = json.dumps({"stream_name": self.stream, "config": config}).encode()
        subject = f"$JS.API.CONSUMER.DURABLE.CREATE.{self.stream}.{CONSUMER}"
        async with await nats.connect(self._nats) as connection:
            answer = json.loads((await connection.request(subject, request, timeout=5.0)).data)
        assert limits.items() <= answer["config"].items()

    async def publish(self, bodies: list[bytes]) -> None:
        """Publish a message for each body."""
        for first in range(0, len(bodies), 500):
            publish = self.jetstream.publish
            sent = (publish(self.stream, body) for body in bodies[first : first + 500])
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
            connected = await connection.fetchval(sessions, self.stream)
            return bool(min(connected, (await self.info()).num_waiting or 0) >= workers)

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
    _, complaints, code = await ended(process)
    return code, complaints


async def end_all(processes: list[Worker]) -> list[tuple[int, str]]:
    """Stop workers, all at once."""
    return await asyncio.gather(*(end(process, signal.SIGTERM) for process in processes))


@pytest.fixture
async def field(nats_server: Nats, database: str, run: Run) -> AsyncIterator[Field]:
    """A new stream and a new database."""
    async with await nats.connect(nats_server.url) as connection:
        jetstream = connection.jetstream()
        stream = f"FIELD{next(_numbers)}"
        await jetstream.add_stream(name=stream, subjects=[stream])
        yield Field(stream, database, jetstream, nats_server.url, run)
        await jetstream.delete_stream(stream)


@pytest.mark.parametrize("messages", [5_000, pytest.param(30_000, marks=pytest.mark.long)])
async def test_workers_come_and_go(field: Field, messages: int) -> None:
    """With one worker killed, one stopped and one added, each message is stored exactly once."""
    bodies = [str(number) for number in range(messages)]
    await field.add_consumer(ack_wait=2 * SECONDS, max_ack_pending=3_000)
    moments = sorted(random.choices(range(messages // 2), k=3))
    workers = [field.start() for _ in range(3)]
    await field.until_idle(workers=3)
    publishing = asyncio.create_task(field.publish([body.encode() for body in bodies]))

    await field.stored(least=moments[0])
    assert (-signal.SIGKILL, "") == await end(workers.pop(), signal.SIGKILL)
    await field.stored(least=moments[1])
    assert (143, "") == await end(workers.pop(), signal.SIGTERM)
    await field.stored(least=moments[2])
    workers.append(field.start())
    await publishing
    await until(field.settled)

    assert sorted(bodies) == sorted(await field.stored())
    await field.until_idle(workers=2)
    assert 2 * [(143, "")] == await end_all(workers)
    await until(field.settled)
    assert sorted(bodies) == sorted(await field.stored())


async def test_a_worker_that_is_stopped_leaves_nothing_behind(field: Field) -> None:
    """What it has taken it stores and acknowledges: nobody waits for a redelivery."""
    await field.add_consumer(ack_wait=3600 * SECONDS, max_ack_pending=10_000)
    await field.publish([b"%d" % number for number in range(10_000)])
    process = field.start()
    await field.stored(least=1)

    assert (143, "") == await end(process, signal.SIGTERM)

    stored = len(await field.stored())
    await until(field.acknowledged)
    assert 10_000 == stored + ((await field.info()).num_pending or 0)


@pytest.mark.parametrize("server", ["postgres_server", pytest.param("nats_server", marks=LONG)])
async def test_a_server_goes_and_comes_back(
    field: Field, server: str, request: pytest.FixtureRequest
) -> None:
    """While a server is away a worker waits; nothing is lost, and nothing is stored twice."""
    bodies = [str(number) for number in range(20_000)]
    await field.add_consumer(ack_wait=2 * SECONDS, max_ack_pending=3_000)
    await field.publish([body.encode() for body in bodies])
    process = field.start()
    await field.stored(least=1)

    gone: Server = request.getfixturevalue(server)
    await asyncio.to_thread(gone.kill)
    await asyncio.to_thread(gone.start)

    await field.stored(least=len(bodies))
    await until(field.settled)
    assert sorted(bodies) == sorted(await field.stored())
    code, _ = await end(process, signal.SIGTERM)
    assert 143 == code


@pytest.mark.parametrize("special", [":", "/", "%"])
@pytest.mark.parametrize("side", ["nats", "postgres"])
async def test_no_password_is_told(
    nats_server: Nats, caplog: pytest.LogCaptureFixture, special: str, side: str
) -> None:
    """Whatever is wrong with a URL, no part of its password is in what a worker says."""
    secret = f"me:hush{special}hush@"
    nats_url = nats_server.url.replace("://", f"://{secret if side == 'nats' else ''}")
    postgres_url = f"postgresql://{secret if side == 'postgres' else ''}127.0.0.1:1/db"

    with pytest.raises((ValueError, OSError)) as caught:
        await worker.main(nats_url, "STREAM", "CONSUMER", postgres_url)

    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert "hush" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize("side", ["nats", "postgres"])
async def test_a_worker_that_has_not_begun_ends_at_once(field: Field, side: str) -> None:
    """SIGTERM does not wait for a server that says nothing."""
    reached = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        silent = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if side == "nats":
            process = field.start(f"nats://{silent}")
        else:
            process = field.start(postgres_url=f"postgresql://me@{silent}/db")
        await reached.wait()
        asked = time.monotonic()

        assert (143, "") == await end(process, signal.SIGTERM)

    assert time.monotonic() - asked < 10.0


async def test_a_consumer_with_a_limit_of_its_own(field: Field) -> None:
    """A worker asks for no more than the consumer allows, and for all that it has."""
    bodies = [str(number) for number in range(2_000)]
    await field.add_consumer(max_batch=100)
    await field.publish([body.encode() for body in bodies])
    process = field.start()

    await field.stored(least=len(bodies))
    await until(field.settled)

    assert sorted(bodies) == sorted(await field.stored())
    assert (143, "") == await end(process, signal.SIGTERM)


async def test_messages_that_the_table_refuses(field: Field) -> None:
    """What is not text, or a trigger or an index refuses, is told; the worker goes on."""
    await field.add_consumer(ack_wait=3600 * SECONDS, max_ack_pending=10_000)
    process = field.start()
    await field.until_idle(workers=1)
    connection = await asyncpg.connect(field.database)
    await connection.execute("""
        CREATE INDEX ON events (body);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.body = 'poison' THEN RAISE EXCEPTION 'it is poison'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()""")
    await connection.close()
    bodies = [b"%d" % number for number in range(1_000)]
    bodies[300], bodies[700] = b"poison", random.randbytes(20_000).hex().encode()
    bodies[400], bodies[800] = b"not \xff UTF-8", b"not \0 text"

    await field.publish(bodies)
    await field.stored(least=996)
    await until(field.settled)
    await field.publish([b"and on"])
    await field.stored(least=997)

    code, complaints = await end(process, signal.SIGTERM)
    assert 143 == code
    refused = dict(re.findall(r"^refused: (\S+): (.*)$", complaints, re.MULTILINE))
    assert {f"{field.stream}:{number}" for number in (301, 401, 701, 801)} == set(refused)
    assert "it is poison" == refused[f"{field.stream}:301"]
    assert "index row" in refused[f"{field.stream}:701"]
    assert 4 == complaints.count("\n")
