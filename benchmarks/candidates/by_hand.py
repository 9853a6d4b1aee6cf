"""The loop over an asyncio.Queue that people write by hand; this one loses no item at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from time import process_time

from benchmarks.candidates.scenarios import TIGHT, Count, Sink, produce

Consume = Callable[["asyncio.Queue[object]", Sink], Awaitable[None]]

STOP = object()


async def tight_interval() -> float:
    """Measure batches that end at 500 items or after two seconds; return seconds per item."""
    return await _tight(_consume_for_two_seconds)


async def tight_natural() -> float:
    """Measure batches that take all waiting items; return seconds per item."""
    return await _tight(_consume_what_is_there)


async def _tight(consume: Consume) -> float:
    sink = Count()
    queue: asyncio.Queue[object] = asyncio.Queue(10_000)
    async with asyncio.TaskGroup() as group:
        group.create_task(_run(consume(queue, sink.deliver)))
        began = process_time()
        await produce(queue.put)
        await queue.put(STOP)
    seconds = process_time() - began
    sink.check(len(TIGHT))
    return seconds / len(TIGHT)


async def _run(consumer: Awaitable[None]) -> None:
    await consumer


async def _consume_for_two_seconds(queue: "asyncio.Queue[object]", sink: Sink) -> None:
    loop = asyncio.get_running_loop()
    item = None
    while item is not STOP:
        item = await queue.get()
        batch = []
        due = loop.time() + 2.0
        while item is not STOP:
            batch.append(item)
            if len(batch) == 500:
                break
            try:
                item = await asyncio.wait_for(queue.get(), due - loop.time())
            except TimeoutError:
                break
        if batch:
            await sink(batch)


async def _consume_what_is_there(queue: "asyncio.Queue[object]", sink: Sink) -> None:
    item = None
    while item is not STOP:
        batch = [await queue.get()]
        while not queue.empty():
            batch.append(queue.get_nowait())
        item = batch[-1]
        if item is STOP:
            batch.pop()
        if batch:
            await sink(batch)
