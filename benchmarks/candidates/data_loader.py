"""aiodataloader: batches what is asked for in one turn of the loop."""

from aiodataloader import DataLoader

from benchmarks.candidates.scenarios import callers, one_after_another


async def _double(keys: list[int]) -> list[int]:
    return [2 * key for key in keys]


async def load() -> float:
    """Each caller gets a value for its key: seconds a caller."""
    loader = DataLoader(_double, max_batch_size=1000, cache=False)
    return await callers(loader.load, lambda key: 2 * key)


async def load_serially() -> float:
    """One caller waits for each of its answers: seconds an answer."""
    loader = DataLoader(_double, cache=False)
    return await one_after_another(loader.load)
