"""Point 12: a flush function that raises ends the queue, and all callers get the cause."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from flushq import FlushFailed, FlushQueue, NaturalPolicy, ShutdownTimeout
from tests.contract.hostile import (
    FACTORIES,
    StubbornSink,
    Unprintable,
    error_of,
    failing_logger,
    lazy,
    left_behind,
    own_loop,
)
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    failing,
    now,
    produce,
    settle,
    steps,
)

# Ways to fail.


async def fails_before_its_first_await(batch: list[int]) -> None:
    """Raise at once."""
    raise OSError("sink")


async def is_cancelled_from_within(batch: list[int]) -> None:
    """Raise a CancelledError that does not come from the queue."""
    never = asyncio.get_running_loop().create_future()
    never.cancel()
    await never


async def cancels_itself(batch: list[int]) -> None:
    """Cancel the task of this flush."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def raises_with_its_cancellation_pending(batch: list[int]) -> None:
    """Cancel the task of this flush, and raise another exception at once."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    raise OSError("sink")


async def raises_what_cannot_be_shown(batch: list[int]) -> None:
    """Raise an exception without a repr."""
    raise Unprintable


def raises_while_called(batch: list[int]) -> Awaitable[None]:
    """Raise instead of returning an awaitable."""
    raise OSError("sink")


def returns_none(batch: list[int]) -> Any:
    """Return None, which cannot be awaited."""


FAILING: list[tuple[Callable[[list[int]], Any], type[BaseException]]] = [
    (fails_before_its_first_await, OSError),
    (is_cancelled_from_within, asyncio.CancelledError),
    (cancels_itself, asyncio.CancelledError),
    (raises_with_its_cancellation_pending, OSError),
    (raises_what_cannot_be_shown, Unprintable),
    (raises_while_called, OSError),
    (returns_none, TypeError),
]


@pytest.mark.parametrize(
    ("flush_fn", "cause"), FAILING, ids=[flush_fn.__name__ for flush_fn, _ in FAILING]
)
async def test_every_way_to_fail_ends_the_queue(
    flush_fn: Callable[[list[int]], Any], cause: type[BaseException]
) -> None:
    """For every kind of failure the queue raises FlushFailed, caused by flush_fn's exception."""
    queue = FlushQueue(flush_fn, NaturalPolicy(2))
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(4))
    assert cause is type(caught.value.__cause__)
    assert not isinstance(caught.value, ShutdownTimeout)
    assert [0, 1] == queue.in_doubt
    assert [2, 3] == queue.undelivered
    assert [] == left_behind()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_flush_cancelled_from_outside_is_a_failure(*, begun: bool) -> None:
    """If other code cancels a flush, even before it begins, that is a failure."""
    if not begun:
        asyncio.get_running_loop().set_task_factory(lazy)
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy())) as queue:
        await queue.enqueue(1)
        while not (flushes := asyncio.all_tasks() - {asyncio.current_task()}):
            await steps(1)
        await steps(2 * begun)
        flushes.pop().cancel()
        await settle()
        error = await error_of(queue.enqueue(2))
    assert isinstance(error, FlushFailed)
    assert isinstance(error.__cause__, asyncio.CancelledError)
    assert ([1] if begun else []) == sink.items == queue.in_doubt
    assert ([] if begun else [1]) == queue.undelivered


# Which callers are told of a failure, and when.


async def test_no_new_flush_starts_and_running_ones_finish() -> None:
    """After a failure the other running flush delivers, and waiting items are undelivered."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(2), max_in_flight=2)
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, range(7))
            await settle()
            sink.fail(OSError())
            await settle()
            sink.open()
    assert [[0, 1], [2, 3]] == sink.batches
    assert [[2, 3]] == sink.delivered
    assert [0, 1] == queue.in_doubt
    assert [4, 5, 6] == queue.undelivered


async def test_producers_are_told_of_a_failure_at_once() -> None:
    """Waiting and later producers and flush() get FlushFailed while another flush still runs."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, max_in_flight=2)
    running = asyncio.create_task(error_of(queue.run()))
    for item in range(3):
        await queue.enqueue(item)
        await settle()
    waiting = [asyncio.create_task(error_of(queue.enqueue(item))) for item in (3, 4)]
    await settle()
    sink.fail(OSError())
    await settle()
    assert [True, True, False] == [task.done() for task in (*waiting, running)]
    with pytest.raises(FlushFailed):
        queue.enqueue_nowait(5)
    errors = [await error_of(queue.enqueue(6)), await error_of(queue.flush())]
    sink.open()
    errors += await asyncio.gather(*waiting, running)
    assert [FlushFailed] * 5 == [type(error) for error in errors]
    assert [2] == queue.undelivered


async def test_everyone_gets_a_new_exception_with_the_same_cause_and_lists() -> None:
    """Each FlushFailed is a new object, with the same cause and the lists of the queue."""
    failure = OSError()
    queue = FlushQueue(Sink[int](1.0, errors={0: failure}), NaturalPolicy())
    running = asyncio.create_task(error_of(queue.run()))
    await queue.enqueue(1)
    await asyncio.sleep(2.0)
    errors = [
        await running,
        await error_of(queue.enqueue(2)),
        await error_of(queue.flush()),
        await error_of(queue.aclose()),
        await error_of(queue.aclose()),
        await error_of(queue.run()),
    ]
    assert len(errors) == len({id(error) for error in errors})
    for error in errors:
        assert isinstance(error, FlushFailed)
        assert failure is error.__cause__
        assert queue.undelivered is error.undelivered
        assert queue.in_doubt is error.in_doubt


# An exception of the block.


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that cannot have notes, because it is a frozen dataclass."""


@pytest.mark.parametrize("kind", [ValueError, FrozenError])
@pytest.mark.parametrize("logger", [nullcontext, failing_logger])
async def test_the_bodys_exception_is_not_replaced(
    kind: type[Exception],
    logger: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exception of the block is raised; the failure is noted on it and logged, if possible."""
    mistake = kind()
    queue = FlushQueue(Sink[int](errors={0: OSError("disk full")}), NaturalPolicy())
    await queue.__aenter__()
    await queue.enqueue(1)
    with logger():
        await queue.__aexit__(kind, mistake, None)
    ended = ["the queue ended with FlushFailed"]
    logged = ["the queue has failed with FlushFailed", *ended] if logger is nullcontext else []
    assert logged == [message.split(":")[0] for message in caplog.messages]
    noted = [note.split(": ")[1] for note in getattr(mistake, "__notes__", [])]
    assert (ended if kind is ValueError else []) == noted


async def test_the_queues_own_failure_needs_no_note(caplog: pytest.LogCaptureFixture) -> None:
    """A FlushFailed from a call in the block is raised without a note or a second record."""
    with pytest.raises(FlushFailed) as caught:
        async with FlushQueue(Sink[int](errors={0: OSError()}), NaturalPolicy()) as queue:
            await queue.enqueue(1)
            await queue.flush()
    assert not hasattr(caught.value, "__notes__")
    assert 1 == len(caplog.records)


async def test_a_failure_is_logged_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged at once and only once, even if no producer calls the queue."""
    error = OSError("disk full")
    queue = FlushQueue(Sink[int](1.0, errors={0: error}), NaturalPolicy(1), max_in_flight=2)
    async with failing(queue):
        await queue.enqueue(1)
        await queue.enqueue(2)
        queue.enqueue_nowait(3)
        await asyncio.sleep(1.5)
        (record,) = caplog.records
        assert ("flushq", logging.ERROR) == (record.name, record.levelno)
        assert record.exc_info is not None
        assert error is getattr(record.exc_info[1], "__cause__", None)
        assert "disk full" in record.getMessage()
        assert record.getMessage().endswith("(1 undelivered, 1 in doubt)")
        assert "failed" == queue.state
        await asyncio.sleep(3600.0)
    assert [record] == caplog.records


async def test_nothing_is_accepted_once_the_failure_is_logged() -> None:
    """A handler of logging that enqueues the record of the failure is refused."""

    class Shipping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with suppress(FlushFailed):
                queue.enqueue_nowait(9)

    queue = FlushQueue(Sink[int](errors={0: OSError()}), NaturalPolicy(1))
    handler = Shipping()
    logging.getLogger("flushq").addHandler(handler)
    try:
        async with failing(queue):
            await enqueue_all(queue, range(3))
            await asyncio.sleep(1.0)
    finally:
        logging.getLogger("flushq").removeHandler(handler)
    assert [1, 2] == queue.undelivered


# The time limit after a failure.


@pytest.mark.parametrize("limit", [0, 0.5, 2.5])
async def test_the_limit_counts_from_the_failure(limit: float) -> None:
    """Running flushes have max_shutdown_wait after the failure; the error is still FlushFailed."""
    sink = StubbornSink[int](100.0, ignores=0)

    async def flush_fn(batch: list[int]) -> None:
        if batch == [0]:
            await asyncio.sleep(1.0)
            raise OSError
        await sink(batch)

    queue = FlushQueue(flush_fn, NaturalPolicy(1), max_in_flight=2, max_shutdown_wait=limit)
    async with failing(queue):
        await enqueue_all(queue, range(3))
        await asyncio.sleep(2.0)
        assert (limit < 1.0) == ([] == left_behind())
    assert [1.0 + limit] == sink.cancelled
    assert max(2.0, 1.0 + limit) == now()
    assert ([0, 1], [2]) == (queue.in_doubt, queue.undelivered)


# Interrupts, and other special cases.


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_interrupt_of_the_sink_is_raised_on(
    kind: type[BaseException], factory: Any, *, at_once: bool
) -> None:
    """KeyboardInterrupt and SystemExit of flush_fn leave the loop, and the queue has failed."""

    async def sink(batch: list[int]) -> None:
        if not at_once:
            await asyncio.sleep(0)
        raise kind("sink")

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=2)

    async def session() -> list[BaseException | None]:
        running = asyncio.ensure_future(error_of(queue.run()))
        await asyncio.sleep(0)
        await enqueue_all(queue, range(2))
        waiting = [await error_of(queue.enqueue(item)) for item in (2, 3, 4)]
        return [await running, *waiting]

    with own_loop() as loop:
        loop.set_task_factory(factory)
        main = loop.create_task(session())
        with pytest.raises(kind, match="sink"):
            loop.run_until_complete(main)
        errors = loop.run_until_complete(main)
    assert FlushFailed is type(errors[0])
    assert FlushFailed is type(errors[-1])
    assert all(kind is type(error.__cause__) for error in errors if error is not None)
    assert [0] == queue.in_doubt
    assert queue.undelivered == list(range(1, 1 + len(queue.undelivered)))


async def test_many_producers_share_one_cause_that_does_not_grow() -> None:
    """A failure that a hundred producers are told of keeps a short traceback."""
    failure = OSError()
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
    running = asyncio.create_task(error_of(queue.run()))
    for item in range(2):
        await queue.enqueue(item)
        await settle()
    waiting = [produce(queue, item) for item in range(100)]
    await settle()
    sink.fail(failure)
    await running
    traceback, depth = failure.__traceback__, 0
    while traceback is not None:
        traceback, depth = traceback.tb_next, depth + 1
    errors = [task.exception() for task in waiting]
    assert 100 == len({id(error) for error in errors if isinstance(error, FlushFailed)})
    assert 10 > depth


async def test_a_task_that_cannot_be_made_is_a_failure() -> None:
    """If the loop cannot make a task for a flush, its items are undelivered and nothing hangs."""
    failure = OSError("no more tasks")

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        raise failure

    queue = FlushQueue(Sink[int](), NaturalPolicy())
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
            asyncio.get_running_loop().set_task_factory(factory)
            await settle()
    asyncio.get_running_loop().set_task_factory(None)
    assert failure is caught.value.__cause__
    assert [1] == queue.undelivered
    assert [] == queue.in_doubt
