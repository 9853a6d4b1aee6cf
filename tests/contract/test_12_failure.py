"""Point 12: a flush function that raises ends the queue, and everyone is told the cause."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
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
    """Raise a CancelledError that the queue has nothing to do with."""
    never = asyncio.get_running_loop().create_future()
    never.cancel()
    await never


async def cancels_itself(batch: list[int]) -> None:
    """Cancel the very task it runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def raises_a_base_exception(batch: list[int]) -> None:
    """Raise what is no Exception."""
    raise GeneratorExit


async def raises_with_its_cancellation_pending(batch: list[int]) -> None:
    """Cancel the very task it runs in, and raise something else before that is noticed."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    raise OSError("sink")


async def raises_what_cannot_be_shown(batch: list[int]) -> None:
    """Raise what has no repr."""
    raise Unprintable


async def stops_iteration(batch: list[int]) -> None:
    """Raise what coroutines may not raise."""
    raise StopIteration


def raises_while_called(batch: list[int]) -> Awaitable[None]:
    """Raise before there is anything to await."""
    raise OSError("sink")


def returns_none(batch: list[int]) -> Any:
    """Return what cannot be awaited."""


async def is_a_generator(batch: list[int]) -> Any:
    """Be an async generator, which cannot be awaited either."""
    yield batch


class Unawaitable:
    """Something that looks awaitable until it is awaited."""

    def __await__(self) -> Any:
        """Return no iterator."""
        return 1


def returns_a_bad_awaitable(batch: list[int]) -> Any:
    """Return what only looks awaitable."""
    return Unawaitable()


FAILING: list[tuple[Callable[[list[int]], Any], type[BaseException]]] = [
    (fails_before_its_first_await, OSError),
    (is_cancelled_from_within, asyncio.CancelledError),
    (cancels_itself, asyncio.CancelledError),
    (raises_a_base_exception, GeneratorExit),
    (raises_with_its_cancellation_pending, OSError),
    (raises_what_cannot_be_shown, Unprintable),
    (stops_iteration, RuntimeError),
    (raises_while_called, OSError),
    (returns_none, TypeError),
    (is_a_generator, TypeError),
    (returns_a_bad_awaitable, TypeError),
]


@pytest.mark.parametrize(
    ("flush_fn", "cause"), FAILING, ids=[flush_fn.__name__ for flush_fn, _ in FAILING]
)
async def test_every_way_to_fail_ends_the_queue(
    flush_fn: Callable[[list[int]], Any], cause: type[BaseException]
) -> None:
    """However flush_fn fails, the queue ends with FlushFailed, whose cause is its exception."""
    queue = FlushQueue(flush_fn, NaturalPolicy(2))
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(4))
    assert cause is type(caught.value.__cause__)
    assert not isinstance(caught.value, ShutdownTimeout)
    assert [0, 1] == queue.in_doubt
    assert [2, 3] == queue.undelivered
    assert [] == left_behind()


async def test_a_flush_cancelled_from_outside_is_a_failure() -> None:
    """Somebody else who cancels the task of a flush makes it fail."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy())
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
            await settle()
            (flush,) = asyncio.all_tasks() - {asyncio.current_task()}
            flush.cancel()
            await settle()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert [1] == queue.in_doubt


# Who hears of it, and when.


async def test_no_new_flush_starts_and_running_ones_finish() -> None:
    """After a failure the other running flush is delivered, and what waits is undelivered."""
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


async def test_producers_hear_of_it_at_once() -> None:
    """Waiting and later producers and flush() get FlushFailed while another flush still runs."""
    sink = HeldSink[int]()
    failure = OSError()
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, max_in_flight=2)
    running = asyncio.create_task(error_of(queue.run()))
    for item in range(3):
        await queue.enqueue(item)
        await settle()
    waiting = [asyncio.create_task(error_of(queue.enqueue(item))) for item in (3, 4)]
    await settle()
    sink.fail(failure)
    await settle()
    assert [True, True, False] == [task.done() for task in (*waiting, running)]
    with pytest.raises(FlushFailed):
        queue.enqueue_nowait(5)
    with pytest.raises(FlushFailed):
        await queue.enqueue(6)
    with pytest.raises(FlushFailed):
        await queue.flush()
    sink.open()
    errors = [*await asyncio.gather(*waiting), await running]
    assert [FlushFailed] * 3 == [type(error) for error in errors]
    assert [2] == queue.undelivered


async def test_everyone_gets_a_new_exception_with_the_same_cause_and_lists() -> None:
    """Each FlushFailed is a new object; cause and lists are the same ones, the queue's."""
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


async def test_a_failed_run_ends_its_task_group() -> None:
    """As a child of a TaskGroup, run() fails, and the group cancels the producers."""
    queue = FlushQueue(Sink[int](1.0, errors={1: OSError()}), NaturalPolicy())

    async def produce_for_ever() -> None:
        while True:
            await queue.enqueue(1)
            await asyncio.sleep(0.75)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.run())
            group.create_task(produce_for_ever())
    assert [FlushFailed] == [type(error) for error in caught.value.exceptions]
    assert 2.0 == now()


async def test_a_flush_that_waits_in_its_own_queue_hears_of_it() -> None:
    """A running flush that waits for room when another fails gets FlushFailed in enqueue."""
    heard: list[BaseException | None] = []
    go_on, fail = asyncio.Event(), asyncio.Event()

    async def sink(batch: list[int]) -> None:
        if batch == [0]:
            await go_on.wait()
            heard.append(await error_of(queue.enqueue(9)))
        else:
            await fail.wait()
            raise OSError

    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=2, max_queue_size=1)
    with pytest.raises(FlushFailed):
        async with queue:
            for item in range(3):
                await queue.enqueue(item)
                await settle()
            go_on.set()
            await settle()
            assert [] == heard
            fail.set()
    assert [FlushFailed] == [type(error) for error in heard]
    assert [1] == queue.in_doubt
    assert [2] == queue.undelivered


async def test_the_first_failure_counts_and_all_of_them_are_in_doubt() -> None:
    """Of several failures the first is the cause; the lists are in order of acceptance."""
    sink = HeldSink[int]()
    first, second = OSError("first"), OSError("second")
    queue = FlushQueue(sink, NaturalPolicy(2), max_in_flight=2)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(5))
            await settle()
            sink.fail_last(first)
            await settle()
            sink.fail(second)
    assert first is caught.value.__cause__
    assert [0, 1, 2, 3] == queue.in_doubt
    assert [4] == queue.undelivered


# The body's own exception.


async def test_the_bodys_exception_is_not_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """A body that raises something else keeps it; the failure is noted on it and logged."""
    mistake = ValueError("of the body")
    queue = FlushQueue(Sink[int](1.0, errors={0: OSError("disk full")}), NaturalPolicy())
    with pytest.raises(ValueError, match="of the body") as caught:
        async with queue:
            await queue.enqueue(1)
            raise mistake
    assert mistake is caught.value
    assert 1 == len(mistake.__notes__)
    assert "FlushFailed" in mistake.__notes__[0]
    assert "disk full" in mistake.__notes__[0]
    told = [record.getMessage().split(":")[0] for record in caplog.records]
    assert ["the queue has failed with FlushFailed", "the queue ended with FlushFailed"] == told
    assert {("flushq", logging.ERROR)} == {(log.name, log.levelno) for log in caplog.records}
    assert "disk full" in caplog.text


async def test_a_failure_is_logged_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    """A producer that is quiet for an hour hears of it at the next item; the log, at once."""
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


async def test_a_body_that_raises_the_queues_own_failure_needs_no_note(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """FlushFailed from an enqueue in the body goes on as it is: no note, no second record."""
    queue = FlushQueue(Sink[int](1.0, errors={0: OSError()}), NaturalPolicy())
    raised: list[BaseException] = []
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            while True:
                try:
                    await queue.enqueue(1)
                except FlushFailed as error:
                    raised.append(error)
                    raise
                await asyncio.sleep(0.75)
    assert [caught.value] == raised
    assert not hasattr(caught.value, "__notes__")
    assert 1 == len(caplog.records)


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that takes no notes, as a frozen dataclass does not."""

    code: int


async def test_an_exception_that_takes_no_note_is_not_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A body's exception to which no note can be added goes on; the loss is logged."""
    mistake = FrozenError(7)
    queue = FlushQueue(Sink[int](errors={0: OSError("disk full")}), NaturalPolicy())
    caught: BaseException | None = None
    try:
        await queue.__aenter__()
        await queue.enqueue(1)
        await queue.__aexit__(FrozenError, mistake, None)
    except BaseException as error:
        caught = error
    assert caught is None
    assert "disk full" in caplog.text


# How long it may take.


@pytest.mark.parametrize("limit", [0, 0.5, 2.5])
async def test_the_limit_counts_from_the_failure(limit: float) -> None:
    """Running flushes have max_shutdown_wait from the failure, without a close or with a later."""
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


async def test_flush_failed_wins_over_the_limit() -> None:
    """A failure in a drain that is then cut short is reported as FlushFailed."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=2, max_shutdown_wait=2.0)
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, range(3))
            await settle()
            asyncio.get_running_loop().call_later(1.0, sink.fail, OSError())
    assert 2.0 == now()
    assert [0, 1] == queue.in_doubt
    assert [2] == queue.undelivered


# What is raised on.


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
    """A thousand producers that are told of a failure leave its traceback as it was."""
    failure = OSError()
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
    running = asyncio.create_task(error_of(queue.run()))
    for item in range(2):
        await queue.enqueue(item)
        await settle()
    waiting = [produce(queue, item) for item in range(1000)]
    await settle()
    sink.fail(failure)
    await running
    traceback, depth = failure.__traceback__, 0
    while traceback is not None:
        traceback, depth = traceback.tb_next, depth + 1
    errors = [task.exception() for task in waiting]
    assert 1000 == len({id(error) for error in errors if isinstance(error, FlushFailed)})
    assert 10 > depth


async def test_a_task_that_cannot_be_made_is_a_failure() -> None:
    """If the loop refuses to make a task for a flush, its batch is undelivered; nothing hangs."""
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


@pytest.mark.not_in("eager", reason="an eager task has begun before anyone can cancel it")
async def test_a_flush_that_somebody_cancels_before_it_began() -> None:
    """It ends the queue, the batch is undelivered, and everyone hears of it."""
    sink = Sink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy())) as queue:
        await queue.enqueue(1)
        while not (flushes := [task for task in asyncio.all_tasks() if _is_flush(task)]):
            await steps(1)
        flushes[0].cancel()
        await settle()
        with pytest.raises(FlushFailed) as caught:
            await queue.enqueue(2)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert ([], [1], []) == (sink.batches, queue.undelivered, queue.in_doubt)


def _is_flush(task: asyncio.Task[object]) -> bool:
    return task.get_name() == "flushq flush"


async def test_a_logging_that_fails_does_not_replace_the_exception_of_the_body() -> None:
    """The body's exception goes on, with its note, where a filter of the logger raises."""
    mistake = ValueError("of the body")
    with failing_logger(), pytest.raises(ValueError, match="of the body") as caught:
        async with FlushQueue(
            Sink[int](errors={0: OSError("disk full")}), NaturalPolicy()
        ) as queue:
            await queue.enqueue(1)
            raise mistake
    assert mistake is caught.value
    assert ["flushq: the queue ended with FlushFailed: "] == [
        note[:42] for note in mistake.__notes__
    ]
