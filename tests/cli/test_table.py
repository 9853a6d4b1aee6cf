"""The table in an SQLite database."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from flushq.cli import table as tables
from flushq.cli.reading import Row
from flushq.cli.signals import current_task
from flushq.cli.table import CannotOpen, Table, check_name, is_refusal
from tests.cli.support import PATIENCE, stored

ROWS: list[Row] = [("x", 1, "a"), ("x", 2, "b")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "x.db"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[aiosqlite.Connection]:
    """The connections that tables will make."""
    made: list[aiosqlite.Connection] = []
    connect = aiosqlite.connect

    def noted(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
        made.append(connect(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(aiosqlite, "connect", noted)
    return made


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Another connection to the same database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def with_table(path: Path, act: Callable[[Table], Awaitable[None]], name: str = "events") -> Table:
    """Open a table, do something with it, close it."""

    async def scenario() -> Table:
        async with Table(str(path), name) as table:
            await act(table)
        return table

    return asyncio.run(scenario())


async def nothing(table: Table) -> None:
    """Do nothing."""


async def write(table: Table) -> None:
    """Write a batch."""
    await table.write(list(ROWS))


def test_stored(path: Path) -> None:
    """A batch that was written is stored, in order, and counted."""
    table = with_table(path, write)

    assert ROWS == stored(path)
    assert (2, 1) == (table.stored, table.batches)


@pytest.mark.parametrize(
    ("columns", "statement"),
    [
        ("body TEXT UNIQUE ON CONFLICT IGNORE", "INSERT INTO events (body) VALUES ('b')"),
        (
            "body TEXT",
            (
                "CREATE TRIGGER guard BEFORE INSERT ON events WHEN NEW.body = 'b' "
                "BEGIN INSERT INTO heard VALUES (1), (2); SELECT RAISE(IGNORE); END"
            ),
        ),
    ],
)
def test_ignored(path: Path, other: sqlite3.Connection, columns: str, statement: str) -> None:
    """What the table ignores is counted apart, whatever else a trigger stores."""
    other.execute("CREATE TABLE heard (number)")
    other.execute(
        f"CREATE TABLE events (id INTEGER PRIMARY KEY, source TEXT, line INTEGER, {columns})"
    )
    other.execute(statement)

    table = with_table(path, write)

    assert ("x", 1, "a") == stored(path)[-1]
    assert (1, 1, 1) == (table.stored, table.ignored, table.batches)


def test_nothing_is_ignored_before_the_commit(path: Path, other: sqlite3.Connection) -> None:
    """Of a transaction that fails nothing counts as ignored."""

    async def act(table: Table) -> None:
        other.execute("CREATE UNIQUE INDEX bodies ON events (body)")
        other.execute(
            "CREATE TRIGGER guard BEFORE INSERT ON events WHEN NEW.body = 'a' "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            await table.write([*ROWS, *ROWS])

    table = with_table(path, act)

    assert [] == stored(path)
    assert (0, 0, 0) == (table.stored, table.ignored, table.batches)


def test_made_once(path: Path) -> None:
    """The table is made if it is not there; what is in it stays."""
    with_table(path, nothing)
    with_table(path, write)
    with_table(path, write)

    assert ROWS * 2 == stored(path)


def test_shape(path: Path) -> None:
    """The table is events(id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT)."""
    with_table(path, nothing)

    with closing(sqlite3.connect(path)) as connection:
        statement = "SELECT sql FROM sqlite_master WHERE name = 'events'"
        [[sql]] = connection.execute(statement).fetchall()
    assert (
        'CREATE TABLE "events" (id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT)'
        == sql
    )


def test_durable(path: Path, connections: list[aiosqlite.Connection]) -> None:
    """The database is in WAL mode, and every commit is synced."""
    modes: list[Any] = []

    async def look(table: Table) -> None:
        for pragma in ("journal_mode", "synchronous"):
            modes.extend(await connections[0].execute_fetchall(f"PRAGMA {pragma}"))

    with_table(path, look)

    assert [("wal",), (2,)] == modes


@pytest.mark.parametrize("name", ['weird "name"; drop', "select", " ", "[x]", "é", "a.b"])
def test_any_name(path: Path, name: str) -> None:
    """A table may have any name."""
    with_table(path, write, check_name(name))

    assert ROWS == stored(path, name)


@pytest.mark.parametrize("name", ["", "a\0b", "sqlite_master", "SQLite_x", "\udcff"])
def test_no_name(name: str) -> None:
    """Some are no names."""
    with pytest.raises(ValueError, match=r"cannot be the name of a table|surrogates not allowed"):
        check_name(name)


@pytest.mark.parametrize(
    "columns",
    [
        "a, b",
        "id INTEGER PRIMARY KEY, source TEXT, line INTEGER",
        "id INTEGER, source TEXT, line INTEGER, body TEXT",
        "id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body BLOB",
    ],
)
def test_another_shape(path: Path, other: sqlite3.Connection, columns: str) -> None:
    """A table with other columns is not written to, and its database stays as it was."""
    other.execute(f"CREATE TABLE events ({columns})")
    before = path.read_bytes()

    with pytest.raises(CannotOpen, match=r"^cannot use table 'events' of database '.*x\.db': its"):
        with_table(path, write)

    assert before == path.read_bytes()


def test_the_same_shape(path: Path, other: sqlite3.Connection) -> None:
    """A table that was made by others with the same columns is written to."""
    other.execute("create table events (id integer primary key, source text, line int, body text)")
    other.execute("drop table events")
    other.execute(
        "create table Events (id integer primary key, source text, line integer, body text)"
    )

    with_table(path, write)

    assert ROWS == stored(path)


def test_no_database(path: Path) -> None:
    """A file that is no database is not touched."""
    path.write_text("precious words\n" * 100)

    with pytest.raises(CannotOpen, match=r"x\.db': file is not a database$"):
        with_table(path, write)

    assert "precious words\n" * 100 == path.read_text()


def test_no_place(tmp_path: Path) -> None:
    """A database in a place that does not exist, or is a directory, cannot be opened."""
    for path in (tmp_path, tmp_path / "nowhere" / "x.db"):
        with pytest.raises(CannotOpen, match=r"unable to open database file$"):
            with_table(path, nothing)


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_locked(
    path: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """A database that stays locked cannot be opened."""
    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.05)
    other.execute(lock)

    with pytest.raises(CannotOpen, match=r"database is locked$"):
        with_table(path, nothing)


def test_limit_of_the_lock() -> None:
    """A locked database is reported within five seconds, the start of the process included."""
    assert tables.LOCK_SECONDS <= 4.0


def test_read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only database cannot be opened, with the table in it or without."""
    with_table(path, nothing)
    connect = aiosqlite.connect

    def read_only(file: Path, **kwargs: Any) -> aiosqlite.Connection:
        return connect(f"file:{file}?mode=ro", uri=True, **kwargs)

    monkeypatch.setattr(aiosqlite, "connect", read_only)

    for name in ("events", "others"):
        with pytest.raises(CannotOpen, match=r"attempt to write a readonly database$"):
            with_table(path, nothing, name)


def test_locked_for_a_while(
    path: Path, other: sqlite3.Connection, connections: list[aiosqlite.Connection]
) -> None:
    """A write waits for a lock to go."""
    tries = 0

    async def act(table: Table) -> None:
        executemany = connections[0].executemany

        async def noted(*args: Any) -> Any:
            nonlocal tries
            tries += 1
            try:
                return await executemany(*args)
            except sqlite3.OperationalError:
                other.execute("ROLLBACK")
                raise

        connections[0].executemany = noted  # type: ignore[assignment,method-assign]  # a spy
        other.execute("BEGIN IMMEDIATE")
        await write(table)

    with_table(path, act)

    assert 2 == tries
    assert ROWS == stored(path)


def test_locked_later(
    path: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write into a database that stays locked fails."""

    async def act(table: Table) -> None:
        monkeypatch.setattr(tables, "LOCK_SECONDS", 0.0)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            await write(table)
        other.execute("ROLLBACK")

    table = with_table(path, act)

    assert [] == stored(path)
    assert (0, 0) == (table.stored, table.batches)


def test_all_or_nothing(path: Path, connections: list[aiosqlite.Connection]) -> None:
    """Of a batch that fails nothing is stored, of those before it everything."""

    async def act(table: Table) -> None:
        await write(table)
        await connections[0].execute_fetchall("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
            await table.write([("x", 3, "short"), ("x", 4, "x" * 100_000)])

    table = with_table(path, act)

    assert ROWS == stored(path)
    assert (2, 1) == (table.stored, table.batches)


@pytest.mark.parametrize(
    ("hindrance", "refused"),
    [
        ("CREATE UNIQUE INDEX bodies ON events (body)", True),
        ("CREATE INDEX bodies ON events (json_extract(body, '$.id'))", True),
        ("PRAGMA max_page_count = 1", False),
        ("PRAGMA query_only = 1", False),
        (
            "CREATE TRIGGER copy AFTER INSERT ON events BEGIN INSERT INTO gone VALUES (1); END",
            False,
        ),
    ],
)
def test_refusals(
    path: Path, connections: list[aiosqlite.Connection], hindrance: str, *, refused: bool
) -> None:
    """A line that the table refuses is told from a database that takes no line at all."""
    rows: list[Row] = [("x", 1, "[1]"), ("x", 2, "[1]"), ("x", 3, "x" * 100_000)]
    found: list[bool] = []

    async def act(table: Table) -> None:
        await connections[0].execute_fetchall(hindrance)
        try:
            await table.write(rows)
        except sqlite3.Error as error:
            found.append(is_refusal(error))

    with_table(path, act)

    assert [refused] == found
    assert [] == stored(path)


def test_a_line_too_long(path: Path, other: sqlite3.Connection) -> None:
    """A line that is longer than SQLite takes is refused."""
    with_table(path, nothing)
    other.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)

    with pytest.raises(sqlite3.DataError) as error:
        other.executemany("INSERT INTO events (body) VALUES (?)", [("x" * 2000,)])

    assert is_refusal(error.value)


def test_an_error_without_a_code() -> None:
    """An error that is Python's own is no refusal."""
    assert not is_refusal(sqlite3.ProgrammingError("Cannot operate on a closed database."))


def test_interrupted_before_the_commit(path: Path, connections: list[aiosqlite.Connection]) -> None:
    """A write that is cancelled before its commit stores nothing."""

    async def act(table: Table) -> None:
        executemany = connections[0].executemany

        async def interrupted(*args: Any) -> Any:
            task.cancel()
            return await executemany(*args)

        connections[0].executemany = interrupted  # type: ignore[assignment,method-assign]  # a spy
        task = asyncio.create_task(write(table))
        with pytest.raises(asyncio.CancelledError):
            await task

    table = with_table(path, act)

    assert [] == stored(path)
    assert 0 == table.stored


def test_interrupted_in_the_commit(path: Path, connections: list[aiosqlite.Connection]) -> None:
    """A write that is cancelled in its commit has stored everything, and says so by returning."""

    async def act(table: Table) -> None:
        commit = connections[0].commit

        async def interrupted() -> None:
            task.cancel()
            await commit()

        connections[0].commit = interrupted  # type: ignore[method-assign]  # a spy
        task = asyncio.create_task(write(table))
        await task

    table = with_table(path, act)

    assert ROWS == stored(path)
    assert 2 == table.stored


def test_cancelled_while_opening(path: Path, other: sqlite3.Connection) -> None:
    """Opening a locked database can be cancelled, and leaves nothing open."""
    other.execute("BEGIN EXCLUSIVE")

    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(current_task().cancel)
        async with Table(str(path), "events"):
            pass

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())


@pytest.mark.parametrize("name", ["events", "another"])
def test_cancelled_while_closing(
    path: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The thread of a database ends before the loop can, whether the table was opened or not."""
    other.execute("CREATE TABLE another (body TEXT)")
    closes, may_close = threading.Event(), threading.Event()

    class Slow(sqlite3.Connection):
        def close(self) -> None:
            closes.set()
            may_close.wait(PATIENCE)
            super().close()

    monkeypatch.setattr(aiosqlite, "connect", partial(aiosqlite.connect, factory=Slow))

    async def open_and_close() -> None:
        with suppress(CannotOpen):
            async with Table(str(path), name):
                pass

    async def scenario() -> bool:
        task = asyncio.create_task(open_and_close())
        await asyncio.to_thread(closes.wait, PATIENCE)
        for _ in range(9):
            task.cancel()
            await asyncio.sleep(0)
        was_done = task.done()
        may_close.set()
        await asyncio.wait([task])
        return was_done

    assert not asyncio.run(scenario())
