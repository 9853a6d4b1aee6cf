"""Point 21: the figures of ``stats()`` add up at every moment.

tests/core_sessions/judge.py checks this at every step of random sessions.
"""

import asyncio
import json

import attrs
import pytest

from flushq import FlushqError, FlushQueue, NaturalPolicy, PartialFailure, QueueStats
from tests.contract.hostile import error_of, own_loop
from tests.contract.support import HeldSink, Sink, enqueue_all, failing, patient, produce, settle
from tests.virtual import VirtualLoop


def test_a_new_queue() -> None:
    """All figures of a new queue are 0, with a loop or without one."""
    expected = QueueStats(0, 0, 0, 0, 0, 0, 0, 0, 0, {}, 0.0)
    assert expected == FlushQueue(Sink[int](), NaturalPolicy()).stats()


def test_stats_need_no_loop() -> None:
    """stats() works while the loop does not run, with items in the queue and after its end."""
    queue = FlushQueue(Sink[int](), NaturalPolicy(), max_shutdown_wait=0)

    async def leave() -> None:
        await enqueue_all(queue, [1, 2])
        await asyncio.sleep(2.0)

    with own_loop() as loop:
        loop.run_until_complete(leave())
        assert (2, 2.0) == (queue.stats().pending, queue.stats().oldest_age)
        loop.run_until_complete(error_of(queue.aclose()))
    stats = queue.stats()
    assert (2, 2, 0.0) == (stats.accepted, stats.undelivered, stats.oldest_age)


async def test_an_item_on_its_way() -> None:
    """An item is first pending, then in flight, then delivered, and always exactly one of these."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(2), max_in_flight=2) as queue:
        await enqueue_all(queue, range(5))
        stats = queue.stats()
        assert (5, 5, 0, 0) == (stats.accepted, stats.pending, stats.in_flight, stats.delivered)
        await settle()
        stats = queue.stats()
        assert (5, 1, 4, 0) == (stats.accepted, stats.pending, stats.in_flight, stats.delivered)
        sink.let_go()
        await settle()
        stats = queue.stats()
        assert (5, 0, 3, 2) == (stats.accepted, stats.pending, stats.in_flight, stats.delivered)
        sink.open()
    assert (5, 5) == (queue.stats().accepted, queue.stats().delivered)


async def test_the_account_adds_up_while_losses_are_listed() -> None:
    """The figures add up also inside lost_as, which is called for each lost item."""
    seen: list[tuple[int, int, int, int]] = []

    def lost_as(item: int) -> int:
        stats = queue.stats()
        seen.append((stats.accepted, stats.delivered, stats.in_doubt, stats.undelivered))
        return item

    sink = Sink[int](errors={0: PartialFailure({1: OSError()})})
    queue = FlushQueue(sink, NaturalPolicy(2), lost_as=lost_as)
    async with failing(queue):
        await enqueue_all(queue, range(5))
    assert [(5, 1, 1, 0), *[(5, 1, 1, 3)] * 3] == seen


async def test_what_is_refused_is_not_accepted() -> None:
    """Refused items and waiting producers do not count as accepted; ``waiting`` counts these."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient(1), max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        producer = produce(queue, 2)
        await settle()
        with pytest.raises(FlushqError):
            queue.enqueue_nowait(4)
        assert (2, 1) == (queue.stats().accepted, queue.stats().waiting)
        sink.open()
        await producer
        assert (3, 0) == (queue.stats().accepted, queue.stats().waiting)


async def test_flushes_are_counted_when_they_have_ended() -> None:
    """An ended flush is counted by its reason, whether it fails or not."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1))) as queue:
        await enqueue_all(queue, [1, 2])
        await settle()
        assert {} == queue.stats().flushes
        sink.let_go()
        await settle()
        assert {"natural": 1} == queue.stats().flushes
        sink.fail(OSError("sink"))
        await settle()
        assert {"natural": 2} == queue.stats().flushes


async def test_stats_are_a_snapshot() -> None:
    """Stats do not change with the queue, nor the queue with them, and can be dumped as JSON."""
    async with FlushQueue(Sink[int](), NaturalPolicy()) as queue:
        await queue.enqueue(1)
        await queue.flush()
        stats = queue.stats()
        await queue.enqueue(2)
        await queue.flush()
    assert (1, 1, {"flush": 1}) == (stats.accepted, stats.delivered, stats.flushes)
    stats.flushes["flush"] = 7  # type: ignore[index]  # the caller may change its own snapshot
    assert {"flush": 2} == queue.stats().flushes
    assert 7 == json.loads(json.dumps(attrs.asdict(stats)))["flushes"]["flush"]


async def test_the_age_counts_from_the_arrival() -> None:
    """oldest_age is the age of the oldest waiting item, or 0 if none waits.

    Items count even if the policy was not told of them yet; items in flight do not count.
    """
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2)) as queue:
        await asyncio.sleep(5.0)
        await queue.enqueue(1)
        assert 0.0 == queue.stats().oldest_age
        await asyncio.sleep(1.0)
        assert 1.0 == queue.stats().oldest_age
        await queue.enqueue(2)
        await settle()
        assert 0.0 == queue.stats().oldest_age
        await asyncio.sleep(1.0)
        await queue.enqueue(3)
        await asyncio.sleep(1.0)
        await queue.enqueue(4)
        assert 1.0 == queue.stats().oldest_age
        sink.open()
        await settle()
        assert 0.0 == queue.stats().oldest_age


@pytest.mark.parametrize(("seconds", "age"), [(2.0, 2.0), (-0.5, 0.0)])
def test_the_age_of_a_burst(seconds: float, age: float) -> None:
    """The age of an item in the current burst counts the time that its producer computes.

    The age is never negative, even if the clock goes back.
    """
    queue = FlushQueue(Sink[int](), NaturalPolicy())

    async def burst(loop: VirtualLoop) -> float:
        async with queue:
            await queue.enqueue(1)
            loop.elapse(seconds)
            return queue.stats().oldest_age

    with own_loop() as loop:
        assert age == loop.run_until_complete(burst(loop))
