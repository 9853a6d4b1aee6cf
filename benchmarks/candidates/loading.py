"""Rows into a real database, 500 a batch: through a queue, and handed over without one.

No database waits for the disk here, so that it is the queue that shows.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from time import perf_counter

import attrs

from flushq import FlushQueue, IntervalPolicy

BATCH = 500
ROWS = [(number, f"the body of event {number}") for number in range(20_000)]

Row = tuple[int, str]
Insert = Callable[[list[Row]], Awaitable[None]]
Load = Callable[[Insert, Iterable[Row]], Awaitable[None]]


@attrs.frozen
class Table:
    """A table: how to store a batch in it, and how many rows it has."""

    insert: Insert
    count: Callable[[], Awaitable[int]]


async def timed(table_of: Callable[[], AbstractAsyncContextManager[Table]], load: Load) -> float:
    """Load the rows into a new table: seconds a row."""
    async with table_of() as table:
        began = perf_counter()
        await load(table.insert, ROWS)
        seconds = perf_counter() - began
        stored = await table.count()
    if stored != len(ROWS):
        raise AssertionError(f"{stored} rows were stored, not {len(ROWS)}")
    return seconds / len(ROWS)


async def through_a_queue(insert: Insert, rows: Iterable[Row]) -> None:
    """Enqueue each row."""
    async with FlushQueue(insert, IntervalPolicy(2.0, BATCH)) as queue:
        for row in rows:
            await queue.enqueue(row)


async def by_hand(insert: Insert, rows: Iterable[Row]) -> None:
    """Hand over the same batches without a queue."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            await insert(batch)
            batch = []
    if batch:
        await insert(batch)
