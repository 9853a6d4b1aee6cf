"""What only this flushq does."""

import asyncio
import math
import tracemalloc
from functools import partial
from time import process_time

import attrs

from benchmarks.candidates import scenarios
from benchmarks.candidates.scenarios import Count, Sink
from flushq import Decision, Flush, FlushPolicy, FlushQueue, IntervalPolicy, NaturalPolicy, Wait
from flushq.simulation import simulate

WAITING = 1_000_000
ARRIVALS = 1_000_000


@attrs.define
class EchoPolicy(FlushPolicy):
    """The policy of the README that learns: written as any user would."""

    gain: float = 0.2
    seconds: float = attrs.field(default=0.0, init=False)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Learn how long a flush takes."""
        self.seconds += self.gain * (seconds - self.seconds)
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Let items gather for about as long as one flush takes."""
        due = self.queue.oldest + self.seconds
        return Flush("echo") if due <= now else Wait(due)


def _echo(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, EchoPolicy())


def _weighed(sink: Sink) -> FlushQueue[bytes]:
    return FlushQueue(sink, NaturalPolicy(max_weight=65_536), weigh=len)


tight_echo = partial(scenarios.tight, _echo)
weighed = partial(scenarios.tight, _weighed, [b"x" * 100] * len(scenarios.TIGHT))


async def _backlog(items: int) -> float:
    """Drain what was enqueued before the start: seconds an item."""
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
    """What a waiting item costs beyond itself: bytes, of a million that came in bursts."""
    policy = IntervalPolicy(math.inf)
    queue: FlushQueue[str] = FlushQueue(Count().deliver, policy, max_queue_size=2 * WAITING)
    async with queue:
        await asyncio.sleep(0)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(WAITING):
            await queue.enqueue("an item that was there before")
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return (after - before) / WAITING


async def simulated() -> float:
    """A million arrivals in virtual time, at 1,024 a second: seconds an arrival."""
    arrivals = [number / 1024 for number in range(ARRIVALS)]
    began = process_time()
    trace = simulate(IntervalPolicy(2.0, 500), arrivals, 0.125)
    seconds = process_time() - began
    if sum(flush.size for flush in trace.flushes) != ARRIVALS:
        raise AssertionError("a simulated item got lost")
    return seconds / ARRIVALS
