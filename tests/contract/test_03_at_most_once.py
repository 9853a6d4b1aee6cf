"""Point 3: the queue hands an item to flush_fn once."""

import asyncio

import pytest

from flushq import FlushFailed, FlushQueue, IntervalPolicy, NaturalPolicy, ShutdownTimeout
from tests.contract.support import Sink, enqueue_all, failing, patient, settle, steps


async def test_a_failed_batch_is_not_tried_again() -> None:
    """After a failure no item is handed over any more, neither the batch nor the waiting ones."""
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


async def test_several_reasons_at_one_instant_make_one_flush() -> None:
    """If age, flush() and a close come at the same instant, each item is handed over once."""
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


async def test_items_added_during_a_flush_are_neither_lost_nor_sent_with_it() -> None:
    """Items that come while a flush runs are in a later batch."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        await enqueue_all(queue, range(3, 6))
    assert [[0, 1, 2], [3, 4, 5]] == sink.batches
