"""Point 9, failures: flush() raises only if an item that it waited for was lost."""

import asyncio

import pytest

from flushq import FlushFailed, FlushQueue, PolicyError, QueueEnded, ShutdownTimeout
from tests.contract.hostile import Broken, error_of
from tests.contract.support import (
    HeldSink,
    Interruption,
    Sink,
    enqueue_all,
    failing,
    patient,
    settle,
    steps,
    sweep,
)


async def test_a_failure_of_its_own_batch() -> None:
    """Each flush() raises its own FlushFailed, whose cause is the exception of flush_fn."""
    down = OSError("down")
    sink = Sink[int](seconds=1.0, errors={0: down})
    async with failing(FlushQueue(sink, patient())) as queue:
        await queue.enqueue(0)
        errors = await asyncio.gather(*(error_of(queue.flush()) for _ in range(3)))
    assert [FlushFailed] * 3 == list(map(type, errors))
    assert [down] * 3 == [error.__cause__ for error in errors if error]
    assert 3 == len(set(map(id, errors)))
    assert [0] == queue.in_doubt


@pytest.mark.parametrize("gap", range(8))
@pytest.mark.parametrize("later_first", [0, 1])
async def test_a_failure_of_a_later_batch_at_any_step_around_its_end(
    gap: int, later_first: int
) -> None:
    """flush() returns even if a later batch fails right around the end of its own batch."""
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
    """After a failure flush() raises FlushFailed at once, although no item waits."""
    sink = Sink[int](errors={0: OSError("down")})
    async with failing(FlushQueue(sink, patient())) as queue:
        await queue.enqueue(0)
        with pytest.raises(FlushFailed):
            await queue.flush()
        with pytest.raises(FlushFailed):
            queue.flush().send(None)
    with pytest.raises(FlushFailed):
        await queue.flush()


@pytest.mark.parametrize(
    ("errors", "limit", "kind"),
    [({1: OSError("down")}, None, FlushFailed), ({}, 4.0, ShutdownTimeout)],
    ids=["failure", "limit"],
)
async def test_a_loss_in_the_drain(
    errors: dict[int, BaseException], limit: float | None, kind: type[QueueEnded]
) -> None:
    """A flush() that waits during a close raises if its own items are lost, and else returns."""
    sink = Sink[int](seconds=3.0, errors=errors)
    async with failing(FlushQueue(sink, patient(1), max_shutdown_wait=limit), kind) as queue:
        await queue.enqueue(0)
        lucky = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, range(1, 3))
        unlucky = asyncio.create_task(queue.flush())
        await settle()
        closing = asyncio.create_task(queue.aclose())
        outcomes = await asyncio.gather(lucky, unlucky, closing, return_exceptions=True)
    assert [type(None), kind, kind] == list(map(type, outcomes))
    assert ([2], [1]) == (queue.undelivered, queue.in_doubt)


async def test_a_policy_that_breaks() -> None:
    """If the policy raises, flush() raises PolicyError with that exception as its cause."""
    sink = Sink[int]()
    policy = Broken("flush_started", ZeroDivisionError)
    async with failing(FlushQueue(sink, policy), PolicyError) as queue:
        await queue.enqueue(0)
        with pytest.raises(PolicyError) as caught:
            await queue.flush()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert ([0], [], []) == (caught.value.undelivered, caught.value.in_doubt, sink.batches)


async def test_interrupted_at_any_step_around_a_failure() -> None:
    """A flush() that is cancelled around a failure raises either CancelledError or FlushFailed."""
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
