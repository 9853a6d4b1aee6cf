"""Point 21: after every flush a report says what became of it, and adds up to the stats."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import attrs
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
from tests.contract.hostile import EVENTS, Broken, StubbornSink, error_of, failing_logger, own_loop
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
    steps,
)


class Reports(list[FlushReport]):
    """What was reported, in order."""

    @property
    def only(self) -> FlushReport:
        """The report of the one flush that there was."""
        (report,) = self
        return report

    @property
    def lost(self) -> int:
        """How many items were neither delivered nor dropped."""
        return sum(one.count - one.delivered - one.dropped for one in self)

    def fits(self, queue: FlushQueue[Any]) -> bool:
        """Whether the reports add up to what the stats of an ended queue say."""
        stats = queue.stats()
        reasons = [one.reason for one in self]
        return (
            stats.delivered == sum(one.delivered for one in self)
            and stats.dropped == sum(one.dropped for one in self)
            and stats.in_doubt == self.lost
            and dict(stats.flushes) == {reason: reasons.count(reason) for reason in set(reasons)}
        )


# The figures.


async def test_the_report_of_a_flush() -> None:
    """It tells the reason, the size, the age at the start, the times, and what was left behind."""
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
    full, left = reports
    assert (
        FlushReport(
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
        == full
    )
    assert ("flush", 1, 30, 2.0, start + 4.0, 2.0, 0) == (
        *(left.reason, left.count, left.weight, left.waited),
        *(left.started, left.seconds, left.pending),
    )
    assert reports.fits(queue)


async def test_every_reason_is_told() -> None:
    """Each flush is reported with its own reason: the policy's, pressure, flush, drain."""
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
    assert ["age", "full", "flush", "drain"] == [report.reason for report in reports]
    assert {"age": 1, "full": 1, "flush": 1, "drain": 1} == dict(queue.stats().flushes)

    reports.clear()
    queue = FlushQueue(Sink[int](1.0), patient(), max_queue_size=2, on_report=reports.append)
    async with queue:
        await enqueue_all(queue, [1, 2, 3])
    assert ["pressure", "drain"] == [report.reason for report in reports]


async def test_it_is_told_when_the_flush_has_ended() -> None:
    """Not when it starts; and before the queue has ended."""
    reports = Reports()
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(1), on_report=reports.append) as queue:
        await enqueue_all(queue, [1, 2])
        await settle()
        assert [] == reports
        sink.let_go()
        await settle()
        assert [1] == [report.delivered for report in reports]
        sink.open()
    assert [1, 1] == [report.delivered for report in reports]


async def test_reports_come_in_the_order_in_which_flushes_end() -> None:
    """A flush that started later and ended first is reported first."""
    reports = Reports()
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(), max_in_flight=2, on_report=reports.append)
    async with queue:
        await queue.enqueue(1)
        await settle()
        await enqueue_all(queue, [2, 3])
        await settle()
        sink.let_go_last()
        await settle()
        sink.open()
    assert [2, 1] == [report.count for report in reports]


async def test_no_time_runs_backwards() -> None:
    """Neither waited nor seconds is ever negative, nor more than the time that has passed."""
    reports = Reports()
    async with FlushQueue(Sink[int](), NaturalPolicy(), on_report=reports.append) as queue:
        for item in range(10):
            await queue.enqueue(item)
            await steps(item % 4)
    assert all((0.0, 0.0) == (report.waited, report.seconds) for report in reports)
    assert reports.fits(queue)


# Failures.


@pytest.mark.parametrize("error", [OSError("sink"), asyncio.CancelledError("inner")])
async def test_a_flush_that_fails(error: BaseException) -> None:
    """Without a handler nothing was delivered, and the error is what flush_fn raised."""
    reports = Reports()
    queue = FlushQueue(Sink[int](1.0, errors={0: error}), NaturalPolicy(), on_report=reports.append)
    async with failing(queue):
        await enqueue_all(queue, [1, 2])
        await asyncio.sleep(10.0)
    report = reports.only
    assert (2, 0, 0, 1, 1.0) == (
        *(report.count, report.delivered, report.dropped),
        *(report.attempts, report.seconds),
    )
    assert error is report.error
    assert reports.fits(queue)


async def test_a_flush_that_is_dropped() -> None:
    """The error is what the last of its items was dropped for."""
    reports = Reports()
    errors = {0: OSError("zero"), 2: OSError("two")}
    queue = FlushQueue(
        Sink[int](errors={0: PartialFailure(errors)}),
        patient(),
        on_failure=lambda failure: Drop(),
        on_report=reports.append,
    )
    async with queue:
        await enqueue_all(queue, range(3))
    report = reports.only
    assert (3, 1, 2, 1) == (report.count, report.delivered, report.dropped, report.attempts)
    assert errors[2] is report.error
    assert reports.fits(queue)


async def test_a_flush_that_is_retried() -> None:
    """There is one report, of all attempts together; pauses count, and errors made good do not."""
    reports = Reports()
    queue = FlushQueue(
        Sink[int](1.0, errors={0: OSError(), 1: OSError()}),
        NaturalPolicy(),
        on_failure=lambda failure: Retry(10.0 * failure.attempt),
        on_report=reports.append,
    )
    async with queue:
        await enqueue_all(queue, [1, 2])
    report = reports.only
    assert (2, 2, 0, 3, 33.0) == (
        *(report.count, report.delivered, report.dropped),
        *(report.attempts, report.seconds),
    )
    assert None is report.error
    assert reports.fits(queue)


async def test_a_flush_that_is_split() -> None:
    """There is one report, with every call of flush_fn among the attempts."""
    reports = Reports()
    poison = OSError("poison")

    async def sink(batch: list[int]) -> None:
        if 3 in batch:
            raise poison

    def handler(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Drop()

    queue = FlushQueue(sink, patient(), on_failure=handler, on_report=reports.append)
    async with queue:
        await enqueue_all(queue, range(4))
    report = reports.only
    assert (4, 3, 1, 5) == (report.count, report.delivered, report.dropped, report.attempts)
    assert poison is report.error
    assert reports.fits(queue)


async def test_a_flush_of_which_some_is_lost() -> None:
    """Dropped, delivered and lost items of one flush are told apart; the error ends the queue."""
    reports = Reports()
    final = OSError("final")
    partial_failure = PartialFailure({1: OSError(), 2: OSError(), 3: OSError()})
    verdicts: Iterator[Verdict] = iter([Split(), Drop(), Fail()])
    queue = FlushQueue(
        Sink[int](errors={0: partial_failure, 1: OSError("dropped"), 2: final}),
        patient(),
        on_failure=lambda failure: next(verdicts),
        on_report=reports.append,
    )
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, range(4))
    report = reports.only
    assert (4, 1, 2) == (report.count, report.delivered, report.dropped)
    assert [3] == queue.in_doubt
    assert final is report.error
    assert reports.fits(queue)


async def test_a_handler_that_raises() -> None:
    """The error is the handler's: it has ended the queue."""
    broken = ZeroDivisionError("handler")

    def handler(failure: Failure[int]) -> Verdict:
        raise broken

    reports = Reports()
    queue = FlushQueue(
        Sink[int](errors={0: OSError("sink")}),
        NaturalPolicy(),
        on_failure=handler,
        on_report=reports.append,
    )
    async with failing(queue):
        await queue.enqueue(1)
        await settle()
    assert broken is reports.only.error
    assert reports.fits(queue)


# The end.


async def test_all_reports_are_told_before_the_close_returns() -> None:
    """Whoever has waited for the end has heard of every flush."""
    reports = Reports()
    queue = FlushQueue(Sink[int](), patient(1), max_in_flight=3, on_report=reports.append)
    await enqueue_all(queue, range(10))
    await queue.aclose()
    assert 10 == len(reports)
    assert reports.fits(queue)


async def test_a_flush_that_is_cut_short() -> None:
    """At the limit it has delivered nothing, and the error is its cancellation."""
    reports = Reports()
    queue = FlushQueue(
        Sink[int](10.0), NaturalPolicy(1), max_shutdown_wait=2.0, on_report=reports.append
    )
    with pytest.raises(ShutdownTimeout):
        async with queue:
            await enqueue_all(queue, [1, 2])
            await settle()
    report = reports.only
    assert (1, 0, 0, 2.0, 1) == (
        *(report.count, report.delivered, report.dropped),
        *(report.seconds, report.attempts),
    )
    assert asyncio.CancelledError is type(report.error)
    assert reports.fits(queue)


async def test_a_flush_that_returns_after_the_limit() -> None:
    """It was delivered, and reported as any other."""
    reports = Reports()
    queue = FlushQueue(
        StubbornSink[int](5.0), NaturalPolicy(), max_shutdown_wait=1.0, on_report=reports.append
    )
    async with queue:
        await enqueue_all(queue, [1, 2])
        await settle()
    assert (2, 6.0, None) == (reports.only.delivered, reports.only.seconds, reports.only.error)
    assert reports.fits(queue)


async def test_a_retry_that_is_cut_short() -> None:
    """What was dropped before stays dropped; the rest is lost, and the error says why."""
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
    report = reports.only
    assert (2, 0, 1, 3) == (report.count, report.delivered, report.dropped, report.attempts)
    assert asyncio.CancelledError is type(report.error)
    assert ([2], 1) == (queue.in_doubt, queue.stats().dropped)


class BrokenSingly(Broken):
    """Flushes items one by one."""

    max_records = 1


@pytest.mark.not_in("eager", reason="the first flush begins as soon as it is cut")
async def test_a_flush_that_was_never_handed_over() -> None:
    """A flush that the queue's failure kept from flush_fn has no attempt, and an error.

    A batch of which the policy refused to hear is no flush, and not reported.
    """
    reports = Reports()
    policy = BrokenSingly("flush_started", ZeroDivisionError, nth=2)
    queue = FlushQueue(Sink[int](), policy, max_in_flight=2, on_report=reports.append)
    async with failing(queue, PolicyError):
        await enqueue_all(queue, [1, 2])
        await asyncio.sleep(10.0)
    report = reports.only
    assert (1, 0, 0, 0) == (report.count, report.delivered, report.dropped, report.attempts)
    assert asyncio.CancelledError is type(report.error)
    assert ([1, 2], []) == (queue.undelivered, queue.in_doubt)


@pytest.mark.parametrize("event", EVENTS)
async def test_a_policy_that_raises(event: str) -> None:
    """Every flush that was told to the policy is reported, whatever the policy does then."""
    reports = Reports()
    queue = FlushQueue(Sink[int](1.0), Broken(event, ZeroDivisionError), on_report=reports.append)
    async with failing(queue, PolicyError):
        await enqueue_all(queue, [1, 2])
        await asyncio.sleep(10.0)
    assert ([2] if event == "flush_done" else []) == [report.delivered for report in reports]
    assert reports.fits(queue)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_sink(kind: type[BaseException]) -> None:
    """A flush that was interrupted is reported too, when the loop runs on."""
    reports = Reports()
    error = kind("sink")
    queue = FlushQueue(Sink[int](errors={0: error}), NaturalPolicy(), on_report=reports.append)

    async def session() -> None:
        async with failing(queue):
            await queue.enqueue(1)
            await settle()

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="sink"):
            loop.run_until_complete(main)
        loop.run_until_complete(main)
    assert error is reports.only.error
    assert reports.fits(queue)


# What the callback does.


@pytest.mark.parametrize("error", [ZeroDivisionError("report"), asyncio.CancelledError("report")])
async def test_an_error_of_the_callback_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises goes into the log with the report; the queue goes on, and ends."""

    def on_report(report: FlushReport) -> None:
        reports.append(report)
        raise error

    reports = Reports()
    async with FlushQueue(Sink[int](), NaturalPolicy(1), on_report=on_report) as queue:
        await enqueue_all(queue, [1, 2])
    assert [1, 1] == [report.delivered for report in reports]
    assert [("flushq", logging.ERROR)] * 2 == [
        (record.name, record.levelno) for record in caplog.records
    ]
    for record, report in zip(caplog.records, reports, strict=True):
        assert f"on_report raised for {report!r}" == record.getMessage()
        assert record.exc_info is not None
        assert error is record.exc_info[1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_callback(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """KeyboardInterrupt leaves the loop; run on, the queue goes on, and no report is told twice."""

    def on_report(report: FlushReport) -> None:
        reports.append(report)
        if len(reports) == 1:
            raise kind("report")

    reports = Reports()
    queue = FlushQueue(Sink[int](), NaturalPolicy(1), max_in_flight=2, on_report=on_report)

    async def session() -> None:
        async with queue:
            await enqueue_all(queue, [1, 2, 3])

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="report"):
            loop.run_until_complete(main)
        loop.run_until_complete(main)
    assert [1, 1, 1] == [report.delivered for report in reports]
    assert reports.fits(queue)
    assert [] == caplog.records


async def test_the_callback_may_enqueue() -> None:
    """Items that it enqueues are accepted as any others, until the close; then it is refused."""
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


async def test_the_callback_may_look_at_the_stats() -> None:
    """When it is called, the account has its flush already."""
    seen: list[tuple[int, int, int]] = []

    def on_report(report: FlushReport) -> None:
        stats = queue.stats()
        seen.append((stats.delivered, stats.in_flight, stats.flushes[report.reason]))

    async with FlushQueue(Sink[int](), NaturalPolicy(2), on_report=on_report) as queue:
        await enqueue_all(queue, range(4))
        await settle()
    assert 0 == queue.stats().in_flight
    assert [2, 4] == [delivered for delivered, _, _ in seen]
    assert [1, 2] == [flushes for _, _, flushes in seen]


async def test_the_callback_may_close_the_queue() -> None:
    """A task of its own that closes or flushes the queue deadlocks nothing."""
    tasks: list[asyncio.Task[BaseException | None]] = []

    def on_report(report: FlushReport) -> None:
        tasks.append(asyncio.create_task(error_of(queue.flush())))
        tasks.append(asyncio.create_task(error_of(queue.aclose())))

    async with FlushQueue(Sink[int](), NaturalPolicy(1), on_report=on_report) as queue:
        await enqueue_all(queue, [1, 2])
        await settle()
    errors = await asyncio.gather(*tasks)
    assert {type(None), QueueClosed} >= {type(error) for error in errors}
    assert 2 == queue.stats().delivered


async def test_the_callback_hears_of_receipts_that_are_settled() -> None:
    """By the time of the report every receipt of the flush can be read."""
    settled: list[Any] = []

    def on_report(report: FlushReport) -> None:
        with pytest.raises(StopIteration):
            receipt.__await__().send(None)
        settled.append(report.delivered)

    async with FlushQueue(Sink[int](), NaturalPolicy(), on_report=on_report) as queue:
        receipt = await queue.submit(1)
    assert [1] == settled


class AsyncCallable:
    """An object whose call is a coroutine."""

    async def __call__(self, report: FlushReport) -> None:
        """Never called."""


async def _on_report(report: FlushReport) -> None:
    """Never called."""


@pytest.mark.parametrize("bad", [_on_report, AsyncCallable(), partial(_on_report)])
def test_an_async_callback_is_refused(bad: Callable[[FlushReport], Awaitable[None]]) -> None:
    """It is a TypeError at construction that shows it."""
    with pytest.raises(TypeError, match=r"^on_report must not be async: "):
        FlushQueue(Sink[int](), NaturalPolicy(), on_report=bad)


@pytest.mark.parametrize("bad", [7, "report", []])
def test_a_callback_must_be_callable(bad: Any) -> None:
    """Anything else is a TypeError at construction that shows it."""
    with pytest.raises(TypeError, match=r"^on_report must be callable, not "):
        FlushQueue(Sink[int](), NaturalPolicy(), on_report=bad)


async def test_a_report_is_frozen() -> None:
    """A report is a value: it compares equal to its like, and cannot be changed."""
    reports = Reports()
    async with FlushQueue(Sink[int](), NaturalPolicy(), on_report=reports.append) as queue:
        await queue.enqueue(1)
    report = reports.only
    assert attrs.evolve(report) == report
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        report.delivered = 7  # type: ignore[misc]  # that is the point


async def test_producers_in_line_are_let_in_before_the_report() -> None:
    """A report never comes between a free slot and those who wait for it."""
    waiting: list[int] = []
    sink = HeldSink[int]()
    queue = FlushQueue(
        sink,
        NaturalPolicy(1),
        max_queue_size=1,
        on_report=lambda report: waiting.append(queue.stats().waiting),
    )
    async with queue:
        producer = produce(queue, 1, 2, 3)
        await settle()
        assert 1 == queue.stats().waiting
        sink.let_go()
        await producer
        sink.open()
    assert 0 == waiting[0]


async def test_flushes_that_end_together_are_reported_in_order() -> None:
    """Two flushes that end in one iteration are reported in the order in which they did."""
    reports: list[FlushReport] = []
    sink = HeldSink[int]()
    policy = NaturalPolicy()
    async with FlushQueue(sink, policy, max_in_flight=2, on_report=reports.append) as queue:
        await queue.enqueue(1)
        await settle()
        await enqueue_all(queue, [2, 3])
        await settle()
        sink.open()
        await settle()
        assert [1, 2] == [report.count for report in reports]


async def test_a_report_that_cannot_even_be_logged_holds_nothing_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where on_report raises and so does the logger, the queue goes on, reports and drains."""
    reports: list[FlushReport] = []

    def on_report(report: FlushReport) -> None:
        reports.append(report)
        raise ValueError(report.count)

    with failing_logger():
        async with FlushQueue(Sink[int](), NaturalPolicy(1), on_report=on_report) as queue:
            await enqueue_all(queue, range(3))
    assert [1, 1, 1] == [report.count for report in reports]
    complaints = [record.exc_info for record in caplog.records if record.name == "asyncio"]
    assert [AttributeError] * 3 == [info[0] for info in complaints if info is not None]
    caplog.clear()
