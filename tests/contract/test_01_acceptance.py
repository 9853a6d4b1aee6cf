"""Point 1: enqueue returns and the item is accepted, once; or it raises and the item is not."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress

import pytest

from flushq import FlushFailed, FlushQueue, IntervalPolicy, QueueClosed, ShutdownTimeout
from tests.contract.support import (
    HOWS,
    HeldSink,
    How,
    Interruption,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
    steps,
    sweep,
    until,
)


def queue_of_one(sink: HeldSink[int]) -> FlushQueue[int]:
    """Return a queue in which one item runs, one waits, and all others wait for room."""
    return FlushQueue(sink, patient(1), max_queue_size=1)


async def enqueue_and_note(queue: FlushQueue[int], items: Iterable[int], noted: list[int]) -> None:
    """Enqueue items one after the other, and note those that were accepted."""
    for item in items:
        await queue.enqueue(item)
        noted.append(item)


async def fill(queue: FlushQueue[int]) -> None:
    """Put item 0 in flight and let item 1 wait."""
    await queue.enqueue(0)
    await settle()
    await queue.enqueue(1)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_at_any_step_while_room_appears(how: How) -> None:
    """An enqueue interrupted at any step is accepted just if it returned; the others go on."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with queue_of_one(sink) as queue:
            await fill(queue)
            before = produce(queue, 2)
            await settle()
            sink.open()
            accepted = await interrupted(queue.enqueue(3))
            await queue.enqueue(4)
            await before
        assert ([0, 1, 2, 3, 4] if accepted else [0, 1, 2, 4]) == sink.items

    assert 5 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_in_the_middle_of_the_line(how: How) -> None:
    """Who waits before and behind an interrupted producer gets room, in the old order."""

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
async def test_interrupted_in_the_pause_for_fairness(how: How) -> None:
    """The pause after 256 items is an await point like any other: no item slips through it."""

    async def scenario(interrupted: Interruption) -> None:
        sink = Sink[int]()
        accepted: list[int] = []
        async with FlushQueue(sink, patient()) as queue:
            await interrupted(enqueue_and_note(queue, range(600), accepted))
            await queue.enqueue(999)
        assert [*accepted, 999] == sink.items

    assert 2 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_in_the_pause_and_in_the_line_behind_it(how: How) -> None:
    """A 257th item in a queue for 256 is accepted just if its enqueue returned."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        accepted: list[int] = []
        async with FlushQueue(sink, patient(1), max_queue_size=256) as queue:
            await queue.enqueue(-1)
            await settle()
            operation = asyncio.create_task(
                interrupted(enqueue_and_note(queue, range(257), accepted))
            )
            await steps(4)
            assert len(accepted) in {0, 256}
            sink.let_go()
            await operation
            sink.open()
            await queue.enqueue(999)
        assert [-1, *accepted, 999] == sink.items

    assert 6 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_an_interrupted_producer_gives_its_reservation_to_the_next(how: How) -> None:
    """Room for one, given to a producer that is interrupted, goes to the next in line."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with queue_of_one(sink) as queue:
            await fill(queue)
            sink.let_go()  # Item 1 leaves, and there is room for one; nothing more is let go.
            accepted = await interrupted(queue.enqueue(2))
            following = produce(queue, 3)
            await settle()
            assert accepted is not following.done()
            assert 1 == queue.pending
            sink.open()
            await following
        assert ([0, 1, 2, 3] if accepted else [0, 1, 3]) == sink.items

    assert 3 <= await sweep(scenario, how)


@pytest.mark.parametrize("how", HOWS)
async def test_an_interrupted_producer_with_nobody_behind_it_leaves_its_room_free(how: How) -> None:
    """Room that an interrupted producer had been given can be taken without waiting."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with queue_of_one(sink) as queue:
            await fill(queue)
            sink.let_go()
            accepted = await interrupted(queue.enqueue(2))
            await settle()
            if not accepted:
                queue.enqueue_nowait(3)
            sink.open()
        assert [0, 1, 2 if accepted else 3] == sink.items

    assert 3 <= await sweep(scenario, how)


async def test_a_producer_may_be_cancelled_at_the_very_step_at_which_it_is_given_room() -> None:
    """A cancellation between the gift of room and the producer's next step wins."""
    sink = HeldSink[int]()
    async with queue_of_one(sink) as queue:
        await fill(queue)
        waiting = [produce(queue, item) for item in range(2, 6)]
        await settle()
        sink.open()
        await until(lambda: not queue.pending)  # Item 1 is cut, and item 2 has its room.
        waiting[0].cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [asyncio.CancelledError, type(None), type(None), type(None)] == list(map(type, outcomes))
    assert [0, 1, 3, 4, 5] == sink.items


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_before_the_start(how: How) -> None:
    """An enqueue that waits for the start of a full queue can be interrupted there."""

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
    """An enqueue that meets a failure raises, interrupted or not, and its item is in no list."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with failing(queue_of_one(sink)) as queue:
            await fill(queue)
            sink.fail(OSError("down"))
            with suppress(FlushFailed):
                assert not await interrupted(queue.enqueue(2))
        assert ([1], [0]) == (queue.undelivered, queue.in_doubt)

    for step in range(10):
        interruption = Interruption(step, how)
        await scenario(interruption)
    assert interruption.too_late


@pytest.mark.parametrize("how", HOWS)
async def test_interrupted_while_the_queue_closes(how: How) -> None:
    """An enqueue that meets the close is accepted or raises, and only the former is delivered."""

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

    for step in range(10):
        interruption = Interruption(step, how)
        await scenario(interruption)
    assert interruption.too_late


@pytest.mark.parametrize("late", [-0.25, 0.0, 0.25])
async def test_a_timeout_at_the_time_at_which_room_appears(late: float) -> None:
    """asyncio.timeout raises or the item is accepted, also if both fall on the same instant."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await enqueue_all(queue, [0])
        await settle()
        await queue.enqueue(1)
        accepted = True
        try:
            async with asyncio.timeout(1.0 + late):
                await queue.enqueue(2)
        except TimeoutError:
            accepted = False
        at = now()
        await queue.enqueue(3)
    assert min(1.0 + late, 1.0) == at
    assert ([0, 1, 2, 3] if accepted else [0, 1, 3]) == sink.items
    assert accepted or late <= 0


@pytest.mark.parametrize("late", [-0.25, 0.0, 0.25])
async def test_wait_for_until_the_time_at_which_room_appears(late: float) -> None:
    """asyncio.wait_for raises or the item is accepted, also if both fall on the same instant."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        accepted = True
        try:
            await asyncio.wait_for(queue.enqueue(2), 1.0 + late)
        except TimeoutError:
            accepted = False
        await queue.enqueue(3)
    assert ([0, 1, 2, 3] if accepted else [0, 1, 3]) == sink.items
    assert accepted or late <= 0


async def test_an_item_offered_again_after_each_timeout_is_accepted_once() -> None:
    """A producer that tries again after a timeout has its item delivered once."""
    sink = Sink[str](seconds=1.0)
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue("first")
        await settle()
        await queue.enqueue("second")
        tries = 1
        while True:
            try:
                await asyncio.wait_for(queue.enqueue("again"), 0.125)
            except TimeoutError:
                tries += 1
            else:
                break
    assert 8 <= tries
    assert ["first", "second", "again"] == sink.items


async def test_a_producer_that_swallows_its_cancellation_starts_anew_at_the_end() -> None:
    """An item that is offered again after a cancellation has lost its place in the line."""
    sink = HeldSink[int]()

    async def stubborn(item: int) -> None:
        try:
            await queue.enqueue(item)
        except asyncio.CancelledError:
            await queue.enqueue(item)

    async with queue_of_one(sink) as queue:
        await fill(queue)
        first = asyncio.create_task(stubborn(2))
        await settle()
        second = produce(queue, 3)
        await settle()
        first.cancel()
        await settle()
        sink.open()
        await asyncio.gather(first, second)
    assert [0, 1, 3, 2] == sink.items


async def test_any_exception_thrown_into_enqueue_refuses_the_item() -> None:
    """An exception thrown into a waiting enqueue comes out of it, and the item is not accepted."""
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
    """Calling enqueue does nothing before the result is awaited: closing it leaves no trace."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        queue.enqueue(0).close()
        await queue.enqueue(1)
        assert 1 == queue.pending
    assert [1] == sink.items


async def relay(
    queue: FlushQueue[int], source: range, noted: list[int]
) -> AsyncGenerator[int, None]:
    """Enqueue items, note and tell of each one that was accepted, and say goodbye with a -1."""
    try:
        for item in source:
            await queue.enqueue(item)
            noted.append(item)
            yield item
    finally:
        await queue.enqueue(-1)
        noted.append(-1)


async def test_a_producing_generator_closed_between_two_items() -> None:
    """An async generator closed midway may still enqueue in its own cleanup."""
    sink = Sink[int]()
    async with (
        FlushQueue(sink, patient(2), max_queue_size=2) as queue,
        aclosing(relay(queue, range(100), [])) as accepted,
    ):
        async for item in accepted:
            if item == 4:
                break
    assert [0, 1, 2, 3, 4, -1] == sink.items


async def test_a_producing_generator_whose_reader_is_cancelled_at_any_step() -> None:
    """What a generator had accepted when its reader was cancelled is delivered, and no more."""

    async def scenario(interrupted: Interruption) -> None:
        noted: list[int] = []
        sink = Sink[int]()

        async def read() -> None:
            async with aclosing(relay(queue, range(4), noted)) as accepted:
                async for _ in accepted:
                    pass

        async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
            await interrupted(read())
            await queue.enqueue(9)
        assert [*noted, 9] == sink.items

    assert 5 <= await sweep(scenario)


@pytest.mark.parametrize("before", [0, 1, 2, 5])
async def test_a_producing_generator_dropped_midway(before: int) -> None:
    """A generator that is garbage-collected between two items is cleaned up by the loop."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        accepted = relay(queue, range(100), [])
        for item in range(before):
            assert item == await anext(accepted)
        await settle()
        del accepted
        await settle()
    assert ([*range(before), -1] if before else []) == sink.items


async def test_a_step_of_a_producing_generator_closed_in_the_line() -> None:
    """Closing a generator's pending step (GeneratorExit in enqueue) gives its place back."""
    sink = HeldSink[int]()

    async def plain() -> AsyncGenerator[int, None]:
        for item in range(2, 100):
            await queue.enqueue(item)
            yield item

    async with queue_of_one(sink) as queue:
        await fill(queue)
        generator = plain()
        step = generator.asend(None)
        step.send(None)  # It waits for room now.
        with pytest.raises(asyncio.CancelledError):
            step.throw(asyncio.CancelledError())
        behind = produce(queue, 100)
        sink.open()
        await behind
    assert [0, 1, 100] == sink.items


async def test_a_sibling_that_fails_cancels_the_blocked_producers_of_its_group() -> None:
    """When a TaskGroup fails, its waiting items are not accepted; other producers go on."""
    sink = HeldSink[int]()

    async def sibling() -> None:
        await settle()
        raise ZeroDivisionError

    async with queue_of_one(sink) as queue:
        await fill(queue)
        stranger = produce(queue, 2)
        await settle()
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                blocked = [group.create_task(queue.enqueue(item)) for item in range(10, 20)]
                group.create_task(sibling())
        late = produce(queue, 3)
        sink.open()
        await asyncio.gather(stranger, late)
    assert [ZeroDivisionError] == list(map(type, caught.value.exceptions))
    assert all(task.cancelled() for task in blocked)
    assert [0, 1, 2, 3] == sink.items


async def test_a_sibling_that_fails_at_any_step_leaves_a_true_account() -> None:
    """Whenever a group of producers is cancelled, what was accepted is delivered, nothing else."""

    async def scenario(interrupted: Interruption) -> None:
        sink = Sink[int]()
        accepted: list[int] = []

        async def producer(start: int) -> None:
            for item in range(start, start + 4):
                await queue.enqueue(item)
                accepted.append(item)

        async def group_of_producers() -> None:
            async with asyncio.TaskGroup() as group:
                for start in range(0, 40, 10):
                    group.create_task(producer(start))

        async with FlushQueue(sink, patient(3), max_queue_size=2, max_in_flight=2) as queue:
            await interrupted(group_of_producers())
        assert accepted == sink.items

    assert 10 <= await sweep(scenario)


async def test_enqueue_beside_a_failure_at_any_step() -> None:
    """An item that comes at any step around a failure is refused, or accepted and listed."""
    for step in range(8):
        sink = HeldSink[int]()
        accepted = [0]
        async with failing(FlushQueue(sink, IntervalPolicy(9.0, max_records=1))) as queue:
            await queue.enqueue(0)
            await settle()
            sink.fail(OSError("down"))
            await steps(step)
            with suppress(FlushFailed):
                await enqueue_and_note(queue, [1], accepted)
        assert_all_accounted_for(accepted, queue, sink)
        assert ([0], accepted[1:]) == (queue.in_doubt, queue.undelivered)
    assert [0] == accepted


async def test_a_close_in_the_pause_for_fairness() -> None:
    """A close that begins while a producer pauses after 256 items refuses its next one."""
    noted: list[int] = []
    queue = FlushQueue(Sink[int](), patient(), max_shutdown_wait=0)
    async with failing(queue, ShutdownTimeout):
        outcomes = await asyncio.gather(
            enqueue_and_note(queue, range(300), noted), queue.aclose(), return_exceptions=True
        )
    assert [QueueClosed, ShutdownTimeout] == list(map(type, outcomes))
    assert list(range(256)) == noted
    assert noted == queue.undelivered


@pytest.mark.parametrize("step", range(5))
async def test_a_failure_in_the_pause_for_fairness(step: int) -> None:
    """A failure at any step around the pause leaves a true account of what was accepted."""
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


async def test_enqueue_beside_a_close_that_flushes_nothing_any_more() -> None:
    """An item that comes at any step around a close without patience is refused or listed."""
    for step in range(8):
        sink = Sink[int]()
        accepted = []
        queue = FlushQueue(sink, patient(), max_shutdown_wait=0)
        async with asyncio.TaskGroup() as group:
            await queue.__aenter__()
            await queue.enqueue(0)
            accepted.append(0)
            closing = group.create_task(_closed_with_a_loss(queue))
            await steps(step)
            try:
                await queue.enqueue(1)
                accepted.append(1)
            except QueueClosed:
                pass
            await closing
        assert_all_accounted_for(accepted, queue, sink)
    assert [0] == accepted


async def _closed_with_a_loss(queue: FlushQueue[int]) -> None:
    with pytest.raises(ShutdownTimeout):
        await queue.aclose()
