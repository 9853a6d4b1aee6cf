"""Point 9, the rest: flush() raises only if something that it waited for was not delivered."""

import asyncio

import pytest

from flushq import (
    Decision,
    Flush,
    FlushFailed,
    FlushPolicy,
    FlushQueue,
    PolicyError,
    QueueEnded,
    ShutdownTimeout,
    Wait,
)
from tests.contract.support import (
    HeldSink,
    Interruption,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    settle,
    steps,
    sweep,
)


async def test_a_failure_of_its_own_batch() -> None:
    """flush() raises FlushFailed with flush_fn's exception as its cause."""
    error = OSError("down")
    sink = Sink[int](seconds=1.0, errors={0: error})
    async with failing(FlushQueue(sink, patient())) as queue:
        await queue.enqueue(0)
        with pytest.raises(FlushFailed) as caught:
            await queue.flush()
    assert error is caught.value.__cause__
    assert [0] == caught.value.in_doubt


async def test_each_of_several_gets_an_exception_of_its_own() -> None:
    """Concurrent flush() calls that fail together do not share one exception object."""
    sink = Sink[int](seconds=1.0, errors={0: OSError("down")})
    async with failing(FlushQueue(sink, patient())) as queue:
        await queue.enqueue(0)
        outcomes = await asyncio.gather(*(queue.flush() for _ in range(10)), return_exceptions=True)
    assert [FlushFailed] * 10 == list(map(type, outcomes))
    assert 10 == len(set(map(id, outcomes)))


async def test_a_failure_of_an_earlier_batch_that_it_waited_for() -> None:
    """Items that stay undelivered since a batch before them failed are not delivered either."""
    sink = Sink[int](seconds=1.0, errors={1: OSError("down")})
    async with failing(FlushQueue(sink, patient(1))) as queue:
        await enqueue_all(queue, range(3))
        with pytest.raises(FlushFailed) as caught:
            await queue.flush()
        assert 2.0 == now()
    assert ([2], [1]) == (caught.value.undelivered, caught.value.in_doubt)


async def test_a_failure_before_its_own_items_in_one_and_the_same_barrier() -> None:
    """A flush() whose first batch failed raises, though its second one was delivered."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(1), max_in_flight=2)) as queue:
        await enqueue_all(queue, range(2))
        flushing = asyncio.create_task(queue.flush())
        await settle()
        sink.fail(OSError("down"))
        await settle()
        sink.open()
        with pytest.raises(FlushFailed):
            await flushing
    assert ([[1]], [0]) == (sink.delivered, queue.in_doubt)


async def test_a_failure_of_a_later_batch() -> None:
    """flush() returns if all it waited for was delivered, whatever failed behind it."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(1), max_in_flight=2)) as queue:
        await queue.enqueue(0)
        flushing = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, range(1, 4))
        await settle()
        sink.fail_last(OSError("down"))
        await settle()
        assert not flushing.done()
        sink.let_go()
        await flushing
    assert ([2, 3], [1]) == (queue.undelivered, queue.in_doubt)


@pytest.mark.parametrize("gap", range(8))
@pytest.mark.parametrize("later_first", [0, 1])
async def test_a_failure_of_a_later_batch_at_any_step_around_its_end(
    gap: int, later_first: int
) -> None:
    """However close a later failure comes to the end of the barrier, flush() returns."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(1), max_in_flight=2)) as queue:
        await queue.enqueue(0)
        flushing = asyncio.create_task(queue.flush())
        await settle()
        await queue.enqueue(1)
        await settle()
        if later_first:
            sink.fail_last(OSError("down"))
            await steps(gap)
            sink.let_go()
        else:
            sink.let_go()
            await steps(gap)
            sink.fail(OSError("down"))
        await flushing
    assert ([[0]], [1]) == (sink.delivered, queue.in_doubt)


async def test_on_a_failed_queue_it_raises_the_failure() -> None:
    """After a failure flush() raises FlushFailed at once, with nothing of its own to wait for."""
    sink = Sink[int](errors={0: OSError("down")})
    async with failing(FlushQueue(sink, patient())) as queue:
        await queue.enqueue(0)
        with pytest.raises(FlushFailed):
            await queue.flush()
        with pytest.raises(FlushFailed):
            queue.flush().send(None)
    with pytest.raises(FlushFailed):
        await queue.flush()


async def test_a_failure_in_the_drain() -> None:
    """A flush() that waits during the close raises if its own items fail there."""
    sink = Sink[int](seconds=1.0, errors={1: OSError("down")})
    async with failing(FlushQueue(sink, patient(1))) as queue:
        await queue.enqueue(0)
        lucky = asyncio.create_task(queue.flush())
        await settle()
        await queue.enqueue(1)
        unlucky = asyncio.create_task(queue.flush())
        await settle()
        closing = asyncio.create_task(queue.aclose())
        outcomes = await asyncio.gather(lucky, unlucky, closing, return_exceptions=True)
    assert [type(None), FlushFailed, FlushFailed] == list(map(type, outcomes))


async def test_a_close_that_reaches_its_limit() -> None:
    """flush() raises ShutdownTimeout if its items were cut short, and returns if they were not."""
    sink = Sink[int](seconds=3.0)
    async with failing(
        FlushQueue(sink, patient(1), max_shutdown_wait=4.0), ShutdownTimeout
    ) as queue:
        await queue.enqueue(0)
        lucky = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, range(1, 3))
        unlucky = asyncio.create_task(queue.flush())
        await settle()
        closing = asyncio.create_task(queue.aclose())
        outcomes = await asyncio.gather(lucky, unlucky, closing, return_exceptions=True)
    assert [type(None), ShutdownTimeout, ShutdownTimeout] == list(map(type, outcomes))
    assert ([2], [1]) == (queue.undelivered, queue.in_doubt)


@pytest.mark.parametrize("step", range(6))
async def test_a_close_that_flushes_nothing_any_more(step: int) -> None:
    """With max_shutdown_wait=0 flush() returns or raises, as its items were delivered or not."""
    sink = Sink[int]()
    raised: list[type[BaseException]] = []

    async def flush() -> None:
        try:
            await queue.flush()
        except QueueEnded as error:
            raised.append(type(error))

    queue = FlushQueue(sink, patient(), max_shutdown_wait=0)
    await queue.enqueue(0)
    flushing = asyncio.create_task(flush())
    await settle()
    try:
        async with queue:
            await steps(step)
    except ShutdownTimeout:
        await flushing
        assert ([0], []) == (queue.undelivered + queue.in_doubt, sink.delivered)
        assert [ShutdownTimeout] == raised
    else:
        await flushing
        assert ([[0]], []) == (sink.delivered, raised)


class Broken(FlushPolicy):
    """Wait until a flush starts, then raise."""

    def decide(self, now: float) -> Decision:
        """Flush never by itself."""
        return Flush("two") if self.queue.pending > 1 else Wait()

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Raise."""
        raise ZeroDivisionError


async def test_a_policy_that_breaks() -> None:
    """flush() raises PolicyError, with the policy's exception as its cause, if its items stay."""
    sink = Sink[int]()
    async with failing(FlushQueue(sink, Broken()), PolicyError) as queue:
        await queue.enqueue(0)
        with pytest.raises(PolicyError) as caught:
            await queue.flush()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert ([0], [], []) == (caught.value.undelivered, caught.value.in_doubt, sink.batches)


async def test_interrupted_at_any_step_around_a_failure() -> None:
    """A flush() that is cancelled around the failure of its batch raises one or the other."""
    endings = set()

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with failing(FlushQueue(sink, patient())) as queue:
            await queue.enqueue(0)
            other = asyncio.create_task(queue.flush())
            await settle()
            sink.fail(OSError("down"))
            try:
                assert not await interrupted(queue.flush())
                endings.add("cancelled")
            except FlushFailed:
                assert interrupted.too_late
                endings.add("failed")
            with pytest.raises(FlushFailed):
                await other
        assert [0] == queue.in_doubt

    assert 3 <= await sweep(scenario)
    assert {"cancelled", "failed"} == endings
