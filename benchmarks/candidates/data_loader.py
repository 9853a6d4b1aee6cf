"""aiodataloader: batches what is asked for in one turn of the loop."""

from aiodataloader import DataLoader

from benchmarks.candidates.scenarios import callers


async def load() -> float:
    """Each caller gets a value for its key: seconds a caller."""

    async def double(keys: list[int]) -> list[int]:
        return [2 * key for key in keys]

    loader = DataLoader(double, max_batch_size=1000, cache=False)
    return await callers(loader.load, lambda key: 2 * key)
