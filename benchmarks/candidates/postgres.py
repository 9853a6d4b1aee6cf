"""Rows into PostgreSQL, by COPY, through asyncpg."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from benchmarks import server
from benchmarks.candidates import loading
from benchmarks.candidates.loading import Row, Table


@asynccontextmanager
async def _table() -> AsyncIterator[Table]:
    db = await asyncpg.connect(os.environ[server.URL])
    await db.execute("SET synchronous_commit = off")
    await db.execute("DROP TABLE IF EXISTS events")
    await db.execute("CREATE TABLE events (id integer PRIMARY KEY, body text)")

    async def insert(batch: list[Row]) -> None:
        await db.copy_records_to_table("events", records=batch, columns=("id", "body"))

    async def count() -> int:
        return int(await db.fetchval("SELECT count(*) FROM events"))

    try:
        yield Table(insert, count)
    finally:
        await db.close()


queued = partial(loading.timed, _table, loading.through_a_queue)
by_hand = partial(loading.timed, _table, loading.by_hand)
