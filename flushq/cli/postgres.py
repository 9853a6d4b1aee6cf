"""A table in a PostgreSQL database: it stores each batch of messages with one statement.

The table has a unique key, ``id``: a new row is ignored if its id is in the table already. So a
batch can be stored again if it is unknown whether the first attempt has stored it. Rows are
inserted in the order of their ids. Without this order, two workers that store the same rows could
deadlock.
"""

import asyncio
from contextlib import suppress
from typing import Self

import asyncpg

from flushq.cli.table import CannotStart
from flushq.cli.terminal import complain

SECONDS = 10.0
"""The longest time for a connection attempt, and for a statement, in seconds."""

CLOSE_SECONDS = 2.0

COLUMNS = "id text PRIMARY KEY, body text"

POSTGRES_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)  # errors of the connection
# Classes of SQLSTATE codes.
_TEMPORARY = {"08", "40", "53", "57"}  # connection, deadlock, full disk or memory, shutdown
_REFUSALS = {"22", "23", "54", "P0"}  # bad data, constraint, size, error in a trigger

_OTHERS_NEEDED = """
    SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
    AND attnotnull AND NOT atthasdef AND attidentity = '' AND attname NOT IN ('id', 'body')"""


def is_temporary(error: BaseException) -> bool:
    """Return whether an error is temporary: then a retry can help."""
    return isinstance(error, _BROKEN) or _state(error) in _TEMPORARY


def is_refusal(error: BaseException) -> bool:
    """Return whether an error means that a row is refused, but other rows can be stored."""
    return isinstance(error, UnicodeError) or _state(error) in _REFUSALS


def reason(error: BaseException) -> str:
    """Return the message of an error; for an OSError, it says that PostgreSQL is unreachable."""
    told = str(error) or "it does not answer"
    return f"PostgreSQL cannot be reached: {told}" if isinstance(error, OSError) else told


def _state(error: BaseException) -> str:
    return (getattr(error, "sqlstate", None) or "")[:2]


class PostgresTable:
    """A table ``NAME`` or ``SCHEMA.NAME``; ``async with`` connects to its database.

    Attributes:
        stored: The number of rows that were stored.
        known: The number of rows that were ignored, because their id was in the table already.
        batches: The number of transactions that succeeded.
    """

    def __init__(self, url: str, name: str, connections: int = 1) -> None:
        self.stored = 0
        self.known = 0
        self.batches = 0
        self._name = name
        parts = (part.replace('"', '""') for part in name.split(".", 1))
        self._quoted = ".".join(f'"{part}"' for part in parts)
        self._insert = (
            f"INSERT INTO {self._quoted} (id, body) "
            "SELECT * FROM unnest($1::text[], $2::text[]) AS new (id, body) "
            "ORDER BY id ON CONFLICT (id) DO NOTHING"
        )
        self._url = url
        self._connections = connections

    def __str__(self) -> str:
        """Return the name of the table, for messages."""
        return f"table {self._name!r}"

    async def __aenter__(self) -> Self:
        """Connect, and create the table if it does not exist.

        Raises:
            CannotStart: The database does not answer. Or the table cannot be written to: a column
                is missing, ``id`` is not a unique key, another column needs a value, or this user
                has no permission.
        """
        self._pool = asyncpg.create_pool(
            self._url,
            min_size=0,  # otherwise asyncpg reconnects during an outage, and logs each failure
            max_size=self._connections,
            timeout=SECONDS,
            command_timeout=SECONDS,
        )
        try:
            await self._pool
            await self._prepare()
        except (*POSTGRES_ERRORS, ValueError) as error:
            self._pool.terminate()
            raise CannotStart(f"cannot open {self}: {reason(error)}") from error
        except BaseException:
            self._pool.terminate()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connections; after CLOSE_SECONDS, terminate those that do not answer."""
        with suppress(*POSTGRES_ERRORS):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._pool.close()

    async def _prepare(self) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            # A lock: if two workers created the table at the same time, one of them would fail.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", self._quoted)
            is_new = await connection.fetchval("SELECT to_regclass($1)", self._quoted) is None
            if is_new:
                await connection.execute(f"CREATE TABLE {self._quoted} ({COLUMNS})")
            await connection.execute(self._insert, [], [])  # fails if a column is missing
            others = await connection.fetch(_OTHERS_NEEDED, self._quoted)
        if is_new:
            complain(f"created {self}")
        if others:
            needed = ", ".join(repr(other["attname"]) for other in others)
            raise ValueError(f"these columns must allow NULL or have a default: {needed}")

    async def store(self, rows: list[tuple[str, str]]) -> None:
        """Store the rows whose ids are new to the table, in one transaction: all of them or none.

        Raises:
            POSTGRES_ERRORS: The database cannot be reached, or has refused the rows. (Any error of
                this tuple can be raised.) If the connection was lost or timed out after the
                statement was sent, it is unknown whether the rows were stored. After any other of
                these errors, no row was stored.
            CancelledError: The task was cancelled, and the connection was terminated. It is unknown
                whether the rows were stored.
        """
        ids, bodies = [row[0] for row in rows], [row[1] for row in rows]
        async with self._pool.acquire() as connection:
            try:
                answer = await connection.execute(self._insert, ids, bodies)
            except asyncio.CancelledError:
                connection.terminate()  # a cancel request could wait for a server that hangs
                raise
        stored = int(answer.rpartition(" ")[2])
        self.stored += stored
        self.known += len(rows) - stored
        self.batches += 1
