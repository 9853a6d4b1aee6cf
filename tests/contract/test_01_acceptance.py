"""Point 1: enqueue returns and the item is accepted, once; or it raises and the item is not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import pytest

from flushq import FlushFailed, FlushQueue, QueueClosed, ShutdownTimeout
from flushq.core.fairness import BURST
from tests.contract.support import (
    HOWS,
    HeldSink,
    How,
    Interruption,
    Sink,
    failing,
    patient,
    produce,
    settle,
    steps,
    sweep,
)


def queue_of_one(sink: Sink[int]) -> FlushQueue[int]:
    """Return a queue that holds one item in flight and one that waits; others wait for room."""
    return FlushQueue(sink, patient(1), max_queue_size=1)


async def enqueue_and_note(queue: FlushQueue[int], items: Iterable[int], noted: list[int]) -> None:
    """Enqueue items one after the other, and note those that were accepted."""
    for item in items:
        await queue.enqueue(item)
        noted.append(item)


async def fill(queue: FlushQueue[int]) -> None:
    """Put item 0 in flight, and let item 1 wait."""
    await queue.enqueue(0)
    await settle()
    await queue.enqueue(1)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_in_the_middle_of_the_line(how: How) -> None:
    """Producers before and after an interrupted one get room in the order in which they came."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with queue_of_one(sink) as queue:
            await fill(queue)
            before = [produce(queue, 2), produce(queue, 3)]
            await settle()
            interrupting = asyncio.create_task(interrupted(queue.enqueue(4)))
            await steps(2)  # Item 4, unless it is interrupted by now, is in the line.
            behind = [produce(queue, 5), produce(queue, 6)]
            sink.open()
            accepted = await interrupting
            await asyncio.gather(*before, *behind)
        assert [0, 1, 2, 3, *([4] if accepted else []), 5, 6] == sink.items

    assert 8 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_an_interrupted_producer_gives_its_reservation_to_the_next(how: How) -> None:
    """If a producer that was given room is interrupted, the next one in line gets the room."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with queue_of_one(sink) as queue:
            await fill(queue)
            sink.let_go()  # Item 1 leaves, and there is room for one; no other call is released.
            accepted = await interrupted(queue.enqueue(2))
            following = produce(queue, 3)
            await settle()
            assert accepted is not following.done()
            assert 1 == queue.pending
            sink.open()
            await following
        assert ([0, 1, 2, 3] if accepted else [0, 1, 3]) == sink.items

    assert 3 <= await sweep(scenario, how)


@pytest.mark.parametrize("size", [BURST, 2 * BURST])
@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_in_the_pause_for_fairness_or_in_the_line(how: How, size: int) -> None:
    """An item after a burst is accepted only if its enqueue returns, also after a wait in line."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        accepted: list[int] = []
        async with FlushQueue(sink, patient(1), max_queue_size=size) as queue:
            await queue.enqueue(-1)
            await settle()
            producing = interrupted(enqueue_and_note(queue, range(BURST + 1), accepted))
            operation = asyncio.create_task(producing)
            await steps(4)
            sink.open()
            await operation
            await queue.enqueue(999)
        assert [-1, *accepted, 999] == sink.items

    assert 1 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_before_the_start(how: How) -> None:
    """An enqueue that waits for the start of a full queue can be interrupted."""

    async def scenario(interrupted: Interruption) -> None:
        sink = Sink[int]()
        queue = FlushQueue(sink, patient(1), max_queue_size=1)
        await queue.enqueue(0)
        before = produce(queue, 1)
        await settle()
        start_and_close = asyncio.create_task(queue.__aenter__())
        accepted = await interrupted(queue.enqueue(2))
        await start_and_close
        await queue.enqueue(3)
        await before
        await queue.aclose()
        assert ([0, 1, 2, 3] if accepted else [0, 1, 3]) == sink.items

    assert 3 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_while_the_queue_fails(how: How) -> None:
    """An enqueue during a failure raises, interrupted or not, and its item is in no list."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with failing(queue_of_one(sink)) as queue:
            await fill(queue)
            sink.fail(OSError("down"))
            with suppress(FlushFailed):
                assert not await interrupted(queue.enqueue(2))
        assert ([1], [0]) == (queue.undelivered, queue.in_doubt)

    await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_while_the_queue_closes(how: How) -> None:
    """An enqueue during the close returns or raises, and the item is delivered if it returns."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with queue_of_one(sink) as queue:
            await fill(queue)
            closing = asyncio.create_task(queue.aclose())
            accepted = False
            with suppress(QueueClosed):
                accepted = await interrupted(queue.enqueue(2))
            sink.open()
            await closing
        assert ([0, 1, 2] if accepted else [0, 1]) == sink.items

    await sweep(scenario, how)


async def within_timeout(operation: Awaitable[None], seconds: float) -> None:
    """Await an operation within asyncio.timeout."""
    async with asyncio.timeout(seconds):
        await operation


@pytest.mark.parametrize("limited", [within_timeout, asyncio.wait_for])
@pytest.mark.parametrize("late", [-0.25, 0.0, 0.25])
async def test_a_timeout_around_the_time_at_which_room_appears(
    late: float, limited: Callable[[Awaitable[None], float], Awaitable[None]]
) -> None:
    """Either the timeout raises or the item is accepted, also if both come at the same instant."""
    sink = Sink[int](seconds=1.0)
    async with queue_of_one(sink) as queue:
        await fill(queue)
        accepted = True
        try:
            await limited(queue.enqueue(2), 1.0 + late)
        except TimeoutError:
            accepted = False
        await queue.enqueue(3)
    assert ([0, 1, 2, 3] if accepted else [0, 1, 3]) == sink.items
    assert accepted or late <= 0


async def test_any_exception_thrown_into_enqueue_refuses_the_item() -> None:
    """If an exception is thrown into a waiting enqueue, it is raised and the item not accepted."""
    sink = HeldSink[int]()
    async with queue_of_one(sink) as queue:
        await fill(queue)
        enqueuing = queue.enqueue(2)
        enqueuing.send(None)
        behind = produce(queue, 3)
        await settle()
        with pytest.raises(ZeroDivisionError):
            enqueuing.throw(ZeroDivisionError())
        sink.open()
        await behind
    assert [0, 1, 3] == sink.items


async def test_an_enqueue_that_is_never_awaited_accepts_nothing() -> None:
    """Calling enqueue without awaiting it does nothing; the coroutine can be closed."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        queue.enqueue(0).close()
        await queue.enqueue(1)
        assert 1 == queue.pending
    assert [1] == sink.items


async def test_a_close_in_the_pause_for_fairness() -> None:
    """A close that begins while a producer pauses after a burst refuses its next item."""
    noted: list[int] = []
    queue = FlushQueue(Sink[int](), patient(), max_shutdown_wait=0)
    async with failing(queue, ShutdownTimeout):
        outcomes = await asyncio.gather(
            enqueue_and_note(queue, range(BURST + 9), noted), queue.aclose(), return_exceptions=True
        )
    assert [QueueClosed, ShutdownTimeout] == list(map(type, outcomes))
    assert list(range(BURST)) == noted
    assert noted == queue.undelivered


@pytest.mark.parametrize("step", range(5))
async def test_a_failure_in_the_pause_for_fairness(step: int) -> None:
    """After a failure at any step around the pause, the lists have exactly the accepted items."""
    sink = HeldSink[int]()
    noted: list[int] = []
    async with failing(FlushQueue(sink, patient())) as queue:
        await queue.enqueue(-1)
        flushing = asyncio.create_task(queue.flush())
        await settle()
        producing = asyncio.create_task(enqueue_and_note(queue, range(5000), noted))
        await steps(step)
        sink.fail(OSError("down"))
        outcomes = await asyncio.gather(flushing, producing, return_exceptions=True)
    assert [FlushFailed, FlushFailed] == list(map(type, outcomes))
    assert ([-1], noted) == (queue.in_doubt, queue.undelivered)
