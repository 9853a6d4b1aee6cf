"""aiodataloader: it puts all keys of one turn of the event loop into a batch."""

from aiodataloader import DataLoader

from benchmarks.candidates.scenarios import callers, one_after_another


async def _double(keys: list[int]) -> list[int]:
    return [2 * key for key in keys]


async def load() -> float:
    """Measure callers that each ask for the value of one key; return seconds per caller."""
    loader = DataLoader(_double, max_batch_size=1000, cache=False)
    return await callers(loader.load, lambda key: 2 * key)


async def load_serially() -> float:
    """Measure one caller that asks for one key after another; return seconds per answer."""
    loader = DataLoader(_double, cache=False)
    return await one_after_another(loader.load)
