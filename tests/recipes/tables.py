"""Store rows of many tables in PostgreSQL, in batches of one table each, by COPY.

    python tests/recipes/tables.py postgresql://user@host/database FILE

A line is a JSON array: ``users`` or ``schema.users``, and a value for each column. Refused rows are
printed; then the exit code is 1. Run this again after a crash: rows whose key exists are skipped.
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
from postgres_failures import judge_tables, tell

from flushq import FlushQueue, NaturalPolicy

Row = tuple[str, tuple[Any, ...]]  # the name of the table, and the values
INCOMING = "flushq_incoming"


def connect(url: str, timeout: float = 10.0) -> asyncpg.Pool:
    """Return a pool of connections that cache no statement, as INCOMING changes each time."""
    urls.check(url)
    return asyncpg.create_pool(url, min_size=1, command_timeout=timeout, statement_cache_size=0)


def writing(pool: asyncpg.Pool) -> FlushQueue[Row]:
    """Return a queue of rows. A locked table delays no other table until the queue is full."""
    return FlushQueue(
        partial(store, pool), NaturalPolicy(5_000), partition_key=itemgetter(0),
        max_in_flight=4, max_shutdown_wait=10.0, on_failure=partial(judge_tables, tell),
    )  # fmt: skip


async def store(pool: asyncpg.Pool, rows: list[Row]) -> None:
    """Store rows of one table in one transaction: all of them, or none."""
    table = ".".join('"{}"'.format(name.replace('"', '""')) for name in rows[0][0].split(".", 1))
    records = [values for _, values in rows]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"CREATE TEMPORARY TABLE {INCOMING} (LIKE {table}) ON COMMIT DROP")
        columns = (await connection.prepare(f"TABLE {INCOMING}")).get_attributes()
        if {len(values) for values in records} != {len(columns)}:
            raise ValueError(f"a row must have values for {[each.name for each in columns]}")
        await connection.copy_records_to_table(INCOMING, records=records)
        await connection.execute(f"INSERT INTO {table} TABLE {INCOMING} ON CONFLICT DO NOTHING")


def read(line: bytes) -> Row:
    """Return the row in a line of the file."""
    match json.loads(line):
        case [str(table), *values] if "\0" not in table:
            return table, tuple(values)
    raise ValueError("a line must be an array that begins with the name of a table")


async def main(url: str, file: Path) -> int:
    """Store the rows of a file, print how many were stored, and return how many were refused."""
    number = 0
    async with connect(url) as pool, writing(pool) as queue:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    await queue.enqueue(read(line))
                except (ValueError, RecursionError) as error:
                    await tell(f"line {number}", error)
        await queue.flush()
    print(queue.stats().delivered, "rows are stored")
    return number - queue.stats().delivered


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]))) > 0)
