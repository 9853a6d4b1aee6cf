"""Point 3: the queue hands an item to flush_fn once."""

import asyncio

import pytest

from flushq import FlushFailed, FlushQueue, IntervalPolicy, NaturalPolicy, ShutdownTimeout
from tests.contract.support import Sink, enqueue_all, failing, patient, settle, steps


async def test_a_failed_batch_is_not_tried_again() -> None:
    """After a failure nothing is handed over any more, neither the batch nor what waited."""
    sink = Sink[int](errors={0: OSError("down")})
    async with failing(FlushQueue(sink, patient(2))) as queue:
        await enqueue_all(queue, range(6))
    with pytest.raises(FlushFailed):
        await queue.aclose()
    assert [[0, 1]] == sink.batches


async def test_a_cancelled_batch_is_not_tried_again() -> None:
    """A flush that the limit of the close cancelled is not started a second time."""
    sink = Sink[int](seconds=5.0)
    async with failing(
        FlushQueue(sink, patient(2), max_shutdown_wait=1.0), ShutdownTimeout
    ) as queue:
        await enqueue_all(queue, range(2))
    assert [[0, 1]] == sink.batches


async def test_a_cancelled_flush_call_does_not_hand_its_batch_over_again() -> None:
    """The flush that a cancelled flush() had started goes on and is the only one."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.flush(), 0.5)
        await queue.flush()
    assert [[0]] == sink.batches
    assert [[0]] == sink.delivered


async def test_several_reasons_at_one_instant_make_one_flush() -> None:
    """Age, flush() and a close that fall on the same instant hand each item over once."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, IntervalPolicy(2.0, max_records=4), max_in_flight=3) as queue:

        async def call_flush() -> None:
            await asyncio.sleep(2.0)
            await queue.enqueue(9)
            await queue.flush()

        await enqueue_all(queue, range(3))
        calls = [asyncio.create_task(call_flush()) for _ in range(3)]
        await asyncio.sleep(2.0)
        await steps(1)
        await queue.aclose()
        await asyncio.gather(*calls)
    assert [0, 1, 2, 9, 9, 9] == sink.items


async def test_the_same_object_accepted_twice_is_delivered_twice() -> None:
    """Without a dedupe_key each acceptance counts, also of one and the same object."""
    item = object()
    sink = Sink[object]()
    async with FlushQueue(sink, patient()) as queue:
        await enqueue_all(queue, [item, item])
    assert [[item, item]] == sink.batches


async def test_many_producers_flushes_and_slots_hand_each_item_over_once() -> None:
    """Under everything at once, each of 900 items is handed over exactly once."""
    sink = Sink[int](seconds=0.5)
    policy = IntervalPolicy(1.0, max_records=7)
    async with FlushQueue(sink, policy, max_queue_size=5, max_in_flight=3) as queue:

        async def producer(start: int) -> None:
            for item in range(start, start + 100):
                await queue.enqueue(item)
                if item % 17 == 0:
                    await queue.flush()
                elif item % 5 == 0:
                    await asyncio.sleep(0.25)

        async with asyncio.TaskGroup() as group:
            for start in range(0, 900, 100):
                group.create_task(producer(start))
    assert list(range(900)) == sorted(sink.items)


async def test_items_added_during_a_flush_are_neither_lost_nor_sent_with_it() -> None:
    """What comes while a flush runs is in a later batch."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        await enqueue_all(queue, range(3, 6))
    assert [[0, 1, 2], [3, 4, 5]] == sink.batches
