"""The table in an SQLite database, and the keys of lines."""

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
from flushq.cli.table import (
    BadLine,
    CannotStart,
    JsonField,
    Table,
    Unusable,
    check_name,
    is_refusal,
)
from tests.cli.support import COLUMNS, DATABASE, PATIENCE, stored

pytestmark = pytest.mark.usefixtures("here")

ROWS: list[Row] = [("x", 1, "a"), ("x", 2, "b")]
HEAR = "INSERT INTO heard VALUES (1), (2)"
TRIGGER = "CREATE TRIGGER guard BEFORE INSERT ON events"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[aiosqlite.Connection]:
    """Return a list to which each connection of a table is appended."""
    made: list[aiosqlite.Connection] = []
    connect = aiosqlite.connect

    def noted(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
        made.append(connect(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(aiosqlite, "connect", noted)
    return made


@pytest.fixture
def other(here: Path) -> Iterator[sqlite3.Connection]:
    """Open another connection to the same database."""
    with closing(sqlite3.connect(DATABASE, isolation_level=None)) as connection:
        yield connection


def with_table(
    act: Callable[[Table], Awaitable[None]], name: str = "events", path: Path = DATABASE
) -> Table:
    """Open a table, call ``act`` with it, close it, and return it."""

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


def counts(table: Table) -> tuple[int, int, int]:
    """Return how many lines were stored and ignored, and the number of batches."""
    return table.stored, table.ignored, table.batches


# Opening.


@pytest.mark.parametrize("name", ["events", 'weird "name"; drop', "select", " ", "[x]", "é", "a.b"])
def test_the_table_is_made_once_under_any_name(name: str) -> None:
    """Opening an existing table keeps its lines, and a batch is stored in order."""
    with_table(nothing, check_name(name))
    for _ in range(2):
        assert (2, 0, 1) == counts(with_table(write, name))
    assert ROWS * 2 == stored(table=name)


@pytest.mark.parametrize("name", ["", "a\0b", "sqlite_master", "SQLite_x", "\udcff"])
def test_a_table_cannot_have_every_name(name: str) -> None:
    """A name is refused if it is empty, has a NUL or bad bytes, or is reserved by SQLite."""
    with pytest.raises(ValueError, match=r"cannot be the name of a table|surrogates not allowed"):
        check_name(name)


def test_the_table_has_four_columns_in_wal_mode_and_every_commit_is_synced(
    connections: list[aiosqlite.Connection],
) -> None:
    """WAL mode lets others read meanwhile, and synced lines survive a power failure."""
    found: list[Any] = []

    async def look(table: Table) -> None:
        for query in ("PRAGMA journal_mode", "PRAGMA synchronous", "SELECT sql FROM sqlite_master"):
            found.extend(await connections[0].execute_fetchall(query))

    with_table(look)

    assert [("wal",), (2,), (f'CREATE TABLE "events" ({COLUMNS})',)] == found


@pytest.mark.parametrize(
    ("old", "new"), [(", body TEXT", ""), (" PRIMARY KEY", ""), ("body TEXT", "body BLOB")]
)
def test_a_table_of_other_columns_is_kept(other: sqlite3.Connection, old: str, new: str) -> None:
    """A table with other columns is refused and not changed; the case of names does not matter."""
    other.execute(f"CREATE TABLE events ({COLUMNS.replace(old, new)})")
    other.execute(f"create table Good ({COLUMNS.lower()})")
    before = DATABASE.read_bytes()
    with pytest.raises(
        CannotStart, match=r"^cannot use table .* its columns must be id INTEGER.*, not id"
    ):
        with_table(write)
    assert before == DATABASE.read_bytes()
    with_table(write, "good")
    assert ROWS == stored(table="good")


def test_what_is_not_a_database_is_left_alone(tmp_path: Path) -> None:
    """A file that is not a database, a directory or a missing directory is refused and kept."""
    DATABASE.write_text("precious words\n" * 100)
    with pytest.raises(CannotStart, match=r"events.db': file is not a database$"):
        with_table(write)
    assert "precious words\n" * 100 == DATABASE.read_text()
    for place in (tmp_path, tmp_path / "nowhere" / "x.db"):
        with pytest.raises(CannotStart, match=r"unable to open database file$"):
            with_table(nothing, path=place)


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_database_that_stays_locked_cannot_be_opened(
    other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """A locked database is reported within five seconds, with the start of the process."""
    assert tables.LOCK_SECONDS <= 4.0
    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.05)
    other.execute(lock)
    with pytest.raises(CannotStart, match=r"database is locked$"):
        with_table(nothing)


def test_a_database_is_opened_again_after_each_pause(
    other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening is retried until the lock is gone; the attempts are counted from 1."""
    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.0)
    other.execute("BEGIN EXCLUSIVE")
    told: list[tuple[int, str]] = []

    def retry_after(attempt: int, trouble: str) -> float:
        told.append((attempt, trouble))
        if attempt == 2:
            other.execute("COMMIT")
        return 0.0

    async def scenario() -> None:
        async with Table("events.db", "events", retry_after) as table:
            await write(table)

    asyncio.run(scenario())

    trouble = "cannot open table 'events' of database 'events.db': database is locked"
    assert [(1, trouble), (2, trouble)] == told
    assert ROWS == stored()


def test_a_read_only_database_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a read-only database fails, whether the table exists or not."""
    with_table(nothing)
    connect = aiosqlite.connect

    def read_only(file: Path, **kwargs: Any) -> aiosqlite.Connection:
        return connect(f"file:{file}?mode=ro", uri=True, **kwargs)

    monkeypatch.setattr(aiosqlite, "connect", read_only)
    for name in ("events", "others"):
        with pytest.raises(CannotStart, match=r"attempt to write a readonly database$"):
            with_table(nothing, name)


# Reading.


def test_the_last_line_of_a_source_is_found(other: sqlite3.Connection) -> None:
    """The last line of a source is the line with the highest number, or None without any line."""
    other.execute(f"CREATE TABLE events ({COLUMNS})")
    rows = [("x", 3, "c"), ("x", 10, "j"), ("x", 9, "i"), ("y", 11, "k")]
    other.executemany("INSERT INTO events (source, line, body) VALUES (?, ?, ?)", rows)
    found: list[tuple[int, str] | None] = []

    async def look(table: Table) -> None:
        found.extend([await table.last_line(source) for source in ("x", "y", "z")])

    with_table(look)
    assert [(10, "j"), (11, "k"), None] == found


# Writing.


def test_lines_that_the_table_ignores_are_counted_apart(other: sqlite3.Connection) -> None:
    """Rows that a trigger adds do not count; a failed transaction counts nothing."""
    other.execute("CREATE TABLE heard (number)")
    other.execute(f"CREATE TABLE events ({COLUMNS} UNIQUE ON CONFLICT IGNORE)")
    other.execute(f"{TRIGGER} WHEN NEW.body = 'b' BEGIN {HEAR}; SELECT RAISE(IGNORE); END")
    other.execute("CREATE UNIQUE INDEX lines ON events (line)")

    async def act(table: Table) -> None:
        await table.write([*ROWS, ("x", 3, "a")])
        with pytest.raises(sqlite3.IntegrityError):
            await table.write([("x", 4, "b"), ("x", 1, "c")])

    assert (1, 2, 1) == counts(with_table(act))
    assert [("x", 1, "a")] == stored()


def test_a_write_waits_for_a_lock_to_go(
    other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write fails if the lock stays for too long; this is no refusal of a line."""
    pauses: list[float] = []

    async def unlock(seconds: float) -> None:
        pauses.append(seconds)
        other.execute("ROLLBACK")

    async def act(table: Table) -> None:
        monkeypatch.setattr(asyncio, "sleep", unlock)
        other.execute("BEGIN IMMEDIATE")
        await write(table)
        assert [tables.RETRY_SECONDS] == pauses
        monkeypatch.setattr(tables, "LOCK_SECONDS", 0.0)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked") as locked:
            await write(table)
        assert not is_refusal(locked.value)

    assert (2, 0, 1) == counts(with_table(act))
    assert ROWS == stored()


@pytest.mark.parametrize(
    ("hindrance", "refused"),
    [
        ("CREATE UNIQUE INDEX bodies ON events (body)", True),
        ("CREATE INDEX bodies ON events (json_extract(body, '$.id'))", True),
        ("PRAGMA max_page_count = 1", False),
        ("PRAGMA query_only = 1", False),
    ],
)
def test_a_batch_that_fails_is_not_stored_at_all(
    connections: list[aiosqlite.Connection], hindrance: str, *, refused: bool
) -> None:
    """A line that the table refuses is distinguished from a database that accepts no line."""

    async def act(table: Table) -> None:
        await table.write([("x", 1, "{}")])
        await connections[0].execute_fetchall(hindrance)
        with pytest.raises(sqlite3.Error) as failed:
            await table.write([("x", 2, "[1]"), ("x", 3, "[1]"), ("x", 4, "x" * 100_000)])
        assert refused == is_refusal(failed.value)

    assert (1, 0, 1) == counts(with_table(act))
    assert [("x", 1, "{}")] == stored()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("DROP TABLE events", "no such table: events"),
        ("ALTER TABLE events RENAME COLUMN body TO words", "table events has no column named body"),
        (f"{TRIGGER} BEGIN INSERT INTO gone VALUES (1); END", "no such table: main.gone"),
    ],
)
def test_a_table_that_was_changed_and_takes_no_line_is_unusable(
    other: sqlite3.Connection, change: str, error: str
) -> None:
    """A write to a changed table raises Unusable, which does not count as a refusal."""

    async def act(table: Table) -> None:
        other.execute(change)
        with pytest.raises(Unusable, match=f"^{error}$") as unusable:
            await write(table)
        assert not is_refusal(unusable.value)
        assert not is_refusal(sqlite3.ProgrammingError("an error of Python, without a code"))

    with_table(act)


class Narrow(sqlite3.Connection):
    """A connection with low limits: 1000 bytes in SQLite, and 2000 instead of 2 GiB in Python."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        """Raise the error that Python raises for a string that is too long."""
        if any(len(body) > 2000 for _, _, body in rows):
            raise OverflowError("string longer than INT_MAX bytes")
        return super().executemany(statement, rows)


def test_a_line_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line above the limit of SQLite, or of the Python interface, is refused."""
    monkeypatch.setattr(aiosqlite, "connect", partial(aiosqlite.connect, factory=Narrow))

    async def act(table: Table) -> None:
        for length in (1001, 2001):
            with pytest.raises(sqlite3.DataError, match="too big") as refused:
                await table.write([("x", 1, "x" * length)])
            assert is_refusal(refused.value)

    assert (0, 0, 0) == counts(with_table(act))


# Cancellation.


@pytest.mark.parametrize(("method", "lines"), [("executemany", 0), ("commit", 2)])
def test_a_write_that_is_cancelled_stores_all_or_nothing(
    connections: list[aiosqlite.Connection], method: str, lines: int
) -> None:
    """A write that is cancelled during its commit waits for the commit and returns."""

    async def act(table: Table) -> None:
        original = getattr(connections[0], method)

        async def interrupted(*args: Any) -> Any:
            task.cancel()
            return await original(*args)

        setattr(connections[0], method, interrupted)
        task = asyncio.create_task(write(table))
        await asyncio.wait([task])
        assert task.cancelled() == (not lines)

    table = with_table(act)

    assert ROWS[:lines] == stored()
    assert lines == table.stored


async def opened_and_closed(name: str = "events") -> None:
    """Open a table, if it can be opened, and close it."""
    with suppress(CannotStart):
        async with Table(str(DATABASE), name):
            pass


def test_opening_a_locked_database_can_be_cancelled(other: sqlite3.Connection) -> None:
    """The cancelled opening leaves no connection open."""
    other.execute("BEGIN EXCLUSIVE")

    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(current_task().cancel)
        await opened_and_closed()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())


@pytest.mark.parametrize("name", ["events", "another"])
def test_the_thread_of_a_database_ends_before_the_loop_can(
    other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Cancelling the task does not stop the closing, whether the table could be opened or not."""
    other.execute("CREATE TABLE another (body TEXT)")
    closes, may_close = threading.Event(), threading.Event()

    class Slow(sqlite3.Connection):
        def close(self) -> None:
            closes.set()
            may_close.wait(PATIENCE)
            super().close()

    monkeypatch.setattr(aiosqlite, "connect", partial(aiosqlite.connect, factory=Slow))

    async def scenario() -> None:
        task = asyncio.create_task(opened_and_closed(name))
        await asyncio.to_thread(closes.wait, PATIENCE)
        for _ in range(9):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        may_close.set()
        await asyncio.wait([task])

    asyncio.run(scenario())


# Keys.


def key_of(text: str) -> str:
    """Return the key of a line."""
    return JsonField("id")(("x", 1, text))


def test_lines_with_the_same_value_have_the_same_key() -> None:
    """The key does not depend on how the value is written."""
    one, other = '{"id": {"a": 1, "b": [2, "\\u0061"]}}', '{"c": 2, "id":{"b": [2,"a"], "a": 1}}'
    assert key_of(one) == key_of(other)


def test_values_of_different_kinds_have_different_keys() -> None:
    """The keys differ even if the values are equal in Python, such as 1 and true."""
    values = ["1", '"1"', "true", "null", "[1]", '{"a": 1}', '""', "0", "false"]
    assert len(values) == len({key_of(f'{{"id": {value}}}') for value in values})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON (Expecting value at column 1): ''"),
        ('{"id": NaN}', "not JSON (NaN is not a JSON number): '{\"id\": NaN}'"),
        ('{"id": ' + "9" * 5000 + "}", "not JSON (Exceeds the limit (4300 digits) for integer"),
        ("[" * 100_000, "not JSON ("),
        ("x" * 1000, f"not JSON (Expecting value at column 1): '{'x' * 60}'..."),
        ('"id"', "not a JSON object: '\"id\"'"),
        ('{"ID": 1}', "lacks the field 'id': '{\"ID\": 1}'"),
    ],
)
def test_a_line_without_the_field_has_no_key(text: str, why: str) -> None:
    """The message says why the line is bad, and shows its beginning."""
    with pytest.raises(BadLine) as refused:
        key_of(text)
    assert str(refused.value).startswith(why)
