"""Receipts in asyncio: deliveries that fill a batch, and callers that stop waiting."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from flushq import Batched, Drop, FlushQueue, NaturalPolicy, Receipt
from flushq.core.fairness import BURST
from tests.contract.hostile import error_of
from tests.contract.support import HeldSink, Sink, failing, patient, settle, steps


def keyed(sink: Sink[int]) -> FlushQueue[int]:
    """Return a queue whose items are their own keys, and which drops items that fail."""
    return FlushQueue(
        sink, patient(), dedupe_key=lambda item: item, on_failure=lambda failure: Drop()
    )


def begin(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines until they first wait."""
    for coroutine in coroutines:
        coroutine.send(None)


def alive(kind: type[object]) -> int:
    """Return how many objects of a kind exist."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


# Several at once.


async def test_many_that_deliver_at_once_fill_one_batch() -> None:
    """A thousand deliveries at once are one batch: no producer pauses before it waits."""
    sink = Sink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await asyncio.gather(*map(queue.deliver, range(1000)))
    assert [list(range(1000))] == sink.batches


async def test_deliveries_do_not_use_up_the_burst_of_others() -> None:
    """A producer pauses after BURST items of its own; deliveries of others do not count."""
    queue = FlushQueue(Sink[int](), patient())
    deliveries = [queue.deliver(item) for item in range(2 * (BURST + 44))]
    paused: list[int] = []
    async with queue:
        begin(*deliveries[BURST + 44 :])
        await settle()
        for item, delivery in enumerate(deliveries[: BURST + 44]):
            begin(delivery)
            enqueued = queue.enqueue(item)
            try:
                begin(enqueued)
            except StopIteration:
                continue
            paused.append(item)
            enqueued.close()
            break
    for delivery in deliveries:
        delivery.close()
    assert [BURST] == paused
    assert 3 * BURST + 44 == queue.stats().delivered


# The objects that a queue keeps.


async def test_a_receipt_lives_no_longer_than_its_item() -> None:
    """Only submitted items have a receipt, and the queue forgets it at the end of the item."""
    before = alive(Receipt)
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1))) as queue:
        await queue.enqueue(0)
        for item in range(3):
            await queue.submit(item)
        await settle()
        assert before + 3 == alive(Receipt)
        sink.let_go()
        await settle()
        sink.let_go()
        await settle()
        assert before + 2 == alive(Receipt)
        sink.fail(OSError("sink"))
        await settle()
        assert before == alive(Receipt)


async def test_a_wait_that_was_cancelled_leaves_nothing() -> None:
    """A caller that stops waiting for an item leaves no object in the queue."""
    async with keyed(Sink()) as queue:
        receipt = await queue.submit(1)
        await settle()
        before = alive(asyncio.Future)
        for _ in range(50):
            closed = queue.deliver(1)
            begin(closed)
            closed.close()
            cancelled = asyncio.create_task(error_of(queue.deliver(1)))
            waiting = asyncio.ensure_future(receipt)
            await steps(1)
            waiting.cancel()
            cancelled.cancel()
            await asyncio.wait([cancelled, waiting])
        after = alive(asyncio.Future)
    assert after < before + 10


# Callers that have gone.


@pytest.mark.parametrize("callers", [1, 2])
async def test_callers_that_are_closed_are_left_out(callers: int) -> None:
    """A key is not loaded if the coroutines of all its callers were closed."""
    calls: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        calls.append(keys)
        return keys

    async with Batched(load, patient()) as load_one:
        other = asyncio.create_task(load_one(2))
        closed = [load_one(1) for _ in range(callers)]
        begin(*closed)
        for caller in closed:
            caller.close()
        await settle()
        await load_one.queue.flush()
        assert 2 == await other
    assert [[2]] == calls


async def test_a_key_is_loaded_for_a_caller_outside_of_any_task() -> None:
    """A coroutine that a callback runs, outside of a task, gets its answer."""

    async def load(keys: list[int]) -> list[int]:
        return [10 * key for key in keys]

    async with Batched(load, patient()) as load_one:
        caller = load_one(1)
        asyncio.get_running_loop().call_soon(begin, caller)
        await settle()
        await load_one.queue.flush()
        with pytest.raises(StopIteration) as caught:
            caller.send(None)
    assert 10 == caught.value.value


@pytest.mark.parametrize("callers", [1, 2])
def test_coroutines_that_wait_may_outlive_the_loop(callers: int) -> None:
    """A producer, a delivery, a receipt and a caller of Batched can be closed after the loop."""
    queue = FlushQueue(Sink[int](), patient(), dedupe_key=abs, max_queue_size=2)
    load_one = Batched[int, int](no_load, patient())
    waiting: list[Coroutine[Any, Any, object]] = []

    async def wait_for(receipt: Receipt[int]) -> None:
        await receipt

    async def leave() -> None:
        waiting.append(wait_for(await queue.submit(1)))
        waiting.extend(queue.deliver(1) for _ in range(callers))
        waiting.extend([queue.deliver(2), queue.enqueue(3)])
        waiting.extend(load_one(1) for _ in range(callers))
        begin(*waiting)

    asyncio.run(leave())
    for each in waiting:
        each.close()
    for dropped in queue, load_one.queue:
        dropped._core.batcher.stop("test")  # noqa: SLF001 - or a dropped queue with items warns


async def no_load(keys: list[int]) -> list[int]:
    """Raise AssertionError: no key may be loaded."""
    raise AssertionError(keys)
