"""async-batcher: a queue of futures, told to wait for nobody."""

from async_batcher.batcher import AsyncBatcher

from benchmarks.candidates.scenarios import callers


class _Double(AsyncBatcher[int, int]):  # type: ignore[misc]  # a peer is not there to be checked
    async def process_batch(self, batch: list[int]) -> list[int]:
        return [2 * key for key in batch]


async def process() -> float:
    """Each caller gets a value for its key: seconds a caller."""
    batcher = _Double(max_batch_size=1000, max_queue_time=0)
    try:
        return await callers(batcher.process, lambda key: 2 * key)
    finally:
        await batcher.stop(force=True)
