"""The table in a PostgreSQL database that the messages go to, one statement for each batch.

The table has a unique key, ``id``: a row whose id is there is left alone. So a batch can be stored
again, when it is not known whether it was stored. Rows are inserted in the order of their ids, so
that two workers that store the same rows do not wait for each other in a circle.
"""

import asyncio
from contextlib import suppress
from typing import Self

import asyncpg

from flushq.cli.table import CannotOpen
from flushq.cli.terminal import complain

SECONDS = 10.0
"""How long the database may take for a statement, the connection to it included."""

CLOSE_SECONDS = 2.0

COLUMNS = "id text PRIMARY KEY, body text"

TROUBLES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)  # of a connection
_PASSING = {"08", "40", "53", "57"}  # connection, deadlock, disk or memory, shutdown
_REFUSALS = {"22", "23", "54", "P0"}  # data, constraint, size, what a trigger raises

_OTHERS_NEEDED = """
    SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
    AND attnotnull AND NOT atthasdef AND attidentity = '' AND attname NOT IN ('id', 'body')"""


def passes(error: BaseException) -> bool:
    """Whether an error is one that passes, so that it helps to try again."""
    return isinstance(error, _BROKEN) or _state(error) in _PASSING


def refuses(error: BaseException) -> bool:
    """Whether an error is for what a row is, so that another row may be stored."""
    return isinstance(error, UnicodeError) or _state(error) in _REFUSALS


def reason(error: BaseException) -> str:
    """Tell why something has failed; an error of a connection does not say by itself to what."""
    told = str(error) or "it does not answer"
    return f"PostgreSQL cannot be reached: {told}" if isinstance(error, OSError) else told


def _state(error: BaseException) -> str:
    return (getattr(error, "sqlstate", None) or "")[:2]


class PostgresTable:
    """A table ``NAME`` or ``SCHEMA.NAME``; ``async with`` connects to it.

    Attributes:
        stored: How many rows were stored.
        known: How many others had an id that was there already.
        batches: In how many transactions.
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
        """What to call it."""
        return f"table {self._name!r}"

    async def __aenter__(self) -> Self:
        """Connect, and make the table if it is not there.

        Raises:
            CannotOpen: The database does not answer, or the table cannot be written to: it has
                other columns, or no unique key, or it is closed to this user.
        """
        self._pool = asyncpg.create_pool(
            self._url,
            min_size=0,  # else asyncpg connects by itself during an outage, and logs each failure
            max_size=self._connections,
            timeout=SECONDS,
            command_timeout=SECONDS,
        )
        try:
            await self._pool
            await self._prepare()
        except (*TROUBLES, ValueError) as error:
            self._pool.terminate()
            raise CannotOpen(f"cannot open {self}: {reason(error)}") from error
        except BaseException:
            self._pool.terminate()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connections; one that does not answer is cut."""
        with suppress(*TROUBLES):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._pool.close()

    async def _prepare(self) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            # One worker after the other: of two that make a table at a time, one would fail.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", self._quoted)
            is_new = await connection.fetchval("SELECT to_regclass($1)", self._quoted) is None
            if is_new:
                await connection.execute(f"CREATE TABLE {self._quoted} ({COLUMNS})")
            await connection.execute(self._insert, [], [])  # a table of another shape refuses it
            others = await connection.fetch(_OTHERS_NEEDED, self._quoted)
        if is_new:
            complain(f"made {self}")
        if others:
            needed = ", ".join(repr(other["attname"]) for other in others)
            raise ValueError(f"a row needs more than an id and a body: {needed}")

    async def store(self, rows: list[tuple[str, str]]) -> None:
        """Store rows in one transaction: all that are not there, or none if it raises.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: The database cannot be reached,
                or has refused. Where the connection was lost, the rows may have been stored.
            CancelledError: It was cancelled, and its connection is cut: likewise.
        """
        ids, bodies = [row[0] for row in rows], [row[1] for row in rows]
        async with self._pool.acquire() as connection:
            try:
                answer = await connection.execute(self._insert, ids, bodies)
            except asyncio.CancelledError:
                connection.terminate()  # a server that hangs is not asked to cancel it
                raise
        stored = int(answer.rpartition(" ")[2])
        self.stored += stored
        self.known += len(rows) - stored
        self.batches += 1
