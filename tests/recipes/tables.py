"""Store rows of many tables in PostgreSQL, in batches of one table each, by COPY.

    python tests/recipes/tables.py postgresql://user@host/database FILE

A line of the file is a JSON array: the name of a table, and a value for each of its columns. A row
whose unique key is in the table is left alone: run it again after a crash. Ends with 1 if a row was
refused.
"""

import asyncio
import json
import sys
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import asyncpg
import urls
from postgres_failures import judge, tell

from flushq import Drop, Failure, FlushQueue, NaturalPolicy, Split, Verdict

Row = tuple[str, tuple[Any, ...]]  # the name of the table, and the values

MISFITS = TypeError, ValueError, OverflowError  # what asyncpg raises of a value
INCOMING = "flushq_incoming"


def connect(url: str, timeout: float = 10.0) -> asyncpg.Pool:
    """Connections to a database that has the tables."""
    urls.check(url)
    return asyncpg.create_pool(url, min_size=1, command_timeout=timeout)


def writing(pool: asyncpg.Pool) -> FlushQueue[Row]:
    """A queue of rows: a table that is locked holds up no other, until the queue is full."""
    return FlushQueue(
        partial(store, pool), NaturalPolicy(5_000), partition_key=itemgetter(0),
        max_in_flight=4, max_shutdown_wait=10.0, on_failure=handle,
    )  # fmt: skip


async def store(pool: asyncpg.Pool, rows: list[Row]) -> None:
    """Store rows of one table in one transaction: all of them, or none."""
    table = '"{}"'.format(rows[0][0].replace('"', '""'))
    values = [values for _, values in rows]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"CREATE TEMPORARY TABLE {INCOMING} (LIKE {table}) ON COMMIT DROP")
        await connection.copy_records_to_table(INCOMING, records=values)
        await connection.execute(f"INSERT INTO {table} TABLE {INCOMING} ON CONFLICT DO NOTHING")


async def handle(failure: Failure[Row]) -> Verdict:
    """As for one table; name what has no table, and what has a value that is not of its type."""
    if isinstance(failure.error, MISFITS) and len(failure.items) > 1:
        return Split()
    if isinstance(failure.error, (*MISFITS, asyncpg.UndefinedTableError)):
        for row in failure.items:
            await tell(row, failure.error)
        return Drop()
    return await judge(tell, failure)


async def main(url: str, file: Path) -> int:
    """Store the rows of a file, tell how many there were, and return how many were refused."""
    async with connect(url) as pool, writing(pool) as queue:
        with file.open() as lines:
            for table, *values in map(json.loads, lines):
                await queue.enqueue((table, tuple(values)))
        await queue.flush()
    print(queue.stats().delivered, "rows are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]))) > 0)
