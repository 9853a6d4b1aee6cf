"""Point 2: each accepted item ends in exactly one place, and the lists are in order."""

import asyncio
import math
from contextlib import suppress
from typing import Any

import pytest

from flushq import FlushFailed, FlushQueue, NaturalPolicy, ShutdownTimeout
from tests.contract.hostile import error_of
from tests.contract.support import (
    HeldSink,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    failing,
    patient,
    settle,
    steps,
)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_after_a_failure_the_batch_is_in_doubt_and_the_rest_undelivered(
    seconds: float,
) -> None:
    """If a flush raises, before or after its first await, the two lists have all other items."""
    sink = Sink[int](seconds, errors={1: OSError("down")})
    with pytest.raises(FlushFailed) as caught:
        async with FlushQueue(sink, NaturalPolicy(max_records=3)) as queue:
            await enqueue_all(queue, range(10))
            await queue.flush()
    assert [[0, 1, 2]] == sink.delivered
    assert [3, 4, 5] == queue.in_doubt
    assert [6, 7, 8, 9] == queue.undelivered
    assert isinstance(caught.value.__cause__, OSError)


async def test_at_the_limit_running_flushes_are_in_doubt_and_the_rest_undelivered() -> None:
    """A close that reaches its limit lists the items in cancelled flushes and those that waited."""
    sink = Sink[int](seconds=10.0)
    async with failing(
        FlushQueue(sink, patient(2), max_in_flight=2, max_shutdown_wait=15.0), ShutdownTimeout
    ) as queue:
        await enqueue_all(queue, range(11))
    assert [[0, 1], [2, 3]] == sink.delivered
    assert [4, 5, 6, 7] == queue.in_doubt
    assert [8, 9, 10] == queue.undelivered


async def test_in_doubt_is_in_order_of_acceptance_not_of_failure() -> None:
    """Batches that fail in reverse order are listed in the order of their items."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(2), max_in_flight=4)) as queue:
        await enqueue_all(queue, range(9))
        await settle()
        for number in range(3):
            sink.fail_last(OSError(number))
            await settle()
        sink.let_go()
    assert [2, 3, 4, 5, 6, 7] == queue.in_doubt
    assert [8] == queue.undelivered
    assert [[0, 1]] == sink.delivered


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("step", range(6))
async def test_a_batch_that_was_cut_but_not_handed_over_is_undelivered(
    step: int, slots: int
) -> None:
    """A close at any step around the cut lists all items, in order, and each in one list."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient(2), max_in_flight=slots, max_shutdown_wait=0)
    async with failing(queue, ShutdownTimeout):
        await enqueue_all(queue, range(7))
        await steps(step)
    assert sink.items == queue.in_doubt
    assert list(range(len(sink.items), 7)) == queue.undelivered


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("first", ["failure", "item"])
async def test_a_batch_that_is_cut_at_any_step_around_a_failure(first: str, step: int) -> None:
    """The items that flush_fn was called with are in doubt; the others are undelivered."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(1), max_in_flight=2)) as queue:
        await queue.enqueue(0)
        await settle()
        accepted = [0]
        if first == "item":
            await queue.enqueue(1)
            accepted.append(1)
            await steps(step)
        sink.fail(OSError("down"))
        if first == "failure":
            await steps(step)
            with suppress(FlushFailed):
                await queue.enqueue(1)
                accepted.append(1)
        await settle()
        sink.open()
    handed = [item for item in sink.items if [item] not in sink.delivered]
    assert handed == queue.in_doubt
    assert [item for item in accepted if item not in sink.items] == queue.undelivered
    assert_all_accounted_for(accepted, queue, sink)


async def test_all_show_the_same_two_lists_which_are_complete_in_the_end() -> None:
    """The queue and every exception, even one long before the end, share the same two lists."""
    sink = HeldSink[int]()
    with pytest.raises(FlushFailed) as at_exit:
        async with FlushQueue(sink, patient(1), max_queue_size=1, max_in_flight=2) as queue:
            undelivered, in_doubt = queue.undelivered, queue.in_doubt
            await enqueue_all(queue, range(3))
            flushing = asyncio.create_task(error_of(queue.flush()))
            waiting = asyncio.create_task(error_of(queue.enqueue(3)))
            await settle()
            sink.fail_last(OSError("down"))
            errors: list[Any] = [await waiting, await error_of(queue.enqueue(4))]
            assert ([2], [1]) == (undelivered, in_doubt)
            sink.fail(OSError("down too"))
    errors += [at_exit.value, await flushing, await error_of(queue.aclose())]
    assert ([2], [0, 1]) == (undelivered, in_doubt)
    for shown in (queue, *errors):
        assert undelivered is shown.undelivered
        assert in_doubt is shown.in_doubt


async def test_items_need_no_equality_and_no_hash() -> None:
    """Items are never compared: None, NaN, dicts and one object twice are items like any other."""

    class Touchy:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]  # an item that cannot be hashed

    touchy = Touchy()
    items: list[Any] = [None, math.nan, {}, touchy, touchy, [], touchy]
    sink = Sink[Any](errors={1: OSError("down")})
    async with failing(FlushQueue(sink, patient(3))) as queue:
        await enqueue_all(queue, items)
    ended = [*sink.batches[0], *queue.in_doubt, *queue.undelivered]
    assert list(map(id, items)) == list(map(id, ended))
    assert (3, 1) == (len(queue.in_doubt), len(queue.undelivered))
