"""P8 and P9: lists in order of acceptance over all partitions, receipts, reports and stats."""

import asyncio
from typing import Any

import pytest

from flushq import (
    Drop,
    Dropped,
    Failure,
    FlushQueue,
    FlushReport,
    ItemFailed,
    NaturalPolicy,
    PartialFailure,
    QueueStats,
    Retry,
    ShutdownTimeout,
    Verdict,
)
from flushq.facts import QueueState
from tests.contract.hostile import error_of
from tests.contract.partitions import by_letter
from tests.contract.support import Handler, HeldSink, Sink, enqueue_all, failing, patient, settle

MIXED = ["a1", "b1", "a2", "c1", "b2", "a3", "c2"]

# P8: lost items.


async def test_what_is_lost_is_listed_in_order_of_acceptance() -> None:
    """The lists of failed, interrupted and waiting items are in order of acceptance."""
    sink = HeldSink[str]()
    options = {"max_in_flight": 2, "max_shutdown_wait": 0}
    async with failing(by_letter(sink, NaturalPolicy(2), **options)) as queue:
        await enqueue_all(queue, MIXED)
        await settle()
        await enqueue_all(queue, ["b3", "a4"])
        sink.fail_last(OSError("no disk"))
        await settle()
    assert ["a1", "b1", "a2", "b2"] == queue.in_doubt
    assert ["c1", "a3", "c2", "b3", "a4"] == queue.undelivered
    stats = queue.stats()
    assert (4, 5, 0) == (stats.in_doubt, stats.undelivered, stats.partitions)


async def test_what_failed_of_a_batch_is_in_doubt_among_the_items_of_others() -> None:
    """After a PartialFailure the failed items are listed in order with those of others."""
    sink = HeldSink[str]()
    options = {"max_in_flight": 2, "max_shutdown_wait": 0}
    async with failing(by_letter(sink, NaturalPolicy(), **options)) as queue:
        await enqueue_all(queue, ["a1", "b1", "a2", "b2", "a3", "b3"])
        await settle()
        sink.fail(PartialFailure({0: OSError(), 2: OSError()}))
        await settle()
    assert (["a1", "b1", "b2", "a3", "b3"], []) == (queue.in_doubt, queue.undelivered)
    assert 1 == queue.stats().delivered


async def test_a_batch_that_is_retried_may_be_lost_after_those_behind_it() -> None:
    """Items that are lost in a pause at the limit are listed in order of acceptance."""
    sink = Sink[str](seconds=9.0, errors={0: OSError("no disk")})
    options = {"max_in_flight": 2, "max_shutdown_wait": 14.0, "on_failure": Handler([Retry(9.0)])}
    async with failing(by_letter(sink, NaturalPolicy(2), **options), ShutdownTimeout) as queue:
        await enqueue_all(queue, MIXED)
    assert (["a1", "a2", "c1", "c2"], ["a3"]) == (queue.in_doubt, queue.undelivered)
    assert [["b1", "b2"]] == sink.delivered


# Receipts.


async def test_each_receipt_tells_of_its_own_item() -> None:
    """Each receipt tells the end of its own item, even if a batch is not a run of numbers."""
    error = OSError("no such row")
    sink = HeldSink[str]()
    options = {"max_in_flight": 2, "on_failure": Handler([Drop()])}
    async with by_letter(sink, patient(), **options) as queue:
        receipts = {item: await queue.submit(item) for item in ("a1", "b1", "a2", "b2")}
        flushing = asyncio.create_task(queue.flush())
        await settle()
        sink.fail(PartialFailure({1: error}))
        await settle()
        assert ["a1", "a2"] == [item for item, receipt in receipts.items() if receipt.done()]
        await receipts["a1"]
        with pytest.raises(Dropped) as caught:
            await receipts["a2"]
        assert ("a2", error) == (caught.value.item, caught.value.__cause__)
        sink.open()
        await asyncio.gather(flushing, receipts["b1"], receipts["b2"])


async def test_a_receipt_tells_as_soon_as_its_item_has_ended() -> None:
    """A receipt ends with its item, while other items of its batch are retried."""
    sink = Sink[str](errors={0: PartialFailure({1: OSError()}), 1: OSError()})
    options = {"max_in_flight": 2, "on_failure": Handler([Retry(5.0), Retry(9.0)])}
    async with by_letter(sink, patient(), **options) as queue:
        receipts = {item: await queue.submit(item) for item in ("a1", "b1", "a2", "b2")}
        flushing = asyncio.create_task(queue.flush())
        ended: list[list[str]] = []
        for pause in (0.0, 6.0, 4.0):
            await asyncio.sleep(pause)
            await settle()
            ended.append([item for item, receipt in receipts.items() if receipt.done()])
        await flushing
    assert [["a1"], ["a1", "a2"], ["a1", "b1", "a2", "b2"]] == ended


async def test_deliver_waits_for_its_own_partition_alone() -> None:
    """``deliver`` returns when its item is delivered, without waiting for other partitions."""
    sink = HeldSink[str]()
    async with failing(by_letter(sink, NaturalPolicy(), max_in_flight=3)) as queue:
        callers = [asyncio.create_task(error_of(queue.deliver(item))) for item in MIXED[:4]]
        await settle()
        sink.let_go_last()
        await settle()
        assert [False, False, False, True] == [caller.done() for caller in callers]
        sink.let_go()
        await settle()
        sink.fail(OSError())
        kinds = [type(error) for error in await asyncio.gather(*callers)]
        assert [type(None), ItemFailed, type(None), type(None)] == kinds


async def test_a_duplicate_has_the_receipt_of_the_item_that_stays_in_its_partition() -> None:
    """A duplicate has the receipt of its own partition, not that of an equal key in another one."""
    sink = Sink[str]()
    async with by_letter(sink, patient(), dedupe_key=lambda item: item[1]) as queue:
        first, second, again = [await queue.submit(item) for item in ("a1", "b1", "b1 again")]
        assert ("a1", "b1") == (first.item, second.item)
        assert again is second


# P9: reports, failures and stats.


async def test_reports_and_failures_tell_the_partition() -> None:
    """Reports and failures have the partition; FlushReport.pending counts the whole queue."""
    reports: list[FlushReport] = []
    failures: list[Failure[str]] = []

    def handler(failure: Failure[str]) -> Verdict:
        failures.append(failure)
        return Drop()

    sink = Sink[str](errors={1: OSError()})
    options: dict[str, Any] = {"on_report": reports.append, "on_failure": handler}
    async with by_letter(sink, NaturalPolicy(2), **options) as queue:
        await enqueue_all(queue, MIXED)
    assert [("a", 2, 5), ("b", 2, 3), ("c", 2, 1), ("a", 1, 0)] == [
        (report.partition, report.count, report.pending) for report in reports
    ]
    assert [("b", ["b1", "b2"])] == [(failure.partition, failure.items) for failure in failures]


async def test_without_partitions_there_is_nothing_to_be_told() -> None:
    """Without partition_key the partition is None, and stats().partitions is 0."""
    reports: list[FlushReport] = []
    handler = Handler[int]()
    sink = Sink[int](errors={0: OSError()})
    options: dict[str, Any] = {"on_report": reports.append, "on_failure": handler}
    async with FlushQueue(sink, NaturalPolicy(), **options) as queue:
        await queue.enqueue(1)
        assert 0 == queue.stats().partitions
    assert ([None], [None]) == (
        [report.partition for report in reports],
        [failure.partition for failure in handler.failures],
    )


async def test_the_policy_of_a_partitioned_queue_is_told_nothing() -> None:
    """`queue.policy` is only copied for partitions, and is told no events."""
    sink, policy = HeldSink[str](), NaturalPolicy(1)
    async with by_letter(sink, policy, max_in_flight=2) as queue:
        await enqueue_all(queue, MIXED)
        await settle()
        assert (policy, QueueState(2)) == (queue.policy, queue.policy.queue)
        assert policy is not queue.policy
        sink.open()


async def test_the_account_adds_up() -> None:
    """oldest_age is that of the oldest item of all partitions; the other figures are sums."""
    sink = HeldSink[str]()
    async with by_letter(sink, NaturalPolicy(2), dedupe_key=str) as queue:
        await enqueue_all(queue, MIXED)
        await asyncio.sleep(1.0)
        await enqueue_all(queue, ["b1", "a1"])
        await asyncio.sleep(0.5)
        expected = {"accepted": 9, "duplicates": 1, "pending": 6, "in_flight": 2, "partitions": 3}
        nothing = dict.fromkeys(("delivered", "dropped", "undelivered", "in_doubt", "waiting"), 0)
        assert QueueStats(**expected, **nothing, flushes={}, oldest_age=1.5) == queue.stats()
        sink.let_go()
        await settle()
        sink.let_go()
        await settle()
        assert (2, 1.5) == (queue.stats().partitions, queue.stats().oldest_age)
        sink.let_go()
        await settle()
        assert (1, 0.0) == (queue.stats().partitions, queue.stats().oldest_age)
        sink.open()
