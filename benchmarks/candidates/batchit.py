"""batchit: an async generator that drains an asyncio.Queue into batches."""

import asyncio
from time import process_time

from batchit import STOP, drain_queue

from benchmarks.candidates.scenarios import TIGHT, Count, produce


async def tight_interval() -> float:
    """Measure a producer in a tight loop; return seconds per item."""
    sink = Count()
    queue: asyncio.Queue[object] = asyncio.Queue(10_000)

    async def consume() -> None:
        async for batch in drain_queue(queue, size=500, timeout=2.0):
            await sink.deliver(batch)

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        began = process_time()
        await produce(queue.put)
        await queue.put(STOP)
    seconds = process_time() - began
    sink.check(len(TIGHT))
    return seconds / len(TIGHT)
