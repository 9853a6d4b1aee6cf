"""The work of producers, from the first item until all items are delivered.

Nothing here waits for a disk or a network. So processor time is measured: it does not count the
time that other programs on the machine take.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from time import process_time
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Enqueue = Callable[[Any], Awaitable[object]]
Sink = Callable[[list[Any]], Awaitable[None]]

TIGHT = range(100_000)
TRICKLE = range(20_000)
SERIAL = 5_000


class Queue(Protocol):
    """The part of a queue that producers use."""

    async def enqueue(self, item: Any, /) -> object:
        """Accept an item."""


QueueOf = Callable[[Sink], AbstractAsyncContextManager[Queue]]


class Count:
    """A sink that does nothing but count."""

    def __init__(self) -> None:
        self.items = 0

    async def deliver(self, batch: Sequence[object]) -> None:
        """Count the items of a batch."""
        self.items += len(batch)

    def check(self, expected: int) -> None:
        """Raise AssertionError if items were lost: a candidate that loses items would look fast."""
        if self.items != expected:
            raise AssertionError(f"{self.items} items were delivered, not {expected}")


async def tight(queue_of: QueueOf, items: Sequence[object] = TIGHT) -> float:
    """Measure one producer in a tight loop; return seconds per item."""
    sink = Count()
    async with queue_of(sink.deliver) as queue:
        began = process_time()
        await produce(queue.enqueue, items)
    seconds = process_time() - began
    sink.check(len(items))
    return seconds / len(items)


async def equal(queue_of: QueueOf) -> float:
    """Measure one producer that enqueues equal items in a tight loop; return seconds per item."""
    sink = Count()
    async with queue_of(sink.deliver) as queue:
        began = process_time()
        await produce(queue.enqueue, [0] * len(TIGHT))
    return (process_time() - began) / len(TIGHT)


async def trickle(queue_of: QueueOf) -> float:
    """Measure a producer that lets the event loop run after each item; return seconds per item."""
    sink = Count()
    async with queue_of(sink.deliver) as queue:
        began = process_time()
        await produce_slowly(queue.enqueue)
    seconds = process_time() - began
    sink.check(len(TRICKLE))
    return seconds / len(TRICKLE)


async def blocked(queue_of: QueueOf, producers: int) -> float:
    """Measure many producers at the same time, with one item each; return seconds per producer."""
    sink = Count()
    async with queue_of(sink.deliver) as queue:
        began = process_time()
        await asyncio.gather(*map(queue.enqueue, range(producers)))
    seconds = process_time() - began
    sink.check(producers)
    return seconds / producers


async def one_after_another(ask: Callable[[int], Awaitable[object]]) -> float:
    """Measure a caller that waits for an answer before it asks again; return seconds per answer."""
    for key in range(100):
        await ask(key)
    began = process_time()
    for key in range(SERIAL):
        await ask(key)
    return (process_time() - began) / SERIAL


async def callers(call: Callable[[int], Awaitable[T]], expected: Callable[[int], T]) -> float:
    """Measure a thousand callers that each wait for their own answer; return seconds per caller."""

    async def ask(number: int) -> T:
        return await call(number)

    began = process_time()
    answers = await asyncio.gather(*map(ask, range(1000)))
    seconds = process_time() - began
    if answers != [expected(number) for number in range(1000)]:
        raise AssertionError("a caller got the answer of another caller")
    return seconds / 1000


async def produce(enqueue: Enqueue, items: Iterable[object] = TIGHT) -> None:
    """Enqueue the items one after the other."""
    for item in items:
        await enqueue(item)


async def produce_slowly(enqueue: Enqueue) -> None:
    """Enqueue one item per turn of the event loop."""
    for item in TRICKLE:
        await enqueue(item)
        await asyncio.sleep(0)
