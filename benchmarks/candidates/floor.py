"""What must be paid in any case.

By any `await queue.enqueue(item)`: a coroutine that appends to a list. By callers that wait for an
answer of their own: a future each, and somebody who sets them all.
"""

import asyncio
from time import process_time

from benchmarks.candidates.scenarios import TIGHT, TRICKLE, callers, produce, produce_slowly


async def tight() -> float:
    """A tight producer: seconds an item."""
    items: list[object] = []

    async def append(item: object) -> None:
        items.append(item)

    began = process_time()
    await produce(append)
    return (process_time() - began) / len(TIGHT)


async def trickle() -> float:
    """One item a turn of the loop: seconds an item."""
    items: list[object] = []

    async def append(item: object) -> None:
        items.append(item)

    began = process_time()
    await produce_slowly(append)
    return (process_time() - began) / len(TRICKLE)


async def answered() -> float:
    """Each caller waits for its own future: seconds a caller."""
    loop = asyncio.get_running_loop()
    waiting: list[tuple[asyncio.Future[int], int]] = []

    def answer() -> None:
        for future, number in waiting:
            future.set_result(2 * number)

    def ask(number: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        waiting.append((future, number))
        return future

    loop.call_soon(loop.call_soon, answer)  # once all have asked
    return await callers(ask, lambda number: 2 * number)
