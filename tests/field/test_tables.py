"""The recipe for rows of many tables, with a real server."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest
import tables

from tests.field.conftest import Run, ended
from tests.field.servers import PATIENCE, until

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

ORDERS = 'the "open" orders'
QUOTED = '"the ""open"" orders"'


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database that has two tables."""
    connection = await asyncpg.connect(database)
    await connection.execute("""
        CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL);
        CREATE TABLE "the ""open"" orders" (id text PRIMARY KEY, price float, paid bool)""")
    yield connection
    await connection.close()


def written(file: Path, rows: Sequence[Sequence[object]]) -> Path:
    """A file of such rows."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


async def stored(connection: asyncpg.Connection, table: str) -> list[tuple[object, ...]]:
    """All that is in a table, in order."""
    return [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY id")]


async def test_the_program(
    run: Run, database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Rows of tables that differ in their columns are stored, and again changes nothing."""
    users = [(number, f"user {number}") for number in range(6_000)]
    orders = [(f"{number:04}", number / 4, number % 2 == 0) for number in range(6_000)]
    rows = [["users", *user] for user in users] + [[ORDERS, *order] for order in orders]
    random.shuffle(rows)
    file = written(tmp_path / "rows", rows)

    for _ in range(2):
        end = await ended(run("tables.py", database, file))
        assert ("12000 rows are stored\n", "", 0) == end

    assert users == await stored(connection, "users")
    assert orders == await stored(connection, QUOTED)


async def test_rows_that_are_refused(
    run: Run, database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Each is named, those of a table that is missing too, all others are stored."""
    poison: list[list[object]] = [["users", 2, None], ["users", "three", "Ada"], ["nothing", 4]]
    file = written(tmp_path / "rows", [["users", 1, "Ada"], *poison, ["users", 5, "Bob"]])
    out, err, code = await ended(run("tables.py", database, file))

    assert ("2 rows are stored\n", 1) == (out, code)
    refused = {str((table, tuple(values))) for table, *values in poison}
    assert refused == {*re.findall(r"^refused: (\(.*\)): ", err, re.MULTILINE)}
    assert [(1, "Ada"), (5, "Bob")] == await stored(connection, "users")


async def test_a_table_that_is_locked(database: str, connection: asyncpg.Connection) -> None:
    """It holds up no other table, and its rows are stored when it is free."""
    async with (
        tables.connect(database, PATIENCE) as pool,
        tables.writing(pool) as queue,
        connection.transaction(),
    ):
        await connection.execute("LOCK TABLE users")
        for number in range(1_000):
            await queue.enqueue(("users", (number, "Ada")))
            await queue.enqueue((ORDERS, (f"{number:04}", 1.0, True)))
            await asyncio.sleep(0)

        async def are_delivered() -> bool:
            return queue.stats().delivered == 1_000

        await until(are_delivered)
        assert 1_000 == len(await stored(connection, QUOTED))
        assert 1 == queue.stats().partitions
    assert 1_000 == len(await stored(connection, "users"))
