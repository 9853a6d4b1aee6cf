"""Store the lines of a file in PostgreSQL, in batches, by COPY.

    python tests/recipes/postgres.py postgresql://user@host/database FILE

A line's id is its file and number: run it again after a crash. PostgreSQL may restart meanwhile.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from flushq import Drop, Fail, Failure, FlushQueue, NaturalPolicy, Retry, Split, Verdict

Row = tuple[str, str]

HOST = r"([^@/?#\[\],:]*|\[[\da-f:.]*\])(:\d+)?"
URL = re.compile(rf"\w+://([^@/?#\[\]]*@)?{HOST}(,{HOST})*(/[^@?#]*)?(\?([\w.]+=[^@#&]*(&|$))*)?")
INSERT = "INSERT INTO events SELECT * FROM incoming ORDER BY id ON CONFLICT DO NOTHING"
PASSING = (OSError, asyncpg.InterfaceError)
PASSING_STATES = {"08", "40", "53", "57"}  # connection, deadlock, disk or memory, shutdown
POISONED = (UnicodeError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


def check(url: str) -> None:
    """Refuse a URL that others would misread, and quote its password in their complaint."""
    if not (url.isascii() and url.isprintable() and URL.fullmatch(url)):
        raise ValueError("a URL cannot be read: quote its password, / as %2F for example")


def connect(url: str, timeout: float = 10.0) -> asyncpg.Pool:
    """Connections to a database that has the table, and each a table for COPY of its own."""
    check(url)
    return asyncpg.create_pool(url, min_size=1, command_timeout=timeout, init=_prepare)


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute("""
        SELECT pg_advisory_xact_lock(hashtext('events')); -- one after the other
        CREATE TABLE IF NOT EXISTS events (id text PRIMARY KEY, body text);
        CREATE TEMPORARY TABLE incoming (id text, body text) ON COMMIT DELETE ROWS""")


async def store(pool: asyncpg.Pool, rows: list[Row]) -> None:
    """Store rows in one transaction: all of them, or none. Ids that are there are left alone."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.copy_records_to_table("incoming", records=rows)
        await connection.execute(INSERT)


def judge(failure: Failure[Any], name: Callable[[Any], str] = str) -> Verdict:
    """Wait for PostgreSQL as long as it takes; drop the rows that it refuses, and name them."""
    state = getattr(failure.error, "sqlstate", None) or ""
    if isinstance(failure.error, PASSING) or state[:2] in PASSING_STATES:
        return Retry(after=min(5.0, 0.1 * failure.attempt))
    if not isinstance(failure.error, POISONED):
        return Fail()
    if len(failure.items) > 1:
        return Split()
    print(f"refused: {name(failure.items[0])}: {failure.error}", file=sys.stderr)
    return Drop()


async def main(url: str, file: Path) -> None:
    """Store the lines of a file, and tell how many there were."""
    pool, policy = connect(url), NaturalPolicy(max_records=5_000)
    async with pool, FlushQueue(partial(store, pool), policy, on_failure=judge) as queue:
        with file.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                await queue.enqueue((f"{file}:{number}", line.removesuffix("\n")))
    print(queue.stats().delivered, "lines are stored")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
