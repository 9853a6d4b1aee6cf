"""Point 8: a producer that never suspends by itself lets the loop run every 256 items."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from itertools import pairwise
from types import FrameType
from typing import Any

import attrs
import pytest

from flushq import FlushQueue, IntervalPolicy, NaturalPolicy, QueueFull
from tests.contract.support import HeldSink, Sink, enqueue_all, patient, produce, settle, steps

LIMIT = 256


@attrs.define(eq=False)
class Watched:
    """Tight producers, and the most items that each had accepted in one iteration of the loop."""

    queue: FlushQueue[int]
    most: dict[int, int] = attrs.field(factory=dict)
    total: dict[int, int] = attrs.field(factory=dict)
    _since: dict[int, int] = attrs.field(factory=dict)

    async def run(self, *sources: Iterable[int]) -> None:
        """Run one tight producer for each source, until all have ended."""
        beat = asyncio.create_task(self._beat())
        await steps(1)
        try:
            await asyncio.gather(*map(self._produce, range(len(sources)), sources))
        finally:
            beat.cancel()

    async def _produce(self, name: int, source: Iterable[int]) -> None:
        for item in source:
            await self.queue.enqueue(item)
            self.total[name] = self.total.get(name, 0) + 1
            self._since[name] = self._since.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self._since[name])

    async def _beat(self) -> None:
        while True:
            self._since.clear()
            await asyncio.sleep(0)


async def test_a_tight_producer_lets_the_loop_run() -> None:
    """At most 256 items are accepted from one producer between two iterations of the loop."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        watched = Watched(queue)
        await watched.run(range(5000))
    assert {0: LIMIT} == watched.most
    assert list(range(5000)) == sink.items


async def test_in_debug_mode_too() -> None:
    """In asyncio's debug mode, without the fast path, the loop runs as often."""
    asyncio.get_running_loop().set_debug(enabled=True)
    async with FlushQueue(Sink[int](), patient()) as queue:
        watched = Watched(queue)
        await watched.run(range(2000))
    assert {0: LIMIT} == watched.most


async def test_duplicates_count() -> None:
    """A producer of nothing but duplicates lets the loop run every 256 items."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), dedupe_key=lambda _: "same") as queue:
        watched = Watched(queue)
        await watched.run(range(5000))
    assert LIMIT >= watched.most[0]
    assert [[0]] == sink.batches


async def test_duplicates_in_a_full_queue_count() -> None:
    """Duplicates need no room, but the loop runs between them all the same."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), dedupe_key=bool, max_queue_size=1) as queue:
        await queue.enqueue(1)
        watched = Watched(queue)
        await watched.run(range(1, 2000))
    assert LIMIT >= watched.most[0]
    assert [[1]] == sink.batches


@pytest.mark.parametrize("repeats", [2, 3, 255, 256, 257])
async def test_duplicates_and_new_items_are_counted_together(repeats: int) -> None:
    """However duplicates and others are mixed, the loop runs at least every 256 items."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), dedupe_key=lambda item: item // repeats) as queue:
        watched = Watched(queue)
        await watched.run(range(3000))
    assert LIMIT >= watched.most[0]
    assert list(range(0, 3000, repeats)) == sink.items


async def test_several_tight_producers_let_the_loop_run_and_all_go_on() -> None:
    """None of several tight producers keeps the others from having items accepted."""
    sink = Sink[int]()
    sources = [range(start, start + 2000) for start in range(0, 10_000, 2000)]
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        watched = Watched(queue)
        running = asyncio.create_task(watched.run(*sources))
        await steps(20)
        assert [True] * 5 == [watched.total.get(name, 0) >= 10 for name in range(5)]
        await running
    assert LIMIT >= max(watched.most.values())
    assert [2000] * 5 == [watched.total[name] for name in range(5)]
    for source in sources:
        assert list(source) == [item for item in sink.items if item in source]


async def test_several_tight_producers_of_duplicates() -> None:
    """Duplicates of several tight producers starve neither the loop nor each other."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), dedupe_key=lambda item: item % 3) as queue:
        watched = Watched(queue)
        await watched.run(*[range(1500)] * 4)
    assert LIMIT >= max(watched.most.values())
    assert [1500] * 4 == [watched.total[name] for name in range(4)]


async def test_several_tight_producers_of_a_small_queue() -> None:
    """Tight producers that wait for room are served in turn."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), max_queue_size=3) as queue:
        watched = Watched(queue)
        running = asyncio.create_task(watched.run(range(200), range(200, 400), range(400, 600)))
        await steps(100)
        progress = sorted(watched.total.values())
        assert 3 == len(progress)
        assert progress[-1] - progress[0] <= 3
        await running
    assert list(range(600)) == sorted(sink.items)


async def test_before_the_start() -> None:
    """The loop runs between items that are enqueued before the queue has started."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())
    watched = Watched(queue)
    await watched.run(range(2000))
    assert LIMIT == watched.most[0]
    await queue.aclose()
    assert list(range(2000)) == sink.items


async def test_with_keys_and_weights() -> None:
    """Items that are measured one by one let the loop run as often as others."""
    sink = Sink[int]()
    policy = IntervalPolicy(1.0, max_weight=100)
    async with FlushQueue(
        sink, policy, dedupe_key=lambda item: item, weigh=lambda item: item % 5
    ) as queue:
        watched = Watched(queue)
        await watched.run(range(2000))
    assert LIMIT >= watched.most[0]
    assert list(range(2000)) == sink.items


async def test_a_tight_producer_after_a_burst_without_waiting() -> None:
    """After any number of enqueue_nowait calls the next enqueue lets the loop run."""
    sink = Sink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        for item in range(5000):
            queue.enqueue_nowait(item)
        assert [] == sink.batches
        await queue.enqueue(5000)
        await settle()
        assert list(range(5001)) == sink.items


async def test_a_tight_producer_inside_the_sink() -> None:
    """flush_fn that enqueues to its own queue without suspending lets the loop run too."""
    seen: list[int] = []

    async def sink(batch: list[int]) -> None:
        seen.extend(batch)
        if 0 in batch:
            await watched.run(range(1, 1500))

    async with FlushQueue(sink, NaturalPolicy()) as queue:
        watched = Watched(queue)
        await queue.enqueue(0)
    assert LIMIT >= watched.most[0]
    assert list(range(1500)) == seen


async def test_a_sink_that_never_suspends_lets_the_loop_run() -> None:
    """A synchronous sink behind a cap of one does not hold the loop until all is drained."""
    sink = Sink[int]()
    seen: list[int] = []

    async def watch() -> None:
        while len(sink.batches) < 1000:
            seen.append(len(sink.batches))
            await asyncio.sleep(0)

    async with FlushQueue(sink, NaturalPolicy(max_records=1), max_in_flight=2) as queue:
        for item in range(1000):
            queue.enqueue_nowait(item)
        watching = asyncio.create_task(watch())
    await watching
    assert 2 >= max(later - earlier for earlier, later in pairwise(seen))


async def test_a_pause_keeps_the_room_there_was() -> None:
    """The last free place is that of the producer that pauses, and not of who comes meanwhile."""
    sink = HeldSink[int]()
    refused: list[BaseException] = []

    async def later() -> None:
        await may_come.wait()
        with pytest.raises(QueueFull) as caught:
            queue.enqueue_nowait(999)
        refused.append(caught.value)
        await queue.enqueue(999)

    may_come = asyncio.Event()
    async with FlushQueue(sink, patient(), max_queue_size=257) as queue:
        waiting = asyncio.create_task(later())
        await steps(1)
        await enqueue_all(queue, range(255))
        may_come.set()
        await enqueue_all(queue, range(255, 257))
        sink.open()
        await waiting
    assert 1 == len(refused)
    assert [*range(257), 999] == sink.items


@pytest.mark.not_in("eager", reason="counts the steps of a task that begins in the next one")
async def test_a_producer_cancelled_in_its_pause_gives_up_its_room() -> None:
    """A cancelled pause accepts nothing and claims nothing any more."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), max_queue_size=257) as queue:
        producer = produce(queue, *range(257))
        await steps(1)
        producer.cancel()
        await settle()
        assert 256 == queue.pending
        queue.enqueue_nowait(256)
    assert list(range(257)) == sink.items


async def test_room_that_a_pause_gives_up_is_the_next_producers() -> None:
    """A producer in line is let in when one that paused, and had the last place, goes away."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(), max_queue_size=258) as queue:
        await queue.enqueue(0)
        flushing = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, range(1, 257))
        queue.enqueue_nowait(257)
        pausing = queue.enqueue(-1)
        pausing.send(None)
        waiting = produce(queue, 258)
        await settle()
        assert not waiting.done()
        pausing.close()
        await settle()
        assert waiting.done()
        sink.open()
        await flushing
    assert list(range(259)) == sink.items


@pytest.mark.not_in("eager", reason="an eager producer comes before the burst, and need not pause")
async def test_two_that_pause_have_a_claim_each() -> None:
    """Whoever comes while two producers pause does not take the room of either."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(), max_queue_size=LIMIT + 2) as queue:
        await steps(2)
        pausing = [produce(queue, LIMIT), produce(queue, LIMIT + 1)]
        late = asyncio.create_task(_refused(queue))
        for number in range(LIMIT):
            queue.enqueue_nowait(number)
        assert await late
        await asyncio.gather(*pausing)
        assert LIMIT + 2 == queue.pending
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(-1)
        sink.open()


async def _refused(queue: FlushQueue[int]) -> bool:
    try:
        queue.enqueue_nowait(-1)
    except QueueFull:
        return True
    return False


async def test_a_duplicate_that_pauses_claims_no_room() -> None:
    """The last free place is not that of a duplicate, which needs none."""
    async with FlushQueue(
        Sink[int](), patient(), dedupe_key=lambda item: item, max_queue_size=LIMIT + 1
    ) as queue:
        for number in range(LIMIT):
            queue.enqueue_nowait(number)
        pausing = queue.enqueue(0)
        pausing.send(None)
        queue.enqueue_nowait(LIMIT)
        with pytest.raises(StopIteration):
            pausing.send(None)
        assert (LIMIT + 1, 1) == (queue.pending, queue.stats().duplicates)


@pytest.mark.not_in("eager", reason="an eager producer comes before the burst, and need not pause")
async def test_a_duplicate_that_is_none_after_its_pause_needs_room_like_others() -> None:
    """Its key has left with a batch meanwhile: it waits in line if the queue is full again."""
    sink = HeldSink[int]()
    async with FlushQueue(
        sink, NaturalPolicy(), dedupe_key=lambda item: item, max_queue_size=LIMIT
    ) as queue:
        await steps(2)
        pausing = produce(queue, 0)
        _fill(queue, range(LIMIT))
        asyncio.get_running_loop().call_soon(_fill, queue, range(LIMIT, 2 * LIMIT))
        await settle()
        assert (LIMIT, 1) == (queue.pending, queue.stats().waiting)
        sink.open()
        await pausing
    assert [*range(2 * LIMIT), 0] == sink.items


def _fill(queue: FlushQueue[int], items: Iterable[int]) -> None:
    for item in items:
        queue.enqueue_nowait(item)


@pytest.mark.not_in("debug", reason="asyncio's debug mode has no fast path")
@pytest.mark.parametrize("count", [2, 100, LIMIT])
async def test_the_fast_path_calls_nothing(count: int) -> None:
    """After the first item of a burst, an item costs the call of enqueue itself and no other."""
    async with FlushQueue(Sink[int](), patient()) as queue:
        await steps(2)
        await queue.enqueue(0)
        calls = _calls_of_flushq(enqueue_all(queue, range(1, count)))
        assert count - 1 == calls
        await steps(2)
        queue.enqueue_nowait(0)
        calls = _calls_of_flushq(_enqueue_nowait(queue, range(1, count)))
        assert count - 1 == calls


async def _enqueue_nowait(queue: FlushQueue[int], items: Iterable[int]) -> None:
    for item in items:
        queue.enqueue_nowait(item)


def _calls_of_flushq(work: Coroutine[Any, Any, None]) -> int:
    """Do what does not suspend, and count the calls of functions of flushq."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_globals["__name__"].startswith("flushq")

    sys.setprofile(count)
    try:
        with pytest.raises(StopIteration):
            work.send(None)
    finally:
        sys.setprofile(None)
    return calls
