"""Point 7: a full queue makes producers wait, first come first served, and never for nothing."""

import asyncio
import random
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest

from flushq import (
    Decision,
    FlushPolicy,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    QueueFull,
    Wait,
)
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
    until,
)


def done(tasks: Iterable[asyncio.Task[None]]) -> list[bool]:
    """Which tasks are done."""
    return [task.done() for task in tasks]


# How many wait.


async def test_at_most_max_queue_size_items_wait() -> None:
    """At no loop step, whatever producers do, does `pending` exceed max_queue_size."""
    sink = Sink[int](seconds=0.5)
    seen = set()
    policy = IntervalPolicy(1.0, max_records=3)
    async with FlushQueue(sink, policy, max_queue_size=5, max_in_flight=2) as queue:

        async def producer(start: int) -> None:
            for item in range(start, start + 50):
                await queue.enqueue(item)
                seen.add(queue.pending)
                if item % 3 == 0:
                    await asyncio.sleep(0)

        running = asyncio.gather(*(producer(start) for start in range(0, 500, 50)))
        while not running.done():
            seen.add(queue.pending)
            if sink.running == 2:
                await asyncio.sleep(0.125)
            await steps(1)
    assert 5 == max(seen)
    assert list(range(500)) == sorted(sink.items)


async def test_items_in_flight_are_not_counted() -> None:
    """With 3 items in flight a queue for 2 still takes 2."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(3), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        assert (0, 1) == (queue.pending, sink.running)
        await enqueue_all(queue, range(3, 6))
        assert 3 == queue.pending
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(6)
        sink.open()
    assert [[0, 1, 2], [3, 4, 5]] == sink.batches


async def test_enqueue_nowait_says_why_it_has_no_room() -> None:
    """QueueFull shows how many items and producers wait, and the item is not accepted."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=2) as queue:
        await queue.enqueue(0)
        await settle()
        await enqueue_all(queue, [1, 2])
        with pytest.raises(QueueFull, match=r"2 items wait.*max_queue_size=2.*0 producers"):
            queue.enqueue_nowait(3)
        waiting = produce(queue, 4)
        await settle()
        with pytest.raises(QueueFull, match=r"2 items wait.*1 producers"):
            queue.enqueue_nowait(5)
        sink.open()
        await waiting
    assert [0, 1, 2, 4] == sink.items


async def test_enqueue_nowait_counts_who_is_about_to_come_in() -> None:
    """A producer that lets the loop run has a claim to its room, and is told of."""
    queue = FlushQueue(Sink[int](), patient(), max_queue_size=1)
    first = queue.enqueue(1)
    first.send(None)
    with pytest.raises(QueueFull, match=r"0 items wait.*1 producers come first$"):
        queue.enqueue_nowait(2)
    with pytest.raises(StopIteration):
        first.send(None)
    async with queue:
        assert 1 == queue.pending


async def test_a_full_queue_without_waiting_producers_is_patient() -> None:
    """Being full is no reason to flush: only a producer that waits is."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(5.0), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(3)
        await asyncio.sleep(9.0)
        assert [5.0] == sink.started


# First come, first served.


async def test_producers_are_served_in_the_order_in_which_they_came() -> None:
    """Whatever room a batch frees goes to as many producers from the front of the line."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(3), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        await enqueue_all(queue, range(3, 6))
        waiting = [produce(queue, item) for item in range(6, 14)]
        await settle()
        assert [False] * 8 == done(waiting)
        sink.let_go()
        await settle()
        assert [True] * 3 + [False] * 5 == done(waiting)
        sink.let_go()
        await settle()
        assert [True] * 6 + [False] * 2 == done(waiting)
        sink.open()
        await asyncio.gather(*waiting)
    assert list(range(14)) == sink.items


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("step", range(8))
async def test_a_newcomer_does_not_overtake(step: int, slots: int) -> None:
    """A producer that comes at any step around the gift of room is served after those who wait."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1, max_in_flight=slots) as queue:
        for item in range(slots):
            await queue.enqueue(item - slots)
            await settle()
        await queue.enqueue(0)
        waiting = [produce(queue, 1), produce(queue, 2)]
        await settle()
        sink.let_go()
        await steps(step)
        newcomer = queue.enqueue(3)
        sink.open()
        await newcomer
        await asyncio.gather(*waiting)
    assert list(range(-slots, 4)) == sink.items


@pytest.mark.parametrize("step", range(8))
async def test_enqueue_nowait_does_not_overtake(step: int) -> None:
    """Room that has just been freed is not to be had without waiting while somebody waits."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = [produce(queue, 2), produce(queue, 3)]
        await settle()
        sink.let_go()
        await steps(step)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(4)
        sink.open()
        await asyncio.gather(*waiting)
    assert [0, 1, 2, 3] == sink.items


async def test_nobody_takes_room_that_is_reserved() -> None:
    """Between the gift of room and the step of its producer, the room is taken."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2), max_queue_size=2) as queue:
        await enqueue_all(queue, range(2))
        await settle()
        await enqueue_all(queue, range(2, 4))
        waiting = produce(queue, 4)  # There will be room for two, and one waits.
        await settle()
        sink.let_go()
        await until(lambda: not queue.pending)
        queue.enqueue_nowait(5)
        with pytest.raises(QueueFull, match=r"1 items wait.*1 producers come first$"):
            queue.enqueue_nowait(6)
        newcomer = produce(queue, 7)
        await waiting
        sink.open()
        await newcomer
    assert [0, 1, 2, 3, 5, 4, 7] == sink.items


async def test_enqueue_nowait_takes_room_that_nobody_has_a_claim_to() -> None:
    """Beside room for all that wait in line there may be more: so many items are let in."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(4), max_queue_size=4) as queue:
        await enqueue_all(queue, range(4))
        await settle()
        await enqueue_all(queue, range(4, 8))
        waiting = [produce(queue, 8), produce(queue, 9)]
        await settle()
        sink.let_go()
        await until(lambda: not queue.pending)
        queue.enqueue_nowait(10)
        queue.enqueue_nowait(11)
        with pytest.raises(QueueFull, match=r"2 items wait.*2 producers come first$"):
            queue.enqueue_nowait(12)
        await asyncio.gather(*waiting)
        sink.open()
    assert [*range(8), 10, 11, 8, 9] == sink.items


async def test_nobody_takes_room_that_was_given_back_while_others_wait() -> None:
    """Room that a cancelled producer gives back is the next one's, from that very step on."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        gone, waiting = produce(queue, 2), produce(queue, 3)
        await settle()
        sink.let_go()
        await until(lambda: not queue.pending)
        gone.cancel()
        while not waiting.done():
            with pytest.raises(QueueFull):
                queue.enqueue_nowait(4)
            await steps(1)
        sink.open()
    assert [0, 1, 3] == sink.items


async def test_a_producer_with_a_second_item_does_not_overtake_either() -> None:
    """Who was let in goes to the end of the line with the next item, though there is room."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2), max_queue_size=2) as queue:
        await enqueue_all(queue, range(2))
        await settle()
        await enqueue_all(queue, range(2, 4))
        gone, tight, waiting = produce(queue, 9), produce(queue, 4, 6), produce(queue, 5)
        await settle()
        sink.let_go()
        await until(lambda: not queue.pending)  # Items 9 and 4 have their room.
        gone.cancel()
        await settle()
        assert [True, False, True] == done([gone, tight, waiting])
        sink.open()
        await tight
    assert [0, 1, 2, 3, 4, 5, 6] == sink.items


async def test_a_flush_that_is_refused_leaves_no_room_behind() -> None:
    """After QueueFull inside flush_fn the queue has exactly the room that it had before."""
    seen: list[int] = []

    async def sink(batch: list[int]) -> None:
        if batch == [0]:
            await queue.enqueue(1)
            with pytest.raises(QueueFull):
                await queue.enqueue(2)
        await asyncio.sleep(1.0)

    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        waiting = [produce(queue, item) for item in range(3, 9)]
        while not all(done(waiting)):
            await settle()
            seen.append(queue.pending)
            await asyncio.sleep(0.5)
    assert 1 == max(seen)


async def test_a_pause_for_fairness_loses_no_place_in_the_line() -> None:
    """A 257th item in one go that finds the queue full is served before who comes later."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1000), max_queue_size=256) as queue:
        await make_busy(queue)
        first, later = together(queue, queue.enqueue(999))
        await settle()
        sink.open()
        await asyncio.gather(first, later)
    assert [-1, *range(257), 999] == sink.items


async def test_a_pause_for_fairness_does_not_give_away_room_just_freed() -> None:
    """Of the room that is freed during the pause of who came first, one place is claimed."""
    sink = Sink[int]()

    async def enqueue_nowait() -> None:
        for item in range(1000, 1255):
            queue.enqueue_nowait(item)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(999)

    async with FlushQueue(sink, patient(256), max_queue_size=256) as queue:
        await asyncio.gather(*together(queue, enqueue_nowait()))
    assert [*range(256), *range(1000, 1255), 256] == sink.items


def together(
    queue: FlushQueue[int], other: Coroutine[Any, Any, None]
) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
    """Enqueue 257 items without suspending; the other comes one iteration after that began."""
    may_come = asyncio.Event()

    async def first() -> None:
        await steps(1)
        await enqueue_all(queue, range(255))
        may_come.set()
        await enqueue_all(queue, range(255, 257))

    async def later() -> None:
        await may_come.wait()
        await other

    return asyncio.create_task(first()), asyncio.create_task(later())


async def make_busy(queue: FlushQueue[int]) -> None:
    """Put item -1 in flight."""
    await queue.enqueue(-1)
    flushing = asyncio.create_task(queue.flush())
    await settle()
    flushing.cancel()
    await settle()


async def test_a_duplicate_passes_the_line() -> None:
    """A duplicate needs no room, so it neither waits nor takes the turn of who does."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), dedupe_key=abs, max_queue_size=2) as queue:
        await queue.enqueue(9)
        await settle()
        await enqueue_all(queue, [1, 2])
        waiting = [produce(queue, 3), produce(queue, 4)]
        await settle()
        await queue.enqueue(-1)
        queue.enqueue_nowait(-2)
        assert (2, [False, False]) == (queue.pending, done(waiting))
        sink.open()
        await asyncio.gather(*waiting)
    assert [9, 1, 2, 3, 4] == sink.items


async def test_a_producer_whose_item_became_a_duplicate_passes_its_room_on() -> None:
    """Of two that wait with one key the second takes no room: the third gets it."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(3), dedupe_key=abs, max_queue_size=3) as queue:
        await enqueue_all(queue, [1, 2, 3])
        await settle()
        await enqueue_all(queue, [4, 5, 6])
        waiting = [produce(queue, item) for item in [7, -7, -7, 8, -8, 9, 10]]
        await settle()
        sink.let_go()
        await settle()
        assert [True] * 6 + [False] == done(waiting)
        sink.open()
        await asyncio.gather(*waiting)
    assert [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] == sink.items


# Producers that give up.


@pytest.mark.not_in("debug", reason="keeps the stacks of 10,000 tasks, which takes long")
async def test_ten_thousand_blocked_producers_half_of_them_cancelled() -> None:
    """Those that stay are served in order, and those that gave up leave no trace."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(7), max_queue_size=7) as queue:
        await enqueue_all(queue, range(-14, 0))
        waiting = [asyncio.create_task(queue.enqueue(item)) for item in range(10_000)]
        await settle()
        for task in waiting[::2]:
            task.cancel()
        sink.open()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [*range(-14, 0), *range(1, 10_000, 2)] == sink.items
    assert [asyncio.CancelledError, type(None)] * 5000 == list(map(type, outcomes))


@pytest.mark.not_in("debug", reason="keeps the stacks of 10,000 tasks, which takes long")
async def test_ten_thousand_blocked_producers_cancelled_while_room_appears() -> None:
    """Half of a long line may give up bit by bit while it moves: nobody is skipped or kept."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(64), max_queue_size=100, max_in_flight=2) as queue:
        waiting = [asyncio.create_task(queue.enqueue(item)) for item in range(10_000)]
        for task in waiting[1::2]:
            task.cancel()
            if queue.pending % 3 == 0:
                await steps(1)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    accepted = [item for item, outcome in enumerate(outcomes) if outcome is None]
    assert accepted == sink.items
    assert 5000 <= len(accepted) < 10_000


@pytest.mark.parametrize("seed", range(30))
async def test_producers_that_give_up_at_random_steps(seed: int) -> None:
    """Whatever producers give up at whatever steps, the others are served in order."""
    chance = random.Random(seed)
    sink = HeldSink[int]()
    size, slots = chance.randint(1, 3), chance.randint(1, 2)
    queue = FlushQueue(
        sink, patient(chance.randint(1, 3)), max_queue_size=size, max_in_flight=slots
    )
    waiting: list[asyncio.Task[None]] = []
    async with queue:
        for item in range(60):
            waiting.append(asyncio.create_task(queue.enqueue(item)))
            if chance.random() < 0.4:
                chance.choice(waiting).cancel()
            if sink.held and chance.random() < 0.5:
                sink.let_go()
            await steps(chance.randint(0, 3))
            assert size >= queue.pending
        sink.open()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    accepted = [item for item, outcome in enumerate(outcomes) if outcome is None]
    assert accepted == sink.items
    assert slots >= sink.most_running


async def test_a_line_whose_producers_all_gave_up_is_no_line() -> None:
    """After all that waited were cancelled the queue is as if they had never come."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = [produce(queue, item) for item in range(10, 20)]
        await settle()
        for task in waiting:
            task.cancel()
        await settle()
        sink.let_go()
        await settle()
        queue.enqueue_nowait(2)
        sink.open()
    assert [0, 1, 2] == sink.items


async def test_blocked_producers_with_timeouts() -> None:
    """Producers whose timeouts strike one after the other leave those behind them in order."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:

        async def hasty(item: int) -> None:
            async with asyncio.timeout(item + 0.5):
                await queue.enqueue(item)

        outcomes = await asyncio.gather(*map(hasty, range(12)), return_exceptions=True)
        served = [item for item, outcome in enumerate(outcomes) if outcome is None]
        assert {type(None), TimeoutError} >= set(map(type, outcomes))
    assert served == sink.items
    assert 6 <= len(served)


# Pressure overrides patience.


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("cap", [1, 2, 100])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_never_a_waiting_producer_beside_a_free_slot(size: int, cap: int, slots: int) -> None:
    """Whenever the loop is idle and a producer waits, the queue is full and all slots are busy."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(cap), max_queue_size=size, max_in_flight=slots) as queue:
        waiting = [produce(queue, item) for item in range(20)]
        while not all(done(waiting)):
            await settle()
            if not all(done(waiting)):
                assert (size, slots) == (queue.pending, sink.running)
                sink.let_go()
        sink.open()
    assert list(range(20)) == sink.items


async def test_a_queue_smaller_than_a_batch() -> None:
    """With max_queue_size below max_records the batches are as large as the queue."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(1000), max_queue_size=4) as queue:
        await enqueue_all(queue, range(12))
        await settle()
        assert [4, 4] == sink.sizes
        assert 4 == queue.pending
    assert [4, 4, 4] == sink.sizes
    assert 0.0 == now()


async def test_a_producer_that_comes_to_a_full_and_idle_queue() -> None:
    """A producer that comes when nothing else happens is let in at once, by a flush."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(60.0), max_queue_size=3) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(9.0)
        await queue.enqueue(3)
        assert 9.0 == now()
        await settle()
        assert ([[0, 1, 2]], 1) == (sink.batches, queue.pending)


async def test_pressure_waits_for_a_free_slot_and_no_longer() -> None:
    """A producer that waits while the sink is busy is let in when the flush ends."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, IntervalPolicy(60.0), max_queue_size=1) as queue:
        times = []
        for item in range(4):
            await queue.enqueue(item)
            times.append(now())
        assert [0.0, 0.0, 2.0, 4.0] == times


async def test_pressure_uses_all_slots() -> None:
    """While producers wait, every free slot takes a batch at once."""
    sink = Sink[int](seconds=2.0)
    async with FlushQueue(sink, IntervalPolicy(60.0), max_queue_size=2, max_in_flight=3) as queue:
        times = []
        for item in range(12):
            await queue.enqueue(item)
            times.append(now())
        assert [0.0] * 8 + [2.0] * 4 == times
        assert [0.0] * 3 + [2.0] * 2 == sink.started


async def test_pressure_ends_with_the_last_that_waits() -> None:
    """Once everybody has room, patience is back: what waits leaves when the policy says so."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(5.0), max_queue_size=2) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(9.0)
        assert [[0, 1], [2]] == sink.batches
        assert [0.0, 5.0] == sink.started


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("producers", [2, 6, 30])
async def test_pressure_is_a_flush_of_a_full_queue(producers: int, slots: int) -> None:
    """Who waits behind a producer that has room presses nobody: every batch is a full queue."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient(), max_queue_size=100, max_in_flight=slots)
    async with queue:
        starts = range(0, producers * 1000, 1000)
        await asyncio.gather(*(produce(queue, *range(at, at + 300)) for at in starts))
    assert [100] * (3 * producers) == sink.sizes


class NeverDue(FlushPolicy):
    """Never flush, not even a full batch."""

    max_records = 2

    def decide(self, now: float) -> Decision:
        """Wait."""
        return Wait()


async def test_pressure_flushes_no_more_than_makes_room() -> None:
    """Once a batch has made room for all that wait, the next one is the policy's business."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NeverDue(), max_queue_size=4, max_in_flight=2) as queue:
        await enqueue_all(queue, range(5))
        await settle()
        assert (3, [[0, 1]]) == (queue.pending, sink.batches)
        sink.open()
    assert [[0, 1], [2, 3], [4]] == sink.batches


async def test_producers_that_wait_for_the_start_are_let_in_by_it() -> None:
    """Before the start nothing moves; then those who wait are served in order, at once."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient(), max_queue_size=2)
    waiting = [produce(queue, item) for item in range(7)]
    await asyncio.sleep(9.0)
    assert (2, [True] * 2 + [False] * 5) == (queue.pending, done(waiting))
    async with queue:
        await asyncio.gather(*waiting)
        assert 9.0 == now()
    assert list(range(7)) == sink.items


async def test_a_line_longer_than_everything_else_moves_on_at_every_flush() -> None:
    """A thousand producers behind a queue for one, a cap of one and a slow sink are all served."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, NaturalPolicy(1), max_queue_size=1) as queue:
        await asyncio.gather(*(produce(queue, item) for item in range(1000)))
        assert 998.0 == now()
    assert [float(time) for time in range(1000)] == sink.started
    assert_all_accounted_for(range(1000), queue, sink)


async def test_two_queues_do_not_share_their_lines() -> None:
    """A line at one queue is none at another."""
    full, free = HeldSink[int](), HeldSink[int]()
    async with (
        FlushQueue(full, patient(1), max_queue_size=1) as first,
        FlushQueue(free, patient(1), max_queue_size=1) as second,
    ):
        await first.enqueue(0)
        await settle()
        await first.enqueue(1)
        waiting = produce(first, 2)
        await settle()
        second.enqueue_nowait(0)
        await settle()
        await second.enqueue(1)
        full.open()
        free.open()
        await waiting
    assert ([0, 1, 2], [0, 1]) == (full.items, free.items)


async def test_ten_thousand_items_may_wait_unless_told_otherwise() -> None:
    """The default of max_queue_size is 10,000."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        for item in range(10_000):
            queue.enqueue_nowait(item)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(10_000)
    assert [10_000] == sink.sizes
