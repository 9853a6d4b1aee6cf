"""Point 19: a receipt tells what became of its item, to all who ask and as often as they do."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from flushq import (
    Drop,
    Dropped,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    IntervalPolicy,
    ItemFailed,
    ItemTooLarge,
    NaturalPolicy,
    PartialFailure,
    PolicyError,
    QueueClosed,
    QueueEnded,
    QueueFull,
    Receipt,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import (
    EVENTS,
    Broken,
    StepSink,
    StubbornSink,
    error_of,
    left_behind,
    own_loop,
)
from tests.contract.support import (
    HOWS,
    Handler,
    HeldSink,
    How,
    Interruption,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
    steps,
    sweep,
)

EVERY_HOW = pytest.mark.parametrize("how", HOWS)


async def submit_all(queue: FlushQueue[int], *items: int) -> list[Receipt[int]]:
    """Submit items one after the other."""
    return [await queue.submit(item) for item in items]


async def fates(receipts: list[Receipt[int]]) -> list[BaseException | None]:
    """Return what each receipt raises, in order."""
    return [await error_of(receipt) for receipt in receipts]


async def value_of(awaitable: Awaitable[object]) -> object:
    """Await something, in a coroutine, and return what it returns."""
    return await awaitable


def kinds(errors: list[BaseException | None]) -> list[type[BaseException] | None]:
    """Return the type of each."""
    return [None if error is None else type(error) for error in errors]


# Delivered.


async def test_it_returns_none_when_the_item_was_delivered() -> None:
    """Submit returns at once, the receipt when flush_fn has returned; what it returned is lost."""

    async def sink(batch: list[int]) -> str:
        await asyncio.sleep(3.0)
        return "COPY 1"

    async with FlushQueue(sink, NaturalPolicy()) as queue:
        receipt = await queue.submit(7)
        assert 0.0 == now()
        assert 7 == receipt.item
        result: object = await value_of(receipt)
        assert None is result
        assert 3.0 == now()


async def test_deliver_is_submit_and_receipt_in_one() -> None:
    """Deliver returns None when the item was delivered, and not before."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        delivery = asyncio.create_task(queue.deliver(1))
        await settle()
        assert [[1]] == sink.batches
        assert not delivery.done()
        sink.open()
        result: object = await value_of(delivery)
    assert None is result


async def test_each_item_has_its_own_end() -> None:
    """A receipt is settled with the batch of its item, and with no other."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(2)) as queue:
        await queue.enqueue(0)
        receipts = await submit_all(queue, 1, 2, 3)
        waiters = [asyncio.create_task(value_of(receipt)) for receipt in receipts]
        await settle()
        sink.let_go()
        await settle()
        assert [True, False, False] == [waiter.done() for waiter in waiters]
        sink.open()
    await asyncio.gather(*waiters)


async def test_batches_may_end_out_of_order() -> None:
    """The receipt of a later item is settled first, if its flush ends first."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(1), max_in_flight=2) as queue:
        first, second = await submit_all(queue, 1, 2)
        await settle()
        sink.let_go_last()
        await second
        waiter = asyncio.create_task(value_of(first))
        await settle()
        assert not waiter.done()
        sink.open()
        await waiter


async def test_the_account_is_complete_when_it_returns() -> None:
    """Whoever has awaited a receipt finds the item among those delivered."""
    async with FlushQueue(Sink[int](), NaturalPolicy()) as queue:
        await queue.deliver(1)
        assert 1 == queue.stats().delivered
        assert 0 == queue.stats().in_flight


async def test_submit_before_the_start() -> None:
    """A receipt may be had and awaited before the queue is started."""
    queue = FlushQueue(Sink[int](), NaturalPolicy())
    waiter = asyncio.create_task(queue.deliver(1))
    receipt = await queue.submit(2)
    await settle()
    assert not waiter.done()
    async with queue:
        await waiter
        await receipt


async def test_receipts_and_plain_items_mix() -> None:
    """Of items with and without a receipt each is delivered once, in order of acceptance."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        receipts = []
        for item in range(1000):
            if item % 3:
                queue.enqueue_nowait(item)
            else:
                receipts.append(await queue.submit(item))
    assert list(range(1000)) == sink.items
    assert list(range(0, 1000, 3)) == [receipt.item for receipt in receipts]
    assert [None] * 334 == await fates(receipts)


# Acceptance.


async def test_submit_waits_for_room_in_line() -> None:
    """A full queue makes submit wait behind those who came before, and before those who come."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        first = produce(queue, 2)
        await settle()
        second = asyncio.create_task(queue.submit(3))
        await settle()
        third = produce(queue, 4)
        await settle()
        assert 3 == queue.stats().waiting
        sink.open()
        await asyncio.gather(first, third)
        await (await second)
    assert [0, 1, 2, 3, 4] == sink.items


async def test_submit_lets_the_loop_run() -> None:
    """A producer that only submits lets others run once every 256 items."""
    steps_seen = 0

    async def count() -> None:
        nonlocal steps_seen
        while True:
            steps_seen += 1
            await asyncio.sleep(0)

    async with FlushQueue(Sink[int](), patient()) as queue:
        counter = asyncio.create_task(count())
        await steps(1)
        before = steps_seen
        await submit_all(queue, *range(256))
        assert before == steps_seen
        await submit_all(queue, *range(256))
        assert before < steps_seen
        counter.cancel()


@pytest.mark.not_in("eager", reason="there the close begins before the first item comes")
async def test_a_close_while_submit_pauses() -> None:
    """An item whose producer paused when the close began is refused, and has no receipt."""
    queue = FlushQueue(Sink[int](), patient())
    async with queue:
        closer = asyncio.create_task(queue.aclose())
        with pytest.raises(QueueClosed):
            await submit_all(queue, *range(257))
        await closer
    assert 256 == queue.stats().delivered == queue.stats().accepted


@EVERY_HOW
async def test_deliver_at_any_step(how: How) -> None:
    """A delivery cut off at any step is not accepted, or delivered all the same: no third way."""

    async def scenario(interrupted: Interruption) -> None:
        sink = StepSink[int]()
        queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
        async with queue:
            await enqueue_all(queue, [0, 1])
            returned = await interrupted(queue.deliver(2))
            assert not returned or [2] in sink.delivered
            accepted = queue.stats().accepted
        assert list(range(accepted)) == sink.items
        assert (accepted, 0) == (queue.stats().delivered, queue.stats().waiting)
        assert [] == left_behind()

    assert 5 <= await sweep(scenario, how)


@pytest.mark.parametrize("error", [None, OSError("sink")])
@EVERY_HOW
async def test_a_waiter_at_any_step(how: How, error: OSError | None) -> None:
    """A waiter cut off at any step takes nothing from the item, nor from those who wait too."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda failure: Drop()) as queue:
            receipt = await queue.submit(1)
            others = [asyncio.create_task(error_of(receipt)) for _ in range(2)]
            ending = asyncio.create_task(_end_slowly(sink, error))
            await interrupted(_until_settled(receipt))
            others.append(asyncio.create_task(error_of(receipt)))
            expected = None if error is None else Dropped
            assert [expected] * 3 == kinds(await asyncio.gather(*others))
            await ending
        assert [1] == sink.items
        assert [] == left_behind()

    assert 5 <= await sweep(scenario, how)


async def _until_settled(receipt: Receipt[int]) -> None:
    with suppress(Dropped):
        await receipt


async def _end_slowly(sink: HeldSink[int], error: OSError | None) -> None:
    await steps(4)
    if error is None:
        sink.let_go()
    else:
        sink.fail(error)


async def test_what_is_refused_has_no_receipt() -> None:
    """Submit and deliver raise what enqueue does, and nothing was accepted."""
    queue = FlushQueue(Sink[int](), IntervalPolicy(1.0, max_weight=5), weigh=lambda item: item)
    async with queue:
        for refused in (queue.submit(6), queue.deliver(6)):
            with pytest.raises(ItemTooLarge):
                await refused
    for refused in (queue.submit(1), queue.deliver(1)):
        with pytest.raises(QueueClosed):
            await refused
    assert 0 == queue.stats().accepted


# Who waits, and how.


WAITING: dict[str, Callable[[Receipt[int]], Awaitable[object]]] = {
    "gather": lambda receipt: asyncio.gather(receipt, receipt),
    "wait_for": lambda receipt: asyncio.wait_for(receipt, 1e9),
    "shield": asyncio.shield,
    "ensure_future": asyncio.ensure_future,
    "as_completed": lambda receipt: next(iter(asyncio.as_completed([receipt]))),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
@pytest.mark.parametrize("error", [None, OSError("sink")])
async def test_it_may_be_awaited_in_every_way(
    wait: Callable[[Receipt[int]], Awaitable[object]], error: OSError | None
) -> None:
    """A receipt goes wherever asyncio takes an awaitable, before its end and after it."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda failure: Drop()) as queue:
        receipt = await queue.submit(1)
        before = asyncio.create_task(error_of(wait(receipt)))
        await settle()
        assert not before.done()
        await _end_slowly(sink, error)
        expected = [None if error is None else Dropped] * 2
        assert expected == kinds([await before, await error_of(wait(receipt))])


async def test_a_timeout_ends_the_waiting_alone() -> None:
    """A wait that takes too long ends in TimeoutError; the item is delivered all the same."""
    sink = Sink[int](10.0)
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        receipt = await queue.submit(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receipt, 1.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await receipt
        assert 2.0 == now()
        await receipt
        assert 10.0 == now()
    assert [[1]] == sink.delivered


async def test_asyncio_wait_takes_its_tasks() -> None:
    """Several receipts can be waited for together, as tasks."""
    async with FlushQueue(Sink[int](), NaturalPolicy(1)) as queue:
        receipts = await submit_all(queue, 1, 2, 3)
        done, pending = await asyncio.wait([asyncio.ensure_future(one) for one in receipts])
    assert 3 == len(done)
    assert not pending


async def test_many_may_wait() -> None:
    """Each of a thousand tasks that await one receipt gets an exception of its own."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda failure: Drop()) as queue:
        receipt = await queue.submit(1)
        waiters = [asyncio.create_task(error_of(receipt)) for _ in range(1000)]
        await settle()
        cancelled, others = waiters[::2], waiters[1::2]
        for waiter in cancelled:
            waiter.cancel()
        sink.fail(error := OSError("sink"))
        assert {asyncio.CancelledError} == set(kinds(await asyncio.gather(*cancelled)))
        errors = await asyncio.gather(*others)
    assert {Dropped} == set(kinds(errors))
    assert 500 == len(set(map(id, errors)))
    assert all(one is not None and one.__cause__ is error for one in errors)


async def test_a_waiter_that_is_cancelled_as_the_item_ends() -> None:
    """A waiter that is cancelled between the end and its waking up is cancelled."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        receipt = await queue.submit(1)

        async def wait_first() -> None:
            await receipt
            second.cancel()

        first = asyncio.create_task(wait_first())
        second = asyncio.create_task(value_of(receipt))
        await settle()
        sink.open()
        await first
        assert asyncio.CancelledError is type(await error_of(second))
        await receipt


def test_another_loop_may_not_wait() -> None:
    """Before the end a wait on another loop is a RuntimeError; after it the fate is known."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy())
    receipts: list[Receipt[int]] = []

    async def begin() -> None:
        await queue.__aenter__()
        receipts.append(await queue.submit(1))
        await settle()

    async def end() -> None:
        sink.open()
        await queue.__aexit__(None, None, None)

    with own_loop() as loop, own_loop() as other:
        loop.run_until_complete(begin())
        (receipt,) = receipts
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            other.run_until_complete(value_of(receipt))
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            other.run_until_complete(queue.deliver(2))
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            other.run_until_complete(queue.submit(2))
        loop.run_until_complete(end())
        other.run_until_complete(value_of(receipt))
    assert 1 == queue.stats().accepted


# Inside flush_fn.


async def test_flush_fn_may_not_wait_for_what_has_not_ended() -> None:
    """A receipt awaited inside flush_fn is a RuntimeError, whosever item it is."""
    errors: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        if batch == [1]:
            own, other = receipts
            errors.append(await error_of(own))
            errors.append(await error_of(asyncio.gather(other)))
            errors.append(await error_of(await queue.submit(3)))

    queue = FlushQueue(sink, NaturalPolicy(1))
    async with queue:
        receipts = await submit_all(queue, 1, 2)
        assert [None, None] == await fates(receipts)
    assert [RuntimeError] * 3 == kinds(errors)
    assert all("inside flush_fn" in str(error) for error in errors)
    assert 3 == queue.stats().delivered


async def test_flush_fn_may_not_deliver() -> None:
    """Deliver inside flush_fn is a RuntimeError, and the item is not accepted, room or not."""
    errors: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        errors.append(await error_of(queue.deliver(9)))

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=2)
    async with queue:
        await enqueue_all(queue, [1, 2])
    assert [RuntimeError] * 2 == kinds(errors)
    assert 2 == queue.stats().accepted


async def test_flush_fn_may_look_at_what_has_ended() -> None:
    """Inside flush_fn a receipt whose item has ended tells what became of it."""
    errors: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        if batch == [1]:
            raise OSError("sink")
        errors.append(await error_of(receipt))

    async with FlushQueue(sink, NaturalPolicy(1), on_failure=lambda failure: Drop()) as queue:
        receipt = await queue.submit(1)
        await queue.enqueue(2)
    assert [Dropped] == kinds(errors)


async def test_a_task_of_the_flush_may_wait_when_the_flush_is_over() -> None:
    """A task that flush_fn has left behind may wait, but not while the flush still runs."""
    tasks: list[asyncio.Task[BaseException | None]] = []
    released = asyncio.Event()

    async def late() -> BaseException | None:
        await released.wait()
        return await error_of(receipts[1])

    async def sink(batch: list[int]) -> None:
        if batch == [1]:
            tasks.append(asyncio.create_task(error_of(receipts[1])))
            tasks.append(asyncio.create_task(late()))
            await steps(3)

    async with FlushQueue(sink, NaturalPolicy(1)) as queue:
        receipts = await submit_all(queue, 1, 2)
        await receipts[0]
        released.set()
    assert [RuntimeError, None] == kinds(await asyncio.gather(*tasks))


async def test_the_failure_handler_may_not_wait() -> None:
    """The handler is part of the flush: a receipt awaited there is a RuntimeError, no deadlock."""
    errors: list[BaseException | None] = []

    async def handler(failure: Failure[int]) -> Verdict:
        errors.append(await error_of(receipt))
        return Drop()

    queue = FlushQueue(Sink[int](errors={0: OSError("sink")}), NaturalPolicy(), on_failure=handler)
    async with queue:
        receipt = await queue.submit(1)
        with pytest.raises(Dropped):
            await receipt
    assert [RuntimeError] == kinds(errors)


async def test_the_flush_of_another_queue_may_wait() -> None:
    """flush_fn of one queue may deliver to another."""
    lower = Sink[int](1.0)
    async with FlushQueue(lower, NaturalPolicy()) as below:

        async def sink(batch: list[int]) -> None:
            for item in batch:
                await below.deliver(item)

        async with FlushQueue(sink, NaturalPolicy()) as queue:
            await queue.deliver(1)
            assert [[1]] == lower.delivered


# Failures.


async def test_a_failed_item_raises_item_failed() -> None:
    """Without a handler each item of the batch raises ItemFailed, from what flush_fn raised."""
    error = OSError("sink")
    async with failing(FlushQueue(Sink[int](errors={0: error}), NaturalPolicy())) as queue:
        receipts = await submit_all(queue, 1, 2)
        errors = await fates(receipts * 2)
    assert [ItemFailed] * 4 == kinds(errors)
    assert 4 == len(set(map(id, errors)))
    assert [1, 2, 1, 2] == [one.item for one in errors if isinstance(one, ItemFailed)]
    assert all(one is not None and one.__cause__ is error for one in errors)
    assert "1 failed: OSError('sink')" == str(errors[0])


async def test_a_dropped_item_raises_dropped() -> None:
    """An item that the handler drops raises Dropped, and the queue goes on."""
    error = OSError("sink")
    sink = Sink[int](errors={0: error})
    async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda failure: Drop()) as queue:
        with pytest.raises(Dropped, match=r"^1 was dropped: OSError\('sink'\)$") as caught:
            await queue.deliver(1)
        assert error is caught.value.__cause__
        assert 1 == caught.value.item
        await queue.deliver(2)


async def test_a_retried_item_may_be_delivered() -> None:
    """A receipt waits through all attempts, pauses included, and returns if the last succeeds."""
    sink = Sink[int](errors={0: OSError("sink"), 1: OSError("sink")})
    async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda failure: Retry(5.0)) as queue:
        await queue.deliver(1)
        assert 10.0 == now()
    assert [[1]] * 3 == sink.batches


async def test_each_item_of_a_partial_failure_has_its_own_cause() -> None:
    """After a PartialFailure those it names raise what it says of them, the others are delivered.

    All of them are told when the flush is over.
    """
    errors = {1: OSError("one"), 3: ValueError("three")}
    sink = Sink[int](errors={0: PartialFailure(errors)})
    async with FlushQueue(sink, patient(), on_failure=lambda failure: Drop()) as queue:
        receipts = await submit_all(queue, 0, 1, 2, 3)
        await queue.flush()
        told = await fates(receipts)
    assert [None, Dropped, None, Dropped] == kinds(told)
    assert [errors[1], errors[3]] == [one.__cause__ for one in told if one is not None]


async def test_a_partial_failure_that_ends_the_queue() -> None:
    """Without a handler those named raise ItemFailed; the others were delivered."""
    error = OSError("one")
    sink = Sink[int](errors={0: PartialFailure({1: error})})
    async with failing(FlushQueue(sink, patient())) as queue:
        receipts = await submit_all(queue, 0, 1, 2)
        assert FlushFailed is type(await error_of(queue.flush()))
        told = await fates(receipts)
    assert [None, ItemFailed, None] == kinds(told)
    assert told[1] is not None
    assert error is told[1].__cause__
    assert [1] == queue.in_doubt


async def test_a_partial_failure_that_makes_no_sense() -> None:
    """Every item of the batch fails with a ValueError that says what is wrong."""
    sink = Sink[int](errors={0: PartialFailure({7: OSError("seven")})})
    async with failing(FlushQueue(sink, patient())) as queue:
        receipts = await submit_all(queue, 0, 1)
        assert FlushFailed is type(await error_of(queue.flush()))
        told = await fates(receipts)
    assert [ItemFailed] * 2 == kinds(told)
    assert all(one is not None and ValueError is type(one.__cause__) for one in told)


async def test_after_a_split_each_item_has_its_own_end() -> None:
    """An item isolated by Split and dropped raises Dropped; those beside it are delivered."""

    async def sink(batch: list[int]) -> None:
        if 5 in batch:
            raise OSError("poison")

    def handler(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Drop()

    async with FlushQueue(sink, patient(), on_failure=handler) as queue:
        receipts = await submit_all(queue, *range(8))
        await queue.flush()
        told = await fates(receipts)
    assert [Dropped if item == 5 else None for item in range(8)] == kinds(told)


async def test_the_other_half_of_a_split_that_fails() -> None:
    """When one half ends the queue, the half not tried again raises FlushFailed."""

    def handler(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 2 else Fail()

    sink = Sink[int](errors={0: OSError("all"), 1: OSError("half")})
    async with failing(FlushQueue(sink, patient(), on_failure=handler)) as queue:
        receipts = await submit_all(queue, *range(4))
        assert FlushFailed is type(await error_of(queue.flush()))
        told = await fates(receipts)
    assert [ItemFailed, ItemFailed, FlushFailed, FlushFailed] == kinds(told)
    assert [0, 1, 2, 3] == queue.in_doubt


async def test_a_handler_that_raises() -> None:
    """The items raise ItemFailed from what flush_fn raised; the handler's error ends the queue."""
    error, broken = OSError("sink"), ZeroDivisionError("handler")

    def handler(failure: Failure[int]) -> Verdict:
        raise broken

    queue = FlushQueue(Sink[int](errors={0: error}), NaturalPolicy(1), on_failure=handler)
    async with failing(queue):
        receipts = await submit_all(queue, 1, 2)
        told = await fates(receipts)
    assert [ItemFailed, FlushFailed] == kinds(told)
    assert [error, broken] == [one.__cause__ for one in told if one is not None]


# The queue ends first.


async def test_what_waits_at_a_failure() -> None:
    """A receipt of an item that waits raises FlushFailed, a new object each, with the lists."""
    error = OSError("sink")
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1))) as queue:
        receipts = await submit_all(queue, 1, 2, 3)
        await settle()
        sink.fail(error)
        told = await fates(receipts[1:] * 2)
    assert [FlushFailed] * 4 == kinds(told)
    assert 4 == len(set(map(id, told)))
    for one in told:
        assert isinstance(one, QueueEnded)
        assert error is one.__cause__
        assert one.undelivered is queue.undelivered
        assert one.in_doubt is queue.in_doubt
    assert ([2, 3], [1]) == (queue.undelivered, queue.in_doubt)


async def test_what_runs_at_a_failure() -> None:
    """A flush that still runs at a failure may deliver; its receipts wait for that."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1), max_in_flight=2)) as queue:
        first, second, third = await submit_all(queue, 1, 2, 3)
        await settle()
        sink.fail(OSError("sink"))
        assert [ItemFailed, FlushFailed] == kinds(await fates([first, third]))
        waiter = asyncio.create_task(error_of(second))
        await settle()
        assert not waiter.done()
        sink.open()
        assert None is await waiter


async def test_a_limit_of_nothing() -> None:
    """With max_shutdown_wait=0 what waits and what runs at the close raises ShutdownTimeout."""
    queue = FlushQueue(Sink[int](1.0), NaturalPolicy(1), max_shutdown_wait=0)
    with pytest.raises(ShutdownTimeout):
        async with queue:
            receipts = await submit_all(queue, 1, 2, 3)
            waiters = [asyncio.create_task(error_of(receipt)) for receipt in receipts]
            await settle()
    assert [ShutdownTimeout] * 3 == kinds(await asyncio.gather(*waiters))
    assert ([2, 3], [1]) == (queue.undelivered, queue.in_doubt)


async def test_what_returns_after_the_limit_is_delivered() -> None:
    """A flush that ignores its cancellation and returns has delivered its items."""
    queue = FlushQueue(StubbornSink[int](5.0), NaturalPolicy(1), max_shutdown_wait=1.0)
    with pytest.raises(ShutdownTimeout):
        async with queue:
            receipts = await submit_all(queue, 1, 2)
    assert [None, ShutdownTimeout] == kinds(await fates(receipts))


async def test_a_second_cancellation() -> None:
    """When the drain is aborted, what was left raises ShutdownTimeout, and nobody hangs."""
    queue = FlushQueue(Sink[int](10.0), NaturalPolicy(1))
    running = asyncio.create_task(queue.run())
    receipts = await submit_all(queue, 1, 2)
    waiters = [asyncio.create_task(error_of(receipt)) for receipt in receipts]
    await settle()
    running.cancel()
    await settle()
    assert not any(waiter.done() for waiter in waiters)
    running.cancel()
    assert [ShutdownTimeout] * 2 == kinds(await asyncio.gather(*waiters))
    assert asyncio.CancelledError is type(await error_of(running))


@pytest.mark.parametrize("delay", range(5))
async def test_a_batch_cut_and_cut_short_at_any_step(delay: int) -> None:
    """Whether the flush has begun or not when it is cut short, its receipts are settled."""
    queue = FlushQueue(Sink[int](10.0), NaturalPolicy(1), max_shutdown_wait=0)
    await queue.__aenter__()
    receipts = await submit_all(queue, 1, 2)
    waiters = [asyncio.create_task(error_of(receipt)) for receipt in receipts]
    await steps(delay)
    assert ShutdownTimeout is type(await error_of(queue.aclose()))
    assert [ShutdownTimeout] * 2 == kinds(await asyncio.gather(*waiters))
    assert [1, 2] == [*queue.in_doubt, *queue.undelivered]
    assert [] == left_behind()


@pytest.mark.parametrize("event", EVENTS)
async def test_a_policy_that_raises(event: str) -> None:
    """Whatever was not delivered when the policy fails raises PolicyError."""
    queue = FlushQueue(Sink[int](1.0), Broken(event, ZeroDivisionError))
    async with failing(queue, PolicyError):
        told = await fates(await submit_all(queue, 1, 2))
    delivered = event == "flush_done"
    assert [None if delivered else PolicyError] * 2 == kinds(told)
    assert ([] if delivered else [1, 2]) == [*queue.undelivered, *queue.in_doubt]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_policy(event: str, kind: type[BaseException]) -> None:
    """KeyboardInterrupt of the policy leaves the loop; run on, it settles every receipt."""
    queue = FlushQueue(Sink[int](1.0), Broken(event, kind))

    async def session() -> list[BaseException | None]:
        async with failing(queue, PolicyError):
            return await fates(await submit_all(queue, 1, 2))

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="broken in"):
            loop.run_until_complete(main)
        told = loop.run_until_complete(main)
    assert [None if event == "flush_done" else PolicyError] * 2 == kinds(told)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_sink(kind: type[BaseException]) -> None:
    """KeyboardInterrupt of flush_fn is the cause of what its items, and those that wait, raise."""
    error = kind("sink")
    queue = FlushQueue(Sink[int](1.0, errors={0: error}), NaturalPolicy(1))

    async def session() -> list[BaseException | None]:
        async with failing(queue):
            return await fates(await submit_all(queue, 1, 2))

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="sink"):
            loop.run_until_complete(main)
        told = loop.run_until_complete(main)
    assert [ItemFailed, FlushFailed] == kinds(told)
    assert all(one is not None and one.__cause__ is error for one in told)


async def test_a_flush_that_was_never_handed_over() -> None:
    """A batch that the task factory kept from flush_fn raises FlushFailed: it is undelivered."""

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        raise ZeroDivisionError("factory")

    sink = Sink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy())) as queue:
        receipt = await queue.submit(1)
        asyncio.get_running_loop().set_task_factory(factory)
        assert FlushFailed is type(await error_of(receipt))
        asyncio.get_running_loop().set_task_factory(None)
    assert [] == sink.batches
    assert [1] == queue.undelivered


# Duplicates.


async def test_the_receipt_of_a_duplicate_is_that_of_the_item_that_stayed() -> None:
    """All who submit an item of one key while it waits hold one receipt, of the first item."""
    sink = Sink[str]()
    async with FlushQueue(sink, patient(), dedupe_key=str.lower) as queue:
        first = await queue.submit("a")
        await queue.enqueue("b")
        second = await queue.submit("A")
        assert first is second
        assert "a" == second.item
        assert "b" == (await queue.submit("B")).item
        await queue.flush()
        await second
    assert [["a", "b"]] == sink.delivered


async def test_the_item_that_stayed_may_have_had_no_receipt() -> None:
    """A duplicate of an item that was enqueued without one gets the receipt of that item."""
    sink = Sink[str](errors={1: OSError("sink")})
    queue = FlushQueue(sink, patient(2), dedupe_key=str.lower, on_failure=lambda failure: Drop())
    async with queue:
        await enqueue_all(queue, ["x", "y"])
        await queue.flush()
        await queue.enqueue("a")
        receipt = await queue.submit("A")
        other = await queue.submit("b")
        errors = [await error_of(receipt), await error_of(other)]
    assert ["a", "b"] == [error.item for error in errors if isinstance(error, Dropped)]


async def test_the_key_is_free_after_the_cut() -> None:
    """An item of the same key that comes while the first is in flight has a receipt of its own."""
    sink = HeldSink[int]()
    queue = FlushQueue(
        sink, NaturalPolicy(1), dedupe_key=lambda item: item, on_failure=lambda failure: Drop()
    )
    async with queue:
        first = await queue.submit(1)
        await settle()
        second = await queue.submit(1)
        assert first is not second
        sink.fail(OSError("sink"))
        sink.open()
        assert [Dropped, None] == kinds(await fates([first, second]))
    assert [[1], [1]] == sink.batches


async def test_a_duplicate_in_line() -> None:
    """Of two with one key that wait for room, the second gets the receipt of the first."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient(2), dedupe_key=lambda item: item, max_queue_size=2)
    async with queue:
        await enqueue_all(queue, [0, 1])
        await settle()
        await enqueue_all(queue, [2, 3])
        in_line = [asyncio.create_task(queue.submit(4)) for _ in range(2)]
        await settle()
        assert 2 == queue.stats().waiting
        sink.let_go()
        first, second = await asyncio.gather(*in_line)
        assert first is second
        sink.open()
    assert [[0, 1], [2, 3], [4]] == sink.delivered
    assert 1 == queue.stats().duplicates


async def test_a_duplicate_needs_no_room_for_its_receipt() -> None:
    """A duplicate is accepted by a full queue, and its receipt is that of the one that waits."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient(2), dedupe_key=lambda item: item, max_queue_size=2)
    async with queue:
        await enqueue_all(queue, [0, 1])
        await settle()
        await enqueue_all(queue, [2, 3])
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(4)
        receipt = await queue.submit(3)
        assert (3, 2) == (receipt.item, queue.pending)
        sink.open()
        await receipt


async def test_a_duplicate_at_the_end() -> None:
    """When the queue ends first, all who share a receipt are told, with an object each."""
    queue = FlushQueue(
        Sink[int](1.0), NaturalPolicy(1), dedupe_key=lambda item: item, max_shutdown_wait=0
    )
    with pytest.raises(ShutdownTimeout):
        async with queue:
            await queue.enqueue(0)
            waiters = [asyncio.create_task(error_of(queue.deliver(1))) for _ in range(3)]
            await settle()
    errors = await asyncio.gather(*waiters)
    assert [ShutdownTimeout] * 3 == kinds(errors)
    assert 3 == len(set(map(id, errors)))
    assert [1] == queue.undelivered


# What they cost.


def alive(kind: type[object]) -> int:
    """How many objects of a kind there are."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_those_who_ask_for_none_pay_nothing() -> None:
    """Items that are enqueued have no receipts, neither while they wait nor in flight."""
    before = alive(Receipt)
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(10)) as queue:
        await enqueue_all(queue, range(20))
        queue.enqueue_nowait(20)
        await settle()
        assert before == alive(Receipt)
        sink.open()


async def test_a_waiter_that_has_gone_leaves_nothing() -> None:
    """However often somebody gives up waiting, a receipt does not grow."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        receipt = await queue.submit(1)
        await settle()
        before = alive(asyncio.Future)
        for _ in range(100):
            waiter = asyncio.create_task(value_of(receipt))
            await steps(1)
            waiter.cancel()
            await error_of(waiter)
        after = alive(asyncio.Future)
        sink.open()
    assert after < before + 10


async def test_the_queue_lets_go_of_a_receipt_at_the_end_of_its_item() -> None:
    """A receipt that nobody holds lives no longer than its item, however that ends."""
    before = alive(Receipt)
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1))) as queue:
        await submit_all(queue, 1, 2, 3)
        await settle()
        assert before + 3 == alive(Receipt)
        sink.let_go()
        await settle()
        assert before + 2 == alive(Receipt)
        sink.fail(OSError("sink"))
        await settle()
        assert before == alive(Receipt)


async def test_a_receipt_that_nobody_awaits_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever became of its item, an unawaited receipt says nothing, then or when collected."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1))) as queue:
        receipts = await submit_all(queue, 1, 2, 3)
        waiter = asyncio.create_task(error_of(receipts[1]))
        await settle()
        waiter.cancel()
        sink.let_go()
        await settle()
        sink.fail(OSError("sink"))
    del receipts
    await waiter
    gc.collect()
    await settle()
    assert ["flushq"] == [log.name for log in caplog.records if log.levelno >= logging.WARNING]


# One answer, and at once.


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("cancelled", range(1, 4))
@pytest.mark.parametrize("closed", range(4))
async def test_a_receipt_has_one_answer(closed: int, cancelled: int, slots: int) -> None:
    """Whether a flush fails before, in or after the turn of a cut, everyone is told the same."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), max_in_flight=slots)
    running = asyncio.create_task(queue.run())
    receipts = await submit_all(queue, *range(4))
    waiters = [asyncio.create_task(error_of(receipt)) for receipt in receipts]
    await settle()
    running.cancel()
    await settle()
    outcomes = asyncio.gather(error_of(later(closed, queue.aclose())), error_of(running))
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, _fail, sink)
    await steps(cancelled)
    running.cancel()
    await outcomes
    first, again = await asyncio.gather(*waiters), await fates(receipts)
    outcome = await error_of(queue.aclose())
    assert [type(outcome)] * 2 == kinds(first)[2:]
    assert list(map(repr, first)) == list(map(repr, again))


def _fail(sink: HeldSink[int]) -> None:
    if sink.held:
        sink.fail(OSError("disk full"))


async def later(count: int, operation: Awaitable[None]) -> None:
    """Await something so many loop iterations later."""
    await steps(count)
    await operation


async def test_what_a_partial_failure_leaves_out_is_delivered_at_once() -> None:
    """Those who wait for it do not wait for the retries of the others, and the account knows."""
    sink = Sink[int](errors={0: PartialFailure({1: OSError("locked")})})
    handler = Handler[int]([Retry(3.0)])
    async with FlushQueue(sink, patient(3), on_failure=handler) as queue:
        await asyncio.gather(queue.deliver(1), queue.submit(2), queue.deliver(3))
        assert 0.0 == now()
        stats = queue.stats()
        assert (2, 1, 3) == (stats.delivered, stats.in_flight, stats.accepted)
    assert 3.0 == now()
    assert (3, 0) == (queue.stats().delivered, queue.stats().in_flight)


async def test_a_half_of_a_split_that_returned_is_delivered_at_once() -> None:
    """The half that is tried again for an hour holds up nobody of the other."""
    sink = Sink[int](errors={0: OSError(), 2: OSError()})
    handler = Handler[int]([Split(), Retry(3600.0)])
    async with FlushQueue(sink, patient(4), on_failure=handler) as queue:
        receipts = await submit_all(queue, 1, 2, 3, 4)
        await asyncio.gather(*receipts[:2])
        assert 0.0 == now()
        assert [True, True, False, False] == [receipt.done() for receipt in receipts]
        assert (2, 2) == (queue.stats().delivered, queue.stats().in_flight)
    assert [[1, 2, 3, 4], [1, 2], [3, 4], [3, 4]] == sink.batches


async def test_what_was_dropped_is_told_at_once() -> None:
    """A receipt of a half that was dropped raises Dropped while the other half is tried again."""
    error = OSError("of the first half")
    sink = Sink[int](errors={0: OSError(), 1: error, 2: OSError()})
    handler = Handler[int]([Split(), Drop(), Retry(3600.0)])
    async with FlushQueue(sink, patient(2), on_failure=handler) as queue:
        receipts = await submit_all(queue, 1, 2)
        with pytest.raises(Dropped) as caught:
            await receipts[0]
        assert 0.0 == now()
        assert (1, error) == (caught.value.item, caught.value.__cause__)
        assert (1, 1) == (queue.stats().dropped, queue.stats().in_flight)
    assert [None] == await fates(receipts[1:])
    assert (1, 1, 0) == (queue.stats().dropped, queue.stats().delivered, queue.stats().in_flight)


async def test_what_was_stored_is_told_while_the_handler_is_asked() -> None:
    """A handler that takes its time holds up nobody whose item is delivered already."""
    sink = Sink[int](errors={0: PartialFailure({0: OSError("locked")})})
    async with FlushQueue(sink, patient(2), on_failure=Handler[int]().later) as queue:
        first, second = await submit_all(queue, 1, 2)
        await second
        assert 0.0 == now()
        assert [Dropped] == kinds(await fates([first]))
        assert 1.0 == now()


async def test_submit_nowait_is_enqueue_nowait_with_a_receipt() -> None:
    """It accepts the item now or raises QueueFull; its receipt is as any other."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(2), dedupe_key=abs, max_queue_size=1) as queue:
        receipt = queue.submit_nowait(1)
        assert receipt is queue.submit_nowait(-1)
        with pytest.raises(QueueFull):
            queue.submit_nowait(2)
        assert (1, False) == (receipt.item, receipt.done())
    await receipt
    with pytest.raises(QueueClosed):
        queue.submit_nowait(3)
    assert [[1]] == sink.delivered
