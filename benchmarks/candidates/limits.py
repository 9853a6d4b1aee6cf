"""A full queue, merging, and a rate limit: each with flushq, and by hand as the floor."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from time import process_time

from benchmarks.candidates import scenarios
from benchmarks.candidates.scenarios import TIGHT, TRICKLE, Count, Sink, produce, produce_slowly
from flushq import FlushQueue, NaturalPolicy
from flushq.throttles import RateLimit

Update = tuple[int, int]
"""A key, and its new value."""

ROOM = 1_000
KEYS = 100
CALLS, SECONDS = len(TRICKLE), 1.0
"""A rate limit that delays no call: it allows as many calls as there are items."""

KEY = itemgetter(0)
UPDATES = [(number % KEYS, number) for number in TIGHT]


# While a flush runs, the queue is full: each new item displaces the oldest waiting item.


async def dropping() -> float:
    """Measure a producer whose items displace the oldest waiting ones; return seconds per item."""
    sink, go_on = Count(), asyncio.Event()

    async def deliver(batch: Sequence[object]) -> None:
        await go_on.wait()
        await sink.deliver(batch)

    queue: FlushQueue[object] = FlushQueue(
        deliver, NaturalPolicy(), max_queue_size=ROOM, when_full="drop_oldest"
    )
    async with queue:
        await queue.enqueue("the item of the running flush")
        await asyncio.sleep(0)
        await produce(queue.enqueue, range(ROOM))
        began = process_time()
        await produce(queue.enqueue)
        seconds = process_time() - began
        _check_displaced(queue.stats().displaced)
        go_on.set()
    sink.check(1 + ROOM)
    return seconds / len(TIGHT)


async def dropping_by_hand() -> float:
    """Measure the work of dropping() with a deque and a counter; return seconds per item."""
    waiting: deque[object] = deque(range(ROOM), maxlen=ROOM)
    displaced = 0

    async def append(item: object) -> None:
        nonlocal displaced
        displaced += len(waiting) == ROOM
        waiting.append(item)

    began = process_time()
    await produce(append)
    seconds = process_time() - began
    _check_displaced(displaced)
    return seconds / len(TIGHT)


def _check_displaced(count: int) -> None:
    if count != len(TIGHT):
        raise AssertionError(f"{count} items were displaced, not {len(TIGHT)}")


# Of several updates of a key, the last one stays.


async def merging() -> float:
    """Measure a producer that updates 100 keys in a tight loop; return seconds per update."""
    stored: dict[int, int] = {}

    async def store(batch: Sequence[Update]) -> None:
        stored.update(batch)

    queue: FlushQueue[Update] = FlushQueue(
        store, NaturalPolicy(), dedupe_key=KEY, merge=lambda waiting, new: new
    )
    async with queue:
        began = process_time()
        await produce(queue.enqueue, UPDATES)
    seconds = process_time() - began
    _check_last(stored)
    return seconds / len(UPDATES)


async def merging_by_hand() -> float:
    """Measure the work of merging() with a dict; return seconds per update."""
    waiting: dict[int, Update] = {}

    async def put(update: Update) -> None:
        waiting[KEY(update)] = update

    began = process_time()
    await produce(put, UPDATES)
    seconds = process_time() - began
    _check_last(dict(waiting.values()))
    return seconds / len(UPDATES)


def _check_last(stored: dict[int, int]) -> None:
    if stored != dict(UPDATES):
        raise AssertionError("the stored values must be the last updates of the keys")


# The rate limit counts the calls, but never makes a call wait.


def _throttled(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, NaturalPolicy(), throttle=RateLimit(CALLS, SECONDS))


throttled = partial(scenarios.trickle, _throttled)


async def throttled_by_hand() -> float:
    """Measure the work of throttled() with a deque of start times; return seconds per item."""
    clock = asyncio.get_running_loop().time
    sink, starts = Count(), deque[float]()

    async def call(item: object) -> None:
        now = clock()
        while starts and starts[0] + SECONDS <= now:
            starts.popleft()
        if len(starts) == CALLS:
            raise AssertionError("no call must reach the rate limit")
        starts.append(now)
        await sink.deliver([item])

    began = process_time()
    await produce_slowly(call)
    seconds = process_time() - began
    sink.check(len(TRICKLE))
    return seconds / len(TRICKLE)
