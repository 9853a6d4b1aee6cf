"""Keep the latest value of each key in PostgreSQL, from a file of changes, in batches.

    python tests/recipes/upserts.py postgresql://user@host/database FILE

A line is a key, a tab and a value. Changes of a key that wait are merged, so a batch has each key
once, with its latest value: PostgreSQL cannot change a row twice in a statement. Run the program
again after a crash. PostgreSQL may restart at any time. The exit code is 1 if a row was refused.
"""

import asyncio
import sys
from functools import partial
from operator import itemgetter
from pathlib import Path

import asyncpg
import urls
from postgres_failures import handler, tell

from flushq import FailureHandler, FlushQueue, IntervalPolicy

Row = tuple[str, str]

UPSERT = """
    INSERT INTO latest SELECT * FROM unnest($1::text[], $2::text[]) AS rows (key, value)
    ORDER BY key  -- so that two programs cannot deadlock
    ON CONFLICT (key) DO UPDATE SET value = excluded.value"""


def connect(url: str, timeout: float = 10.0) -> asyncpg.Pool:
    """Return a pool of connections, which create the table."""
    urls.check(url)
    return asyncpg.create_pool(url, min_size=1, command_timeout=timeout, init=_prepare)


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute("""
        SELECT pg_advisory_xact_lock(hashtext('latest')); -- one after the other
        DO $$ BEGIN IF to_regclass('latest') IS NULL THEN
            CREATE TABLE latest (key text PRIMARY KEY, value text); END IF; END $$""")


def writing(pool: asyncpg.Pool) -> FlushQueue[Row]:
    """Return a queue that writes a key at most once a second, however often the key changes.

    The queue writes one batch at a time, so an older value never overwrites a newer one.
    """
    judge: FailureHandler[Row] = handler(tell)
    return FlushQueue(
        partial(store, pool), IntervalPolicy(1.0, max_records=5_000), dedupe_key=itemgetter(0),
        merge=lambda waiting, new: new, max_in_flight=1, max_shutdown_wait=10.0, on_failure=judge,
    )  # fmt: skip


async def store(pool: asyncpg.Pool, rows: list[Row]) -> None:
    """Store rows with different keys in one statement: all of them, or none."""
    keys, values = zip(*rows, strict=True)
    await pool.execute(UPSERT, keys, values)


async def main(url: str, file: Path) -> int:
    """Store the changes of a file, print their number, and return how many rows were refused."""
    async with connect(url) as pool, writing(pool) as queue:
        with file.open(errors="replace") as lines:
            for line in lines:
                key, _, value = line.removesuffix("\n").partition("\t")
                await queue.enqueue((key, value))
        await queue.flush()  # waits while PostgreSQL is down; after Ctrl-C at most ten seconds
    print(queue.stats().accepted, "changes,", queue.stats().delivered, "rows written")
    return queue.stats().dropped


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]))) > 0)
