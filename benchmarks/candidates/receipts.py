"""Callers that wait until their own item has ended: `deliver`, and `Batched`."""

from time import process_time

from benchmarks.candidates.scenarios import Count, callers, one_after_another
from flushq import Batched, FlushQueue, NaturalPolicy

SUBMITTED = 20_000


async def deliver() -> float:
    """Measure callers that each wait for the end of their item; return seconds per caller."""
    sink = Count()
    async with FlushQueue(sink.deliver, NaturalPolicy(max_records=1000)) as queue:
        seconds = await callers(queue.deliver, lambda _: None)
    sink.check(1000)
    return seconds


async def deliver_serially() -> float:
    """Measure one caller that waits for the end of each item; return seconds per item."""
    sink = Count()
    async with FlushQueue(sink.deliver, NaturalPolicy()) as queue:
        return await one_after_another(queue.deliver)


async def _double(keys: list[int]) -> list[int]:
    return [2 * key for key in keys]


async def batched() -> float:
    """Measure callers that each ask for the value of one key; return seconds per caller."""
    async with Batched(_double, NaturalPolicy(max_records=1000)) as load:
        return await callers(load, lambda key: 2 * key)


async def batched_serially() -> float:
    """Measure one caller that asks for one key after another; return seconds per answer."""
    async with Batched(_double, NaturalPolicy()) as load:
        return await one_after_another(load)


async def submit() -> float:
    """Measure a producer that keeps a receipt of each item; return seconds per item."""
    sink = Count()
    queue: FlushQueue[int] = FlushQueue(sink.deliver, NaturalPolicy())
    async with queue:
        began = process_time()
        receipts = [await queue.submit(item) for item in range(SUBMITTED)]
        await receipts[-1]
        seconds = process_time() - began
    sink.check(SUBMITTED)
    return seconds / SUBMITTED
