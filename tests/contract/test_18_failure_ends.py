"""Point 18, at the end: retries during a close, a limit, a cancellation or another failure."""

import asyncio
from collections.abc import Callable

import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import error_of, left_behind
from tests.contract.support import (
    HOWS,
    Handler,
    How,
    Interruption,
    Sink,
    enqueue_all,
    now,
    settle,
    sweep,
)

ALWAYS = {number: OSError() for number in range(100)}


async def slow_handler(failure: Failure[int]) -> Verdict:
    """Answer after a hundred seconds."""
    await asyncio.sleep(100.0)
    return Drop()


async def test_a_drain_waits_for_retries() -> None:
    """Without a limit a close waits for all pauses, and everything is delivered."""
    sink, handler = Sink[int](errors={0: OSError(), 2: OSError()}), Handler[int]([Retry(60)] * 2)
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert ([[0], [1]], 120.0) == (sink.delivered, now())


# The limit.


async def test_a_limit_cuts_a_pause_short() -> None:
    """If the limit comes during the pause before a retry, the items are in doubt."""
    sink, handler = Sink[int](errors=ALWAYS), Handler[int]([Retry(2.0)] * 99)
    queue = FlushQueue(sink, NaturalPolicy(1), max_shutdown_wait=5.0, on_failure=handler)
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await enqueue_all(queue, range(2))
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert ALWAYS[2] is caught.value.__cause__.__cause__
    assert ([0.0, 2.0, 4.0], 5.0) == (sink.started, now())
    assert ([0], [1], []) == (queue.in_doubt, queue.undelivered, left_behind())


async def test_a_limit_cuts_a_half_short() -> None:
    """At the limit a half that was delivered stays delivered, and the running half is in doubt."""
    sink, handler = Sink[int](2.0, errors={0: OSError()}), Handler[int]([Split()])
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=5.0, on_failure=handler)
    with pytest.raises(ShutdownTimeout):
        async with queue:
            await enqueue_all(queue, range(4))
    assert ([[0, 1]], [2, 3], 5.0) == (sink.delivered, queue.in_doubt, now())


async def test_a_limit_cuts_a_handler_short() -> None:
    """A handler that takes too long is cancelled at the limit, and its items are in doubt."""
    sink = Sink[int](errors=ALWAYS)
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=5.0, on_failure=slow_handler)
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await queue.enqueue(1)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert ALWAYS[0] is caught.value.__cause__.__cause__
    assert ([1], 5.0) == (queue.in_doubt, now())


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
    """After the limit a verdict of Drop or Fail counts, but no retry and no half is called."""

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
    assert (type(await running) is ShutdownTimeout) == bool(in_doubt)
    assert (dropped, in_doubt, []) == (queue.stats().dropped, queue.in_doubt, queue.undelivered)
    assert ([[1, 2]], 6.0) == (sink.batches, now())


# Cancellation.


@pytest.mark.parametrize("how", HOWS)
async def test_a_close_may_be_interrupted_anywhere(how: How) -> None:
    """If aclose() is interrupted at any step while batches fail, each item has one place."""

    async def scenario(interrupted: Interruption) -> None:
        handler = Handler[int]([Split(), Retry(), Drop(), Retry()])
        sink = Sink[int](errors=dict.fromkeys([0, 1, 2, 4], OSError()))
        queue = FlushQueue(sink, NaturalPolicy(4), on_failure=handler.soon)
        await enqueue_all(queue, range(6))
        returned = await interrupted(queue.aclose())
        await error_of(queue.aclose())
        stats = queue.stats()
        places = (stats.delivered, stats.dropped, stats.in_doubt, stats.undelivered)
        assert 6 == stats.accepted == sum(places)
        delivered = [item for batch in sink.delivered for item in batch]
        assert len(delivered) == stats.delivered
        assert set(delivered).isdisjoint([*queue.in_doubt, *queue.undelivered])
        assert not returned or (4, 2) == (stats.delivered, stats.dropped)
        assert [] == left_behind()

    assert 5 <= await sweep(scenario, how)


@pytest.mark.parametrize("handler", [lambda _: Retry(9), slow_handler], ids=["pause", "handler"])
async def test_a_cancellation_from_outside_is_a_failure(
    handler: Callable[[Failure[int]], Verdict],
) -> None:
    """If other code cancels a flush during its pause or its handler, the queue fails."""
    queue = FlushQueue(Sink[int](errors=ALWAYS), NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
            await asyncio.sleep(1.0)
            (flush,) = asyncio.all_tasks() - {asyncio.current_task()}
            flush.cancel()
    cause = caught.value.__cause__
    assert isinstance(cause, asyncio.CancelledError)
    assert ALWAYS[0] is cause.__cause__
    assert ([1], 1.0) == (queue.in_doubt, now())


# Two slots.


async def test_a_flush_that_fails_for_good_leaves_the_others_retries() -> None:
    """If one flush ends the queue, another flush in its pause is still retried."""
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


# flush().


async def test_flush_waits_until_all_was_judged() -> None:
    """flush() waits for retries, and returns when the items are dropped, since they have ended."""
    sink, handler = Sink[int](errors=ALWAYS), Handler[int]([Retry(9)])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
        await queue.flush()
        assert (3, 9.0) == (queue.stats().dropped, now())
