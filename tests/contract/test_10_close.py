"""Point 10: the end of `async with` drains the queue within its limit, and leaves no task."""

import asyncio
import math
from contextlib import suppress
from fractions import Fraction

import pytest

from flushq import (
    FlushFailed,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    QueueClosed,
    ShutdownTimeout,
)
from tests.contract.hostile import StubbornSink, error_of, left_behind
from tests.contract.support import (
    HeldSink,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    now,
    patient,
    produce,
    settle,
    steps,
)


@pytest.mark.parametrize("limit", [None, math.inf, 8.0, Fraction(17, 2), 1e300])
async def test_leaving_lets_the_running_flush_finish_and_drains_the_rest(
    limit: float | None,
) -> None:
    """The end of the block waits for running flushes, then flushes the rest within the caps."""
    sink = Sink[int](2.0)
    async with FlushQueue(sink, patient(3), max_shutdown_wait=limit) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(1.0)
        await enqueue_all(queue, range(3, 8))
    assert [[0, 1, 2], [3, 4, 5], [6, 7]] == sink.delivered
    assert 6.0 == now()
    assert [] == queue.undelivered == queue.in_doubt


async def test_a_closing_queue_refuses_items() -> None:
    """Once closing has begun, both kinds of enqueue and flush() raise QueueClosed."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, NaturalPolicy())
    async with queue:
        await queue.enqueue(1)
        closing = asyncio.create_task(queue.aclose())
        await settle()
        with pytest.raises(QueueClosed):
            await queue.enqueue(2)
        with pytest.raises(QueueClosed):
            queue.enqueue_nowait(3)
        with pytest.raises(QueueClosed):
            await queue.flush()
        await closing
    assert [1] == sink.items


async def test_waiting_producers_are_refused() -> None:
    """A close raises a separate QueueClosed in each waiting producer, at once."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(), max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = [produce(queue, item) for item in (2, 3, 4)]
        await settle()
        closing = asyncio.create_task(queue.aclose())
        await settle()
        refusals = [task.exception() for task in waiting]
        sink.open()
        await closing
    assert [QueueClosed] * 3 == [type(refusal) for refusal in refusals]
    assert 3 == len({id(refusal) for refusal in refusals})
    assert [0, 1] == sink.items


async def test_a_limit_of_zero_starts_no_flush() -> None:
    """With max_shutdown_wait=0 the running flush is cancelled, and no other one starts."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, NaturalPolicy(1), max_shutdown_wait=0)
    with pytest.raises(ShutdownTimeout, match="max_shutdown_wait=0") as caught:
        async with queue:
            await enqueue_all(queue, range(3))
            await settle()
    assert [[0]] == sink.batches
    assert [0] == caught.value.in_doubt
    assert [1, 2] == caught.value.undelivered
    assert 0.0 == now()


async def test_at_the_limit_running_flushes_are_cancelled_once() -> None:
    """At the limit each running flush is cancelled once and awaited; waiting items are listed."""
    sink = StubbornSink[int](10.0, ignores=0)
    queue = FlushQueue(sink, NaturalPolicy(2), max_in_flight=2, max_shutdown_wait=2.5)
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await enqueue_all(queue, range(7))
            await asyncio.sleep(1.0)
    assert [3.5, 3.5] == sink.cancelled
    assert 3.5 == now()
    assert [0, 1, 2, 3] == caught.value.in_doubt
    assert [4, 5, 6] == caught.value.undelivered
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert not isinstance(caught.value, TimeoutError)  # a TimeoutError would mean a slow delivery


async def test_a_flush_that_returns_in_spite_of_its_cancellation_is_delivered() -> None:
    """A flush that ignores its cancellation and returns is delivered, and there is no error."""
    sink = StubbornSink[int](10.0)
    async with FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=1.0) as queue:
        await queue.enqueue(1)
        await settle()
    assert [1.0] == sink.cancelled
    assert 11.0 == now()
    assert [[1]] == sink.delivered
    assert [] == queue.in_doubt == queue.undelivered


async def test_a_flush_that_returns_with_its_cancellation_pending_is_delivered() -> None:
    """If flush_fn returns, its items are delivered, even if its task is cancelled in this step."""
    delivered: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        delivered.append(batch)

    async with FlushQueue(sink, NaturalPolicy(1)) as queue:
        await enqueue_all(queue, range(2))
    assert [[0], [1]] == delivered
    assert [] == queue.in_doubt == queue.undelivered


async def test_what_a_cancelled_flush_raises_belongs_to_the_shutdown_timeout() -> None:
    """The exception of a flush that the queue has cancelled is a cause, not a failure."""
    failure = OSError("connection reset")

    async def sink(batch: list[int]) -> None:
        try:
            await asyncio.sleep(10.0)
        finally:
            raise failure

    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=1.0)
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await queue.enqueue(1)
            await settle()
    assert failure is caught.value.__cause__
    assert [1] == queue.in_doubt


async def test_the_sinks_own_timeout_is_a_failure() -> None:
    """A TimeoutError of the sink in the drain is a FlushFailed; it does not count as the limit."""
    failure = TimeoutError("the database is slow")
    sink = Sink[int](0.5, errors={0: failure})
    queue = FlushQueue(sink, patient(1), max_shutdown_wait=5.0)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            queue.enqueue_nowait(1)
            queue.enqueue_nowait(2)
    assert failure is caught.value.__cause__
    assert not isinstance(caught.value, TimeoutError)
    assert [1] == queue.in_doubt
    assert [2] == queue.undelivered
    assert 0.5 == now()


# Tasks and timers after the end.


@pytest.mark.parametrize(
    "sink",
    [
        Sink[int](1.0),
        Sink[int](1.0, errors={0: OSError()}),
        Sink[int](10.0),
        StubbornSink[int](10.0),
    ],
    ids=["drained", "failed", "cut short", "stubborn"],
)
async def test_no_task_and_no_timer_is_left(sink: Sink[int]) -> None:
    """After every kind of end, no task and no timer of the queue is left."""
    queue = FlushQueue(sink, IntervalPolicy(3.0, 2), max_shutdown_wait=5.0)
    with suppress(FlushFailed, ShutdownTimeout):
        async with queue:
            await enqueue_all(queue, range(5))
            await asyncio.sleep(0.5)
    assert [] == left_behind()
    assert_all_accounted_for(range(5), queue, sink)


# Several closers.


async def test_closers_share_one_drain_and_one_outcome() -> None:
    """All closers get separate exceptions with the same lists, at the limit of the first close."""
    sink = Sink[int](10.0)
    queue = FlushQueue(sink, NaturalPolicy(1), max_shutdown_wait=2.0)

    async def use() -> None:
        async with queue:
            await enqueue_all(queue, range(3))
            await settle()

    closers = [asyncio.create_task(error_of(use()))]
    await asyncio.sleep(1.0)
    closers.append(asyncio.create_task(error_of(queue.aclose())))
    closers.append(asyncio.create_task(error_of(queue.run())))
    errors = await asyncio.gather(*closers)
    errors.append(await error_of(queue.aclose()))
    assert [ShutdownTimeout] * 4 == [type(error) for error in errors]
    assert 4 == len({id(error) for error in errors})
    for error in errors:
        assert isinstance(error, ShutdownTimeout)
        assert queue.undelivered is error.undelivered
        assert queue.in_doubt is error.in_doubt
    assert 1 == len({id(error.__cause__) for error in errors if error})
    assert [0] == queue.in_doubt
    assert [1, 2] == queue.undelivered
    assert [[0]] == sink.batches
    assert 2.0 == now()


async def test_a_cancelled_closer_cuts_the_drain_short_for_the_others() -> None:
    """If no owner waits, cancelling one aclose() aborts the drain for all closers."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, NaturalPolicy(1))
    await queue.__aenter__()
    await enqueue_all(queue, range(3))
    closers = [asyncio.create_task(queue.aclose()) for _ in range(3)]
    await asyncio.sleep(1.0)
    closers[1].cancel()
    await settle()
    assert closers[1].cancelled()
    assert isinstance(closers[0].exception(), ShutdownTimeout)
    assert isinstance(closers[2].exception(), ShutdownTimeout)
    assert [0] == queue.in_doubt
    assert [1, 2] == queue.undelivered
    assert 1.0 == now()


async def test_an_item_that_comes_in_the_step_of_the_close_is_refused() -> None:
    """After closing has begun no item is accepted, not even in the same iteration of the loop."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        await steps(2)
        first = produce(queue, 1)
        closing = asyncio.create_task(queue.aclose())
        late = produce(queue, 2)
        await asyncio.wait([first, closing, late])
        assert first.exception() is None
        assert isinstance(late.exception(), QueueClosed)
    assert [[1]] == sink.batches
