"""Point 14: the calls that a flush function may make to its own queue."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flushq import (
    FlushFailed,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    QueueClosed,
    QueueFull,
    ShutdownTimeout,
)
from tests.contract.hostile import FACTORIES, WAYS, Way, as_task, directly, error_of, left_behind
from tests.contract.support import Sink, enqueue_all, now, patient, settle, steps

Flush = Callable[[list[int]], Awaitable[None]]

BOTH = pytest.mark.parametrize("first_await", ["before", "after"])
ALL_WAYS = pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
SLOTS = pytest.mark.parametrize("slots", [1, 2])


async def pause(first_await: str) -> None:
    """Suspend for a second if ``first_await`` is "after"."""
    if first_await == "after":
        await asyncio.sleep(1.0)


class Feeding:
    """A flush function that enqueues each item below 100 again, with 100 added."""

    def __init__(self, way: Way, first_await: str, slots: int) -> None:
        self.way = way
        self.first_await = first_await
        self.items: list[int] = []
        self.queue = FlushQueue(self.flush, patient(2), max_in_flight=slots)

    async def flush(self, batch: list[int]) -> None:
        """Take a batch, and enqueue its new items."""
        self.items += batch
        await pause(self.first_await)
        for item in batch:
            if item < 100:
                await self.way(self.queue.enqueue(item + 100))


# Enqueue.


@BOTH
@ALL_WAYS
@SLOTS
@pytest.mark.parametrize("draining", [False, True])
async def test_a_flush_may_enqueue(
    way: Way, first_await: str, slots: int, *, draining: bool
) -> None:
    """Items that flush_fn enqueues to its own queue are delivered like others."""
    feeding = Feeding(way, first_await, slots)
    async with feeding.queue as queue:
        await enqueue_all(queue, range(4))
        await asyncio.sleep(0.0 if draining else 10.0)
    assert [0, 1, 2, 3] == [item for item in feeding.items if item < 100]
    assert [0, 1, 2, 3, 100, 101, 102, 103] == sorted(feeding.items)
    assert [] == left_behind()


@pytest.mark.not_in(
    "uvloop", reason="it passes eager_start, which the factory of Python 3.13.0 does not take"
)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_a_flush_may_enqueue_on_a_loop_with_eager_tasks(factory: Any, slots: int) -> None:
    """A flush may enqueue before its first await, with eager tasks or without."""
    asyncio.get_running_loop().set_task_factory(factory)
    feeding = Feeding(directly, "before", slots)
    async with feeding.queue as queue:
        await enqueue_all(queue, range(5))
        await queue.flush()
        await enqueue_all(queue, range(5, 10))
    assert [*range(10), *range(100, 110)] == sorted(feeding.items)


async def test_a_queue_that_feeds_itself_for_ever_ends_at_its_limit() -> None:
    """The limit ends a drain that would never end; the last item is listed."""
    refused: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            refused.append(await error_of(queue.enqueue(-1)))
            raise
        await queue.enqueue(batch[0] + 1)

    queue = FlushQueue(sink, patient(), max_shutdown_wait=10.5)
    with pytest.raises(ShutdownTimeout):
        async with queue:
            await queue.enqueue(0)
    assert [10] == queue.in_doubt
    assert [] == queue.undelivered
    assert [QueueClosed] == [type(error) for error in refused]


async def now_or_never(queue: FlushQueue[str], item: str) -> None:
    """Call enqueue_nowait where a coroutine is expected."""
    queue.enqueue_nowait(item)


@pytest.mark.parametrize("enqueue", [FlushQueue.enqueue, now_or_never])
async def test_everyone_else_is_refused_during_the_drain(
    enqueue: Callable[[FlushQueue[str], str], Awaitable[None]],
) -> None:
    """In the drain other callers get QueueClosed, just before and after an item of flush_fn."""
    sink = Sink[str]()
    go_on = asyncio.Event()

    async def flush_fn(batch: list[str]) -> None:
        await sink(batch)
        if batch == ["first"]:
            await go_on.wait()
            await queue.enqueue("inside")

    async def outside() -> BaseException | None:
        await go_on.wait()
        return await error_of(enqueue(queue, "outside"))

    queue = FlushQueue(flush_fn, patient())
    await queue.enqueue("first")
    tasks: list[asyncio.Task[BaseException | None]] = []
    for operation in (outside(), error_of(queue.aclose()), outside()):
        tasks.append(asyncio.create_task(operation))
        await settle()
    go_on.set()
    errors = await asyncio.gather(*tasks)
    assert [QueueClosed, type(None), QueueClosed] == [type(error) for error in errors]
    assert [["first"], ["inside"]] == sink.batches


async def test_a_task_that_outlives_its_flush_is_outside() -> None:
    """From the step in which flush_fn returns, its tasks are refused like all other callers."""
    left: list[asyncio.Task[BaseException | None]] = []

    async def stay(count: int) -> BaseException | None:
        await steps(count)
        return await error_of(queue.enqueue(9))

    async def sink(batch: list[int]) -> None:
        if not left:
            left.extend(asyncio.create_task(stay(count)) for count in (1, 2, 3))

    queue = FlushQueue(sink, patient(1))
    async with queue:
        await enqueue_all(queue, range(3))
    errors = [await task for task in left]
    assert [QueueClosed] * 3 == [type(error) for error in errors]


async def test_a_task_that_outlives_its_flush_may_do_everything() -> None:
    """Once its flush has ended, a task that flush_fn left behind may flush and close the queue."""
    outcomes: list[BaseException | None] = []
    left: list[asyncio.Task[None]] = []

    async def stay() -> None:
        for seconds in (0.5, 1.0):
            await asyncio.sleep(seconds)
            outcomes.extend([await error_of(queue.flush()), await error_of(queue.aclose())])

    async def sink(batch: list[int]) -> None:
        left.append(asyncio.create_task(stay()))
        await asyncio.sleep(1.0)

    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await queue.enqueue(0)
        await settle()
        await left[0]
    assert [RuntimeError, RuntimeError, type(None), type(None)] == [*map(type, outcomes)]


# A full queue.


async def fill(queue: FlushQueue[int], size: int) -> None:
    """Fill the slots with items below 10, and then the queue with item 10."""
    for item in range(size):
        await queue.enqueue(item)
        await settle()
    await queue.enqueue(10)
    await settle()


@BOTH
@ALL_WAYS
async def test_the_only_flush_gets_queue_full_where_it_would_wait_for_itself(
    way: Way, first_await: str
) -> None:
    """With one slot and no room, enqueue in flush_fn raises QueueFull, and the queue works on."""
    outcomes: list[BaseException | None] = []
    batches: list[list[int]] = []
    go_on = asyncio.Event()

    async def sink(batch: list[int]) -> None:
        batches.append(batch)
        if batch == [0]:
            if first_await == "after":
                await go_on.wait()
            outcomes.append(await error_of(way(queue.enqueue(99))))

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
    async with queue:
        queue.enqueue_nowait(0)
        if first_await == "after":
            await settle()
        await queue.enqueue(10)  # accepted as soon as there is room, before flush_fn runs
        await settle()
        go_on.set()
        await queue.enqueue(11)
    assert [QueueFull] == [type(error) for error in outcomes]
    assert [[0], [10], [11]] == batches


@ALL_WAYS
async def test_a_flush_has_made_room_for_itself_and_for_those_in_line(way: Way) -> None:
    """An enqueue in flush_fn waits behind the line; it is not refused as a deadlock."""
    batches: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        batches.append(batch)
        if batch == [0, 1]:
            await way(queue.enqueue(99))

    queue = FlushQueue(sink, NaturalPolicy(), max_queue_size=2)
    async with queue:
        queue.enqueue_nowait(0)
        queue.enqueue_nowait(1)
        await queue.enqueue(2)
    assert [0, 1, 2, 99] == [item for batch in batches for item in batch]


@ALL_WAYS
async def test_a_flush_beside_one_that_is_busy_waits_for_it(way: Way) -> None:
    """If another flush is busy in the other slot, an enqueue in flush_fn waits for its end."""
    accepted: list[float] = []

    async def sink(batch: list[int]) -> None:
        if batch == [0]:
            await asyncio.sleep(1.0)
            await way(queue.enqueue(99))
            accepted.append(now())
        elif batch == [1]:
            await asyncio.sleep(5.0)

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, max_in_flight=2)
    async with queue:
        await fill(queue, 2)
        await asyncio.sleep(10.0)
    assert [5.0] == accepted


@ALL_WAYS
@pytest.mark.parametrize("draining", [False, True])
async def test_of_two_flushes_that_wait_one_gets_queue_full(way: Way, *, draining: bool) -> None:
    """If both flushes wait for room, the last one gets QueueFull, and the other one gets room."""
    outcomes: dict[int, BaseException | None] = {}
    batches: list[list[int]] = []
    go_on = asyncio.Event()

    async def sink(batch: list[int]) -> None:
        batches.append(batch)
        if batch[0] < 2:
            await go_on.wait()
            outcomes[batch[0]] = await error_of(way(queue.enqueue(90 + batch[0])))

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, max_in_flight=2)
    async with queue:
        await fill(queue, 2)
        closing = asyncio.create_task(queue.aclose() if draining else asyncio.sleep(0))
        await settle()
        go_on.set()
        await settle()
        await closing
    assert {0: type(None), 1: QueueFull} == {key: type(error) for key, error in outcomes.items()}
    assert [[0], [1], [10], [90]] == batches


async def test_enqueue_nowait_in_a_flush() -> None:
    """In flush_fn, as elsewhere, enqueue_nowait accepts if there is room, or raises QueueFull."""
    batches: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        batches.append(batch)
        if batch == [0]:
            queue.enqueue_nowait(1)
            with pytest.raises(QueueFull, match="max_queue_size=1"):
                queue.enqueue_nowait(2)

    queue = FlushQueue(sink, patient(), max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
    assert [[0], [1]] == batches


# Calls that would wait for their own flush.

FORBIDDEN: dict[str, Callable[[FlushQueue[int]], Awaitable[object]]] = {
    "flush": lambda queue: queue.flush(),
    "aclose": lambda queue: queue.aclose(),
    "run": lambda queue: queue.run(),
    "enter": lambda queue: queue.__aenter__(),
    "leave": lambda queue: queue.__aexit__(None, None, None),
}


@BOTH
@ALL_WAYS
@SLOTS
@pytest.mark.parametrize("draining", [False, True])
async def test_what_would_wait_for_itself_is_an_error(
    way: Way, first_await: str, slots: int, *, draining: bool
) -> None:
    """In flush_fn, flush(), aclose(), run() and `async with` raise RuntimeError."""
    outcomes: list[BaseException | None] = []
    batches: list[list[int]] = []

    async def call(name: str) -> None:
        await FORBIDDEN[name](queue)

    async def sink(batch: list[int]) -> None:
        batches.append(batch)
        await pause(first_await)
        outcomes.extend([await error_of(way(call(name))) for name in FORBIDDEN])

    queue = FlushQueue(sink, NaturalPolicy(), max_in_flight=slots)
    async with queue:
        await queue.enqueue(0)
        if not draining:
            await queue.flush()
            await queue.enqueue(1)
    assert ([[0]] if draining else [[0], [1]]) == batches
    assert all(isinstance(error, RuntimeError) for error in outcomes)
    assert len(FORBIDDEN) * len(batches) == len(outcomes)


@pytest.mark.parametrize("way", [directly, as_task])
async def test_another_queue_is_another_matter(way: Way) -> None:
    """A flush may flush and close another queue, whose flushes may use the first queue."""
    trail: list[str] = []

    async def outer_sink(batch: list[str]) -> None:
        trail.extend(batch)
        if batch == ["go"]:
            await inner.enqueue("item")
            await way(inner.flush())
            await way(inner.aclose())

    async def inner_sink(batch: list[str]) -> None:
        trail.extend(batch)
        await outer.enqueue("from inside")
        trail.append("accepted")

    outer = FlushQueue(outer_sink, NaturalPolicy())
    inner = FlushQueue(inner_sink, NaturalPolicy())
    async with outer, inner:
        await outer.enqueue("go")
        await settle()
    assert ["go", "item", "accepted", "from inside"] == trail


async def test_a_queue_started_inside_a_flush_knows_where_it_is() -> None:
    """The flushes of a queue that runs inside a flush count as inside the outer flush, too."""
    outcomes: list[BaseException | None] = []

    async def outer_sink(batch: list[int]) -> None:
        async with FlushQueue(inner_sink, NaturalPolicy()) as inner:
            await enqueue_all(inner, batch)

    async def inner_sink(batch: list[int]) -> None:
        outcomes.append(await error_of(outer.flush()))

    outer = FlushQueue(outer_sink, NaturalPolicy())
    async with outer:
        await outer.enqueue(1)
    assert [RuntimeError] == [type(error) for error in outcomes]


async def test_inside_is_a_matter_of_context() -> None:
    """A task of flush_fn with a context of its own is not inside: the drain refuses its item."""
    outcomes: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        stranger = asyncio.create_task(error_of(queue.enqueue(9)), context=contextvars.Context())
        outcomes.append(await stranger)

    queue = FlushQueue(sink, patient())
    async with queue:
        await queue.enqueue(1)
    assert [QueueClosed] == [type(error) for error in outcomes]


# The list that flush_fn gets.


async def test_flush_fn_owns_its_list() -> None:
    """Changes that flush_fn makes to its list do not change which items are delivered or listed."""

    async def sink(batch: list[int]) -> None:
        failing = 3 in batch
        batch[:] = [-1]
        if failing:
            raise OSError

    queue = FlushQueue(sink, IntervalPolicy(1.0, 3))
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, range(8))
    assert ([3, 4, 5], [6, 7]) == (queue.in_doubt, queue.undelivered)
    assert 3 == queue.stats().delivered
