"""Store the lines of a file in PostgreSQL, in batches, by COPY.

    python tests/recipes/postgres.py postgresql://user@host/database FILE

The id of a line is the path of the file and the number of the line, so run the program again after
a crash. PostgreSQL may restart while the program runs. The exit code is 1 if a line was refused.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

import asyncpg
import urls
from postgres_failures import handler, tell

from flushq import FlushQueue, NaturalPolicy

Row = tuple[str, str]

INSERT = "INSERT INTO events SELECT * FROM incoming ORDER BY id ON CONFLICT (id) DO NOTHING"


def connect(url: str, timeout: float = 10.0) -> asyncpg.Pool:
    """Return a pool of connections, which create the table, and a temporary table each for COPY."""
    urls.check(url)
    return asyncpg.create_pool(url, min_size=1, command_timeout=timeout, init=_prepare)


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute("""
        SELECT pg_advisory_xact_lock(hashtext('events')); -- one after the other
        DO $$ BEGIN IF to_regclass('events') IS NULL THEN
            CREATE TABLE events (id text PRIMARY KEY, body text); END IF; END $$;
        CREATE TEMPORARY TABLE incoming (id text, body text) ON COMMIT DELETE ROWS""")


async def store(pool: asyncpg.Pool, rows: list[Row]) -> None:
    """Store rows in one transaction, all or none; rows whose id is in the table are skipped."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.copy_records_to_table("incoming", records=rows)
        await connection.execute(INSERT)


async def main(url: str, file: Path) -> int:
    """Store the lines of a file, print how many were stored, and return how many were refused."""
    pool = connect(url)
    flush, judge, policy = partial(store, pool), handler(tell), NaturalPolicy(5_000)
    queue = FlushQueue(flush, policy, max_shutdown_wait=10.0, on_failure=judge)
    async with pool, queue:
        with file.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                await queue.enqueue((f"{file}:{number}", line.removesuffix("\n")))
        await queue.flush()  # waits while PostgreSQL is down; after Ctrl-C at most ten seconds
    print(queue.stats().delivered, "lines are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]).resolve())) > 0)
