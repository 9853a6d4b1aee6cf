"""The SQLite recipe, with a database that is full, locked, or refuses rows."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import aiosqlite
import pytest
import sqlite

from flushq import Drop, Failure, FlushQueue, NaturalPolicy, Retry, Verdict
from tests.field.conftest import Run, ended
from tests.field.servers import PATIENCE

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

ROWS = [(f"{number:04}", f"body {number}") for number in range(2000)]


@asynccontextmanager
async def loading(
    db: aiosqlite.Connection, failed: asyncio.Event
) -> AsyncIterator[FlushQueue[sqlite.Row]]:
    """Yield a queue of rows; the event is set when a flush has failed."""
    handle = sqlite.handler(db)

    async def judge(failure: Failure[sqlite.Row]) -> Verdict:
        failed.set()
        return await handle(failure)

    policy = NaturalPolicy(max_records=100)
    async with FlushQueue(partial(sqlite.store, db), policy, on_failure=judge) as queue:
        yield queue


def rows_of(database: Path, table: str = "events") -> list[sqlite.Row]:
    """Return all rows of a table, sorted by their first column."""
    with closing(sqlite3.connect(database)) as connection:
        rows: list[sqlite.Row] = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
        return rows


async def test_the_program(run: Run, tmp_path: Path) -> None:
    """The lines of a file are stored, and a second run changes nothing."""
    file = tmp_path / "lines"
    file.write_text("".join(f"line {number}\n" for number in range(1, 3001)))

    for name in "lines", file:
        end = await ended(run("sqlite.py", "events.db", name))
        assert ("3000 lines are stored\n", "", 0) == end

    expected = [(f"{file}:{number}", f"line {number}") for number in range(1, 3001)]
    assert sorted(expected) == rows_of(tmp_path / "events.db")


async def test_a_line_that_is_refused(run: Run, tmp_path: Path) -> None:
    """A refused line is buried with the reason, the others are stored, and the exit code is 1."""
    file = tmp_path / "lines"
    file.write_text("one\ntwo\none\n")
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        connection.execute("CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT UNIQUE)")
    end = await ended(run("sqlite.py", "events.db", file))

    assert ("2 lines are stored\n", "", 1) == end
    assert [(f"{file}:1", "one"), (f"{file}:2", "two")] == rows_of(tmp_path / "events.db")
    letters = rows_of(tmp_path / "events.db", "dead_letters")
    assert [(f"{file}:3", "UNIQUE constraint failed: events.body")] == letters


async def test_a_full_disk(tmp_path: Path) -> None:
    """Rows wait while the disk is full, and are then stored once."""
    failed = asyncio.Event()
    async with aiosqlite.connect(tmp_path / "events.db") as db:
        await db.executescript(sqlite.TABLES)
        await db.execute("PRAGMA max_page_count = 10")
        async with loading(db, failed) as queue:
            for row in ROWS:
                await queue.enqueue(row)
            await asyncio.wait_for(failed.wait(), PATIENCE)
            assert queue.stats().delivered < len(ROWS)
            await db.execute("PRAGMA max_page_count = 100000")

    assert ROWS == rows_of(tmp_path / "events.db")


async def test_text_that_is_not_unicode(tmp_path: Path) -> None:
    """Rows whose body or id cannot be encoded in UTF-8 are buried, and no others."""
    async with aiosqlite.connect(tmp_path / "events.db") as db:
        await db.executescript(sqlite.TABLES)
        async with loading(db, asyncio.Event()) as queue:
            for row in [("1", "body"), ("2", "\ud800"), ("\ud800", "body"), ("4", "body")]:
                await queue.enqueue(row)

    assert [("1", "body"), ("4", "body")] == rows_of(tmp_path / "events.db")
    letters = rows_of(tmp_path / "events.db", "dead_letters")
    assert ["2", r"\ud800"] == [name for name, _ in letters]
    assert all("surrogates not allowed" in error for _, error in letters)


async def test_a_letter_that_waits(tmp_path: Path) -> None:
    """A row that cannot be buried while the database is locked is retried, and buried then."""
    async with aiosqlite.connect(tmp_path / "events.db", timeout=0.0) as db:
        await db.executescript(sqlite.TABLES)
        refused = sqlite3.IntegrityError("refused")
        failure = Failure([("1", "body")], refused, None, attempt=2, reason="", seconds=0.0)
        with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert Retry(after=0.2) == await sqlite.handler(db)(failure)
        assert Drop() == await sqlite.handler(db)(failure)

    assert [("1", "refused")] == rows_of(tmp_path / "events.db", "dead_letters")
