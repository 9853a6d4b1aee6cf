"""Point 5: batches hold the items in order of acceptance, start in order, within the slots."""

import asyncio

import pytest

from flushq import FlushQueue, IntervalPolicy, NaturalPolicy
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    patient,
    produce,
    settle,
)


@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_items_leave_in_order_of_acceptance(slots: int) -> None:
    """Items of many producers are handed over in the order in which they were accepted."""
    sink = Sink[tuple[int, int]](seconds=0.75)
    accepted: list[tuple[int, int]] = []
    policy = IntervalPolicy(1.0, max_records=4)

    async def producer(number: int) -> None:
        for count in range(50):
            await queue.enqueue((number, count))
            accepted.append((number, count))
            if count % (number + 2) == 0:
                await asyncio.sleep(0.125 * number)

    async with FlushQueue(sink, policy, max_queue_size=7, max_in_flight=slots) as queue:
        await asyncio.gather(*map(producer, range(6)))
    assert 300 == len(accepted)
    assert accepted == sink.items
    assert sorted(sink.started) == sink.started


@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_at_most_max_in_flight_run_at_a_time(slots: int) -> None:
    """All slots are used when enough items wait, and never more than that."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, NaturalPolicy(max_records=2), max_in_flight=slots) as queue:
        await enqueue_all(queue, range(40))
        await queue.flush()
        await enqueue_all(queue, range(40, 80))
    assert slots == sink.most_running
    assert list(range(80)) == sink.items


async def test_slots_hold_for_every_reason_to_flush() -> None:
    """flush(), pressure and the close start no flush beyond the slots."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2), max_queue_size=4, max_in_flight=2) as queue:
        await enqueue_all(queue, range(4))
        await settle()
        waiting = [produce(queue, item) for item in range(4, 12)]
        flushes = [asyncio.create_task(queue.flush()) for _ in range(3)]
        await settle()
        closing = asyncio.create_task(queue.aclose())
        await settle()
        assert [[0, 1], [2, 3]] == sink.batches
        sink.open()
        await asyncio.gather(closing, *flushes, *waiting, return_exceptions=True)
    assert 2 == sink.most_running
    assert [0, 1, 2, 3, 4, 5, 6, 7] == sink.items


async def test_batches_start_in_order_whatever_the_order_in_which_they_end() -> None:
    """A later batch that ends first lets the next one in order start."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_in_flight=3) as queue:
        await enqueue_all(queue, range(6))
        await settle()
        assert [[0], [1], [2]] == sink.batches
        sink.let_go()  # batch 0
        await settle()
        assert [[0], [1], [2], [3]] == sink.batches
        sink.let_go()  # batch 1
        await settle()
        assert [[0], [1], [2], [3], [4]] == sink.batches
        sink.open()
    assert [[0], [1], [2], [3], [4], [5]] == sink.batches


async def test_what_comes_before_the_cut_joins_the_batch() -> None:
    """A batch is cut when it starts: items that come while slots are busy still join it."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, IntervalPolicy(1.0, max_records=5)) as queue:
        await queue.enqueue(0)
        await asyncio.sleep(1.5)  # Item 0 runs from 1.0 to 3.0.
        await queue.enqueue(1)  # It is due at 2.5.
        await asyncio.sleep(1.25)
        await queue.enqueue(2)
        await asyncio.sleep(2.0)
        assert [[0], [1, 2]] == sink.batches
        assert [1.0, 3.0] == sink.started
