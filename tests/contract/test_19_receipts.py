"""Point 19: a receipt tells the end of its item, to any number of waiters, any number of times.

tests/aio/test_receipts.py tests the cost of a receipt, and callers that stop waiting.
"""

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
from flushq.core.fairness import BURST
from tests.contract.hostile import EVENTS, Broken, StepSink, error_of, left_behind, own_loop
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
    settle,
    steps,
    sweep,
)

EVERY_HOW = pytest.mark.parametrize("how", HOWS)


async def submit_all(queue: FlushQueue[int], *items: int) -> list[Receipt[int]]:
    """Submit items one after the other."""
    return [await queue.submit(item) for item in items]


async def fates(receipts: list[Receipt[int]]) -> list[BaseException | None]:
    """Return the exception of each receipt, or None, in order."""
    return [await error_of(receipt) for receipt in receipts]


async def value_of(awaitable: Awaitable[object]) -> object:
    """Await an awaitable in a coroutine, and return its result."""
    return await awaitable


def kinds(errors: list[BaseException | None]) -> list[type[BaseException] | None]:
    """Return the type of each error."""
    return [None if error is None else type(error) for error in errors]


# Delivered.


async def test_it_returns_none_when_the_item_was_delivered() -> None:
    """``submit`` returns at once; the receipt returns None when flush_fn has returned anything."""

    async def sink(batch: list[int]) -> str:
        await asyncio.sleep(3.0)
        return "COPY 1"

    async with FlushQueue(sink, NaturalPolicy()) as queue:
        receipt = await queue.submit(7)
        assert (0.0, 7) == (now(), receipt.item)
        assert None is await value_of(receipt)
        assert (3.0, 1) == (now(), queue.stats().delivered)


async def test_deliver_is_submit_and_receipt_in_one() -> None:
    """``deliver`` returns None when the item was delivered, and not before."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        delivery = asyncio.create_task(value_of(queue.deliver(1)))
        await settle()
        assert [[1]] == sink.batches
        assert not delivery.done()
        sink.open()
        assert None is await delivery
        assert (1, 0) == (queue.stats().delivered, queue.stats().in_flight)


# Acceptance.


async def test_submit_nowait_is_enqueue_nowait_with_a_receipt() -> None:
    """submit_nowait accepts the item now or raises QueueFull; its receipt is an ordinary one."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(2), dedupe_key=abs, max_queue_size=1) as queue:
        receipt = queue.submit_nowait(1)
        assert receipt is queue.submit_nowait(-1)
        with pytest.raises(QueueFull):
            queue.submit_nowait(2)
        assert (1, False) == (receipt.item, receipt.done())
        assert "<Receipt of 1, not ended>" == repr(receipt)
    await receipt
    assert "<Receipt of 1, ended>" == repr(receipt)
    with pytest.raises(QueueClosed):
        queue.submit_nowait(3)
    assert [[1]] == sink.delivered


async def test_submit_lets_the_loop_run() -> None:
    """A producer that only submits lets the loop run after each burst."""
    async with FlushQueue(Sink[int](), patient()) as queue:
        await settle()
        submitting = asyncio.create_task(submit_all(queue, *range(2 * BURST + 9)))
        accepted = []
        while not submitting.done():
            accepted.append(queue.stats().accepted)
            await asyncio.sleep(0)
    assert [BURST, 2 * BURST] == accepted[-2:]


@EVERY_HOW
async def test_deliver_at_any_step(how: How) -> None:
    """If deliver is interrupted at any step, its item is either not accepted, or delivered."""

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


async def test_what_is_refused_has_no_receipt() -> None:
    """``submit`` and ``deliver`` raise the same errors as enqueue, and accept nothing then."""
    queue = FlushQueue(Sink[int](), IntervalPolicy(1.0, max_weight=5), weigh=lambda item: item)
    async with queue:
        for refused in (queue.submit(6), queue.deliver(6)):
            with pytest.raises(ItemTooLarge):
                await refused
    for refused in (queue.submit(1), queue.deliver(1)):
        with pytest.raises(QueueClosed):
            await refused
    assert 0 == queue.stats().accepted


# Waiting for a receipt.


@EVERY_HOW
async def test_a_waiter_at_any_step(how: How) -> None:
    """A waiter that is interrupted at any step changes nothing for the item or other waiters."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda failure: Drop()) as queue:
            receipt = await queue.submit(1)
            others = [asyncio.create_task(error_of(receipt)) for _ in range(2)]
            ending = asyncio.create_task(_fail_slowly(sink))
            await interrupted(_until_settled(receipt))
            others.append(asyncio.create_task(error_of(receipt)))
            assert [Dropped] * 3 == kinds(await asyncio.gather(*others))
            await ending
        assert [1] == sink.items
        assert [] == left_behind()

    assert 5 <= await sweep(scenario, how)


async def _until_settled(receipt: Receipt[int]) -> None:
    with suppress(Dropped):
        await receipt


async def _fail_slowly(sink: HeldSink[int]) -> None:
    await steps(4)
    sink.fail(OSError("sink"))


WAITING: dict[str, Callable[[Receipt[int]], Awaitable[object]]] = {
    "gather": lambda receipt: asyncio.gather(receipt, receipt),
    "wait_for": lambda receipt: asyncio.wait_for(receipt, 1e9),
    "shield": asyncio.shield,
    "ensure_future": asyncio.ensure_future,
    "as_completed": lambda receipt: next(iter(asyncio.as_completed([receipt]))),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
async def test_it_may_be_awaited_in_every_way(
    wait: Callable[[Receipt[int]], Awaitable[object]],
) -> None:
    """A receipt works like any awaitable in asyncio, before its end and after it."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), on_failure=lambda failure: Drop())
    async with queue:
        receipts = await submit_all(queue, 1, 2)
        before = [asyncio.create_task(error_of(wait(receipt))) for receipt in receipts]
        await settle()
        assert not any(waiter.done() for waiter in before)
        sink.fail(OSError("sink"))
        sink.open()
        assert [Dropped, None] == kinds(await asyncio.gather(*before))
        assert [Dropped, None] == kinds([await error_of(wait(receipt)) for receipt in receipts])


def test_another_loop_may_not_wait() -> None:
    """Before the end, waiting on another loop is a RuntimeError; afterwards it works."""
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
        for refused in (value_of(receipt), queue.deliver(2), queue.submit(2)):
            with pytest.raises(RuntimeError, match="belongs to another event loop"):
                other.run_until_complete(refused)
        loop.run_until_complete(end())
        other.run_until_complete(value_of(receipt))
    assert 1 == queue.stats().accepted


# Inside flush_fn.


async def test_flush_fn_may_not_wait_for_what_has_not_ended() -> None:
    """Waiting for any item inside flush_fn is a RuntimeError; deliver accepts nothing there."""
    errors: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        if batch == [1]:
            own, other = receipts
            errors.append(await error_of(own))
            errors.append(await error_of(asyncio.gather(other)))
            errors.append(await error_of(await queue.submit(3)))
            errors.append(await error_of(queue.deliver(9)))

    queue = FlushQueue(sink, NaturalPolicy(1))
    async with queue:
        receipts = await submit_all(queue, 1, 2)
        assert [None, None] == await fates(receipts)
    assert [RuntimeError] * 4 == kinds(errors)
    assert all("inside flush_fn" in str(error) for error in errors)
    assert 3 == queue.stats().accepted == queue.stats().delivered


async def test_flush_fn_may_look_at_what_has_ended() -> None:
    """Inside flush_fn a receipt whose item has ended can be awaited."""
    errors: list[BaseException | None] = []

    async def sink(batch: list[int]) -> None:
        if batch == [1]:
            raise OSError("sink")
        errors.append(await error_of(receipt))

    async with FlushQueue(sink, NaturalPolicy(1), on_failure=lambda failure: Drop()) as queue:
        receipt = await queue.submit(1)
        await queue.enqueue(2)
    assert [Dropped] == kinds(errors)


# Failures.


async def test_a_failed_item_raises_item_failed() -> None:
    """Without a handler each receipt of the batch raises ItemFailed, caused by flush_fn's error."""
    error = OSError("sink")
    async with failing(FlushQueue(Sink[int](errors={0: error}), NaturalPolicy())) as queue:
        receipts = await submit_all(queue, 1, 2)
        errors = await fates(receipts * 2)
    assert [ItemFailed] * 4 == kinds(errors)
    assert 4 == len(set(map(id, errors)))
    assert [1, 2, 1, 2] == [one.item for one in errors if isinstance(one, ItemFailed)]
    assert all(one is not None and one.__cause__ is error for one in errors)
    assert "1 failed: OSError('sink')" == str(errors[0])


def broken(failure: Failure[int]) -> Verdict:
    """Raise ZeroDivisionError, which a handler must not do."""
    raise ZeroDivisionError("handler")


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (None, [None, ItemFailed, ItemFailed, FlushFailed]),
        (broken, [None, ItemFailed, ItemFailed, FlushFailed]),
        (lambda _: Drop(), [None, Dropped, Dropped, None]),
        (lambda _: Retry(), [None, None, None, None]),
    ],
    ids=["none", "broken", "drop", "retry"],
)
async def test_each_item_has_its_own_fate(handler: Any, expected: list[Any]) -> None:
    """A delivered item, the failed items of a PartialFailure and a later item end differently."""
    errors = {1: OSError("one"), 2: ValueError("two")}
    sink = Sink[int](errors={0: PartialFailure(errors)})
    queue = FlushQueue(sink, patient(3), on_failure=handler)
    receipts = await submit_all(queue, 0, 1, 2, 3)
    end = await error_of(queue.aclose())
    told = await fates(receipts)
    assert expected == kinds(told)
    assert expected[3] in {None, type(end)}
    for one, error in zip(told[1:3], errors.values(), strict=True):
        assert one is None or error is one.__cause__


# The queue ends first.


async def test_what_waits_at_a_failure() -> None:
    """The receipt of a waiting item raises FlushFailed, a new object each time, with the lists."""
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
    """A flush that still runs after a failure may deliver, and its receipts wait for its end."""
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


@pytest.mark.parametrize("delay", range(5))
async def test_a_close_at_its_limit(delay: int) -> None:
    """At the limit the receipts of waiting and of running items raise ShutdownTimeout."""
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
    """If the policy raises, the receipts of all items that were not delivered raise PolicyError."""
    queue = FlushQueue(Sink[int](1.0), Broken(event, ZeroDivisionError))
    async with failing(queue, PolicyError):
        told = await fates(await submit_all(queue, 1, 2))
    delivered = event == "flush_done"
    assert [None if delivered else PolicyError] * 2 == kinds(told)
    assert ([] if delivered else [1, 2]) == [*queue.undelivered, *queue.in_doubt]


async def test_a_receipt_that_nobody_awaits_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A receipt that is never awaited logs nothing, even when it is garbage-collected."""
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


# Told at once.


async def test_what_a_partial_failure_leaves_out_is_delivered_at_once() -> None:
    """Items that a PartialFailure does not name end at once, before the handler and the retries."""
    sink = Sink[int](errors={0: PartialFailure({1: OSError("locked")})})
    handler = Handler[int]([Retry(3.0)])
    async with FlushQueue(sink, patient(3), on_failure=handler.later) as queue:
        await asyncio.gather(queue.deliver(1), queue.submit(2), queue.deliver(3))
        stats = queue.stats()
        assert (0.0, 2, 1, 3) == (now(), stats.delivered, stats.in_flight, stats.accepted)
    assert (4.0, 3, 0) == (now(), queue.stats().delivered, queue.stats().in_flight)


async def test_what_was_dropped_is_told_at_once() -> None:
    """The receipt of a dropped item raises at once, although the other half is retried later."""
    sink = Sink[int](errors={0: OSError(), 1: OSError("of the first half"), 2: OSError()})
    handler = Handler[int]([Split(), Drop(), Retry(3600.0)])
    async with FlushQueue(sink, patient(2), on_failure=handler) as queue:
        first, second = await submit_all(queue, 1, 2)
        with pytest.raises(Dropped, match=r"^1 was dropped: OSError\('of the first half'\)$"):
            await first
        assert (0.0, True, False) == (now(), first.done(), second.done())
        assert (1, 1) == (queue.stats().dropped, queue.stats().in_flight)
    await second


# Duplicates.


async def test_the_receipt_of_a_duplicate_is_that_of_the_item_that_stayed() -> None:
    """All submitters of one key get the same receipt, even if the first item was enqueued."""
    sink = Sink[str](errors={0: OSError("sink")})
    queue = FlushQueue(sink, patient(2), dedupe_key=str.lower, on_failure=lambda failure: Drop())
    async with queue:
        await queue.enqueue("a")
        first = await queue.submit("A")
        assert first is await queue.submit("A")
        other = await queue.submit("b")
        errors = [await error_of(first), await error_of(other)]
    assert ["a", "b"] == [error.item for error in errors if isinstance(error, Dropped)]
    assert [["a", "b"]] == sink.batches


async def test_a_duplicate_in_line() -> None:
    """If two producers with one key wait for room, the second gets the receipt of the first."""
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
