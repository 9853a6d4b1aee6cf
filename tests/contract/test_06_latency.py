"""Point 6: due times count from acceptance; a flush that is due starts when a slot is free."""

import asyncio
from collections.abc import Callable

import pytest

from flushq import FlushQueue, IntervalPolicy, NaturalPolicy
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    now,
    patient,
    produce,
    settle,
    steps,
)
from tests.virtual import virtual_loop


async def at(time: float) -> None:
    """Wait until this time."""
    await asyncio.sleep(time - now())


async def test_a_batch_starts_exactly_when_its_oldest_item_is_due() -> None:
    """An item accepted at 0.25 s with a maximum age of 1 s leaves at 1.25 s."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        await at(0.25)
        await queue.enqueue(0)
        await at(9.0)
        assert [1.25] == sink.started


async def test_later_items_do_not_put_the_flush_off() -> None:
    """Later items do not delay the oldest one: its maximum age counts."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        for item in range(9):
            await queue.enqueue(item)
            await asyncio.sleep(0.375)
        assert [[0, 1, 2], [3, 4, 5], [6, 7, 8]] == sink.batches
        assert [1.0, 2.125, 3.25] == sink.started


@pytest.mark.parametrize(("accepted", "start"), [(0.125, 3.0), (2.5, 3.5)])
async def test_age_counts_from_acceptance_not_from_the_end_of_a_flush(
    accepted: float, start: float
) -> None:
    """After a flush from 0 to 3 s, an item leaves at once if it is due, else at its own time."""
    sink = Sink[int](seconds=3.0)
    async with FlushQueue(sink, IntervalPolicy(1.0, max_records=2)) as queue:
        await enqueue_all(queue, range(2))
        await at(accepted)
        await queue.enqueue(2)
        await at(9.0)
        assert [0.0, start] == sink.started


async def test_a_full_batch_that_comes_while_the_sink_is_busy_starts_when_it_is_free() -> None:
    """A batch that fills during a flush starts when the slot is free, not when its age is due."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, IntervalPolicy(60.0, max_records=2)) as queue:
        await enqueue_all(queue, range(2))
        await at(0.5)
        await enqueue_all(queue, range(2, 4))
        await at(9.0)
        assert [0.0, 1.0] == sink.started


async def test_the_first_free_slot_takes_what_is_due() -> None:
    """With several slots a flush that is due starts when the first of them is free."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(max_records=1), max_in_flight=3) as queue:
        await enqueue_all(queue, range(4))
        await at(2.0)
        sink.let_go()
        await at(5.0)
        assert [0.0, 0.0, 0.0, 2.0] == sink.started
        sink.open()


async def test_the_age_of_what_a_late_flush_leaves_behind_is_exact() -> None:
    """Of items accepted at 0.5, 1 and 1.5 s two leave at 3 s, the third by its own age at 5.5 s."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, IntervalPolicy(4.0, max_records=2)) as queue:
        await enqueue_all(queue, range(2))
        for item in range(2, 5):
            await asyncio.sleep(0.5)
            await queue.enqueue(item)
        await at(3.0)
        sink.open()
        await at(9.0)
    assert [[0, 1], [2, 3], [4]] == sink.batches
    assert [0.0, 3.0, 5.5] == sink.started


async def test_an_old_timer_does_not_close_the_next_batch() -> None:
    """If a batch leaves early because it is full, its timer does not flush the next batch."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0, max_records=2)) as queue:
        await queue.enqueue(0)
        await at(0.5)
        await queue.enqueue(1)  # Full; the timer for 1.0 is out of date.
        await at(0.75)
        await queue.enqueue(2)
        await at(9.0)
        assert [0.5, 1.75] == sink.started


async def test_an_item_that_got_room_is_due_by_the_moment_of_the_room() -> None:
    """Pressure empties the queue at 1 s; an item that gets room then is due at 1 s + 4 s."""
    sink = HeldSink[str]()
    async with FlushQueue(sink, IntervalPolicy(4.0), max_queue_size=1) as queue:
        await queue.enqueue("first")
        flushed = asyncio.create_task(queue.flush())
        await settle()
        await queue.enqueue("second")
        waiting = [produce(queue, "third")]
        await at(1.0)
        sink.let_go()  # "second" leaves under pressure, and "third" gets its room.
        await asyncio.gather(flushed, *waiting)
        await at(2.0)
        sink.open()
        await at(9.0)
        assert [0.0, 1.0, 5.0] == sink.started


@pytest.mark.not_in("solipsism", "looptime", "uvloop", reason="moves the virtual clock itself")
@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("gap", range(-3, 4))
async def test_a_loop_that_is_busy_makes_no_item_younger_than_its_room(gap: int, step: int) -> None:
    """If the loop is busy after room was given, the age still counts from the moment of the room.

    Two flushes end, ``gap`` iterations apart; ``step`` iterations later a callback computes for
    5 s. Item 3 gets its room when item 2 is cut: at 0 s if that was before, else at 5 s.
    """
    sink = HeldSink[int]()
    policy = IntervalPolicy(1.0)
    async with FlushQueue(sink, policy, max_queue_size=1, max_in_flight=2) as queue:
        flushes = []
        for item in range(2):
            await queue.enqueue(item)
            flushes.append(asyncio.create_task(queue.flush()))
            await settle()
        await queue.enqueue(2)
        waiting = produce(queue, 3)
        await settle()
        for wait in [-gap, 0] if gap < 0 else [0, gap]:
            after(wait, sink.let_go)
        await steps(step)
        got_room_at = 0.0 if queue.pending == 0 or 2 in sink.items else 5.0
        virtual_loop().elapse(5.0)
        await asyncio.gather(waiting, *flushes)
        await at(20.0)
        sink.open()
    assert [[0], [1], [2], [3]] == sink.batches
    assert max(got_room_at + 1.0, 5.0) == sink.started[3]


def after(iterations: int, call: Callable[[], object]) -> None:
    """Call a function after some iterations of the loop, before calls that are set up later."""
    if iterations:
        virtual_loop().call_soon(after, iterations - 1, call)
    else:
        call()


@pytest.mark.not_in("solipsism", "looptime", "uvloop", reason="moves the virtual clock itself")
async def test_a_burst_is_as_old_as_its_first_item() -> None:
    """Items of one loop iteration share the time of the first one: no age is too small."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        await queue.enqueue(0)
        virtual_loop().elapse(0.5)
        await queue.enqueue(1)
        await at(20.0)
        assert [[0, 1]] == sink.batches
        assert [1.0] == sink.started


@pytest.mark.not_in("solipsism", "looptime", "uvloop", reason="moves the virtual clock itself")
async def test_a_burst_after_the_turn_has_a_clock_of_its_own() -> None:
    """Items of the next iteration get the time of that iteration."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0, max_records=1)) as queue:
        await queue.enqueue(0)
        virtual_loop().elapse(0.5)
        await steps(2)
        assert [[0]] == sink.batches
        await queue.enqueue(1)
        await at(20.0)
    assert [0.5, 0.5] == sink.started


@pytest.mark.not_in("solipsism", "looptime", reason="that clock jumps a day at most")
async def test_a_policy_that_is_never_due_waits_for_ever() -> None:
    """max_wait_seconds=inf sets no timer: the item leaves at the end of the block."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(0)
        await at(1e9)
        assert [] == sink.batches
    assert [1e9] == sink.started
