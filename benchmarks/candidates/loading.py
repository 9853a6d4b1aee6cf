"""Rows that go into a real database, 500 per batch: through a queue, and without one.

The databases do not wait for the disk, so that the cost of the queue is visible.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from time import perf_counter

import attrs

from flushq import FlushQueue, IntervalPolicy
from flushq.core.fairness import BURST

BATCH = 500
MOST_WAITING = 10_000
ROWS = [(number, f"the body of event {number}") for number in range(20_000)]

Row = tuple[int, str]
Insert = Callable[[list[Row]], Awaitable[None]]
Load = Callable[[Insert, Iterable[Row]], Awaitable[None]]


@attrs.frozen
class Table:
    """A table: a function that stores a batch, and a function that counts the rows."""

    insert: Insert
    count: Callable[[], Awaitable[int]]


async def timed(table_of: Callable[[], AbstractAsyncContextManager[Table]], load: Load) -> float:
    """Load the rows into a new table; return seconds per row."""
    async with table_of() as table:
        began = perf_counter()
        await load(table.insert, ROWS)
        seconds = perf_counter() - began
        stored = await table.count()
    if stored != len(ROWS):
        raise AssertionError(f"{stored} rows were stored, not {len(ROWS)}")
    return seconds / len(ROWS)


async def through_a_queue(insert: Insert, rows: Iterable[Row]) -> None:
    """Load the rows by enqueuing each of them."""
    async with FlushQueue(insert, IntervalPolicy(2.0, BATCH)) as queue:
        for row in rows:
            await queue.enqueue(row)


async def by_hand(insert: Insert, rows: Iterable[Row]) -> None:
    """Load the rows in batches of 500, without a queue."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            await insert(batch)
            batch = []
    if batch:
        await insert(batch)


async def in_tasks(insert: Insert, rows: Iterable[Row]) -> None:
    """Load the rows as a queue does: with a task per batch, and a callback per burst of rows."""
    driver = _Driver(insert)
    for number, row in enumerate(rows, 1):
        await driver.enqueue(row)
        if number % BURST == 0:
            await driver.give_way()
    await driver.drain()


class _Driver:
    """A queue by hand, without a line of producers, receipts, failure handling and a close."""

    def __init__(self, insert: Insert) -> None:
        self._insert = insert
        self._waiting: deque[Row] = deque()
        self._task: asyncio.Task[None] | None = None
        self._least = BATCH
        self._room = asyncio.Event()
        self._room.set()

    async def enqueue(self, row: Row) -> None:
        self._waiting.append(row)

    async def give_way(self) -> None:
        asyncio.get_running_loop().call_soon(self._start)
        await asyncio.sleep(0)
        if len(self._waiting) >= MOST_WAITING:
            self._room.clear()
            await self._room.wait()

    async def drain(self) -> None:
        self._least = 1
        while self._waiting or self._task:
            self._start()
            if self._task:
                await self._task

    def _start(self) -> None:
        if self._task is None and len(self._waiting) >= self._least:
            take = self._waiting.popleft
            batch = [take() for _ in range(min(BATCH, len(self._waiting)))]
            self._task = asyncio.ensure_future(self._flush(batch))

    async def _flush(self, batch: list[Row]) -> None:
        await self._insert(batch)
        self._task = None
        self._room.set()
        self._start()
