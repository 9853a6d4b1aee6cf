"""Point 11: a cancellation is never swallowed; it starts the drain, or cuts it short."""

import asyncio
import logging
from contextlib import suppress

import pytest

from flushq import FlushQueue, NaturalPolicy, QueueClosed, ShutdownTimeout
from tests.contract.hostile import StepSink, StubbornSink, error_of, left_behind
from tests.contract.support import (
    How,
    Interruption,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    now,
    patient,
    steps,
    sweep,
)

CANCELLED: list[How] = ["cancel", "timeout", "wait_for", "scope"]


def cancel_myself() -> None:
    """Cancel the running task."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


# At every loop step.


@pytest.mark.parametrize("how", CANCELLED)
async def test_async_with_at_any_step(how: How) -> None:
    """If a block is cancelled at any step, each accepted item ends in exactly one place."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(2), max_queue_size=2)
        accepted: list[int] = []

        async def session() -> None:
            async with queue:
                for item in range(6):
                    await queue.enqueue(item)
                    accepted.append(item)

        returned = await interrupted(session())
        assert how != "cancel" or interrupted.too_late == returned
        assert not returned or list(range(6)) == sink.items
        assert_all_accounted_for(accepted, queue, sink)
        assert [] == left_behind()

    assert 15 <= await sweep(scenario, how)


async def test_the_drain_of_a_cancelled_body_at_any_step() -> None:
    """A second cancellation at any step of the drain is raised, and each item has one place."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(2))
        accepted: list[int] = []

        async def session() -> None:
            async with queue:
                await enqueue_all(queue, range(6))
                accepted.extend(range(6))
                cancel_myself()
                await asyncio.sleep(0)

        assert not await interrupted(session())
        assert_all_accounted_for(accepted, queue, sink)
        assert [] == left_behind()

    assert 10 <= await sweep(scenario)


@pytest.mark.parametrize("how", CANCELLED)
async def test_run_at_any_step(how: How) -> None:
    """If run() is cancelled at any step, each accepted item has one place, and producers end."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(2), max_queue_size=3)
        accepted: list[int] = []

        async def produce_and_close() -> None:
            with suppress(QueueClosed):
                for item in range(6):
                    await queue.enqueue(item)
                    accepted.append(item)
            with suppress(ShutdownTimeout):
                await queue.aclose()

        producer = asyncio.create_task(produce_and_close())
        returned = await interrupted(queue.run())
        await error_of(queue.aclose())
        await producer
        assert how != "cancel" or interrupted.too_late == returned
        assert_all_accounted_for(accepted, queue, sink)
        assert [] == left_behind()

    assert 10 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", CANCELLED)
async def test_aclose_without_an_owner_at_any_step(how: How) -> None:
    """An aclose() that is cancelled at any step aborts the drain; a later one raises the loss."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(2))
        await queue.__aenter__()
        await enqueue_all(queue, range(6))
        returned = await interrupted(queue.aclose())
        outcome = await error_of(queue.aclose())
        assert (6 == len(sink.delivered) * 2) == (outcome is None)
        assert outcome is None or isinstance(outcome, ShutdownTimeout)
        assert how != "cancel" or interrupted.too_late == returned
        assert_all_accounted_for(range(6), queue, sink)
        assert [] == left_behind()

    assert 10 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", CANCELLED)
async def test_aclose_beside_an_owner_at_any_step(how: How) -> None:
    """While an owner waits, an aclose() cancelled at any step loses nothing."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(2))
        running = asyncio.create_task(queue.run())
        await enqueue_all(queue, range(6))
        await steps(2)
        returned = await interrupted(queue.aclose())
        await queue.aclose()
        await running
        assert how != "cancel" or interrupted.too_late == returned
        assert list(range(6)) == sink.items

    assert 8 <= await sweep(scenario, how)


async def test_an_aclose_that_is_closed_at_any_step_leaves_the_drain_alone() -> None:
    """If the coroutine of aclose() is closed while it waits, the drain continues."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(2))
        await queue.__aenter__()
        await enqueue_all(queue, range(6))
        await interrupted(queue.aclose())
        await queue.aclose()
        assert list(range(6)) == sink.items
        assert [] == left_behind()

    assert 8 <= await sweep(scenario, "close")


# The effect of a cancellation.


async def test_a_cancellation_during_the_drain_aborts_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the owner is cancelled in the drain, the loss is listed, logged and told in a note."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, NaturalPolicy(1))

    async def use() -> None:
        async with queue:
            await enqueue_all(queue, range(4))

    using = asyncio.create_task(error_of(use()))
    await asyncio.sleep(3.0)
    using.cancel()
    error = await using
    assert isinstance(error, asyncio.CancelledError)
    assert 3.0 == now()
    assert [[0]] == sink.delivered
    assert [1] == queue.in_doubt
    assert [2, 3] == queue.undelivered
    loss = "ShutdownTimeout: the close was cancelled (2 undelivered, 1 in doubt)"
    assert [f"flushq: the queue ended with {loss}"] == error.__notes__
    (record,) = caplog.records
    assert ("flushq", logging.ERROR) == (record.name, record.levelno)
    assert loss in record.getMessage()
    assert record.exc_info is not None
    assert ShutdownTimeout is record.exc_info[0]


async def test_each_further_cancellation_reaches_the_running_flush() -> None:
    """Each cancellation of the owner in the drain cancels the flush; the limit no longer does."""
    sink = StubbornSink[int](100.0, ignores=2)
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=2.5)

    async def use() -> None:
        async with queue:
            await queue.enqueue(1)

    using = asyncio.create_task(error_of(use()))
    for _ in range(3):
        await asyncio.sleep(1.0)
        using.cancel()
    error = await using
    assert isinstance(error, asyncio.CancelledError)
    assert [1.0, 2.0, 3.0] == sink.cancelled
    assert [1] == queue.in_doubt
    assert 3.0 == now()


async def test_a_cancellation_in_the_drain_goes_before_the_bodys_exception() -> None:
    """If a block is cancelled while it drains after an exception, it raises CancelledError."""
    queue = FlushQueue(Sink[int](2.0), NaturalPolicy())
    mistake = ValueError("of the body")

    async def use() -> None:
        async with queue:
            await queue.enqueue(1)
            raise mistake

    using = asyncio.create_task(error_of(use()))
    await asyncio.sleep(1.0)
    using.cancel()
    error = await using
    assert isinstance(error, asyncio.CancelledError)
    assert mistake is error.__context__


# Timeouts and task groups around it.


@pytest.mark.parametrize("limit", [1.0, 3.0, 5.0], ids=["body", "drain", "last flush"])
async def test_timeout_around_async_with(limit: float) -> None:
    """A timeout around a queue raises TimeoutError at every stage; no code after it runs."""
    sink = Sink[int](2.0)
    followed = False
    queue = FlushQueue(sink, patient(1))
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(limit):
            async with queue:
                await enqueue_all(queue, range(3))
                await asyncio.sleep(2.0)
            followed = True
    assert TimeoutError is type(caught.value)
    assert not followed
    assert {1.0: 3, 3.0: 1, 5.0: 2}[limit] == len(sink.delivered)
    assert_all_accounted_for(range(3), queue, sink)
    task = asyncio.current_task()
    assert task is not None
    assert 0 == task.cancelling()


async def test_timeout_around_run() -> None:
    """A timeout around run() raises TimeoutError; no code after it runs."""
    sink = Sink[int](5.0)
    queue = FlushQueue(sink, NaturalPolicy())
    await queue.enqueue(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0):
            await queue.run()
            pytest.fail("the timeout was swallowed")
    assert ([[1]], 5.0) == (sink.delivered, now())


async def test_timeout_around_aclose_and_the_note_on_it() -> None:
    """A timeout around aclose() raises TimeoutError, whose cause has a note about the loss."""
    queue = FlushQueue(Sink[int](5.0), NaturalPolicy())
    await queue.enqueue(1)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(1.0):
            await queue.aclose()
    assert TimeoutError is type(caught.value)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert "1 in doubt" in caught.value.__cause__.__notes__[0]
    assert 1.0 == now()


async def test_a_failing_sibling_of_run() -> None:
    """If a sibling fails, run() drains, and the group raises only the sibling's error."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, patient(1))
    mistake = ValueError("of the sibling")

    async def fail() -> None:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(1.0)
        raise mistake

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.run())
            group.create_task(fail())
    assert (mistake,) == caught.value.exceptions
    assert [[0], [1], [2]] == sink.delivered
    assert [] == left_behind()


# The exceptions of a block.

ENDS = [ValueError, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit, QueueClosed]


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize(("limit", "undelivered", "in_doubt"), [(None, [], []), (3.0, [2], [1])])
async def test_the_bodys_exception_goes_on(
    kind: type[BaseException],
    limit: float | None,
    undelivered: list[int],
    in_doubt: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The queue drains and the same exception is raised; a note and a record tell of a loss."""
    mistake = kind("of the body")
    queue = FlushQueue(Sink[int](2.0), NaturalPolicy(1), max_shutdown_wait=limit)
    with pytest.raises(kind) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
            raise mistake
    assert mistake is caught.value
    assert (undelivered, in_doubt) == (queue.undelivered, queue.in_doubt)
    told = [*getattr(mistake, "__notes__", []), *caplog.messages]
    assert (0 if limit is None else 2) == len(told)
    assert all("ShutdownTimeout" in each and "1 undelivered, 1 in doubt" in each for each in told)
