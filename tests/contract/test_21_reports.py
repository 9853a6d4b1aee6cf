"""Point 21: after every flush there is a report of its items, and reports add up to the stats."""

import asyncio
import logging
from typing import Any

import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    FlushReport,
    IntervalPolicy,
    NaturalPolicy,
    PartialFailure,
    PolicyError,
    QueueClosed,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import EVENTS, Broken, failing_logger
from tests.contract.support import (
    Handler,
    HeldSink,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    run_interrupted,
    settle,
)


class Reports(list[FlushReport]):
    """The reports of a queue, in order."""

    @property
    def only(self) -> FlushReport:
        """The only report."""
        (report,) = self
        return report

    def fits(self, queue: FlushQueue[Any]) -> bool:
        """Return whether the reports add up to the stats of a queue that has ended."""
        stats = queue.stats()
        reasons = [one.reason for one in self]
        return (
            stats.delivered == sum(one.delivered for one in self)
            and stats.dropped == sum(one.dropped for one in self)
            and stats.in_doubt == sum(one.count - one.delivered - one.dropped for one in self)
            and dict(stats.flushes) == {reason: reasons.count(reason) for reason in set(reasons)}
        )


def figures(report: FlushReport) -> tuple[int, int, int, int, float]:
    """Return count, delivered, dropped, attempts and seconds of a report."""
    counts = report.count, report.delivered, report.dropped, report.attempts
    return *counts, report.seconds


# The figures.


async def test_the_report_of_a_flush() -> None:
    """A report has the reason, the size, the age at the start, the times and the pending items."""
    reports = Reports()
    start = now()
    queue = FlushQueue(
        Sink[int](2.0), IntervalPolicy(3.0, 2), weigh=lambda item: item, on_report=reports.append
    )
    async with queue:
        await asyncio.sleep(1.0)
        await queue.enqueue(10)
        await asyncio.sleep(1.0)
        await enqueue_all(queue, [20, 30])
        await queue.flush()
    expected = FlushReport(
        reason="flush",
        count=2,
        weight=30,
        waited=1.0,
        started=start + 2.0,
        seconds=2.0,
        attempts=1,
        error=None,
        delivered=2,
        dropped=0,
        pending=1,
    )
    first, second = reports
    assert expected == first
    assert (1, 30, 2.0) == (second.count, second.weight, second.waited)
    assert (start + 4.0, 2.0, 0) == (second.started, second.seconds, second.pending)
    assert reports.fits(queue)


async def test_every_reason_is_told() -> None:
    """Each flush is reported with its own reason: the policy's, flush, drain, pressure."""
    reports = Reports()
    queue = FlushQueue(
        Sink[int](1.0), IntervalPolicy(5.0, 2), max_queue_size=2, on_report=reports.append
    )
    async with queue:
        await queue.enqueue(1)
        await asyncio.sleep(10.0)
        await enqueue_all(queue, [2, 3])
        await asyncio.sleep(10.0)
        await queue.enqueue(4)
        await queue.flush()
        await queue.enqueue(5)
    queue = FlushQueue(Sink[int](), patient(), max_queue_size=2, on_report=reports.append)
    async with queue:
        await enqueue_all(queue, [1, 2, 3])
    reasons = ["age", "full", "flush", "drain", "pressure", "drain"]
    assert reasons == [report.reason for report in reports]


async def test_reports_come_in_the_order_in_which_flushes_end() -> None:
    """A flush is reported when it has ended, even if an earlier one still runs."""
    reports = Reports()
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(), max_in_flight=2, on_report=reports.append)
    async with queue:
        await queue.enqueue(1)
        await settle()
        await enqueue_all(queue, [2, 3])
        await settle()
        assert [] == reports
        sink.let_go_last()
        await settle()
        assert [2] == [report.count for report in reports]
        sink.open()
    assert [2, 1] == [report.count for report in reports]


# Failures.


@pytest.mark.parametrize("error", [OSError("sink"), asyncio.CancelledError("inner")])
async def test_a_flush_that_fails(error: BaseException) -> None:
    """In the report of a failed flush nothing is delivered, and the error is flush_fn's."""
    reports = Reports()
    queue = FlushQueue(Sink[int](1.0, errors={0: error}), NaturalPolicy(), on_report=reports.append)
    async with failing(queue):
        await enqueue_all(queue, [1, 2])
    assert (2, 0, 0, 1, 1.0) == figures(reports.only)
    assert error is reports.only.error
    assert reports.fits(queue)


async def test_a_flush_that_is_retried() -> None:
    """A retried flush has one report for all attempts, with pauses, and no error if it succeeds."""
    reports = Reports()
    sink = Sink[int](1.0, errors={0: OSError(), 1: OSError()})
    handler = Handler[int]([Retry(10.0), Retry(20.0)])
    async with FlushQueue(
        sink, NaturalPolicy(), on_failure=handler, on_report=reports.append
    ) as queue:
        await enqueue_all(queue, [1, 2])
    assert (2, 2, 0, 3, 33.0) == figures(reports.only)
    assert None is reports.only.error
    assert reports.fits(queue)


async def test_a_flush_of_which_some_is_lost() -> None:
    """A report counts delivered, dropped and lost items; its error is that of the queue."""
    reports = Reports()
    final = OSError("final")
    partial_failure = PartialFailure({1: OSError(), 2: OSError(), 3: OSError()})
    queue = FlushQueue(
        Sink[int](errors={0: partial_failure, 1: OSError("dropped"), 2: final}),
        patient(),
        on_failure=Handler[int]([Split(), Drop(), Fail()]),
        on_report=reports.append,
    )
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, range(4))
    assert (4, 1, 2, 3, 0.0) == figures(reports.only)
    assert [3] == queue.in_doubt
    assert final is reports.only.error
    assert reports.fits(queue)


# The end.


async def test_a_flush_that_is_cut_short() -> None:
    """If the limit cuts a flush, dropped items stay dropped, and the error is a CancelledError."""
    reports = Reports()

    def handler(failure: Failure[int]) -> Verdict:
        if len(failure.items) == 2:
            return Split()
        return Drop() if failure.items == [1] else Retry(100.0)

    queue = FlushQueue(
        Sink[int](errors=dict.fromkeys(range(10), OSError("sink"))),
        patient(),
        max_shutdown_wait=5.0,
        on_failure=handler,
        on_report=reports.append,
    )
    with pytest.raises(ShutdownTimeout):
        async with queue:
            await enqueue_all(queue, [1, 2])
    assert (2, 0, 1, 3, 5.0) == figures(reports.only)
    assert asyncio.CancelledError is type(reports.only.error)
    assert [2] == queue.in_doubt
    assert reports.fits(queue)


@pytest.mark.parametrize("event", EVENTS)
async def test_a_policy_that_raises(event: str) -> None:
    """Every flush that ended is reported, even if the policy raises at its end."""
    reports = Reports()
    queue = FlushQueue(Sink[int](1.0), Broken(event, ZeroDivisionError), on_report=reports.append)
    async with failing(queue, PolicyError):
        await enqueue_all(queue, [1, 2])
        await asyncio.sleep(10.0)
    assert ([2] if event == "flush_done" else []) == [report.delivered for report in reports]
    assert reports.fits(queue)


# The callback on_report.


@pytest.mark.parametrize("error", [ZeroDivisionError("report"), asyncio.CancelledError("report")])
async def test_an_error_of_the_callback_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of on_report is logged with the report, and the queue works on."""

    def on_report(report: FlushReport) -> None:
        reports.append(report)
        raise error

    reports = Reports()
    queue = FlushQueue(Sink[int](), NaturalPolicy(1), on_report=on_report, name="users")
    async with queue:
        await enqueue_all(queue, [1, 2])
    assert [1, 1] == [report.delivered for report in reports]
    for record, report in zip(caplog.records, reports, strict=True):
        assert ("flushq", logging.ERROR) == (record.name, record.levelno)
        assert f"users: on_report raised an exception for {report!r}" == record.getMessage()
        assert record.exc_info is not None
        assert error is record.exc_info[1]


async def test_a_report_that_cannot_even_be_logged_holds_nothing_up() -> None:
    """Even if on_report and the logger both raise, the queue reports all flushes and drains."""

    def on_report(report: FlushReport) -> None:
        reports.append(report)
        raise ValueError(report.count)

    reports = Reports()
    with failing_logger():
        async with FlushQueue(Sink[int](), NaturalPolicy(1), on_report=on_report) as queue:
            await enqueue_all(queue, range(3))
    assert [1, 1, 1] == [report.count for report in reports]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_callback(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """After an interrupt of on_report the loop can run on, and each report comes only once."""

    def on_report(report: FlushReport) -> None:
        reports.append(report)
        if len(reports) == 1:
            raise kind("report")

    reports = Reports()
    queue = FlushQueue(Sink[int](), NaturalPolicy(1), max_in_flight=2, on_report=on_report)

    async def session() -> None:
        async with queue:
            await enqueue_all(queue, [1, 2, 3])

    run_interrupted(session, kind)
    assert [1, 1, 1] == [report.delivered for report in reports]
    assert reports.fits(queue)
    assert [] == caplog.records


async def test_the_callback_may_enqueue() -> None:
    """on_report may enqueue items until the close, and is refused afterwards."""
    refusals: list[Exception] = []

    def on_report(report: FlushReport) -> None:
        try:
            queue.enqueue_nowait(report.count)
        except QueueClosed as error:
            refusals.append(error)

    sink = Sink[int](1.0)
    async with FlushQueue(sink, NaturalPolicy(), on_report=on_report) as queue:
        await queue.enqueue(0)
        await asyncio.sleep(3.5)
        assert [[0], [1], [1], [1]] == sink.batches
    assert [QueueClosed] == [type(error) for error in refusals]
    assert 4 == queue.stats().delivered


async def test_the_callback_comes_after_all_else() -> None:
    """When on_report is called, stats and receipts are current and waiting producers have room."""
    seen: list[tuple[int, int, int, bool]] = []

    def on_report(report: FlushReport) -> None:
        stats = queue.stats()
        told = receipt.done()
        seen.append((stats.delivered, stats.flushes[report.reason], stats.waiting, told))

    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, on_report=on_report)
    async with queue:
        receipt = await queue.submit(1)
        await settle()
        producer = produce(queue, 2, 3)
        await settle()
        assert 1 == queue.stats().waiting
        sink.let_go()
        await producer
        sink.open()
    assert (1, 1, 0, True) == seen[0]


async def _on_report(report: FlushReport) -> None:
    """Do nothing: this is never called."""


@pytest.mark.parametrize(
    ("bad", "message"), [(_on_report, "must not be async"), (7, "must be callable, not 7")]
)
def test_a_callback_is_a_plain_function(bad: Any, message: str) -> None:
    """An on_report that is async or not callable is a TypeError of the constructor."""
    with pytest.raises(TypeError, match=f"^on_report {message}"):
        FlushQueue(Sink[int](), NaturalPolicy(), on_report=bad)
