"""A table in an SQLite database: it stores each batch of lines in one transaction.

The database is in WAL mode, so other processes can read while lines are written. Each commit is
synced (``synchronous=FULL``), so stored lines survive a power cut. A transaction that fails or is
cancelled is rolled back, so either all lines of a batch are stored or none. This rule does not hold
for lines that the table ignores, by its ``ON CONFLICT IGNORE`` or a trigger's ``RAISE(IGNORE)``:
they are not stored, but the transaction succeeds. The count of stored lines is exact: SQLite
reports how many lines it has stored, and a commit that has begun is always awaited.

Two lines are duplicates if their keys are equal. The key of a line is the value of one field of the
JSON object that the line contains.
"""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite
import attrs

from flushq.cli.reading import Row
from flushq.cli.signals import current_task

T = TypeVar("T")

RetryAfter = Callable[[int, str], float | None]
"""A function that is called with the number of a failed attempt and the reason of the failure.

It returns the pause before the next attempt, in seconds, or None if no attempt is left.
"""

LOCK_SECONDS = 4.0
RETRY_SECONDS = 0.02
_SHOWN = 60

COLUMNS = "id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT"
_REFUSALS = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
)
_SHAPE = [("id", "INTEGER", 1), ("source", "TEXT", 0), ("line", "INTEGER", 0), ("body", "TEXT", 0)]


def no_retry(attempt: int, trouble: str) -> None:
    """Return None: there is no retry after a failed attempt."""


class CannotStart(Exception):
    """The error if a table, a server or a port cannot be used; nothing was written."""


class Unusable(sqlite3.DatabaseError):
    """The error if the open table was removed, or was changed so that it refuses all lines."""


def check_name(name: str) -> str:
    """Return the name if it is a valid name of a table.

    Raises:
        ValueError: The name is empty, is reserved by SQLite, contains a NUL, or is not UTF-8.
    """
    if not name or "\0" in name or name.lower().startswith("sqlite_"):
        raise ValueError(
            f"{name!r} cannot be the name of a table: "
            "it must not be empty, contain a NUL character or begin with 'sqlite_'"
        )
    name.encode()
    return name


class Table:
    """A table in a database; ``async with`` opens it for writing, with retries.

    Attributes:
        stored: The number of lines that were stored.
        ignored: The number of lines that the table ignored.
        batches: The number of transactions that succeeded.
    """

    _database: aiosqlite.Connection

    def __init__(self, path: str, name: str, retry_after: RetryAfter = no_retry) -> None:
        self.stored = 0
        self.ignored = 0
        self.batches = 0
        self._path = path
        self._file = Path(path).absolute()
        self._name = name
        self._retry_after = retry_after
        self._insert = f"INSERT INTO {_quoted(name)} (source, line, body)"
        self._insert_nothing = f"{self._insert} SELECT 0, 0, 0 WHERE 0"

    def __str__(self) -> str:
        """Return the name of the table and its database, for messages."""
        return f"table {self._name!r} of database {self._path!r}"

    async def __aenter__(self) -> Self:
        """Open the database, and create the table if it does not exist.

        Raises:
            CannotStart: The database cannot be opened, and no retry is left. For example, its file
                is read-only, is not a database, or is locked for LOCK_SECONDS. Or the columns of an
                existing table are not COLUMNS.
        """
        attempt = 1
        while True:
            try:
                await self._open()
            except sqlite3.Error as error:
                await self._pause(attempt, error)
            else:
                return self
            attempt += 1

    async def __aexit__(self, *exc_info: object) -> None:
        await _completed(self._database.close())

    async def _pause(self, attempt: int, error: sqlite3.Error) -> None:
        trouble = f"cannot open {self}: {error}"
        seconds = self._retry_after(attempt, trouble)
        if seconds is None:
            raise CannotStart(trouble) from error
        await asyncio.sleep(seconds)

    async def _open(self) -> None:
        _check_openable(self._file)
        connecting = aiosqlite.connect(self._file, timeout=0, isolation_level="IMMEDIATE")
        self._database = await _completed(connecting)
        try:
            _check_cancelled()
            await self._prepare(_deadline())
        except BaseException:
            await _completed(self._database.close())
            raise

    async def _prepare(self, deadline: float) -> None:
        query = "SELECT name, upper(type), pk FROM pragma_table_xinfo(?)"
        shape = await self._execute(deadline, query, self._name)
        if shape and shape != _SHAPE:
            columns = ", ".join(str(column[0]) for column in shape)
            raise CannotStart(f"cannot use {self}: its columns must be {COLUMNS}, not {columns}")
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "BEGIN IMMEDIATE",
            f"CREATE TABLE IF NOT EXISTS {_quoted(self._name)} ({COLUMNS})",
            self._insert_nothing,  # a read-only database refuses this statement
            "COMMIT",
        ):
            await self._execute(deadline, statement)

    async def last_line(self, source: str) -> tuple[int, str] | None:
        """Return the number and text of the last stored line of a source, or None if there is none.

        This reads the whole table, unless the table has an index on source and line.

        Raises:
            CannotStart: The table cannot be read.
        """
        query = f"SELECT max(line), body FROM {_quoted(self._name)} WHERE source = ?"
        try:
            ((line, body),) = await self._execute(_deadline(), query, source)
        except sqlite3.Error as error:
            raise CannotStart(f"cannot read {self}: {error}") from error
        return None if line is None else (line, body)

    async def write(self, rows: list[Row]) -> None:
        """Store the rows that the table does not ignore. If this raises an error, no row is stored.

        Raises:
            Unusable: The table was removed, or was changed so that it refuses all lines.
            sqlite3.Error: The database is full, locked (for LOCK_SECONDS), or broken; or the table
                refuses a line.
            CancelledError: The task was cancelled before the commit began.
        """
        try:
            cursor = await _retry_while_locked(lambda: self._insert_all(rows), _deadline())
            await _completed(self._database.commit())
        except BaseException:
            await _completed(self._database.rollback())
            raise
        self.stored += cursor.rowcount
        self.ignored += len(rows) - cursor.rowcount
        self.batches += 1

    async def _insert_all(self, rows: list[Row]) -> aiosqlite.Cursor:
        try:
            return await self._database.executemany(f"{self._insert} VALUES (?, ?, ?)", rows)
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_ERROR:
                await self._check_usable()
            raise
        except OverflowError as error:
            raise _too_big() from error

    async def _check_usable(self) -> None:
        """Raise Unusable if even an insertion of no rows fails: then no line is the cause."""
        try:
            await self._database.execute_fetchall(self._insert_nothing)
        except sqlite3.Error as error:
            raise Unusable(str(error)) from error

    async def _execute(self, deadline: float, statement: str, *values: object) -> list[Any]:
        found = await _retry_while_locked(
            lambda: self._database.execute_fetchall(statement, values), deadline
        )
        return list(found)


def _check_openable(file: Path) -> None:
    """Raise sqlite3.Error if the file cannot be opened.

    aiosqlite must not check this: if it cannot connect, its thread outlives the event loop.
    """
    sqlite3.connect(file).close()


def _deadline() -> float:
    return asyncio.get_running_loop().time() + LOCK_SECONDS


async def _retry_while_locked(execute: Callable[[], Awaitable[T]], deadline: float) -> T:
    """Call ``execute``; while the database is locked, call it again until the deadline.

    SQLite could wait for the lock by itself, but a cancellation cannot interrupt this wait. If the
    database is locked, the first statement of a transaction fails, so a retry repeats no statement
    that has succeeded.
    """
    while True:
        try:
            return await execute()
        except sqlite3.OperationalError as error:
            if not _is_locked(error) or asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)


def is_refusal(error: sqlite3.Error) -> bool:
    """Return whether an error means that a line is refused, but other lines may be stored.

    SQLITE_ERROR can be a refusal: an index on an expression raises it if the expression cannot be
    computed for a line. If the table refuses every line with this error, :meth:`Table.write` raises
    Unusable instead.
    """
    return _code(error) in _REFUSALS


def _is_locked(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: sqlite3.Error) -> int:
    """Return the primary SQLite code of an error, or 0 if SQLite did not raise the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _too_big() -> sqlite3.DataError:
    """Return the error that SQLite raises for a line that is too long.

    For a line above 2 GiB, Python raises OverflowError; the returned error must replace it.
    """
    error = sqlite3.DataError("string or blob too big")
    error.sqlite_errorcode = sqlite3.SQLITE_TOOBIG
    return error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_cancelled() -> None:
    """Raise CancelledError if ``_completed`` has suppressed a cancellation of this task."""
    if current_task().cancelling():
        raise asyncio.CancelledError


async def _completed(work: Awaitable[T]) -> T:
    """Await ``work`` to its end and return its result, even if this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


class BadLine(ValueError):
    """The error for a line without a key; the message has the reason and the line's beginning."""


@attrs.frozen
class JsonField:
    """A function that returns the key of a line: the value of one field, as canonical JSON text.

    Args:
        name: The name of the field.

    Raises:
        ValueError: The name is empty.
    """

    name: str

    def __attrs_post_init__(self) -> None:
        if not self.name:
            raise ValueError("the name of a field must not be empty")

    def __call__(self, row: Row) -> str:
        """Return the key of a line.

        Raises:
            BadLine: The line is not a JSON object, or lacks the field.
        """
        text = row[2]
        value = _parse(text)
        if not isinstance(value, dict):
            raise BadLine(f"not a JSON object: {excerpt(text)}")
        if self.name not in value:
            raise BadLine(f"lacks the field {self.name!r}: {excerpt(text)}")
        return _canonical(value[self.name])


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a JSON number")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
_canonical = json.JSONEncoder(sort_keys=True).encode


def _parse(text: str) -> object:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise BadLine(f"not JSON ({reason}): {excerpt(text)}")


def excerpt(text: str) -> str:
    """Return a text in quotes, for a message. If the text is long, return only its beginning."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
