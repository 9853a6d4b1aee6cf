"""Point 8: a producer that never suspends by itself lets the loop run every 512 items."""

import asyncio
import gc
import sys
from collections.abc import Coroutine, Iterable
from itertools import pairwise
from types import FrameType
from typing import Any

import attrs
import pytest

from flushq import FlushQueue, NaturalPolicy, QueueFull
from tests.contract.support import HeldSink, Sink, enqueue_all, patient, produce, settle, steps

LIMIT = 512


@attrs.define(eq=False)
class Watched:
    """Producers that never suspend, and the most items of each in one iteration of the loop."""

    queue: FlushQueue[int]
    most: dict[int, int] = attrs.field(factory=dict)
    total: dict[int, int] = attrs.field(factory=dict)
    _since: dict[int, int] = attrs.field(factory=dict)

    async def run(self, *sources: Iterable[int]) -> None:
        """Run one producer for each source, until all have ended."""
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


@pytest.mark.parametrize("debug", [False, True])
async def test_a_tight_producer_lets_the_loop_run(*, debug: bool) -> None:
    """In one iteration of the loop exactly one burst is accepted, with the fast path or without."""
    asyncio.get_running_loop().set_debug(debug)
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        watched = Watched(queue)
        await watched.run(range(2000))
    assert {0: LIMIT} == watched.most
    assert list(range(2000)) == sink.items


@pytest.mark.parametrize("producers", [1, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_queue_size": 3},
        {"weigh": lambda item: item % 5},
        {"dedupe_key": lambda _: "same"},
        {"dedupe_key": lambda _: "same", "max_queue_size": 1},
        *({"dedupe_key": lambda item, n=n: item // n} for n in (2, LIMIT - 1, LIMIT, LIMIT + 1)),
    ],
)
async def test_whatever_is_enqueued_the_loop_runs(options: dict[str, Any], producers: int) -> None:
    """Duplicates and weighed items count like others, also with several producers."""
    async with FlushQueue(Sink[int](), patient(), **options) as queue:
        watched = Watched(queue)
        await watched.run(*[range(3 * LIMIT)] * producers)
    assert LIMIT >= max(watched.most.values())
    assert [3 * LIMIT] * producers == [watched.total[name] for name in range(producers)]


async def test_several_tight_producers_of_a_small_queue() -> None:
    """Producers that never suspend and wait for room are served in turn."""
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
    queue = FlushQueue(Sink[int](), patient())
    watched = Watched(queue)
    await watched.run(range(2000))
    assert LIMIT == watched.most[0]
    await queue.aclose()


async def test_a_tight_producer_after_a_burst_without_waiting() -> None:
    """After any number of enqueue_nowait calls the next enqueue lets the loop run."""
    sink = Sink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        accept(queue, range(5000))
        assert [] == sink.batches
        await queue.enqueue(5000)
        await settle()
        assert list(range(5001)) == sink.items


async def test_a_sink_that_never_suspends_lets_the_loop_run() -> None:
    """The loop runs between the batches of a sink that never suspends, also in the drain."""
    sink = Sink[int]()
    seen: list[int] = []

    async def watch() -> None:
        while len(sink.batches) < 1000:
            seen.append(len(sink.batches))
            await asyncio.sleep(0)

    async with FlushQueue(sink, NaturalPolicy(max_records=1), max_in_flight=2) as queue:
        accept(queue, range(1000))
        watching = asyncio.create_task(watch())
    await watching
    assert 2 >= max(later - earlier for earlier, later in pairwise(seen))


def accept(queue: FlushQueue[int], items: Iterable[int]) -> None:
    """Enqueue items without waiting."""
    for item in items:
        queue.enqueue_nowait(item)


def pause(queue: FlushQueue[int], item: int) -> Coroutine[Any, Any, None]:
    """Begin to enqueue an item after a burst; the producer then pauses."""
    pausing = queue.enqueue(item)
    pausing.send(None)
    return pausing


def go_on(pausing: Coroutine[Any, Any, None]) -> None:
    """Resume a producer that pauses; its item is accepted now."""
    with pytest.raises(StopIteration):
        pausing.send(None)


async def test_producers_that_pause_have_a_claim_each() -> None:
    """A later producer does not take the room of one that pauses."""
    async with FlushQueue(Sink[int](), patient(), max_queue_size=LIMIT + 2) as queue:
        accept(queue, range(LIMIT))
        first, second = pause(queue, LIMIT), pause(queue, LIMIT + 1)
        with pytest.raises(QueueFull, match=r"come before this item: 2$"):
            queue.enqueue_nowait(-1)
        go_on(first)
        go_on(second)
        assert LIMIT + 2 == queue.pending


async def test_room_that_a_pause_gives_up_is_the_next_producers() -> None:
    """If a paused producer that claims the last place is closed, the first in line gets it."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(), max_queue_size=LIMIT + 1) as queue:
        await queue.enqueue(-1)
        flushing = asyncio.create_task(queue.flush())
        await settle()
        accept(queue, range(LIMIT))
        pausing = pause(queue, -2)
        waiting = produce(queue, LIMIT)
        await settle()
        assert not waiting.done()
        pausing.close()
        await settle()
        assert waiting.done()
        sink.open()
        await flushing
    assert list(range(-1, LIMIT + 1)) == sink.items


@pytest.mark.not_in("eager", reason="an eager producer comes before the burst, and need not pause")
async def test_an_item_that_is_no_duplicate_after_its_pause_needs_room_like_others() -> None:
    """If the twin of an item leaves during the pause, the item waits for room like others."""
    sink = HeldSink[int]()
    async with FlushQueue(
        sink, NaturalPolicy(), dedupe_key=lambda item: item, max_queue_size=LIMIT
    ) as queue:
        await steps(2)
        pausing = produce(queue, 0)
        accept(queue, range(LIMIT))
        asyncio.get_running_loop().call_soon(accept, queue, range(LIMIT, 2 * LIMIT))
        await settle()
        assert (LIMIT, 1) == (queue.pending, queue.stats().waiting)
        sink.open()
        await pausing
    assert [*range(2 * LIMIT), 0] == sink.items


@pytest.mark.not_in("debug", reason="asyncio's debug mode has no fast path")
@pytest.mark.parametrize("count", [2, 100, LIMIT])
async def test_the_fast_path_calls_nothing(count: int) -> None:
    """After the first item of a burst, enqueue calls no other function of flushq."""
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
    accept(queue, items)


def _calls_of_flushq(work: Coroutine[Any, Any, None]) -> int:
    """Run a coroutine that does not suspend, and count the calls of functions of flushq."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_globals["__name__"].startswith("flushq")

    gc.disable()  # else a queue that another test has dropped may be finalized meanwhile
    sys.setprofile(count)
    try:
        with pytest.raises(StopIteration):
            work.send(None)
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls
