"""Point 18, at the end: retries that a close, a limit, a cancellation or another failure meets."""

import asyncio

import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    QueueClosed,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import StubbornSink, error_of, left_behind
from tests.contract.support import (
    HOWS,
    Handler,
    How,
    Interruption,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
    sweep,
)

ALWAYS = {number: OSError() for number in range(100)}


class FlushTasks:
    """The tasks of flushes that have begun, from a sink that always raises."""

    def __init__(self) -> None:
        self.seen: list[asyncio.Task[object]] = []

    async def __call__(self, batch: list[int]) -> None:
        """Note the task, and raise."""
        task = asyncio.current_task()
        assert task is not None
        self.seen.append(task)
        raise OSError


# The drain.


async def test_a_drain_waits_for_retries() -> None:
    """Without a limit the close takes as long as the pauses do, and all is delivered."""
    sink, handler = Sink[int](errors={0: OSError(), 2: OSError()}), Handler[int]([Retry(60)] * 2)
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert [[0], [1]] == sink.delivered
    assert 120.0 == now()


async def test_a_batch_that_is_dropped_in_the_drain_does_not_end_it() -> None:
    """The drain goes on after Drop, and its end raises nothing."""
    sink, handler = Sink[int](errors={0: OSError(), 1: OSError()}), Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
    assert ([[2]], 2) == (sink.delivered, queue.stats().dropped)


async def test_a_failure_in_the_drain_ends_it() -> None:
    """After Fail in the drain nothing more is flushed."""
    sink, handler = Sink[int](errors=ALWAYS), Handler[int]([Drop(), Fail()])
    queue = FlushQueue(sink, NaturalPolicy(1), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(4))
    assert ([1], [2, 3]) == (queue.in_doubt, queue.undelivered)


async def test_nobody_else_gets_in_while_the_drain_retries() -> None:
    """During the pause of a retry in the drain, producers get QueueClosed."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(9)])
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    running = asyncio.create_task(error_of(queue.run()))
    await settle()
    await queue.enqueue(1)
    closing = asyncio.create_task(queue.aclose())
    await asyncio.sleep(5.0)
    assert isinstance(await error_of(queue.enqueue(2)), QueueClosed)
    await closing
    assert await running is None
    assert ([[1]], 9.0) == (sink.delivered, now())


# The limit.


async def test_a_limit_cuts_a_pause_short() -> None:
    """A retry that would come after the limit does not come: its items are in doubt."""
    sink, handler = Sink[int](errors=ALWAYS), Handler[int]([Retry(2.0)] * 99)
    queue = FlushQueue(sink, NaturalPolicy(1), max_shutdown_wait=5.0, on_failure=handler)
    async with failing(queue, ShutdownTimeout):
        await enqueue_all(queue, range(2))
    assert ([0.0, 2.0, 4.0], 5.0) == (sink.started, now())
    assert ([0], [1]) == (queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_a_limit_of_zero_retries_nothing() -> None:
    """With max_shutdown_wait=0 a close cancels a pause at once."""
    handler = Handler[int]([Retry(1.0)])
    queue = FlushQueue(
        Sink[int](errors=ALWAYS), NaturalPolicy(), max_shutdown_wait=0, on_failure=handler
    )
    async with failing(queue, ShutdownTimeout):
        await queue.enqueue(1)
        await settle()
    assert ([1], 0.0) == (queue.in_doubt, now())


async def test_a_limit_cuts_a_handler_short() -> None:
    """A handler that takes too long is cancelled; it has not answered: its items are in doubt."""

    async def handler(failure: Failure[int]) -> Verdict:
        await asyncio.sleep(100.0)
        return Drop()

    failure = OSError()
    queue = FlushQueue(
        Sink[int](errors={0: failure}), NaturalPolicy(), max_shutdown_wait=5.0, on_failure=handler
    )
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await queue.enqueue(1)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert failure is caught.value.__cause__.__cause__
    assert ([1], 5.0) == (queue.in_doubt, now())


async def test_a_handler_that_turns_its_cancellation_into_an_error() -> None:
    """What a cancelled handler raises belongs to the ShutdownTimeout, whatever it is."""
    mistake = ValueError("of the handler")

    async def handler(failure: Failure[int]) -> Verdict:
        try:
            await asyncio.sleep(100.0)
        finally:
            raise mistake

    queue = FlushQueue(
        Sink[int](errors=ALWAYS), NaturalPolicy(), max_shutdown_wait=5.0, on_failure=handler
    )
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await queue.enqueue(1)
    assert mistake is caught.value.__cause__
    assert ALWAYS[0] is mistake.__cause__


@pytest.mark.parametrize(
    ("verdict", "dropped", "in_doubt"),
    [
        (Drop(), 2, []),
        (Fail(), 0, [1, 2]),
        (Retry(), 0, [1, 2]),
        (Retry(50.0), 0, [1, 2]),
        (Split(), 0, [1, 2]),
    ],
    ids=repr,
)
async def test_a_handler_that_swallows_the_limit_hands_nothing_over_again(
    verdict: Verdict, dropped: int, in_doubt: list[int]
) -> None:
    """Its verdict counts if it ends the matter; no retry and no half comes after the limit."""

    async def handler(failure: Failure[int]) -> Verdict:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return verdict

    sink = Sink[int](errors=ALWAYS)
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=5.0, on_failure=handler)
    running = asyncio.create_task(error_of(queue.run()))
    await settle()
    await enqueue_all(queue, [1, 2])
    await error_of(queue.aclose())
    error = await running
    assert (type(error) is ShutdownTimeout) == bool(in_doubt)
    assert (dropped, in_doubt, []) == (queue.stats().dropped, queue.in_doubt, queue.undelivered)
    assert ([[1, 2]], 6.0) == (sink.batches, now())


async def test_a_sink_that_swallows_the_limit_gets_no_further_half() -> None:
    """A half that returns although it was cancelled is delivered; the other is not handed over."""
    sink = StubbornSink[int](3.0, errors={0: OSError()}, ignores=1)
    handler = Handler[int]([Split()])
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=4.0, on_failure=handler)
    async with failing(queue, ShutdownTimeout):
        await enqueue_all(queue, range(4))
    assert [4.0] == sink.cancelled
    assert [[0, 1, 2, 3], [0, 1]] == sink.batches
    assert ([2, 3], 2, 7.0) == (queue.in_doubt, queue.stats().delivered, now())


async def test_a_sink_that_fails_when_the_limit_cancels_it_is_not_asked_about() -> None:
    """What an interrupted attempt raises is the cause of the ShutdownTimeout, and no failure."""
    failure = OSError()

    async def sink(batch: list[int]) -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            raise failure

    handler = Handler[int]()
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=5.0, on_failure=handler)
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await queue.enqueue(1)
    assert failure is caught.value.__cause__
    assert ([], [1]) == (handler.failures, queue.in_doubt)


async def test_what_was_delivered_and_dropped_before_the_limit_stays_so() -> None:
    """Of a batch that is cut short between two halves only the rest is in doubt."""

    async def sink(batch: list[int]) -> None:
        await asyncio.sleep(1.0)
        if {1, 6} & set(batch):
            raise OSError

    def handler(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Drop()

    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=5.5, on_failure=handler)
    async with failing(queue, ShutdownTimeout):
        await enqueue_all(queue, range(8))
    stats = queue.stats()
    # all; 0-3; 0, 1; 0; 1; and in 2, 3 the limit
    assert (1, 1, [2, 3, 4, 5, 6, 7]) == (stats.delivered, stats.dropped, queue.in_doubt)


# Cancellation.


async def test_a_cancellation_during_a_pause_starts_the_drain() -> None:
    """Cancelling the body lets the retry come, and then goes on."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(9)])
    queue = FlushQueue(sink, NaturalPolicy(1), on_failure=handler)
    running = asyncio.create_task(queue.run())
    await settle()
    await enqueue_all(queue, range(2))
    await asyncio.sleep(1.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ([[0], [1]], 9.0) == (sink.delivered, now())


async def test_a_second_cancellation_cuts_the_pause_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cancellation during the drain aborts it: what waits for its retry is in doubt."""
    handler = Handler[int]([Retry(9)])
    queue = FlushQueue(Sink[int](errors=ALWAYS), NaturalPolicy(1), on_failure=handler)
    running = asyncio.create_task(queue.run())
    await settle()
    await enqueue_all(queue, range(2))
    for _ in range(2):
        await asyncio.sleep(1.0)
        running.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    assert ([0], [1], 2.0) == (queue.in_doubt, queue.undelivered, now())
    assert "1 undelivered, 1 in doubt" in caught.value.__notes__[0]
    assert "the queue ended with" in caplog.text


async def test_a_timeout_around_the_close_ends_the_pause() -> None:
    """asyncio.timeout around aclose() raises its TimeoutError in the middle of a pause."""
    handler = Handler[int]([Retry(9)])
    queue = FlushQueue(Sink[int](errors=ALWAYS), NaturalPolicy(), on_failure=handler)
    await queue.enqueue(1)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(5.0):
            await queue.aclose()
    assert TimeoutError is type(caught.value)
    assert ([1], 5.0, []) == (queue.in_doubt, now(), left_behind())


async def test_a_timeout_around_the_block_drains_first() -> None:
    """asyncio.timeout around the whole block is a cancellation of the body: the retry comes."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(9)])
    with pytest.raises(TimeoutError):
        async with (
            asyncio.timeout(5.0),
            FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue,
        ):
            await queue.enqueue(1)
            await asyncio.sleep(100.0)
    assert ([[1]], 9.0) == (sink.delivered, now())


@pytest.mark.parametrize("how", HOWS)
async def test_a_close_may_be_interrupted_anywhere(how: How) -> None:
    """Wherever aclose() is interrupted while batches fail, each item is in exactly one place."""

    async def scenario(interrupted: Interruption) -> None:
        handler = Handler[int]([Split(), Retry(), Drop(), Retry()])
        sink = Sink[int](errors=dict.fromkeys([0, 1, 2, 4], OSError()))
        queue = FlushQueue(sink, NaturalPolicy(4), on_failure=handler.soon)
        await enqueue_all(queue, range(6))
        returned = await interrupted(queue.aclose())
        await error_of(queue.aclose())
        stats = queue.stats()
        places = (stats.delivered, stats.dropped, stats.in_doubt, stats.undelivered)
        assert 6 == sum(places)
        assert 6 == stats.accepted
        delivered = [item for batch in sink.delivered for item in batch]
        assert len(delivered) == stats.delivered
        assert set(delivered).isdisjoint([*queue.in_doubt, *queue.undelivered])
        assert not returned or (4, 2) == (stats.delivered, stats.dropped)
        assert [] == left_behind()

    assert 5 <= await sweep(scenario, how)


async def test_a_pause_cancelled_from_outside_is_a_failure() -> None:
    """Somebody else who cancels a flush in its pause ends the queue; nobody is asked."""
    sink, handler = FlushTasks(), Handler[int]([Retry(9), Retry(9)])
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
            await asyncio.sleep(1.0)
            sink.seen[0].cancel()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert ([1], 1, 1.0) == (queue.in_doubt, len(handler.failures), now())


async def test_a_handler_cancelled_from_outside_is_a_failure() -> None:
    """Somebody else who cancels a flush while its handler thinks ends the queue."""
    sink = FlushTasks()

    async def handler(failure: Failure[int]) -> Verdict:
        await asyncio.sleep(100.0)
        return Drop()

    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
            await asyncio.sleep(1.0)
            sink.seen[0].cancel()
    cause = caught.value.__cause__
    assert isinstance(cause, asyncio.CancelledError)
    assert isinstance(cause.__cause__, OSError)
    assert ([1], 1.0) == (queue.in_doubt, now())


async def test_a_flush_cancelled_from_outside_is_not_asked_about() -> None:
    """A flush that somebody cancels, by itself too, is over: no handler may swallow that."""

    async def sink(batch: list[int]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    handler = Handler[int]()
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    async with failing(queue):
        await queue.enqueue(1)
    assert ([], [1]) == (handler.failures, queue.in_doubt)


# Two slots.


async def test_a_flush_that_fails_for_good_leaves_the_others_retries() -> None:
    """A flush in its pause while another ends the queue is one that runs: it is tried again."""
    sink = Sink[int](errors={0: OSError("first"), 1: OSError("second")})

    async def handler(failure: Failure[int]) -> Verdict:
        if failure.items == [0]:
            return Retry(5.0)
        await asyncio.sleep(1.0)
        return Fail()

    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=2, on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
    assert "second" == str(caught.value.__cause__)
    assert ([[0], [1], [0]], 5.0) == (sink.batches, now())
    assert ([1], [2], 1) == (queue.in_doubt, queue.undelivered, queue.stats().delivered)


async def test_a_retry_after_a_failure_has_until_the_limit() -> None:
    """The limit counts from the failure for a flush in its pause as well."""

    def handler(failure: Failure[int]) -> Verdict:
        return Retry(5.0) if failure.items == [0] else Fail()

    queue = FlushQueue(
        Sink[int](errors=ALWAYS),
        NaturalPolicy(1),
        max_in_flight=2,
        max_shutdown_wait=3.0,
        on_failure=handler,
    )
    async with failing(queue):
        await enqueue_all(queue, range(3))
    assert ([0, 1], [2], 3.0) == (queue.in_doubt, queue.undelivered, now())


async def test_both_may_fail_and_the_first_one_counts() -> None:
    """A retry that ends in Fail after another flush has ended the queue adds to the list alone."""
    sink = Sink[int](errors=ALWAYS)

    def handler(failure: Failure[int]) -> Verdict:
        return Retry(5.0) if failure.items == [0] and failure.attempt == 1 else Fail()

    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=2, on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(2))
    assert ALWAYS[1] is caught.value.__cause__
    assert ([0, 1], 5.0) == (queue.in_doubt, now())


async def test_a_slot_that_is_retried_does_not_hold_up_the_other() -> None:
    """While one slot pauses, batches go through the other."""
    sink, handler = Sink[int](1.0, errors={0: OSError()}), Handler[int]([Retry(2.5)])
    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=2, on_failure=handler)
    async with queue:
        await enqueue_all(queue, range(5))
    assert [[1], [2], [3], [4], [0]] == sink.delivered


# flush().


async def test_flush_waits_for_retries() -> None:
    """flush() returns when what was retried has ended."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(9)])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
        await queue.flush()
        assert ([[1]], 9.0) == (sink.delivered, now())


async def test_flush_does_not_raise_for_what_was_dropped() -> None:
    """An item that was dropped has ended: flush() returns."""
    sink, handler = Sink[int](errors=ALWAYS), Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
        await queue.flush()
        assert 3 == queue.stats().dropped


@pytest.mark.parametrize(("poisoned", "raises"), [(0, True), (1, True), (2, False), (3, False)])
async def test_flush_raises_for_what_it_waited_for(poisoned: int, *, raises: bool) -> None:
    """If part of a batch is lost, flush() raises if an item from before the call is in it."""

    async def sink(batch: list[int]) -> None:
        await asyncio.sleep(1.0)
        if poisoned in batch:
            raise OSError

    def handler(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Fail()

    queue = FlushQueue(sink, patient(), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(2))
        flush = asyncio.create_task(error_of(queue.flush()))
        await produce(queue, 2, 3)  # they come before the batch is cut
        error = await flush
        assert raises == isinstance(error, FlushFailed)
    assert list(range(poisoned, 4)) == queue.in_doubt


async def test_flush_of_an_earlier_batch_does_not_raise_for_a_later_one() -> None:
    """A flush that fails behind the barrier is nothing to it."""

    def handler(failure: Failure[int]) -> Verdict:
        return Retry(2.0) if failure.items == [0] else Fail()

    sink = Sink[int](errors={0: OSError(), 1: OSError()})
    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=2, on_failure=handler)
    async with failing(queue):
        await queue.enqueue(0)
        await settle()
        flush = asyncio.create_task(error_of(queue.flush()))
        await asyncio.sleep(1.0)
        await queue.enqueue(1)
        assert await flush is None
        assert 2.0 == now()
    assert [1] == queue.in_doubt


async def test_what_flush_fn_raised_is_told_when_a_pause_is_cut_short() -> None:
    """The cause of the ShutdownTimeout is a cancellation, and its cause is the failure."""
    refusal = ConnectionError("reset by peer")
    sink = Sink[int](errors={0: refusal})
    queue = FlushQueue(
        sink, NaturalPolicy(), on_failure=lambda _: Retry(9.0), max_shutdown_wait=1.0
    )
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await queue.enqueue(1)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert refusal is caught.value.__cause__.__cause__
