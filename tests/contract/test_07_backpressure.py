"""Point 7: a full queue makes producers wait for room, first come, first served."""

import asyncio
from collections.abc import Iterable

import pytest

from flushq import Decision, FlushPolicy, FlushQueue, IntervalPolicy, QueueFull, Wait
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    now,
    patient,
    produce,
    settle,
    steps,
)


def done(tasks: Iterable[asyncio.Task[None]]) -> list[bool]:
    """Return for each task whether it is done."""
    return [task.done() for task in tasks]


# How many wait.


async def test_items_in_flight_are_not_counted() -> None:
    """With 3 items in flight a queue with max_queue_size=3 still accepts 3 items."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(3), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        assert (0, 1) == (queue.pending, sink.running)
        await enqueue_all(queue, range(3, 6))
        assert 3 == queue.pending
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(6)
        sink.open()
    assert [[0, 1, 2], [3, 4, 5]] == sink.batches


async def test_enqueue_nowait_says_why_it_has_no_room() -> None:
    """QueueFull shows how many items and producers wait, and the item is not accepted."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=2) as queue:
        await queue.enqueue(0)
        await settle()
        await enqueue_all(queue, [1, 2])
        with pytest.raises(QueueFull, match=r"2 items wait \(max_queue_size=2\)$"):
            queue.enqueue_nowait(3)
        waiting = produce(queue, 4)
        await settle()
        with pytest.raises(QueueFull, match=r"2 items wait .*come before this item: 1$"):
            queue.enqueue_nowait(5)
        sink.open()
        await waiting
    assert [0, 1, 2, 4] == sink.items


async def test_a_full_queue_without_waiting_producers_is_patient() -> None:
    """A full queue flushes by its policy alone as long as no producer waits."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(5.0), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(3)
        await asyncio.sleep(9.0)
        assert [5.0] == sink.started


# First come, first served.


async def test_producers_are_served_in_the_order_in_which_they_came() -> None:
    """The room that a batch frees goes to the first producers in line."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(3), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        await enqueue_all(queue, range(3, 6))
        waiting = [produce(queue, item) for item in range(6, 14)]
        await settle()
        assert [False] * 8 == done(waiting)
        sink.let_go()
        await settle()
        assert [True] * 3 + [False] * 5 == done(waiting)
        sink.let_go()
        await settle()
        assert [True] * 6 + [False] * 2 == done(waiting)
        sink.open()
        await asyncio.gather(*waiting)
    assert list(range(14)) == sink.items


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("step", range(8))
async def test_a_newcomer_does_not_overtake(step: int, slots: int) -> None:
    """A producer that comes at any step around the freeing of room is served after the line."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1, max_in_flight=slots) as queue:
        for item in range(slots):
            await queue.enqueue(item - slots)
            await settle()
        await queue.enqueue(0)
        waiting = [produce(queue, 1), produce(queue, 2)]
        await settle()
        sink.let_go()
        await steps(step)
        newcomer = queue.enqueue(3)
        sink.open()
        await newcomer
        await asyncio.gather(*waiting)
    assert list(range(-slots, 4)) == sink.items


@pytest.mark.parametrize("step", range(8))
async def test_enqueue_nowait_does_not_overtake(step: int) -> None:
    """While a producer waits, enqueue_nowait does not get room that has just been freed."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = [produce(queue, 2), produce(queue, 3)]
        await settle()
        sink.let_go()
        await steps(step)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(4)
        sink.open()
        await asyncio.gather(*waiting)
    assert [0, 1, 2, 3] == sink.items


# Producers that give up.


@pytest.mark.not_in("debug", reason="keeps the stacks of 10,000 tasks, which takes long")
async def test_ten_thousand_blocked_producers_half_of_them_cancelled() -> None:
    """The remaining producers are served in order, and the cancelled ones have no effect."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(7), max_queue_size=7) as queue:
        await enqueue_all(queue, range(-14, 0))
        waiting = [asyncio.create_task(queue.enqueue(item)) for item in range(10_000)]
        await settle()
        for task in waiting[::2]:
            task.cancel()
        sink.open()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [*range(-14, 0), *range(1, 10_000, 2)] == sink.items
    assert [asyncio.CancelledError, type(None)] * 5000 == list(map(type, outcomes))


# Pressure: a full queue flushes although its policy would wait.


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("cap", [1, 2, 100])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_never_a_waiting_producer_beside_a_free_slot(size: int, cap: int, slots: int) -> None:
    """If a producer waits when the loop is idle, the queue is full and all slots are taken."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(cap), max_queue_size=size, max_in_flight=slots) as queue:
        waiting = [produce(queue, item) for item in range(20)]
        while not all(done(waiting)):
            await settle()
            if not all(done(waiting)):
                assert (size, slots) == (queue.pending, sink.running)
                sink.let_go()
        sink.open()
    assert list(range(20)) == sink.items


async def test_a_queue_smaller_than_a_batch() -> None:
    """With max_queue_size below max_records the batches are as large as the queue."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(1000), max_queue_size=4) as queue:
        await enqueue_all(queue, range(12))
        await settle()
        assert [4, 4] == sink.sizes
        assert 4 == queue.pending
    assert [4, 4, 4] == sink.sizes
    assert 0.0 == now()


async def test_a_producer_that_comes_to_a_full_and_idle_queue() -> None:
    """A producer that comes to a full, idle queue makes it flush, and gets room at once."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(60.0), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(9.0)
        await queue.enqueue(3)
        assert 9.0 == now()
        await settle()
        assert ([[0, 1, 2]], 1) == (sink.batches, queue.pending)


async def test_pressure_uses_all_slots() -> None:
    """While producers wait, every free slot takes a batch at once."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, IntervalPolicy(60.0), max_queue_size=2, max_in_flight=3) as queue:
        times = []
        for item in range(12):
            await queue.enqueue(item)
            times.append(now())
        assert [0.0] * 8 + [2.0] * 4 == times
        assert [0.0] * 3 + [2.0] * 2 == sink.started


async def test_pressure_ends_with_the_last_that_waits() -> None:
    """When no producer waits any more, waiting items leave when the policy decides."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(5.0), max_queue_size=2) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(9.0)
        assert [[0, 1], [2]] == sink.batches
        assert [0.0, 5.0] == sink.started


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("producers", [2, 6])
async def test_pressure_is_a_flush_of_a_full_queue(producers: int, slots: int) -> None:
    """A producer that waits behind one with room causes no flush: each batch is a full queue."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient(), max_queue_size=100, max_in_flight=slots)
    async with queue:
        starts = range(0, producers * 1000, 1000)
        await asyncio.gather(*(produce(queue, *range(at, at + 300)) for at in starts))
    assert [100] * (3 * producers) == sink.sizes


class NeverDue(FlushPolicy):
    """A policy that never flushes, not even a full batch."""

    max_records = 2

    def decide(self, now: float) -> Decision:
        """Wait."""
        return Wait()


async def test_pressure_flushes_no_more_than_makes_room() -> None:
    """When a batch has made room for all waiting producers, the next one is up to the policy."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NeverDue(), max_queue_size=4, max_in_flight=2) as queue:
        await enqueue_all(queue, range(5))
        await settle()
        assert (3, [[0, 1]]) == (queue.pending, sink.batches)
        sink.open()
    assert [[0, 1], [2, 3], [4]] == sink.batches


async def test_ten_thousand_items_may_wait_unless_told_otherwise() -> None:
    """The default of max_queue_size is 10,000."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        for item in range(10_000):
            queue.enqueue_nowait(item)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(10_000)
    assert [10_000] == sink.sizes
