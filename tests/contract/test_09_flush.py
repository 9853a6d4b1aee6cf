"""Point 9: flush() starts at once, and returns when all items accepted before it have ended."""

import asyncio
import gc
from contextlib import suppress

import pytest

from flushq import FlushQueue, IntervalPolicy, PartialFailure, Retry
from tests.contract.support import (
    HOWS,
    Handler,
    HeldSink,
    How,
    Interruption,
    Sink,
    enqueue_all,
    now,
    patient,
    produce,
    settle,
    steps,
    sweep,
)

# What flush() does, and which items it waits for.


async def test_it_flushes_at_once_whatever_the_policy_thinks() -> None:
    """flush() makes a queue flush whose policy is never due; a second call does nothing."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, patient()) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(5.0)
        await queue.flush()
        await queue.flush()
        assert [5.0] == sink.started
        assert [[0, 1, 2]] == sink.delivered
        assert 7.0 == now()


async def test_it_goes_through_the_caps_without_a_pause() -> None:
    """Items that do not fit into one batch follow as soon as a slot is free, up to the last."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, IntervalPolicy(60.0, max_records=3), max_in_flight=2) as queue:
        for item in range(14):
            queue.enqueue_nowait(item)
        await queue.flush()
        assert [3, 3, 3, 3, 2] == sink.sizes
        assert [0.0, 0.0, 2.0, 2.0, 4.0] == sink.started
        assert 6.0 == now()


async def test_with_nothing_accepted_it_returns_at_once() -> None:
    """A flush() of an empty and idle queue neither calls flush_fn nor suspends."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        with pytest.raises(StopIteration):
            queue.flush().send(None)
    assert [] == sink.batches


async def test_it_waits_for_what_is_in_flight() -> None:
    """flush() waits for items that are in flight at the call, without another flush."""
    sink = Sink[int](seconds=4.0)
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        await queue.enqueue(0)
        await asyncio.sleep(2.0)
        await queue.flush()
        assert 5.0 == now()
        assert [[0]] == sink.batches


async def test_it_waits_for_all_slots_in_whatever_order_they_end() -> None:
    """flush() waits for an early batch that takes longer than the later ones."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_in_flight=3) as queue:
        await enqueue_all(queue, range(3))
        flushing = asyncio.create_task(queue.flush())
        await settle()
        for _ in range(2):
            sink.let_go_last()
            await settle()
        assert [[2], [1]] == sink.delivered
        assert not flushing.done()
        sink.open()
        await flushing


# Which items flush() does not wait for.


async def test_items_accepted_later_are_not_waited_for() -> None:
    """An item that comes during the flush is still pending when flush() returns."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, IntervalPolicy(60.0)) as queue:
        await queue.enqueue(0)
        flushing = asyncio.create_task(queue.flush())
        await asyncio.sleep(1.0)
        await queue.enqueue(1)
        await flushing
        assert (2.0, 1, [[0]]) == (now(), queue.pending, sink.batches)
        await asyncio.sleep(100.0)
        assert [0.0, 61.0] == sink.started


async def test_a_later_batch_that_still_runs_is_not_waited_for() -> None:
    """flush() does not wait for a later, slower flush in another slot."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_in_flight=2) as queue:
        await queue.enqueue(0)
        flushing = asyncio.create_task(queue.flush())
        await settle()
        await queue.enqueue(1)
        await settle()
        sink.let_go()
        await flushing
        assert (1, [[0]]) == (sink.running, sink.delivered)
        sink.open()


async def test_waiting_producers_are_not_waited_for() -> None:
    """Items of producers that wait for room were not accepted before the call."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = produce(queue, 2, 3)
        await settle()
        flushing = asyncio.create_task(queue.flush())
        for done in (False, False, True):
            await settle()
            assert done == flushing.done()
            sink.let_go()
        sink.open()
        await asyncio.gather(flushing, waiting)


async def test_each_of_several_flushes_has_a_barrier_of_its_own() -> None:
    """An earlier flush() returns when its own items have ended, despite later calls."""
    sink = Sink[int](seconds=2.0)
    ended: list[tuple[str, float]] = []

    async def flush_and_note(name: str) -> None:
        await queue.flush()
        ended.append((name, now()))

    async with FlushQueue(sink, patient()) as queue, asyncio.TaskGroup() as group:
        for name in ["a", "b", "c"]:
            await queue.enqueue(ord(name))
            group.create_task(flush_and_note(name))
            await asyncio.sleep(1.0)
    assert [("a", 2.0), ("b", 4.0), ("c", 4.0)] == ended
    assert [1, 2] == sink.sizes


async def test_it_leaves_nothing_behind() -> None:
    """A hundred flush() calls, half of them cancelled, leave no future behind in the queue."""
    sink = Sink[int](seconds=1.0)

    def futures() -> int:
        gc.collect()
        return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())

    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(0)
        await queue.flush()
        before = futures()
        for item in range(50):
            await queue.enqueue(item)
            with suppress(TimeoutError):
                await asyncio.wait_for(queue.flush(), 0.5)
            await queue.flush()
        assert before == futures()


# Interrupted.


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_at_any_step(how: How) -> None:
    """An interrupted flush() only stops waiting: the flush continues, also for other callers."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with FlushQueue(sink, patient(2)) as queue:
            await enqueue_all(queue, range(3))
            other = asyncio.create_task(queue.flush())
            await steps(3)
            sink.open()
            returned = await interrupted(queue.flush())
            assert not returned or [[0, 1], [2]] == sink.delivered
            await other
            assert [[0, 1], [2]] == sink.delivered
            await queue.enqueue(3)
            await queue.flush()
            assert [[0, 1], [2], [3]] == sink.delivered

    assert 3 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_at_any_step_with_nobody_else_waiting(how: How) -> None:
    """A flush() that has begun to wait makes the queue flush, even if it is interrupted."""

    async def scenario(interrupted: Interruption) -> None:
        sink = Sink[int]()
        async with FlushQueue(sink, patient()) as queue:
            await enqueue_all(queue, range(3))
            returned = await interrupted(queue.flush())
            await settle()
            begun = interrupted.step > 2 or returned
            assert not begun or [[0, 1, 2]] == sink.delivered
        assert [[0, 1, 2]] == sink.delivered
        assert ([], []) == (queue.undelivered, queue.in_doubt)

    assert 2 <= await sweep(scenario, how)


async def test_a_timeout_around_it_does_not_stop_the_flush() -> None:
    """asyncio.timeout raises on time, and the flush still ends at its usual time."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await queue.flush()
        assert 0.5 == now()
        await queue.flush()
        assert (2.0, [[0]]) == (now(), sink.delivered)


# At the end.


async def test_before_a_start_that_never_comes_the_close_answers_it() -> None:
    """A queue that is closed without ever having started drains, and flush() returns."""
    sink = Sink[int](seconds=1.0)
    queue = FlushQueue(sink, patient())
    await queue.enqueue(0)
    flushing = asyncio.create_task(queue.flush())
    await settle()
    await queue.aclose()
    await flushing
    assert [[0]] == sink.delivered


@pytest.mark.parametrize("step", range(8))
async def test_a_close_does_not_interrupt_it(step: int) -> None:
    """A flush() that began before the close returns when its items have ended in the drain."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2)) as queue:
        await enqueue_all(queue, range(5))
        flushing = asyncio.create_task(queue.flush())
        await steps(1 + step)
        closing = asyncio.create_task(queue.aclose())
        await settle()
        assert not flushing.done()
        sink.open()
        await asyncio.gather(flushing, closing)
    assert [[0, 1], [2, 3], [4]] == sink.delivered


@pytest.mark.not_in("eager", reason="flush() is called, and its pass made, too early")
@pytest.mark.parametrize(("failing_item", "seconds"), [(0, 3.0), (1, 3.0), (2, 0.0)])
async def test_flush_waits_for_the_items_before_it_one_by_one(
    failing_item: int, seconds: float
) -> None:
    """flush() waits for the retry of an item accepted before it, and not of a later one."""
    sink = Sink[int](errors={1: PartialFailure({failing_item: OSError("locked")})})
    handler = Handler[int]([Retry(3.0)])
    async with FlushQueue(sink, patient(), on_failure=handler) as queue:
        await queue.enqueue(-1)
        await queue.flush()
        await enqueue_all(queue, [0, 1])
        flushing = asyncio.create_task(queue.flush())
        await asyncio.sleep(0)
        queue.enqueue_nowait(2)
        await flushing
        assert seconds == now()
