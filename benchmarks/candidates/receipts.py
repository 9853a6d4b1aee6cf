"""Callers that wait for what became of their own item: `deliver`, and `Batched`."""

from benchmarks.candidates.scenarios import Count, callers
from flushq import Batched, FlushQueue, NaturalPolicy


async def deliver() -> float:
    """Each caller waits until its item has been delivered: seconds a caller."""
    sink = Count()
    async with FlushQueue(sink.deliver, NaturalPolicy(max_records=1000)) as queue:
        seconds = await callers(queue.deliver, lambda _: None)
    sink.check(1000)
    return seconds


async def batched() -> float:
    """Each caller gets a value for its key: seconds a caller."""

    async def double(keys: list[int]) -> list[int]:
        return [2 * key for key in keys]

    async with Batched(double, NaturalPolicy(max_records=1000)) as load:
        return await callers(load, lambda key: 2 * key)
