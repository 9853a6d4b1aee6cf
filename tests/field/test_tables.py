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
    """Write rows to a file, and return the file."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


async def stored(connection: asyncpg.Connection, table: str) -> list[tuple[object, ...]]:
    """Return all rows of a table, in order of their ids."""
    return [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY id")]


async def test_the_program(
    run: Run, database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Rows of tables with different columns are stored, and a second run changes nothing."""
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
    """Each refused row is printed, also of a table that accepts none; the others are stored."""
    schema = await connection.fetchval("SELECT current_schema()")
    await connection.execute(f"""
        CREATE TABLE squares (id integer, square integer GENERATED ALWAYS AS (id * id) STORED);
        CREATE ROLE clerk; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO clerk;
        GRANT USAGE ON SCHEMA {schema} TO clerk; GRANT INSERT ON users, squares TO clerk""")
    poison: list[list[object]] = [
        ["users", 2, None],
        ["users", "three", "Ada"],
        ["users", 4],
        ["users", 5, "Ada", "Lovelace"],
        [ORDERS, "0001", 1.0, True],
        ["squares", 6, 36],
        ["nothing", 7],
        ["nowhere.users", 8, "Ada"],
    ]
    rows = [["users", 1, "Ada"], *poison, [f"{schema}.users", 9, "Bob"]]
    file = written(tmp_path / "rows", rows)
    out, err, code = await ended(run("tables.py", f"{database}&role=clerk", file))

    assert ("2 rows are stored\n", 1) == (out, code)
    refused = {str((table, tuple(values))) for table, *values in poison}
    assert refused == {*re.findall(r"^refused: (\(.*\)): ", err, re.MULTILINE)}
    assert [(1, "Ada"), (9, "Bob")] == await stored(connection, "users")


async def test_lines_that_are_not_rows(
    run: Run, database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Lines that are not rows are printed by their number, and all others are stored."""
    texts = ["", "users", "[1, 2]", "[]", '{"users": 1}', r'["us\u0000ers", 1]', "[" * 100_000]
    bad = [*map(str.encode, texts), b"\xff"]
    good = b'["users", 1, "Ada"]'
    (file := tmp_path / "rows").write_bytes(b"\n".join([*bad, good]))
    out, err, code = await ended(run("tables.py", database, file))

    assert ("1 rows are stored\n", 1) == (out, code)
    numbers = [*map(int, re.findall(r"^refused: line (\d+): ", err, re.MULTILINE))]
    assert [*range(1, len(bad) + 1)] == numbers
    assert [(1, "Ada")] == await stored(connection, "users")


async def test_a_connection_for_tables_in_turn(
    database: str, connection: asyncpg.Connection
) -> None:
    """A connection stores rows of different tables in turn."""
    async with tables.connect(database, PATIENCE) as pool:
        for number in range(3):
            await tables.store(pool, [("users", (number, "Ada"))])
            await tables.store(pool, [(ORDERS, (str(number), 1.0, True))])
        assert 1 == pool.get_size()
    assert 3 == len(await stored(connection, "users")) == len(await stored(connection, QUOTED))


async def test_a_table_that_is_locked(database: str, connection: asyncpg.Connection) -> None:
    """A locked table does not delay another one, and its rows are stored when it is free."""
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
