"""Items of many tenants; each batch has items of one tenant only.

An item is a tuple, and its first field is its tenant. All tenants bring the same number of items,
one item of each tenant in turn. This is the hardest order, since each item of a burst is then an
event of its own for a policy. No queue is ever full, so only the policy makes a queue flush.
"""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from operator import itemgetter
from time import process_time

from benchmarks.candidates import scenarios
from benchmarks.candidates.memory import traced
from benchmarks.candidates.scenarios import TIGHT, Count, QueueOf, Sink, produce
from flushq import FlushPolicy, FlushQueue, IntervalPolicy, NaturalPolicy

Item = tuple[int, int]

TENANT = itemgetter(0)

ROOM = 1_000_000
KNOWN = 200_000
ONCE = 200_000
OPEN = 2_000

INTERVAL = IntervalPolicy(2.0, 500)
SLOW_INTERVAL = IntervalPolicy(3600.0, 500)
"""A policy that does the work of INTERVAL per item, but does not flush during a measurement."""


def items_of(tenants: int, count: int) -> list[Item]:
    """Return ``count`` items of ``tenants`` tenants, one item of each tenant in turn."""
    return [(number % tenants, number) for number in range(count)]


def whole(policy: FlushPolicy, sink: Sink) -> FlushQueue[Item]:
    """Return a queue without partitions."""
    return FlushQueue(sink, policy, max_queue_size=ROOM)


def partitioned(policy: FlushPolicy, sink: Sink) -> FlushQueue[Item]:
    """Return a queue with a partition for each tenant."""
    return FlushQueue(sink, policy, max_queue_size=ROOM, partition_key=TENANT)


async def _tight(queue_of: QueueOf, tenants: int, count: int = len(TIGHT)) -> float:
    """Measure a producer in a tight loop, including the drain; return seconds per item."""
    return await scenarios.tight(queue_of, items_of(tenants, count))


none = partial(_tight, partial(whole, INTERVAL), 1)
partitions_1 = partial(_tight, partial(partitioned, INTERVAL), 1)
partitions_10 = partial(_tight, partial(partitioned, INTERVAL), 10)
partitions_1_000 = partial(_tight, partial(partitioned, INTERVAL), 1_000)


async def _known(tenants: int) -> float:
    """Measure items of tenants that already have a waiting item; return seconds per item."""
    sink = Count()
    items = items_of(tenants, KNOWN)
    async with partitioned(SLOW_INTERVAL, sink.deliver) as queue:
        await produce(queue.enqueue, items_of(tenants, tenants))
        await asyncio.sleep(0)
        began = process_time()
        await produce(queue.enqueue, items)
        await asyncio.sleep(0)
        seconds = process_time() - began
        if sink.items:
            raise AssertionError("no flush must run during the measurement")
    sink.check(tenants + KNOWN)
    return seconds / KNOWN


known_1_000 = partial(_known, 1_000)
known_100_000 = partial(_known, 100_000)

seen_once = partial(_tight, partial(partitioned, NaturalPolicy()), ONCE, ONCE)
one_a_flush = partial(_tight, partial(whole, NaturalPolicy(max_records=1)), 1, ONCE)


async def memory() -> float:
    """Return the bytes of an open partition, without the one item that waits in it."""
    first, *items = items_of(OPEN + 1, OPEN + 1)
    async with partitioned(SLOW_INTERVAL, Count().deliver) as queue:
        await queue.enqueue(first)
        await asyncio.sleep(0)
        with traced() as growth:
            await produce(queue.enqueue, items)
            await asyncio.sleep(0)
            return growth() / OPEN


async def memory_of_queues() -> float:
    """Return the bytes of a queue for one tenant, without the one item that waits in it."""
    first, *items = items_of(OPEN + 1, OPEN + 1)

    async def wait(item: Item) -> None:
        queue = await stack.enter_async_context(whole(SLOW_INTERVAL, Count().deliver))
        await queue.enqueue(item)

    async with AsyncExitStack() as stack:
        await wait(first)
        await asyncio.sleep(0)
        with traced() as growth:
            await produce(wait, items)
            await asyncio.sleep(0)
            return growth() / OPEN
