"""Point 18: the calls of a failure handler, and the effect of its verdicts on the items.

flushq.core.attempts decides the end of each item of a failed batch; tests/core/test_attempts.py has
the details, and this file tests the effects that a queue shows.
"""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from flushq import (
    Decision,
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    PartialFailure,
    Retry,
    Split,
    Verdict,
)
from tests.contract.hostile import error_of, left_behind
from tests.contract.support import (
    Handler,
    Sink,
    enqueue_all,
    failing,
    patient,
    run_interrupted,
    settle,
    steps,
)


def poison(*items: int) -> Callable[[list[int]], Awaitable[None]]:
    """Return a flush function that raises, without suspending, if one of these is in the batch."""

    async def flush_fn(batch: list[int]) -> None:
        if not set(items).isdisjoint(batch):
            raise OSError(f"poisoned: {batch}")

    return flush_fn


# Verdicts.


async def test_a_dropped_batch_is_counted_and_the_queue_goes_on() -> None:
    """After Drop the items count as dropped, and the next batch is delivered."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Drop()])
    async with FlushQueue(sink, NaturalPolicy(2), on_failure=handler) as queue:
        await enqueue_all(queue, range(4))
    stats = queue.stats()
    assert ([[2, 3]], [[0, 1]]) == (sink.delivered, handler.items)
    assert (4, 2, 2) == (stats.accepted, stats.dropped, stats.delivered)
    assert (0, 0) == (stats.in_doubt, stats.undelivered)


async def test_a_failed_batch_ends_the_queue() -> None:
    """Fail ends the queue like no handler: the batch is in doubt, the rest is undelivered."""
    failure, handler = OSError(), Handler[int]([Fail()])
    queue = FlushQueue(Sink[int](errors={0: failure}), NaturalPolicy(2), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
    assert failure is caught.value.__cause__
    assert ([0, 1], [2]) == (queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_a_retry_hands_the_same_items_over_after_the_pause() -> None:
    """Retry waits for its seconds, then flush_fn gets the same items; they are delivered once."""
    sink = Sink[int](1.0, errors={0: OSError(), 1: OSError()})
    handler = Handler[int]([Retry(2.0), Retry(0.5)])
    async with FlushQueue(sink, NaturalPolicy(2), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
    assert [0.0, 3.0, 4.5, 5.5] == sink.started
    assert [[0, 1], [0, 1], [0, 1], [2]] == sink.batches
    assert 3 == queue.stats().delivered


async def test_a_split_hands_over_one_half_after_the_other() -> None:
    """The halves run one at a time, the first one first, in the slot of the batch."""
    sink, handler = Sink[int](1.0, errors={0: OSError()}), Handler[int]([Split()])
    async with FlushQueue(sink, NaturalPolicy(5), on_failure=handler) as queue:
        await enqueue_all(queue, range(6))
    assert [[0, 1, 2, 3, 4], [0, 1, 2], [3, 4], [5]] == sink.batches
    assert [0.0, 1.0, 2.0, 3.0] == sink.started


@pytest.mark.parametrize(
    ("kind", "batches", "dropped", "in_doubt"),
    [
        (Drop, [[1, 2]], 2, []),
        (Fail, [[1, 2]], 0, [1, 2]),
        (Retry, [[1, 2], [1, 2]], 0, []),
        (Split, [[1, 2], [1], [2]], 0, []),
    ],
)
async def test_the_class_of_a_verdict_means_its_instance(
    kind: Any, batches: list[list[int]], dropped: int, in_doubt: list[int]
) -> None:
    """A handler may return the class of a verdict instead of an instance."""
    error = OSError()
    sink = Sink[int](errors={0: error})
    queue = FlushQueue(sink, patient(2), on_failure=lambda _: kind)
    await enqueue_all(queue, [1, 2])
    end = await error_of(queue.aclose())
    assert (batches, dropped, in_doubt) == (sink.batches, queue.stats().dropped, queue.in_doubt)
    assert end is None or error is end.__cause__


# The failure that the handler gets.


async def test_a_failure_tells_what_happened() -> None:
    """A Failure has the items, the error, the attempt, the reason and the seconds of the flush."""
    errors = [OSError("first"), OSError("second")]
    handler = Handler[int]([Retry(2.0)])
    sink = Sink[int](1.0, errors=dict(enumerate(errors)))
    async with FlushQueue(sink, patient(2), on_failure=handler) as queue:
        await asyncio.sleep(5.0)
        await enqueue_all(queue, [7, 8])
        await settle()
    assert [
        Failure([7, 8], errors[0], None, 1, "full", 1.0),
        Failure([7, 8], errors[1], None, 2, "full", 4.0),
    ] == handler.failures
    assert [None, None] == [error.__context__ for error in errors]


# Calls of the handler.


async def test_a_handler_may_be_async() -> None:
    """The verdict of an async handler is awaited, and the batch keeps its slot meanwhile."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(1.0)])
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler.later) as queue:
        await enqueue_all(queue, range(2))
        await asyncio.sleep(1.5)
        assert 1 == queue.stats().in_flight
    assert [0.0, 2.0, 2.0] == sink.started
    assert [[0], [0], [1]] == sink.batches


context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="none")


async def test_a_handler_runs_in_the_flush() -> None:
    """The handler runs in the task and context of the flush, and sees what flush_fn has set."""
    seen: list[tuple[str, asyncio.Task[Any] | None]] = []

    async def sink(batch: list[int]) -> None:
        seen.append((context.get(), asyncio.current_task()))
        context.set("flush_fn")
        if len(seen) == 1:
            raise OSError

    async def handler(failure: Failure[int]) -> Verdict:
        seen.append((context.get(), asyncio.current_task()))
        context.set("handler")
        return Retry(1.0)

    context.set("queue")
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        context.set("producer")
        await queue.enqueue(1)
    assert ["queue", "flush_fn", "handler"] == [value for value, _ in seen]
    assert 1 == len({task for _, task in seen})


# Handlers that misbehave.


async def generates(failure: Failure[int]) -> AsyncIterator[Verdict]:
    """Yield a verdict."""
    yield Drop()


async def raises_later(failure: Failure[int]) -> Verdict:
    """Raise after a second."""
    await asyncio.sleep(1.0)
    raise ValueError("later")


def raises(error: BaseException) -> Callable[[Failure[int]], Verdict]:
    """Return a handler that raises."""

    def handler(failure: Failure[int]) -> Verdict:
        raise error

    return handler


async def test_a_task_group_that_fails_in_flush_fn() -> None:
    """A TaskGroup that fails in flush_fn can be retried; old Pythons leave the task cancelled."""
    attempts: list[list[int]] = []

    async def fail() -> None:
        raise OSError

    async def sink(batch: list[int]) -> None:
        attempts.append(batch)
        if len(attempts) == 1:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        if len(attempts) == 2:
            raise PartialFailure({0: OSError()})

    async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda _: Retry()) as queue:
        await enqueue_all(queue, range(2))
    assert [[0, 1], [0, 1], [0]] == attempts


NOT_A_VERDICT = "on_failure must return a verdict (Retry, Split, Drop or Fail), not "

BROKEN: dict[str, tuple[Any, type[BaseException], str]] = {
    "nothing": (lambda _: None, TypeError, f"{NOT_A_VERDICT}None"),
    "another class": (lambda _: Failure, TypeError, f"{NOT_A_VERDICT}<class "),
    "a generator": (generates, TypeError, f"{NOT_A_VERDICT}<async_generator object "),
    "raises": (raises(ValueError("at once")), ValueError, "at once"),
    "raises later": (raises_later, ValueError, "later"),
    "cancelled": (raises(asyncio.CancelledError("inner")), asyncio.CancelledError, "inner"),
    "exit": (raises(GeneratorExit("exit")), GeneratorExit, "exit"),
}


@pytest.mark.parametrize(("handler", "kind", "message"), BROKEN.values(), ids=BROKEN)
async def test_a_handler_without_a_verdict_ends_the_queue(
    handler: Any, kind: type[BaseException], message: str
) -> None:
    """The error of a wrong handler is the cause; its own cause is the error of flush_fn."""
    failure = OSError()
    sink = Sink[int](errors={1: failure})
    queue = FlushQueue(sink, NaturalPolicy(2), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(5))
    cause = caught.value.__cause__
    assert kind is type(cause)
    assert str(cause).startswith(message)
    assert failure is cause.__cause__
    assert ([2, 3], [4], 2) == (queue.in_doubt, queue.undelivered, queue.stats().delivered)


async def test_a_handler_that_raises_at_a_half_loses_track_of_nothing() -> None:
    """If the handler raises at a half, earlier items keep their ends, and the rest is in doubt."""

    def handler(failure: Failure[int]) -> Verdict:
        if failure.items == [4, 5]:
            raise ValueError
        return Split() if len(failure.items) > 2 else Drop()

    queue = FlushQueue(poison(2, 4), NaturalPolicy(8), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(8))
    assert (2, 2) == (queue.stats().delivered, queue.stats().dropped)
    assert [4, 5, 6, 7] == queue.in_doubt


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("of_handler", [False, True])
def test_an_interrupt_is_raised_on(kind: type[BaseException], *, of_handler: bool) -> None:
    """An interrupt is raised and ends the queue; the handler is not asked about one of the sink."""
    interrupt, asked = kind(), list[type[BaseException]]()

    def handler(failure: Failure[int]) -> Verdict:
        asked.append(type(failure.error))
        raise interrupt

    async def session() -> BaseException | None:
        sink = Sink[int](errors={0: OSError() if of_handler else interrupt})
        queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
        await queue.enqueue(1)
        error = await error_of(queue.aclose())
        assert [1] == queue.in_doubt
        return error

    error = run_interrupted(session, kind)
    assert isinstance(error, FlushFailed)
    assert interrupt is error.__cause__
    assert ([OSError] if of_handler else []) == asked


# A handler and its own queue.


@pytest.mark.parametrize("in_drain", [False, True])
async def test_a_handler_may_enqueue_to_its_own_queue(*, in_drain: bool) -> None:
    """A handler may enqueue items again, behind the waiting ones, in the drain too."""
    sink = Sink[int](1.0, errors={0: OSError()})

    async def handler(failure: Failure[int]) -> Verdict:
        for item in failure.items:
            await queue.enqueue(item + 10)
        queue.enqueue_nowait(99)
        return Drop()

    queue = FlushQueue(sink, NaturalPolicy(2), on_failure=handler)
    async with queue:
        await enqueue_all(queue, range(4))
        if not in_drain:
            await asyncio.sleep(1.5)
    assert [[0, 1], [2, 3], [10, 11], [99]] == sink.batches
    assert (2, 5) == (queue.stats().dropped, queue.stats().delivered)


@pytest.mark.parametrize(
    "call",
    [FlushQueue.flush, FlushQueue.aclose, FlushQueue.run, lambda queue: queue.deliver(2)],
    ids=["flush", "aclose", "run", "deliver"],
)
async def test_a_handler_cannot_wait_for_itself(
    call: Callable[[FlushQueue[int]], Awaitable[None]],
) -> None:
    """A call in a handler, or in its task, that would wait for its own flush is a RuntimeError."""
    told: list[BaseException | None] = []

    async def handler(failure: Failure[int]) -> Verdict:
        told.append(await error_of(call(queue)))
        told.append(await asyncio.create_task(error_of(call(queue))))
        return Drop()

    sink = Sink[int](errors={0: OSError()})
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler) as queue:
        await enqueue_all(queue, [0, 1])
    assert [RuntimeError] * 2 == [type(error) for error in told]
    assert [[1]] == sink.delivered


# Slots, order, the policy.


class NotingPolicy(NaturalPolicy):
    """A policy that notes the end of each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, int, float, BaseException | None]] = []

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Note the end, and answer."""
        self.told.append((now, count, seconds, error))
        return super().flush_done(now, count, seconds, error)


async def test_the_policy_is_told_of_one_long_flush() -> None:
    """The policy is told of one end of the flush, with the seconds of all its calls together."""
    sink = Sink[int](1.0, errors={0: OSError(), 1: OSError()})
    handler = Handler[int]([Retry(2.0), Split()])
    async with FlushQueue(sink, NotingPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert [(6.0, 2, 6.0, None)] == cast("NotingPolicy", queue.policy).told


async def test_a_retry_at_once_lets_the_loop_run() -> None:
    """The loop runs between retries without a pause, even if the sink never suspends."""
    handler = Handler[int]([Retry(0)] * 50)
    async with FlushQueue(poison(1), NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
        turns = 0
        while len(handler.failures) < 51:
            await asyncio.sleep(0)
            turns += 1
    assert 50 <= turns


# References to items.


class Item:
    """An item that can have a weak reference."""


def retry_once(failure: Failure[Item]) -> Verdict:
    """Retry once, and then drop."""
    return Retry(1.0) if failure.attempt < 2 else Drop()


@pytest.mark.parametrize("handler", [retry_once, lambda _: Split()], ids=["dropped", "delivered"])
async def test_a_batch_that_failed_is_let_go(handler: Callable[[Failure[Item]], Verdict]) -> None:
    """After a failure neither the queue nor a reference cycle keeps the items of a batch."""

    async def sink(batch: list[Item]) -> None:
        if len(batch) > 1:
            raise OSError

    gc.disable()
    try:
        async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
            item = Item()
            kept = weakref.ref(item)
            await enqueue_all(queue, [item, Item()])
            del item
            await queue.flush()
            await steps(3)
            assert kept() is None
    finally:
        gc.enable()
