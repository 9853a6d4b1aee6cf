"""Features and costs of this flushq that are not compared with other packages."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import process_time

import attrs

from benchmarks.candidates import scenarios
from benchmarks.candidates.memory import traced
from benchmarks.candidates.scenarios import Count, Sink
from flushq import (
    Decision,
    Flush,
    FlushPolicy,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    ShutdownTimeout,
    Wait,
)
from flushq.simulation import simulate

WAITING = 1_000_000
ARRIVALS = 1_000_000
NEW = 2_000


@attrs.define
class EchoPolicy(FlushPolicy):
    """The EchoPolicy of flushq/policies/README.rst: it learns how long a flush takes."""

    gain: float = 0.2
    seconds: float = attrs.field(default=0.0, init=False)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Learn how long a flush takes."""
        self.seconds += self.gain * (seconds - self.seconds)
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush when the oldest item has waited about as long as one flush takes."""
        due = self.queue.oldest + self.seconds
        return Flush("echo") if due <= now else Wait(due)


def _echo(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, EchoPolicy())


def _weighed(sink: Sink) -> FlushQueue[bytes]:
    return FlushQueue(sink, NaturalPolicy(max_weight=65_536), weigh=len)


tight_echo = partial(scenarios.tight, _echo)
weighed = partial(scenarios.tight, _weighed, [b"x" * 100] * len(scenarios.TIGHT))


async def _backlog(items: int) -> float:
    """Drain items that were enqueued before the queue started; return seconds per item."""
    sink = Count()
    policy = NaturalPolicy(max_records=500)
    queue: FlushQueue[int] = FlushQueue(sink.deliver, policy, max_queue_size=items)
    for item in range(items):
        await queue.enqueue(item)
    began = process_time()
    async with queue:
        pass
    seconds = process_time() - began
    sink.check(items)
    return seconds / items


backlog_1_000 = partial(_backlog, 1_000)
backlog_10_000 = partial(_backlog, 10_000)
backlog_100_000 = partial(_backlog, 100_000)
backlog_1_000_000 = partial(_backlog, 1_000_000)


async def memory() -> float:
    """Return the bytes that each of a million waiting items takes, without the item itself."""
    policy = IntervalPolicy(math.inf)
    queue: FlushQueue[str] = FlushQueue(Count().deliver, policy, max_queue_size=2 * WAITING)
    async with queue:
        await asyncio.sleep(0)
        with traced() as growth:
            for _ in range(WAITING):
                await queue.enqueue("an item that was there before")
            taken = growth()
    return taken / WAITING


async def nowait() -> float:
    """Measure calls of enqueue_nowait, with no flush between them; return seconds per item."""
    sink = Count()
    items = len(scenarios.TIGHT)
    queue: FlushQueue[object] = FlushQueue(sink.deliver, NaturalPolicy(), max_queue_size=items)
    async with queue:
        began = process_time()
        for item in scenarios.TIGHT:
            queue.enqueue_nowait(item)
        seconds = process_time() - began
    sink.check(items)
    return seconds / items


def _new_queue() -> FlushQueue[object]:
    return FlushQueue(Count().deliver, NaturalPolicy())


async def _make(make: Callable[[], object]) -> float:
    """Return the seconds that it takes to make a queue."""
    began = process_time()
    for _ in range(NEW):
        make()
    return (process_time() - began) / NEW


new_queue = partial(_make, _new_queue)
new_asyncio_queue = partial(_make, asyncio.Queue)


async def memory_of_a_queue() -> float:
    """Return the bytes of a new queue that was never used."""
    queues = [_new_queue()]
    with traced() as growth:
        queues += [_new_queue() for _ in range(NEW)]
        return growth() / NEW


async def _lose(flushes: int) -> float:
    """Close a queue at once while flushes of 100 items run; return seconds per flush."""
    policy = IntervalPolicy(math.inf, max_records=100)
    items = 100 * flushes
    queue: FlushQueue[int] = FlushQueue(
        lambda _: asyncio.sleep(1000),
        policy,
        max_queue_size=items,
        max_in_flight=flushes,
        max_shutdown_wait=0,
    )
    await queue.__aenter__()
    for item in range(items):
        await queue.enqueue(item)
    await asyncio.sleep(0.01)
    began = process_time()
    with suppress(ShutdownTimeout):
        await queue.aclose()
    seconds = process_time() - began
    if len(queue.in_doubt) != items:
        raise AssertionError(f"{len(queue.in_doubt)} items are in doubt, not {items}")
    return seconds / flushes


lose_200 = partial(_lose, 200)
lose_1_600 = partial(_lose, 1_600)


async def simulated() -> float:
    """Simulate a million arrivals, 1,024 per second of virtual time; return seconds per arrival."""
    arrivals = [number / 1024 for number in range(ARRIVALS)]
    began = process_time()
    trace = simulate(IntervalPolicy(2.0, 500), arrivals, 0.125)
    seconds = process_time() - began
    if sum(flush.size for flush in trace.flushes) != ARRIVALS:
        raise AssertionError("a simulated item was lost")
    return seconds / ARRIVALS
