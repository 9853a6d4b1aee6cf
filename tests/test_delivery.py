"""A delivery hands a batch over, asks the handler, and keeps with the batch what came of it."""

import asyncio
from typing import Any

import pytest

from flushq.batcher import Batch
from flushq.delivery import Delivery, is_failure
from flushq.errors import PartialFailure
from flushq.outcomes import Drop, Fail, Failure, Retry, Split, Verdict
from tests.contract.support import Handler, Sink, now
from tests.strategies import Refusal


def delivery_of(sink: Any, handler: Any) -> Delivery[int]:
    """Return a delivery whose progress nobody is told."""
    return Delivery(sink, handler, lambda _batch, _ended: None)


def batch_of(*items: int, started: float = 0.0) -> Batch[int]:
    """A batch that was cut at this time."""
    return Batch(list(items), len(items), 0, "full", 0, 0.0, started, 0)


@pytest.mark.parametrize("value", [None, 7, "sink", [print]])
def test_what_cannot_be_called_is_refused(value: Any) -> None:
    """Neither a flush function nor a handler that cannot be called is taken."""
    with pytest.raises(TypeError, match=r"^flush_fn must be callable, not "):
        delivery_of(value, None)
    if value is not None:
        with pytest.raises(TypeError, match=r"^on_failure must be callable, not "):
            delivery_of(Sink[int](), value)


async def test_a_batch_that_is_delivered() -> None:
    """It was handed over once, as a list of its own, and nothing of it is lost."""
    sink, batch = Sink[int](), batch_of(1, 2)
    await delivery_of(sink, None).deliver(batch)
    assert [[1, 2]] == sink.delivered
    assert (True, True, 1, None) == (batch.handed, batch.returned, batch.attempts, batch.error)
    assert ([], {}, {}) == (list(batch.lost or ()), batch.dropped, batch.failed)


async def test_it_runs_until_all_is_over() -> None:
    """A batch is on its way from the first call to the end of the last one, pauses included."""
    sink, batch = Sink[int](1.0, errors={0: Refusal(), 1: Refusal()}), batch_of(1, 2)
    delivery = delivery_of(sink, Handler[int]([Retry(2.0), Split()]))
    task = asyncio.create_task(delivery.deliver(batch))
    for attempts in (1, 1, 1, 2, 3):
        await asyncio.sleep(0.9375)
        assert (True, False, attempts) == (batch.handed, batch.returned, batch.attempts)
    await task
    assert (True, 4, 6.0) == (batch.returned, batch.attempts, now())


async def test_what_it_keeps_of_a_failure() -> None:
    """The positions that were dropped, failed and lost, each with its exception."""
    error = PartialFailure({0: Refusal("0"), 2: Refusal("2"), 3: Refusal("3")})
    last = Refusal("last")
    sink, batch = Sink[int](errors={0: error, 1: Refusal(), 2: last}), batch_of(5, 6, 7, 8)
    await delivery_of(sink, Handler[int]([Split(), Drop(), Fail()])).deliver(batch)
    assert [[5, 6, 7, 8], [5, 7], [8]] == sink.batches
    assert [0, 2] == list(batch.dropped)
    assert ({3: last}, [3], last) == (batch.failed, batch.lost, batch.error)


@pytest.mark.parametrize("started", [0.0, 0.25, 5.0])
async def test_the_seconds_of_a_failure_are_never_negative(started: float) -> None:
    """A flush that started by a clock that has run back since has taken no time."""
    handler = Handler[int]()
    await delivery_of(Sink[int](errors={0: Refusal()}), handler).deliver(
        batch_of(1, started=started)
    )
    assert [0.0] == [failure.seconds for failure in handler.failures]


async def test_a_handler_that_raises_has_failed_what_it_was_asked_about() -> None:
    """The items have failed for the sink's error; the handler's is that of the batch."""
    error, mistake = Refusal("sink"), Refusal("handler")

    def handler(failure: Failure[int]) -> Verdict:
        raise mistake

    batch = batch_of(1, 2)
    await delivery_of(Sink[int](errors={0: error}), handler).deliver(batch)
    assert ({0: error, 1: error}, [0, 1], mistake) == (batch.failed, batch.lost, batch.error)


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_flush_that_the_queue_has_cancelled_has_failed_for_nothing(
    *, swallows: bool
) -> None:
    """What is lost in it is lost, and no item is to blame; nobody is asked either."""
    handler = Handler[int]()

    async def sink(batch: list[int]) -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            if not swallows:
                raise
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise Refusal from None

    batch = batch_of(1, 2)
    task = asyncio.create_task(delivery_of(sink, handler).deliver(batch))
    await asyncio.sleep(1.0)
    batch.interrupted = task.cancel()
    await task
    assert ({}, [0, 1], []) == (batch.failed, batch.lost, handler.failures)
    assert (Refusal if swallows else asyncio.CancelledError) is type(batch.error)


async def test_a_handler_that_the_queue_has_cancelled_has_failed_nothing() -> None:
    """The items it was asked about are lost, and have not failed."""

    async def handler(failure: Failure[int]) -> Verdict:
        await asyncio.sleep(100.0)
        return Drop()

    batch = batch_of(1, 2)
    delivery = delivery_of(Sink[int](errors={0: Refusal()}), handler)
    task = asyncio.create_task(delivery.deliver(batch))
    await asyncio.sleep(1.0)
    batch.interrupted = task.cancel()
    await task
    assert ({}, [0, 1]) == (batch.failed, batch.lost)
    assert isinstance(batch.error, asyncio.CancelledError)


async def test_a_delivery_that_is_closed_where_it_stands_keeps_what_it_knows() -> None:
    """GeneratorExit in a pause, as of a task that is destroyed, puts the batch in doubt."""
    batch = batch_of(1, 2)
    delivery = delivery_of(Sink[int](errors={0: Refusal()}), Handler[int]([Retry(9.0)]))
    running = delivery.deliver(batch)
    running.send(None)
    running.close()
    assert ([0, 1], True) == (batch.lost, batch.returned)
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
    """An exception or an inner cancellation is one, unless the task itself is being cancelled."""
    assert expected == is_failure(error)
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert not is_failure(error)
    task.uncancel()
    assert expected == is_failure(error)
