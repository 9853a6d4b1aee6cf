"""Store the lines of a file in SQLite, in batches.

    python tests/recipes/sqlite.py DATABASE FILE

The id of a line is the path of the file and the number of the line. Lines that are stored already
are skipped, so run the program again after a crash. The program waits while the disk is full or the
database is locked. If the table refuses a row, the program writes the id and the reason to the
table ``dead_letters`` as soon as it can, and the exit code is 1.
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
    """Store events; an event whose id is in the table already is skipped."""
    await write(db, "INSERT INTO events VALUES (?, ?) ON CONFLICT (id) DO NOTHING", rows)


async def bury(db: aiosqlite.Connection, row: Row, error: BaseException) -> None:
    """Save the id of a row that SQLite refuses, with the reason."""
    letter = (row[0].encode(errors="backslashreplace").decode(), str(error))
    await write(db, "INSERT OR REPLACE INTO dead_letters VALUES (?, ?)", [letter])


def handler(db: aiosqlite.Connection) -> FailureHandler[Row]:
    """Return a handler that always retries temporary errors and buries refused rows one by one."""
    save = partial(bury, db)
    return FailureHandler(retry=will_pass, split=is_refused, bury=save, backoff=soon)


async def main(database: Path, file: Path) -> int:
    """Store the lines of a file, print how many were stored, and return how many were refused."""
    async with aiosqlite.connect(database) as db:
        await db.executescript(TABLES)
        flush, judge, policy = partial(store, db), handler(db), NaturalPolicy(1_000)
        async with FlushQueue(flush, policy, max_shutdown_wait=10.0, on_failure=judge) as queue:
            with file.open(errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    await queue.enqueue((f"{file}:{number}", line.removesuffix("\n")))
            await queue.flush()  # waits as long as it takes; after Ctrl-C at most ten seconds
    print(queue.stats().delivered, "lines are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())) > 0)
