"""Who waits for the end of an item: alone or with others, to the end or not, and nobody in vain."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from flushq import Batched, Drop, Dropped, FlushQueue, NaturalPolicy, Receipt, ShutdownTimeout
from tests.contract.hostile import error_of
from tests.contract.support import HeldSink, Sink, patient, settle, steps


def keyed(sink: Sink[int]) -> FlushQueue[int]:
    """Make a queue whose items are their own keys, which drops what fails and drains at its end."""
    return FlushQueue(
        sink, patient(), dedupe_key=lambda item: item, on_failure=lambda failure: Drop()
    )


def begin(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines until they first wait."""
    for coroutine in coroutines:
        coroutine.send(None)


def alive(kind: type[object]) -> int:
    """How many objects of a kind there are."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


# Alone and with others.


async def test_many_that_deliver_at_once_fill_one_batch() -> None:
    """Who waits for the end of an item need not pause first, however many come together."""
    sink = Sink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await asyncio.gather(*map(queue.deliver, range(1000)))
    assert [list(range(1000))] == sink.batches


async def test_who_delivers_does_not_use_up_what_others_may_do() -> None:
    """A tight producer pauses after 256 items of its own, though others deliver before and then."""
    queue = FlushQueue(Sink[int](), patient())
    deliveries = [queue.deliver(item) for item in range(600)]
    paused: list[int] = []
    async with queue:
        begin(*deliveries[300:])
        await settle()
        for item, delivery in enumerate(deliveries[:300]):
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
    assert [256] == paused
    assert 300 + 256 + 256 == queue.stats().delivered


async def test_one_who_waited_alone_is_joined() -> None:
    """The waiter that came first, a receipt of its item and another delivery are all told."""
    error = OSError("sink")
    async with keyed(Sink(errors={0: error})) as queue:
        first = asyncio.create_task(error_of(queue.deliver(1)))
        await settle()
        receipt = await queue.submit(1)
        last = asyncio.create_task(error_of(queue.deliver(1)))
        await settle()
    errors = [await first, await error_of(receipt), await last]
    assert [Dropped] * 3 == [type(one) for one in errors]
    assert 3 == len(set(map(id, errors)))
    assert all(one is not None and one.__cause__ is error for one in errors)


@pytest.mark.parametrize("gone", range(3))
async def test_one_of_several_that_is_cancelled(gone: int) -> None:
    """Whichever of those who wait for one item is cancelled, the others are told."""
    async with keyed(Sink()) as queue:
        waiters = [asyncio.create_task(error_of(queue.deliver(1))) for _ in range(3)]
        await settle()
        waiters[gone].cancel()
    errors = await asyncio.gather(*waiters)
    assert asyncio.CancelledError is type(errors.pop(gone))
    assert [None, None] == errors


async def test_who_waits_alone_needs_no_receipt() -> None:
    """Deliveries of different items hold a future each, and no receipt."""
    async with keyed(Sink()) as queue:
        before = alive(Receipt)
        waiters = [asyncio.create_task(queue.deliver(item)) for item in range(10)]
        await settle()
        assert before == alive(Receipt)
    await asyncio.gather(*waiters)


async def test_what_somebody_has_taken_out_of_the_lists_was_lost_all_the_same() -> None:
    """Whoever empties the lists, to store what is in them, makes nothing look delivered."""
    queue = FlushQueue(HeldSink[int](), NaturalPolicy(), max_shutdown_wait=0)
    with pytest.raises(ShutdownTimeout):
        async with queue:
            in_doubt = await queue.submit(1)
            await settle()
            undelivered = await queue.submit(2)
            delivery = asyncio.create_task(error_of(queue.deliver(3)))
            await settle()
    queue.undelivered.clear()
    queue.in_doubt.clear()
    ends = [await delivery, await error_of(in_doubt), await error_of(undelivered)]
    assert [ShutdownTimeout] * 3 == [type(end) for end in ends]
    with pytest.raises(ShutdownTimeout):
        await queue.aclose()


async def test_a_receipt_cannot_be_told_anything() -> None:
    """All that a receipt lets its holder do is to ask."""
    async with keyed(Sink()) as queue:
        receipt = await queue.submit(1)
        assert {"item", "done"} == {name for name in dir(receipt) if not name.startswith("_")}
        assert (1, False) == (receipt.item, receipt.done())
    assert receipt.done()


# Who has gone.


async def test_a_delivery_that_was_given_up_leaves_nothing() -> None:
    """However often a duplicate is delivered and given up, nothing of it is kept."""
    async with keyed(Sink()) as queue:
        await queue.enqueue(1)
        await settle()
        before = alive(asyncio.Future)
        for _ in range(50):
            closed = queue.deliver(1)
            begin(closed)
            closed.close()
            cancelled = asyncio.create_task(error_of(queue.deliver(1)))
            await steps(1)
            cancelled.cancel()
            await cancelled
        after = alive(asyncio.Future)
    assert after < before + 10


@pytest.mark.parametrize("callers", [1, 2])
async def test_callers_that_are_closed_are_left_out(callers: int) -> None:
    """A key is not loaded if the coroutines of all who asked for it have been closed."""
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


@pytest.mark.parametrize("callers", [1, 2])
def test_who_waits_may_outlive_the_loop(callers: int) -> None:
    """A delivery, a receipt and a caller of Batched that are left waiting end without a word."""
    queue = keyed(Sink())
    load_one = Batched[int, int](no_load, patient())
    waiting: list[Coroutine[Any, Any, object]] = []

    async def wait_for(receipt: Receipt[int]) -> None:
        await receipt

    async def leave() -> None:
        waiting.append(wait_for(await queue.submit(1)))
        waiting.extend(queue.deliver(1) for _ in range(callers))
        waiting.append(queue.deliver(2))
        waiting.extend(load_one(1) for _ in range(callers))
        begin(*waiting)

    asyncio.run(leave())
    for each in waiting:
        each.close()
    for dropped in queue, load_one.queue:
        dropped._core.batcher.stop("or it warns")  # noqa: SLF001 - of the items that are in it


async def no_load(keys: list[int]) -> list[int]:
    """Load what nobody waits for."""
    raise AssertionError(keys)
