"""Store the lines of a file in SQLite, in batches.

    python tests/recipes/sqlite.py DATABASE FILE

A line's id is the path of its file and its number; what is stored already is left as it is, so run
it again after a crash. It waits while the disk is full or the database is locked. A row that a
constraint of the table refuses goes into another table, alone, with the reason, and the exit code
is 1; if it cannot go there yet, it waits until it can.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

import aiosqlite
from sqlite_failures import is_refused, soon, will_pass

from flushq import FailureHandler, FlushQueue, NaturalPolicy

Row = tuple[str, str]

TABLES = """
    CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT);
    CREATE TABLE IF NOT EXISTS dead_letters (id TEXT PRIMARY KEY, error TEXT)"""


async def write(db: aiosqlite.Connection, statement: str, rows: list[Row]) -> None:
    """Write rows in one transaction: all of them, or none."""
    try:
        await db.executemany(statement, rows)
        await db.commit()
    except BaseException:
        await db.rollback()
        raise


async def store(db: aiosqlite.Connection, rows: list[Row]) -> None:
    """Store events; those that are there already stay as they are."""
    await write(db, "INSERT INTO events VALUES (?, ?) ON CONFLICT (id) DO NOTHING", rows)


async def bury(db: aiosqlite.Connection, row: Row, error: BaseException) -> None:
    """Put a row aside that SQLite refuses, with the reason."""
    letter = (row[0].encode(errors="backslashreplace").decode(), str(error))
    await write(db, "INSERT OR REPLACE INTO dead_letters VALUES (?, ?)", [letter])


def handler(db: aiosqlite.Connection) -> FailureHandler[Row]:
    """Wait for what passes, and bury what SQLite refuses."""
    grave = partial(bury, db)
    return FailureHandler(retry=will_pass, split=is_refused, bury=grave, backoff=soon)


async def main(database: Path, file: Path) -> int:
    """Store the lines of a file, tell how many there were, and return how many were refused."""
    async with aiosqlite.connect(database) as db:
        await db.executescript(TABLES)
        flush, judge, policy = partial(store, db), handler(db), NaturalPolicy(1_000)
        async with FlushQueue(flush, policy, max_shutdown_wait=10.0, on_failure=judge) as queue:
            with file.open(errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    await queue.enqueue((f"{file}:{number}", line.removesuffix("\n")))
            await queue.flush()  # however long it takes; after Ctrl-C ten seconds at most
    print(queue.stats().delivered, "lines are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())) > 0)
