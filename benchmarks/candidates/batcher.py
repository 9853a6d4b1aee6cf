"""async-batcher: a queue of futures. Here a batch does not wait for more callers."""

from async_batcher.batcher import AsyncBatcher

from benchmarks.candidates.scenarios import callers


class _Double(AsyncBatcher[int, int]):  # type: ignore[misc]  # the peer may be missing
    async def process_batch(self, batch: list[int]) -> list[int]:
        return [2 * key for key in batch]


async def process() -> float:
    """Measure callers that each ask for the value of one key; return seconds per caller."""
    batcher = _Double(max_batch_size=1000, max_queue_time=0)
    try:
        return await callers(batcher.process, lambda key: 2 * key)
    finally:
        await batcher.stop(force=True)
