"""The table in an SQLite database that the lines go to, one transaction a batch.

The database is in WAL mode, so that others can read while lines are written, and every commit is
synced (``synchronous=FULL``): what counts as stored survives a power cut. A transaction that fails
or is interrupted is rolled back, so of each batch all lines are stored or none, and the count of
stored lines is exact: once a commit is under way it is waited for, whatever happens.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import attrs

from flushq.cli.lines import Row

T = TypeVar("T")

LOCK_SECONDS = 4.0
RETRY_SECONDS = 0.02

COLUMNS = "id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT"
_SHAPE = [("id", "INTEGER", 1), ("source", "TEXT", 0), ("line", "INTEGER", 0), ("body", "TEXT", 0)]


class WrongShape(Exception):
    """There is something of that name, with other columns."""


def check_name(name: str) -> None:
    """Make sure that a table can have this name.

    Raises:
        ValueError: It is empty, kept by SQLite for itself, or not to be written as UTF-8 without
            a NUL.
    """
    if not name or "\0" in name or name.lower().startswith("sqlite_"):
        raise ValueError(f"{name!r} cannot be the name of a table")
    name.encode()


@asynccontextmanager
async def opened(path: str, name: str) -> AsyncIterator["Table"]:
    """Open the database, and make the table if it is not there.

    Raises:
        WrongShape: It is there, and is another.
        sqlite3.Error: The database is read-only, locked (for LOCK_SECONDS), or none.
    """
    where = Path(path).absolute()
    async with aiosqlite.connect(where, timeout=0, isolation_level=None) as database:
        table = Table(database, name)
        await table.prepare()
        yield table


@attrs.define
class Table:
    """The table, open for writing.

    Attributes:
        name: Its name, whatever it is.
        stored: How many lines were stored.
        batches: In how many transactions.
    """

    _database: aiosqlite.Connection
    name: str
    stored: int = attrs.field(default=0, init=False)
    batches: int = attrs.field(default=0, init=False)

    async def prepare(self) -> None:
        """Make the table, if it is not there; fails as `opened` does."""
        deadline = _deadline()
        shape = await self._insist(
            deadline, "SELECT name, upper(type), pk FROM pragma_table_xinfo(?)", self.name
        )
        if shape and shape != _SHAPE:
            columns = ", ".join(str(column) for column, _, _ in shape)
            raise WrongShape(f"it is another, with the columns {columns}, and not {COLUMNS}")
        await self._insist(deadline, "PRAGMA journal_mode=WAL")
        await self._insist(deadline, "PRAGMA synchronous=FULL")
        await self._insist(deadline, "BEGIN IMMEDIATE")
        await self._insist(deadline, f"CREATE TABLE IF NOT EXISTS {_quoted(self.name)} ({COLUMNS})")
        await self._insist(deadline, "COMMIT")

    async def write(self, rows: list[Row]) -> None:
        """Store the rows: all of them if this returns, none if it raises.

        Raises:
            sqlite3.Error: The database is full, locked (for LOCK_SECONDS), or broken.
            CancelledError: It was cancelled before the commit.
        """
        deadline = _deadline()
        insert = f"INSERT INTO {_quoted(self.name)} (source, line, body) VALUES (?, ?, ?)"
        try:
            await self._insist(deadline, "BEGIN IMMEDIATE")
            await self._database.executemany(insert, rows)
            await _completed(self._insist(deadline, "COMMIT"))
        except BaseException:
            await _completed(self._database.rollback())
            raise
        self.stored += len(rows)
        self.batches += 1

    async def _insist(self, deadline: float, statement: str, *values: object) -> list[Any]:
        """Execute a statement, again while the database is locked, until the deadline.

        SQLite would wait by itself, but in the thread, where nothing can interrupt it.
        """
        while True:
            try:
                return list(await self._database.execute_fetchall(statement, values))
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)


def _deadline() -> float:
    return asyncio.get_running_loop().time() + LOCK_SECONDS


def _is_locked(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def _completed(work: Coroutine[Any, Any, T]) -> T:
    """Await work to its end, and return its result, even if this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()
