"""Point 17: the life of a queue, from its first call until it is garbage-collected."""

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flushq import FlushQueue, NaturalPolicy, QueueClosed, ShutdownTimeout
from tests.contract.hostile import Answering, error_of, left_behind, own_loop
from tests.contract.support import HeldSink, Sink, enqueue_all, now, patient, produce, settle
from tests.virtual import run

Use = Callable[[FlushQueue[int]], Coroutine[Any, Any, object]]

# Before the start.


async def test_items_wait_for_the_start() -> None:
    """Before the start items are kept, and an enqueue without room waits."""
    sink = Sink[int]()
    queue = FlushQueue(sink, NaturalPolicy(2), max_queue_size=3)
    await enqueue_all(queue, range(2))
    queue.enqueue_nowait(2)
    waiting = produce(queue, 3)
    await asyncio.sleep(5.0)
    assert ([], 3, 5.0) == (sink.batches, queue.pending, queue.stats().oldest_age)
    assert not waiting.done()
    async with queue:
        await waiting
    assert ([0, 1, 2, 3], 5.0) == (sink.items, sink.started[0])


async def test_a_task_of_run_that_was_just_made_drains_when_it_is_cancelled() -> None:
    """The first enqueue lets run() begin, so that a cancellation afterwards makes it drain."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(queue.run())
        await enqueue_all(queue, range(3))
        running.cancel()
    assert [0, 1, 2] == sink.items


async def test_flush_waits_for_the_start() -> None:
    """A flush() before the start waits for it if there is something to flush."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, patient())
    await queue.flush()
    await queue.enqueue(1)
    barrier = asyncio.create_task(queue.flush())
    await asyncio.sleep(5.0)
    assert not barrier.done()
    async with queue:
        await barrier
        assert 6.0 == now()


async def test_aclose_drains_a_queue_that_never_started() -> None:
    """aclose() delivers the items and refuses waiting producers; a second one does nothing."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, patient(), max_queue_size=2)
    await enqueue_all(queue, range(2))
    waiting = produce(queue, 2)
    await settle()
    await queue.aclose()
    assert isinstance(await error_of(waiting), QueueClosed)
    await queue.aclose()
    assert ([[0, 1]], 1.0) == (sink.delivered, now())


async def test_leaving_a_queue_that_never_started_is_an_error() -> None:
    """An exit without an entry is a RuntimeError, and the queue can still be started."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())
    with pytest.raises(RuntimeError, match="never started"):
        await queue.__aexit__(None, None, None)
    async with queue:
        await queue.enqueue(1)
    assert [[1]] == sink.delivered


# Starting twice, and the end.


async def enter(queue: FlushQueue[int]) -> None:
    """Start the queue like `async with`."""
    await queue.__aenter__()


async def run_it(queue: FlushQueue[int]) -> None:
    """Start the queue by run()."""
    await queue.run()


STARTS = [enter, run_it]


@pytest.mark.parametrize("second", STARTS)
@pytest.mark.parametrize("first", STARTS)
async def test_starting_twice_is_an_error(first: Use, second: Use) -> None:
    """A second start is a RuntimeError, and does not disturb the queue."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())
    running = asyncio.create_task(first(queue))
    await queue.enqueue(1)
    await settle()
    with pytest.raises(RuntimeError, match="started before"):
        await second(queue)
    await queue.enqueue(2)
    await queue.aclose()
    await running
    assert [[1, 2]] == sink.delivered


async def test_run_of_a_closed_queue_returns() -> None:
    """run() on a queue that closes or is closed waits for the end, and does not start it again."""
    queue = FlushQueue(Sink[int](2.0), patient())
    await queue.enqueue(1)
    closing = asyncio.create_task(queue.aclose())
    await asyncio.sleep(1.0)
    await queue.run()
    assert 2.0 == now()
    await closing
    await queue.run()
    assert 2.0 == now()


async def test_after_the_end_everything_is_refused() -> None:
    """A closed queue refuses items, flush() and owners, and aclose() returns at once."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(1)
    for _ in range(2):
        with pytest.raises(QueueClosed):
            await queue.enqueue(2)
        with pytest.raises(QueueClosed):
            queue.enqueue_nowait(2)
        with pytest.raises(QueueClosed):
            await queue.flush()
        with pytest.raises(QueueClosed, match="cannot be started any more"):
            await queue.__aenter__()
    await queue.aclose()
    assert (0, [[1]]) == (queue.pending, sink.delivered)


async def test_the_state_of_a_queue() -> None:
    """The state of a queue is first new, then running, closing and closed."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient())
    states = [queue.state]
    async with queue:
        states.append(queue.state)
        await queue.enqueue(1)
        closing = asyncio.create_task(queue.aclose())
        await settle()
        states.append(queue.state)
        sink.open()
        await closing
    assert ["new", "running", "closing", "closed"] == [*states, queue.state]


# Loops and threads.


async def enqueue_now(queue: FlushQueue[int]) -> None:
    """Call enqueue_nowait where a coroutine is expected."""
    queue.enqueue_nowait(2)


CALLS: dict[str, Use] = {
    "enqueue": lambda queue: queue.enqueue(2),
    "enqueue_nowait": enqueue_now,
    "flush": lambda queue: queue.flush(),
    "aclose": lambda queue: queue.aclose(),
    "run": run_it,
    "enter": enter,
    "leave": lambda queue: queue.__aexit__(None, None, None),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("started", [False, True])
def test_use_from_another_loop_is_an_error(call: Use, *, started: bool) -> None:
    """A queue belongs to the loop that used it first; calls from other loops raise RuntimeError."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())

    async def begin() -> None:
        if started:
            await enter(queue)
        await queue.enqueue(1)
        await settle()

    async def end() -> None:
        await queue.enqueue(3)
        await queue.aclose()

    with own_loop() as home:
        home.run_until_complete(begin())
        with own_loop() as abroad, pytest.raises(RuntimeError):
            abroad.run_until_complete(call(queue))
        home.run_until_complete(end())
    assert [[1, 3]] == sink.delivered


def test_it_belongs_to_one_loop_for_good() -> None:
    """A queue that is made outside a loop accepts nothing there, and then belongs to one loop."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())
    with pytest.raises(RuntimeError, match="no running event loop"):
        queue.enqueue_nowait(0)

    async def use() -> None:
        async with queue:
            await queue.enqueue(1)

    run(use)
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        run(use)
    assert [[1]] == sink.delivered


def in_a_thread(call: Callable[[], object]) -> BaseException | None:
    """Call a function in another thread, and return the exception that it raised."""
    errors: list[BaseException] = []

    def target() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return errors[0] if errors else None


async def test_use_from_a_thread_is_an_error() -> None:
    """In a thread without a loop, or with another one, calls raise RuntimeError and do nothing."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        await settle()
        calls = [lambda call=call: asyncio.run(call(queue)) for call in CALLS.values()]
        errors = [in_a_thread(call) for call in (lambda: queue.enqueue_nowait(1), *calls)]
        assert [RuntimeError] * 8 == [type(error) for error in errors]
        await queue.enqueue(2)
    assert [[2]] == sink.delivered


async def test_in_debug_mode_every_call_is_checked() -> None:
    """In debug mode a call from another thread raises, even right after an enqueue."""
    asyncio.get_running_loop().set_debug(enabled=True)
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(1)
        await queue.enqueue(2)
        assert isinstance(in_a_thread(lambda: queue.enqueue_nowait(3)), RuntimeError)
        await queue.enqueue(4)
    assert [[1, 2, 4]] == sink.delivered


# Garbage-collected.


def drop(items: int, *, started: bool) -> None:
    """Drop the last reference to a queue with items in it, and collect garbage."""
    _leave(items, started=started)
    gc.collect()


def _leave(items: int, *, started: bool) -> None:
    with own_loop() as loop:
        queue = FlushQueue(HeldSink[int](), NaturalPolicy(1), name="users")
        if started:
            loop.run_until_complete(enter(queue))
        loop.run_until_complete(enqueue_all(queue, range(items)))
        loop.run_until_complete(settle())


@pytest.mark.parametrize("started", [False, True])
def test_a_queue_dropped_with_items_says_so(
    caplog: pytest.LogCaptureFixture, *, started: bool
) -> None:
    """A queue that is dropped with items logs an error and warns, with its name and the number."""
    must = "closed" if started else "started"
    said = f"a FlushQueue 'users' was garbage-collected with 3 items in it; a queue must be {must}"
    with pytest.warns(ResourceWarning, match=f"^{said} to deliver its items$"):
        drop(3, started=started)
    assert f"{said} to deliver its items" in caplog.messages
    caplog.clear()  # asyncio says that the task of the flush was destroyed


def test_a_queue_dropped_without_items_says_nothing() -> None:
    """No warning comes if a queue is empty, was closed with a loss, or could not be made."""

    async def lose() -> None:
        queue = FlushQueue(Sink[int](5.0), NaturalPolicy(1), max_shutdown_wait=1.0)
        await enqueue_all(queue, range(3))
        with pytest.raises(ShutdownTimeout):
            await queue.aclose()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(0, started=False)
        drop(0, started=True)
        run(lose)
        with pytest.raises(ValueError, match="max_queue_size"):
            FlushQueue(Sink[int](), NaturalPolicy(), max_queue_size=0)
        gc.collect()


# The warning about a queue that is never started.


async def test_a_queue_that_nobody_starts_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning comes a second after the first item, and flush() still waits."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient())
    await asyncio.sleep(5.0)
    await queue.enqueue(1)
    flushing = asyncio.create_task(queue.flush())
    await asyncio.sleep(0.75)
    await queue.enqueue(2)
    assert [] == caplog.records
    await asyncio.sleep(9.0)
    (record,) = caplog.records
    assert ("flushq", logging.WARNING) == (record.name, record.levelno)
    said = f"{queue!r} holds items but was not started: use async with, or run()"
    assert said == record.getMessage()
    async with queue:
        await flushing
    assert [[1, 2]] == sink.delivered


async def test_a_queue_that_has_failed_is_not_said_to_be_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A queue that fails before its start logs an error, lists its items, and does not warn."""
    queue = FlushQueue(Sink[int](), Answering(lambda _: None))
    await queue.enqueue(1)
    await asyncio.sleep(9.0)
    assert [logging.ERROR] == [record.levelno for record in caplog.records]
    assert [1] == queue.undelivered


async def test_a_queue_that_is_started_in_time_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A queue that is started within a second does not warn, and leaves no timer."""
    for wait in (0.0, 0.75):
        queue = FlushQueue(Sink[int](), patient())
        await queue.enqueue(1)
        await asyncio.sleep(wait)
        async with queue:
            await asyncio.sleep(9.0)
    assert [] == caplog.records
    assert [] == left_behind()


async def test_a_queue_that_was_dropped_is_not_said_to_be_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The timer of the warning does not keep a queue alive; only the loss of items is logged."""
    queues = [FlushQueue(Sink[int](), patient())]
    await queues[0].enqueue(1)
    await settle()
    queues.clear()
    with pytest.warns(ResourceWarning):
        gc.collect()
    await asyncio.sleep(9.0)
    said = "a FlushQueue was garbage-collected with 1 item in it"
    assert [said] == [message.partition(";")[0] for message in caplog.messages]
