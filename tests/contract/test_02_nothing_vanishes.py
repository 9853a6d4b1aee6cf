"""Point 2: each accepted item ends in exactly one place, and the lists are in order."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from flushq import (
    Decision,
    FlushFailed,
    FlushPolicy,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    PolicyError,
    QueueEnded,
    ShutdownTimeout,
)
from tests.contract.support import (
    HeldSink,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    failing,
    patient,
    produce,
    settle,
    steps,
)


async def test_what_no_policy_asked_for_is_delivered_at_the_end() -> None:
    """Items for which no flush was ever due are delivered when the queue is left."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        await enqueue_all(queue, range(5))
    assert [[0, 1, 2, 3, 4]] == sink.delivered
    assert ([], []) == (queue.undelivered, queue.in_doubt)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_after_a_failure_the_batch_is_in_doubt_and_the_rest_undelivered(
    seconds: float,
) -> None:
    """A flush that raises, before or after its first await, loses nothing silently."""
    sink = Sink[int](seconds, errors={1: OSError("down")})
    with pytest.raises(FlushFailed) as caught:
        async with FlushQueue(sink, NaturalPolicy(max_records=3)) as queue:
            await enqueue_all(queue, range(10))
            await queue.flush()
    assert [[0, 1, 2]] == sink.delivered
    assert [3, 4, 5] == queue.in_doubt
    assert [6, 7, 8, 9] == queue.undelivered
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_failure_in_the_drain_loses_nothing_silently() -> None:
    """A flush that fails in the drain leaves the rest of it undelivered, in order."""
    sink = Sink[int](errors={2: OSError("down")})
    async with failing(FlushQueue(sink, patient(2))) as queue:
        await enqueue_all(queue, range(7))
    assert [[0, 1], [2, 3]] == sink.delivered
    assert ([6], [4, 5]) == (queue.undelivered, queue.in_doubt)


async def test_a_flush_beside_the_failed_one_is_delivered() -> None:
    """Flushes that run when another fails go on, and are delivered if they return."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(max_records=2), max_in_flight=3)) as queue:
        await enqueue_all(queue, range(8))
        await settle()
        sink.let_go()
        sink.fail(OSError("down"))
        await settle()
        assert ([6, 7], [2, 3]) == (queue.undelivered, queue.in_doubt)
        sink.let_go()
    assert [[0, 1], [4, 5]] == sink.delivered
    assert ([6, 7], [2, 3]) == (queue.undelivered, queue.in_doubt)


async def test_in_doubt_is_in_order_of_acceptance_not_of_failure() -> None:
    """Batches that fail in reverse order stand in the list in the order of their items."""
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
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await enqueue_all(queue, range(7))
            await steps(step)
    assert sink.items == queue.in_doubt
    assert list(range(len(sink.items), 7)) == queue.undelivered
    assert (caught.value.in_doubt, caught.value.undelivered) == (queue.in_doubt, queue.undelivered)


@pytest.mark.parametrize("step", range(6))
async def test_a_failure_beside_a_batch_that_was_only_cut(step: int) -> None:
    """A close at any step around a failure keeps the account, whichever comes first."""
    sink = Sink[int](errors={0: OSError("down"), 1: OSError("down")})
    async with failing(
        FlushQueue(sink, patient(2), max_in_flight=3, max_shutdown_wait=0), QueueEnded
    ) as queue:
        await enqueue_all(queue, range(7))
        await steps(step)
    assert_all_accounted_for(range(7), queue, sink)
    assert sorted(queue.undelivered) == queue.undelivered
    assert sorted(queue.in_doubt) == queue.in_doubt


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("first", ["failure", "item"])
async def test_a_batch_that_is_cut_at_any_step_around_a_failure(first: str, step: int) -> None:
    """In doubt are exactly the items that flush_fn was called with; the others are undelivered."""
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


async def test_at_the_limit_running_flushes_are_in_doubt_and_the_rest_undelivered() -> None:
    """A close that reaches its limit lists what was cancelled and what never began."""
    sink = Sink[int](seconds=10.0)
    async with failing(
        FlushQueue(sink, patient(2), max_in_flight=2, max_shutdown_wait=15.0), ShutdownTimeout
    ) as queue:
        await enqueue_all(queue, range(11))
    assert [0.0, 0.0, 10.0, 10.0] == sink.started
    assert [[0, 1], [2, 3]] == sink.delivered
    assert [4, 5, 6, 7] == queue.in_doubt
    assert [8, 9, 10] == queue.undelivered


async def test_a_cancelled_flush_that_returns_all_the_same_is_delivered() -> None:
    """Nothing is in doubt of a batch for which flush_fn returned, cancelled or not."""
    delivered: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            delivered.append(batch)

    async with failing(
        FlushQueue(sink, patient(2), max_shutdown_wait=1.0), ShutdownTimeout
    ) as queue:
        await enqueue_all(queue, range(3))
    assert [[0, 1]] == delivered
    assert ([2], []) == (queue.undelivered, queue.in_doubt)


async def test_the_lists_are_the_same_objects_everywhere() -> None:
    """Queue, enqueue, flush, aclose and the end of the block show the same two list objects."""
    sink = HeldSink[int]()
    errors: list[QueueEnded] = []

    async def catch(operation: Callable[[], Any]) -> None:
        with pytest.raises(FlushFailed) as caught:
            await operation()
        errors.append(caught.value)

    with pytest.raises(FlushFailed) as at_exit:
        async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
            before = (queue.undelivered, queue.in_doubt)
            await queue.enqueue(0)
            await settle()
            await queue.enqueue(1)
            waiting = [
                asyncio.create_task(catch(queue.flush)),
                asyncio.create_task(catch(lambda: queue.enqueue(2))),
            ]
            await settle()
            sink.fail(OSError("down"))
            await asyncio.gather(*waiting)
            await catch(lambda: queue.enqueue(3))
            await catch(queue.flush)
    await catch(queue.aclose)
    errors.append(at_exit.value)
    assert 6 == len({id(error) for error in errors})
    for lists in [
        (queue.undelivered, queue.in_doubt),
        *((e.undelivered, e.in_doubt) for e in errors),
    ]:
        assert before[0] is lists[0]
        assert before[1] is lists[1]
    assert ([1], [0]) == before


async def test_an_early_error_carries_lists_that_are_complete_in_the_end() -> None:
    """A producer that is told of a failure at once can see all losses once the queue has ended."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(1), max_in_flight=2)) as queue:
        await enqueue_all(queue, range(3))
        await settle()
        sink.fail_last(OSError("down"))
        await settle()
        with pytest.raises(FlushFailed) as early:
            await queue.enqueue(3)
        assert ([2], [1]) == (early.value.undelivered, early.value.in_doubt)
        sink.fail(OSError("down too"))
    assert ([2], [0, 1]) == (early.value.undelivered, early.value.in_doubt)


def _clear(batch: list[Any]) -> None:
    batch.clear()


def _grow(batch: list[Any]) -> None:
    batch.extend(batch)


def _reverse(batch: list[Any]) -> None:
    batch.reverse()


@pytest.mark.parametrize("change", [_clear, _grow, _reverse])
async def test_a_sink_that_changes_its_batch_changes_no_account(
    change: Callable[[list[Any]], None],
) -> None:
    """The batch is the sink's own list: clearing it before failing hides no item."""

    async def sink(batch: list[int]) -> None:
        change(batch)
        await asyncio.sleep(1.0)
        change(batch)
        raise OSError("down")

    async with failing(FlushQueue(sink, patient(3))) as queue:
        await enqueue_all(queue, range(5))
        flushing = asyncio.create_task(queue.flush())
        await asyncio.sleep(2.0)
        with pytest.raises(FlushFailed):
            await flushing
    assert ([3, 4], [0, 1, 2]) == (queue.undelivered, queue.in_doubt)


async def test_a_sink_that_keeps_its_batches_shares_them_with_nobody() -> None:
    """Batches that a sink keeps and changes later touch no other batch and no list."""
    kept: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        for other in kept:
            other.clear()
        kept.append(batch)
        if len(kept) == 3:
            raise OSError("down")

    async with failing(FlushQueue(sink, patient(2))) as queue:
        await enqueue_all(queue, range(7))
        await settle()
    for batch in kept:
        batch.append(99)
    assert ([6], [4, 5]) == (queue.undelivered, queue.in_doubt)


async def test_a_result_that_cannot_be_awaited_leaves_the_batch_in_doubt() -> None:
    """flush_fn was called, so what it did with the batch is unknown."""

    def sink(batch: list[int]) -> Any:
        return len(batch)

    with pytest.raises(FlushFailed) as caught:
        async with FlushQueue(sink, patient(2)) as queue:
            await enqueue_all(queue, range(3))
    assert isinstance(caught.value.__cause__, TypeError)
    assert ([2], [0, 1]) == (queue.undelivered, queue.in_doubt)


async def test_a_flush_function_that_raises_at_the_call_leaves_the_batch_in_doubt() -> None:
    """Raising instead of returning an awaitable is a failure like any other."""

    def sink(batch: list[int]) -> Any:
        raise OSError(len(batch))

    with pytest.raises(FlushFailed) as caught:
        async with FlushQueue(sink, patient(2)) as queue:
            await enqueue_all(queue, range(3))
    assert isinstance(caught.value.__cause__, OSError)
    assert ([2], [0, 1]) == (queue.undelivered, queue.in_doubt)


class RaisesAtFlushNumber(FlushPolicy):
    """Flush at once, and raise when the policy hears of a certain flush."""

    max_records = 2

    def __init__(self, number: int) -> None:
        self.left = number

    def decide(self, now: float) -> Decision:
        """Flush."""
        return NaturalPolicy().decide(now)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Raise once the number is reached."""
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError
        return super().flush_started(now, count, weight)


async def test_a_batch_whose_policy_raised_at_its_cut_is_undelivered_first_in_line() -> None:
    """A batch that was cut and never handed over comes before all that waited behind it."""
    sink = Sink[int](seconds=1.0)
    async with failing(
        FlushQueue(sink, RaisesAtFlushNumber(2), max_in_flight=2), PolicyError
    ) as queue:
        await enqueue_all(queue, range(7))
    assert [[0, 1], [2, 3]] == sink.delivered
    assert ([4, 5, 6], []) == (queue.undelivered, queue.in_doubt)


async def test_a_duplicate_is_in_no_list() -> None:
    """A duplicate was dropped when it was accepted: after a failure only the first is listed."""
    sink = Sink[int](errors={0: OSError("down")})
    async with failing(FlushQueue(sink, patient(2), dedupe_key=lambda item: item % 10)) as queue:
        await enqueue_all(queue, [1, 11, 2, 12, 3, 13, 23])
    assert ([3], [1, 2]) == (queue.undelivered, queue.in_doubt)


async def test_an_item_whose_like_has_left_the_queue_is_no_duplicate() -> None:
    """A key is free when its batch is cut: what comes then is delivered, or listed beside it."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(2), dedupe_key=abs)) as queue:
        for item in [1, 2, -1, -2, 1, 2, -1]:
            await queue.enqueue(item)
            await settle()
        sink.let_go()
        await settle()
        sink.fail(OSError("down"))
    assert [[1, 2]] == sink.delivered
    assert ([], [-1, -2]) == (queue.undelivered, queue.in_doubt)


async def test_waiting_producers_of_a_failed_queue_have_items_in_no_list() -> None:
    """What was not accepted is no loss of the queue's: its producer has the exception."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, patient(1), max_queue_size=2)) as queue:
        await queue.enqueue(0)
        await settle()
        await enqueue_all(queue, [1, 2])
        waiting = [produce(queue, item) for item in range(3, 8)]
        await settle()
        sink.fail(OSError("down"))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [FlushFailed] * 5 == list(map(type, outcomes))
    assert 5 == len({id(outcome) for outcome in outcomes})
    assert ([1, 2], [0]) == (queue.undelivered, queue.in_doubt)


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


async def test_items_accepted_before_the_start_are_kept() -> None:
    """What was accepted before the start is delivered, in order, or listed."""
    sink = Sink[int](errors={1: OSError("down")})
    queue = FlushQueue(sink, patient(2))
    await enqueue_all(queue, range(5))
    with pytest.raises(FlushFailed):
        async with queue:
            await settle()
    assert [[0, 1]] == sink.delivered
    assert ([4], [2, 3]) == (queue.undelivered, queue.in_doubt)


async def test_pending_in_flight_and_ended_are_one_account_at_every_step() -> None:
    """At each loop step every item accepted so far is pending, in flight or delivered."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, IntervalPolicy(2.5, max_records=3), max_in_flight=2) as queue:
        accepted = 0

        async def produce_slowly() -> None:
            nonlocal accepted
            for item in range(40):
                await queue.enqueue(item)
                accepted += 1
                await asyncio.sleep(0.25 * (item % 3))

        producer = asyncio.create_task(produce_slowly())
        while not producer.done():
            assert accepted == queue.pending + len(sink.items)
            await settle()
            assert accepted == queue.pending + len(sink.items)
            await asyncio.sleep(0.125)
    assert list(range(40)) == sink.items
    assert_all_accounted_for(range(40), queue, sink)
