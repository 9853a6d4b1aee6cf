"""Workers that share a JetStream consumer: each message is stored once, even if workers die."""

import asyncio
import random
import re
import signal
import time
import traceback
from collections.abc import AsyncIterator

import asyncpg
import pytest
import worker

from tests.field.conftest import Start
from tests.field.servers import Nats, Server, until
from tests.field.workers import COMMAND, RECIPE, SECONDS, Field, end, end_all, new_field

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

LONG = pytest.mark.long


@pytest.fixture(params=[pytest.param(RECIPE, marks=LONG), COMMAND], ids=["recipe", "command"])
async def field(
    request: pytest.FixtureRequest, nats_server: Nats, database: str, start: Start
) -> AsyncIterator[Field]:
    """A new stream and a new database, with the recipe or the command."""
    async with new_field(nats_server, database, request.param, start) as field:
        yield field


@pytest.mark.parametrize("messages", [5_000, pytest.param(30_000, marks=LONG)])
async def test_workers_come_and_go(field: Field, messages: int) -> None:
    """Each message is stored once while one worker is killed, one stopped and one added."""
    bodies = [str(number) for number in range(messages)]
    await field.add_consumer(ack_wait=2 * SECONDS, max_ack_pending=3_000)
    moments = sorted(random.choices(range(messages // 2), k=3))
    workers = [field.start() for _ in range(3)]
    await field.until_idle(workers=3)
    publishing = asyncio.create_task(field.publish([body.encode() for body in bodies]))

    await field.stored(least=moments[0])
    assert (-signal.SIGKILL, "") == await end(workers.pop(), signal.SIGKILL)
    await field.stored(least=moments[1])
    assert (field.stopped, "") == await end(workers.pop(), signal.SIGTERM)
    await field.stored(least=moments[2])
    workers.append(field.start())
    await publishing
    await until(field.settled)

    assert sorted(bodies) == sorted(await field.stored())
    await field.until_idle(workers=2)
    assert 2 * [(field.stopped, "")] == await end_all(workers)
    await until(field.settled)
    assert sorted(bodies) == sorted(await field.stored())


async def test_a_worker_that_is_stopped_leaves_nothing_behind(field: Field) -> None:
    """A worker that is stopped stores and acknowledges all messages that it has fetched."""
    await field.add_consumer(ack_wait=3600 * SECONDS, max_ack_pending=10_000)
    await field.publish([b"%d" % number for number in range(10_000)])
    process = field.start()
    await field.stored(least=1)

    assert (field.stopped, "") == await end(process, signal.SIGTERM)

    stored = len(await field.stored())
    await until(field.acknowledged)
    assert 10_000 == stored + ((await field.info()).num_pending or 0)


@pytest.mark.parametrize("server", ["postgres_server", pytest.param("nats_server", marks=LONG)])
async def test_a_server_goes_and_comes_back(
    field: Field, server: str, request: pytest.FixtureRequest
) -> None:
    """A worker waits while a server is down; no message is lost, and none is stored twice."""
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
    assert field.stopped == code


@pytest.mark.parametrize("special", [":", "/", "%"])
@pytest.mark.parametrize("side", ["nats", "postgres"])
async def test_no_password_is_shown(
    nats_server: Nats, caplog: pytest.LogCaptureFixture, special: str, side: str
) -> None:
    """No error or log record of a worker shows a part of the password in a URL."""
    secret = f"me:hush{special}hush@"
    nats_url = nats_server.url.replace("://", f"://{secret if side == 'nats' else ''}")
    postgres_url = f"postgresql://{secret if side == 'postgres' else ''}127.0.0.1:1/db"

    with pytest.raises((ValueError, OSError)) as caught:
        await worker.main(nats_url, "STREAM", "CONSUMER", postgres_url)

    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert "hush" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize("side", ["nats", "postgres"])
async def test_a_worker_that_has_not_begun_ends_at_once(field: Field, side: str) -> None:
    """SIGTERM ends a worker at once while it connects to a server that sends nothing."""
    reached = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if side == "postgres":  # asyncpg logs an error if it is cancelled before it has sent this
            await reader.read(1)
        reached.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        silent = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if side == "nats":
            process = field.start(nats_url=f"nats://{silent}")
        else:
            process = field.start(postgres_url=f"postgresql://me@{silent}/db")
        await reached.wait()
        asked = time.monotonic()

        assert (field.stopped, "") == await end(process, signal.SIGTERM)

    assert time.monotonic() - asked < 10.0


async def test_a_consumer_with_a_limit_of_its_own(field: Field) -> None:
    """A worker keeps the max_batch of the consumer, and stores all its messages."""
    bodies = [str(number) for number in range(2_000)]
    await field.add_consumer(max_batch=100)
    await field.publish([body.encode() for body in bodies])
    process = field.start()

    await field.stored(least=len(bodies))
    await until(field.settled)

    assert sorted(bodies) == sorted(await field.stored())
    assert (field.stopped, "") == await end(process, signal.SIGTERM)


async def test_messages_that_the_table_refuses(field: Field) -> None:
    """Messages that the table refuses are printed, and the worker stores the others."""
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
    assert field.stopped == code
    refused = dict(re.findall(r"^refused(?: message|:) (\S+): (.*)$", complaints, re.MULTILINE))
    assert {f"{field.stream}:{number}" for number in (301, 401, 701, 801)} == set(refused)
    assert "it is poison" == refused[f"{field.stream}:301"]
    assert "index row" in refused[f"{field.stream}:701"]
    assert 4 == complaints.count("\n")
