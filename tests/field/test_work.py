"""``python -m flushq work``: its features beyond those that test_worker.py tests, too."""

import asyncio
import re
import signal
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import attrs
import pytest
from nats.js.api import StreamConfig

from flushq.cli.jetstream import MAX_ACK_PENDING
from flushq.cli.postgres import SECONDS as SECONDS_OF_A_STATEMENT
from flushq.cli.postgres import PostgresTable
from tests.field.conftest import Start, ended
from tests.field.proxy import proxied_port
from tests.field.servers import Nats, Postgres, until
from tests.field.workers import (
    COMMAND,
    CONSUMER,
    SECONDS,
    Field,
    Worker,
    end,
    end_all,
    new_field,
)

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

LEFT = "messages that NATS will deliver again"


@pytest.fixture
async def field(nats_server: Nats, database: str, start: Start) -> AsyncIterator[Field]:
    """A new stream, and a new database."""
    async with new_field(nats_server, database, COMMAND, start) as field:
        yield field


async def execute(field: Field, statement: str) -> list[asyncpg.Record]:
    """Execute a statement in the database."""
    connection = await asyncpg.connect(field.database)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


def figures(out: str) -> dict[str, str]:
    """Return the figures of the summary, which must be the only line."""
    assert 1 == out.count("\n")
    return dict(re.findall(r"([a-z/ ]+?) ([\d.]+)(?:, | \(|\n)", out))


async def stop(worker: Worker) -> tuple[dict[str, str], str]:
    """Stop a worker, which must exit with 0; return its figures and its standard error."""
    worker.send_signal(signal.SIGTERM)
    out, complained, code = await ended(worker)
    assert 0 == code
    return figures(out), complained


# The main job, from a file to a table.


async def test_the_lines_of_a_file_come_to_the_table_once(
    field: Field, start: Start, tmp_path: Path
) -> None:
    """Each line is stored once, although a worker is killed, and the file is published twice."""
    field = attrs.evolve(field, stream=f"{field.stream}LINES")
    made = StreamConfig(name=field.stream, subjects=[field.stream], duplicate_window=0.1)
    await field.jetstream.add_stream(made)
    await field.add_consumer(ack_wait=2 * SECONDS, max_ack_pending=2_000)
    await execute(field, "CREATE TABLE events (id text PRIMARY KEY, body text)")
    bodies = [f"line {number}" for number in range(3_000)]
    (tmp_path / "x").write_text("\n".join(bodies))
    publish = ("-m", "flushq", "ingest", "x", "--to-stream", field.nats_url, field.stream)
    workers = [field.start("--id-from", "Nats-Msg-Id") for _ in range(2)]
    await field.until_idle(workers=2)

    publishing = start(*publish)
    await field.stored(least=1)
    await end(workers.pop(), signal.SIGKILL)
    assert 0 == (await ended(publishing))[2]
    assert 0 == (await ended(start(*publish)))[2]
    await until(field.settled)

    assert 6_000 == (await field.jetstream.stream_info(field.stream)).state.messages
    assert sorted(bodies) == sorted(await field.stored())
    assert [(0, "")] == await end_all(workers)


async def test_what_is_missing_is_made(field: Field) -> None:
    """A worker creates a missing stream, consumer and table, with the documented settings."""
    field = attrs.evolve(field, stream=f"{field.stream}NEW")
    await execute(field, "CREATE SCHEMA odd")
    worker = field.start("--table", 'odd.the "table"')
    await field.until_idle(workers=1)
    await field.publish([b"a", b"b"])
    await until(field.settled)

    found, complained = await stop(worker)

    rows = await execute(field, 'SELECT id, body FROM odd."the ""table""" ORDER BY id')
    assert [(f"{field.stream}:1", "a"), (f"{field.stream}:2", "b")] == [tuple(row) for row in rows]
    assert ("2", "0") == (found["messages"], found["waiting"])
    assert [
        "created table 'odd.the \"table\"'",
        f"created stream {field.stream!r} with the subject {field.stream!r}",
        f"created consumer {CONSUMER!r} of stream {field.stream!r}",
    ] == complained.splitlines()
    config = (await field.info()).config
    assert (MAX_ACK_PENDING, 30.0) == (config.max_ack_pending, config.ack_wait)


async def test_rows_are_stored_in_the_order_of_their_ids(database: str) -> None:
    """Rows are stored once and in the order of their ids, so that two workers do not deadlock."""
    async with PostgresTable(database, "events") as table:
        await table.store([("c", "1"), ("a", "2"), ("b", "3"), ("a", "4")])
        await table.store([("d", "5"), ("c", "6")])
        assert (4, 2, 2) == (table.stored, table.known, table.batches)
    connection = await asyncpg.connect(database)
    rows = await connection.fetch("SELECT id FROM events ORDER BY ctid")
    await connection.close()
    assert ["a", "b", "c", "d"] == [row["id"] for row in rows]


# Before the end of the transaction, and between it and the acknowledgement.


async def test_what_was_not_stored_is_not_acknowledged(field: Field) -> None:
    """The messages of a worker that is killed before the commit come again, and are stored."""
    await field.add_consumer(ack_wait=1 * SECONDS, max_ack_pending=3_000)
    worker = field.start()
    await field.until_idle(workers=1)
    bodies = [str(number) for number in range(1_500)]
    holder = await asyncpg.connect(field.database)

    async def waits() -> bool:
        query = "SELECT count(*) FROM pg_locks WHERE relation = 'events'::regclass AND NOT granted"
        return bool(await holder.fetchval(query))

    async with holder.transaction():
        await holder.execute("LOCK TABLE events")
        await field.publish([body.encode() for body in bodies])
        await until(waits)
        await end(worker, signal.SIGKILL)
        # The statement of the killed worker runs on, unless its session ends.
        session = "pg_terminate_backend(pid, 30000)"
        query = f"SELECT {session} FROM pg_stat_activity WHERE application_name = $1"
        assert await holder.fetchval(query, field.stream)
    await holder.close()
    assert [] == await field.stored()
    worker = field.start()
    await until(field.settled)

    assert sorted(bodies) == sorted(await field.stored())
    await stop(worker)


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_what_was_stored_and_not_acknowledged(field: Field, *, killed: bool) -> None:
    """A message of a worker that was killed or cut off comes again, and changes nothing."""
    bodies = [str(number) for number in range(1_500)]
    await field.add_consumer(ack_wait=1 * SECONDS, max_ack_pending=3_000)
    port = int(field.nats_url.rpartition(":")[2])
    async with proxied_port(port) as (proxy, other):
        worker = field.start(nats_url=f"nats://127.0.0.1:{other}")
        await field.until_idle(workers=1)
        proxy.cut(at_request=b"$JS.ACK")
        await field.publish([body.encode() for body in bodies])
        await field.stored(least=1)

        async def is_cut() -> bool:
            return proxy.cuts > 0

        await until(is_cut)
        if killed:
            await end(worker, signal.SIGKILL)
            worker = field.start()
        await until(field.settled)
        found, complained = await stop(worker)

    assert sorted(bodies) == sorted(await field.stored())
    assert int(found["stored before"]) > 0
    assert killed or "NATS is reachable again" in complained


# The options.


async def test_health_and_metrics_of_a_worker(field: Field) -> None:
    """The health page of a running worker answers "running", and it has Prometheus metrics."""
    await field.publish([b"a"])
    worker = field.start("--port", "0")
    await field.stored(least=1)
    await until(field.settled)
    assert worker.stderr is not None
    port = worker.stderr.readline().removeprefix("serving at port ").strip()

    def get(page: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}") as answer:
            return str(answer.read().decode())

    assert "running\n" == await asyncio.to_thread(get, "health")
    name = f'queue="{field.stream}/{CONSUMER}"'
    assert f'flushq_items_total{{outcome="delivered",{name}}} 1.0' in await asyncio.to_thread(
        get, "metrics"
    )
    await stop(worker)


async def test_a_batch_for_each_subject(field: Field) -> None:
    """With --partition-by, a transaction has rows of one subject, in the order of the stream."""
    for first in range(0, 400, 20):
        for subject in "ab":
            bodies = [f"{subject} {number:03}".encode() for number in range(first, first + 20)]
            for body in bodies:
                await field.jetstream.publish(f"{field.stream}.{subject}", body)
    worker = field.start("--partition-by", "subject")
    await field.stored(least=800)
    await until(field.settled)
    await stop(worker)

    rows = await execute(field, "SELECT xmin::text, ctid, body FROM events ORDER BY xmin::text, id")
    subjects: dict[str, set[str]] = {}
    for row in rows:
        subjects.setdefault(row["xmin"], set()).add(row["body"][0])
    assert {1} == {len(each) for each in subjects.values()}
    assert {"a", "b"} == set().union(*subjects.values())


async def test_a_rate(field: Field) -> None:
    """--rate limits the transactions; after a stop, messages that are left come again."""
    await field.publish([b"%d" % number for number in range(1_500)])
    worker = field.start("--rate", "1/3600", "--max-shutdown-wait", "0.05")
    stored = len(await field.stored(least=1))

    worker.send_signal(signal.SIGTERM)
    out, complained, code = await ended(worker)

    assert (1, "1") == (code, figures(out)["batches"])
    assert stored == len(await field.stored())
    message = rf"not all messages were stored within 0\.05 s; {LEFT}: (\d+)\n"
    assert (match := re.search(message, complained))
    assert figures(out)["left"] == match[1]


# The ends.


async def test_a_table_that_is_dropped(field: Field) -> None:
    """A dropped table ends the worker at once, although no further message comes."""
    worker = field.start()
    await field.publish([b"a"])
    await field.stored(least=1)
    await execute(field, "DROP TABLE events")
    await field.publish([b"b"])

    out, complained, code = await ended(worker)

    assert (1, "1", "1") == (code, figures(out)["messages"], figures(out)["left"])
    message = "cannot write to table 'events': relation \"events\" does not exist"
    assert f"{message}; {LEFT}: 1" == complained.splitlines()[-1]


async def test_a_consumer_that_is_deleted(field: Field) -> None:
    """The deletion of its consumer ends a worker."""
    worker = field.start()
    await field.until_idle(workers=1)
    await field.jetstream.delete_consumer(field.stream, CONSUMER)
    out, complained, code = await ended(worker)
    assert (1, "0") == (code, figures(out)["messages"])
    assert complained.endswith(f"consumer {CONSUMER!r} was deleted; {LEFT}: 0\n")


async def test_a_second_signal(field: Field, postgres_server: Postgres) -> None:
    """A second SIGTERM ends a worker without waiting for the database."""
    worker = field.start("--max-shutdown-wait", "3600")
    await field.until_idle(workers=1)
    postgres_server.send(signal.SIGSTOP)
    try:
        await field.publish([b"a"])

        async def is_taken() -> bool:
            return bool((await field.info()).num_ack_pending)

        await until(is_taken)
        worker.send_signal(signal.SIGTERM)

        async def has_stopped_asking() -> bool:
            return not (await field.info()).num_waiting

        await until(has_stopped_asking)
        asked = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        out, complained, code = await ended(worker)
        assert time.monotonic() - asked < SECONDS_OF_A_STATEMENT
    finally:
        postgres_server.send(signal.SIGCONT)
    assert (143, "1") == (code, figures(out)["left"])
    assert complained.endswith(f"stopped by SIGTERM; {LEFT}: 1\n")
