"""``Calls.deliver`` makes the calls and pauses of a flush, and keeps the results on the batch."""

import asyncio
from typing import Any

import pytest

from flushq import Drop, Failure, NaturalPolicy, Retry, Split, Verdict
from flushq.aio.calls import Calls, is_failure
from flushq.core.attempts import Attempts, Pause
from flushq.core.batch import Batch
from flushq.core.core import Core
from tests.contract.support import Handler, Sink, now
from tests.core.support import batch_of
from tests.strategies import Refusal


def delivery_of(sink: Any, handler: Any, core: Core[int] | None = None) -> Calls[int]:
    """Return a Calls that makes no passes, and whose retries wait for their pause alone."""

    async def wait(_: object, attempts: Attempts[int], __: float) -> bool:
        assert isinstance(attempts.next, Pause)
        await asyncio.sleep(attempts.next.seconds)
        return True

    return Calls(core or Core(NaturalPolicy()), sink, handler, lambda: None, wait, now)


@pytest.mark.parametrize("value", [None, 7, "sink", [print]])
def test_what_cannot_be_called_is_refused(value: Any) -> None:
    """A flush function or a handler that is not callable raises TypeError."""
    with pytest.raises(TypeError, match=r"^flush_fn must be callable, not "):
        delivery_of(value, None)
    if value is not None:
        with pytest.raises(TypeError, match=r"^on_failure must be callable, not "):
            delivery_of(Sink[int](), value)


def test_the_class_of_a_verdict_is_not_a_handler() -> None:
    """A class as on_failure raises TypeError, as its first failure would end the queue."""
    handler: Any = Drop
    with pytest.raises(TypeError, match=r"^on_failure must be .* a verdict, not the class Drop$"):
        delivery_of(Sink[int](), handler)


async def test_a_flush_function_that_is_not_async() -> None:
    """A flush function that is not async is a failure; the error says how to run it."""
    batch = batch_of(1)
    await delivery_of(lambda items: None, None).run_flush(batch)
    assert [0] == batch.lost
    assert str(batch.error) == (
        "flush_fn must be async: it returned None; "
        "for a function that blocks, use flushq.threads or asyncio.to_thread"
    )


async def test_a_flush_function_may_return_any_awaitable() -> None:
    """A plain function that returns a future is accepted."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    batch = batch_of(1)
    await delivery_of(lambda items: done, None).run_flush(batch)
    assert (True, None) == (batch.over, batch.error)


async def test_no_call_is_made_once_the_queue_has_stopped() -> None:
    """A batch that was taken just before the queue stopped is not flushed."""
    core, sink, batch = Core[int](NaturalPolicy()), Sink[int](), batch_of(1)
    core.ending.stop("enough")
    await delivery_of(sink, None, core).run_flush(batch)
    assert ([], False, 0) == (sink.batches, batch.over, batch.attempts)


async def test_it_runs_until_all_is_over() -> None:
    """A flush lasts from the first call to the end of the last one, including the pauses."""
    sink, batch = Sink[int](1.0, errors={0: Refusal(), 1: Refusal()}), batch_of(1, 2)
    delivery = delivery_of(sink, Handler[int]([Retry(2.0), Split()]))
    task = asyncio.create_task(delivery.run_flush(batch))
    for attempts in (1, 1, 1, 2, 3):
        await asyncio.sleep(0.9375)
        assert (False, attempts) == (batch.over, batch.attempts)
    await task
    assert (True, 4, 6.0) == (batch.over, batch.attempts, now())
    assert [[1, 2], [1, 2], [1], [2]] == sink.batches


async def test_an_error_of_a_flush_that_the_queue_has_cancelled() -> None:
    """The handler does not get the error of a cancelled flush, even after ``uncancel``."""
    handler = Handler[int]()

    async def sink(_: list[int]) -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise Refusal from None

    batch = batch_of(1, 2)
    await interrupted(delivery_of(sink, handler), batch)
    assert ({}, [0, 1], []) == (batch.failed, batch.lost, handler.failures)
    assert Refusal is type(batch.error)


async def test_a_handler_that_the_queue_has_cancelled_has_failed_nothing() -> None:
    """The items of a handler that was cancelled are lost, and have not failed."""

    async def handler(failure: Failure[int]) -> Verdict:
        await asyncio.sleep(100.0)
        return Drop()

    batch = batch_of(1, 2)
    await interrupted(delivery_of(Sink[int](errors={0: Refusal()}), handler), batch)
    assert ({}, [0, 1]) == (batch.failed, batch.lost)
    assert isinstance(batch.error, asyncio.CancelledError)


async def interrupted(delivery: Calls[int], batch: Batch[int]) -> None:
    """Deliver a batch, and cancel the delivery after a second, as the queue does."""
    task = asyncio.create_task(delivery.run_flush(batch))
    await asyncio.sleep(1.0)
    assert task.cancel()
    batch.interrupt()
    await task


async def test_a_delivery_that_is_closed_in_a_pause() -> None:
    """GeneratorExit in a pause, as when a task is destroyed, puts the batch in doubt."""
    batch = batch_of(1, 2)
    delivery = delivery_of(Sink[int](errors={0: Refusal()}), Handler[int]([Retry(9.0)]))
    running = delivery.run_flush(batch)
    running.send(None)
    running.close()
    assert ([0, 1], True) == (batch.lost, batch.over)
    assert isinstance(batch.error, GeneratorExit)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Refusal(), True),
        (asyncio.CancelledError(), True),
        (TimeoutError(), True),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
        (GeneratorExit(), False),
    ],
    ids=type,
)
async def test_what_is_a_failure(error: BaseException, *, expected: bool) -> None:
    """An Exception is a failure; a CancelledError is one unless the task is being cancelled."""
    assert expected == is_failure(error)
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert (expected and isinstance(error, Exception)) == is_failure(error)
    task.uncancel()
    assert expected == is_failure(error)
