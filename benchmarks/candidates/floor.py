"""The floor: the cost that no queue can avoid.

For `await queue.enqueue(item)` the floor is a coroutine that appends to a list. For callers that
each wait for their own answer, the floor is a future per caller, and a callback that sets all these
futures.
"""

import asyncio
from time import process_time

from benchmarks.candidates.scenarios import TIGHT, TRICKLE, callers, produce, produce_slowly


async def tight() -> float:
    """Measure a producer in a tight loop; return seconds per item."""
    items: list[object] = []

    async def append(item: object) -> None:
        items.append(item)

    began = process_time()
    await produce(append)
    return (process_time() - began) / len(TIGHT)


async def trickle() -> float:
    """Measure a producer that lets the event loop run after each item; return seconds per item."""
    items: list[object] = []

    async def append(item: object) -> None:
        items.append(item)

    began = process_time()
    await produce_slowly(append)
    return (process_time() - began) / len(TRICKLE)


async def answered() -> float:
    """Measure callers that each wait for their own future; return seconds per caller."""
    loop = asyncio.get_running_loop()
    waiting: list[tuple[asyncio.Future[int], int]] = []

    def answer() -> None:
        for future, number in waiting:
            future.set_result(2 * number)

    def ask(number: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        waiting.append((future, number))
        return future

    loop.call_soon(loop.call_soon, answer)  # after all callers have asked
    return await callers(ask, lambda number: 2 * number)
