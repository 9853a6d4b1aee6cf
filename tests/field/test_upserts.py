"""The recipe that keeps the latest value of each key, with a real server."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import upserts

from tests.field.conftest import Run, ended
from tests.field.servers import PATIENCE, until

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

BLOCKED = "(SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock') AS blocked"


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def stored(connection: asyncpg.Connection) -> dict[str, str]:
    """Return all values of the table, by their keys."""
    return dict(await connection.fetch("SELECT * FROM latest"))


async def test_the_program(
    run: Run, database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Each key gets its last value, and far fewer rows are written than there are changes."""
    keys = [f"key {number}" for number in range(100)]
    changes = [(random.choice(keys), f"value {number}") for number in range(20_000)]
    file = tmp_path / "changes"
    file.write_text("".join(f"{key}\t{value}\n" for key, value in changes))

    for _ in range(2):
        out, err, code = await ended(run("upserts.py", database, file))
        assert ("", 0) == (err, code)
        (written,) = re.findall(r"^20000 changes, (\d+) rows written$", out)
        assert int(written) < 10_000
        assert dict(changes) == await stored(connection)


async def test_rows_that_are_refused(
    run: Run, database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Each refused row is printed, and all others are stored."""
    await connection.execute("""
        CREATE TABLE latest (key text PRIMARY KEY, value text CHECK (value <> 'bad'))""")
    file = tmp_path / "changes"
    file.write_text("one\t1\ntwo\tgood\ntwo\tbad\nth\0ree\t3\nfour\t4\tand more\nfive\n")
    out, err, code = await ended(run("upserts.py", database, file))

    assert ("6 changes, 3 rows written\n", 1) == (out, code)
    refused = re.findall(r"^refused: (\(.*\)): ", err, re.MULTILINE)
    assert {str(("two", "bad")), str(("th\0ree", "3"))} == {*refused}
    assert {"one": "1", "four": "4\tand more", "five": ""} == await stored(connection)


async def test_a_batch_that_is_tried_again(database: str, connection: asyncpg.Connection) -> None:
    """A retried batch does not overwrite a newer value that was enqueued meanwhile."""
    async with upserts.connect(database, PATIENCE) as pool, upserts.writing(pool) as queue:
        async with connection.transaction():
            await connection.execute("LOCK TABLE latest IN EXCLUSIVE MODE")
            await queue.enqueue(("key", "old"))
            first = asyncio.create_task(queue.flush())

            async def is_held_up() -> bool:
                return bool(await connection.fetchval(f"SELECT count(*) FROM {BLOCKED}"))

            await until(is_held_up)
            await queue.enqueue(("key", "new"))
            second = asyncio.create_task(queue.flush())
            await connection.execute(f"SELECT pg_terminate_backend(pid) FROM {BLOCKED}")
        await asyncio.gather(first, second)
        assert {"key": "new"} == await stored(connection)
