"""Rows into SQLite, through aiosqlite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import aiosqlite

from benchmarks.candidates import loading
from benchmarks.candidates.loading import Row, Table


@asynccontextmanager
async def _table() -> AsyncIterator[Table]:
    with TemporaryDirectory() as folder:
        async with aiosqlite.connect(Path(folder) / "events.db") as db:
            await db.execute("PRAGMA journal_mode = WAL")
            await db.execute("PRAGMA synchronous = OFF")
            await db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT)")

            async def insert(batch: list[Row]) -> None:
                await db.executemany("INSERT INTO events VALUES (?, ?)", batch)
                await db.commit()

            async def count() -> int:
                async with db.execute("SELECT count(*) FROM events") as cursor:
                    return sum([number async for (number,) in cursor])

            yield Table(insert, count)


queued = partial(loading.timed, _table, loading.through_a_queue)
by_hand = partial(loading.timed, _table, loading.by_hand)
in_tasks = partial(loading.timed, _table, loading.in_tasks)
