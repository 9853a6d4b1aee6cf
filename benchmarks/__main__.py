"""``python -m benchmarks``: the price of ``await queue.enqueue(item)`` beside the floor.

The floor is what any such call must pay: a coroutine that appends to a list. Candidates and floor
take turns, round by round, so that a machine whose speed drifts slows down all of them alike. Only
the producer's loop is timed; the sink does nothing.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from flushq import FlushPolicy, FlushQueue, IntervalPolicy, NaturalPolicy

ITEMS = 200_000
ROUNDS = 15

Candidate = Callable[[], Awaitable[float]]


async def _ignore(batch: list[int]) -> None:
    pass


async def _produce(enqueue: Callable[[int], Awaitable[None]]) -> float:
    began = time.perf_counter()
    for item in range(ITEMS):
        await enqueue(item)
    return (time.perf_counter() - began) / ITEMS


async def _floor() -> float:
    items: list[int] = []

    async def append(item: int) -> None:
        items.append(item)

    return await _produce(append)


def _queue(policy: FlushPolicy) -> Candidate:
    async def candidate() -> float:
        async with FlushQueue(_ignore, policy) as queue:
            return await _produce(queue.enqueue)

    return candidate


CANDIDATES: dict[str, Candidate] = {
    "floor: a coroutine that appends to a list": _floor,
    "Interval 2.0 s / 500, one tight producer": _queue(IntervalPolicy(2.0, 500)),
    "Natural, one tight producer": _queue(NaturalPolicy()),
}


async def _measure() -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for _ in range(ROUNDS):
        for name, candidate in CANDIDATES.items():
            seconds[name].append(await candidate())
    return seconds


def main() -> None:
    """Measure, and print one line a candidate."""
    medians = {name: statistics.median(runs) for name, runs in asyncio.run(_measure()).items()}
    floor = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:45} {median * 1e9:7.0f} ns an item {median / floor:6.2f}x the floor")


if __name__ == "__main__":
    main()
