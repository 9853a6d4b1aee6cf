"""T5, T6 and T13: flushes are abandoned, as a thread cannot be cancelled; interrupts."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from flushq import Drop, FlushFailed, FlushReport, NaturalPolicy, Retry, ShutdownTimeout, Split
from flushq.threads.runner import Runner
from flushq.throttles import RateLimit
from tests.contract.hostile import failing_logger
from tests.threads.stage import Stage, play
from tests.threads.support import (
    NEVER,
    Interrupt,
    Sink,
    at_every_step_on_stage,
    interrupt,
    queue_of,
)


def test_a_flush_is_abandoned_at_the_limit() -> None:
    """Callers get the error at once; the abandoned flush is reported, and changes nothing later."""

    def body(stage: Stage) -> None:
        reports: list[FlushReport] = []
        sink = Sink(stage, 100)
        queue = queue_of(sink, max_shutdown_wait=5, on_report=reports.append, max_in_flight=2)
        receipt, began = queue.submit(1), stage.now
        queue.start()
        flushing = stage.spawn(lambda: errors.append(error_of(queue.flush)))
        errors: list[Any] = []
        stage.sleep(1)
        queue.enqueue(2)
        with pytest.raises(ShutdownTimeout, match="max_shutdown_wait=5 s") as closed:
            queue.close()
        assert began + 6 == stage.now
        flushing.join()
        assert (closed.value.in_doubt, closed.value.undelivered) == ([1, 2], [])
        assert [ShutdownTimeout] == list(map(type, errors))
        assert isinstance(error_of(receipt.result), ShutdownTimeout)
        assert "may still deliver" in str(closed.value.__cause__)
        assert [0, 0] == [report.delivered for report in reports]
        stats = queue.stats()
        stage.sleep(200)
        assert ([[1], [2]], stats) == (sink.batches, queue.stats())
        assert all(task.is_over for task in stage.tasks[1:])

    for seed in range(10):
        play(body, seed)


def error_of(call: Any) -> BaseException | None:
    """Return the exception that a call raises, or None if it returns."""
    try:
        call()
    except BaseException as error:
        return error
    return None


def test_a_flush_that_has_partly_ended_is_abandoned() -> None:
    """Items delivered before the limit stay delivered; the rest of the batch is in doubt."""

    def body(stage: Stage) -> None:
        calls = iter([0, 0, 100])

        def sink(batch: list[int]) -> None:
            stage.sleep(next(calls))
            if len(batch) > 2:
                raise OSError

        def judge(_: Any) -> Any:
            return Split

        queue = queue_of(sink, on_failure=judge, max_shutdown_wait=1)
        for item in range(4):
            queue.enqueue(item)
        assert isinstance(error_of(queue.close), ShutdownTimeout)
        stats = queue.stats()
        assert (2, [2, 3], 0) == (stats.delivered, queue.in_doubt, stats.in_flight)
        stage.sleep(200)
        assert stats == queue.stats()

    play(body)


@pytest.mark.parametrize("limit", [0, 3])
def test_a_handler_is_abandoned_as_well(limit: float) -> None:
    """The verdict of an abandoned handler is ignored; with a limit of 0 no flush starts."""

    def body(stage: Stage) -> None:
        calls: list[Any] = []

        def sink(batch: list[int]) -> None:
            calls.append(batch)
            raise OSError

        def judge(_: Any) -> Any:
            stage.sleep(10)
            return Retry

        queue = queue_of(sink, NaturalPolicy(1), on_failure=judge, max_shutdown_wait=limit)
        queue.start()
        queue.enqueue(1)
        stage.sleep(1)
        queue.enqueue(2)
        error: Any = error_of(queue.close)
        assert ([1], [2]) == (error.in_doubt, error.undelivered)
        stage.sleep(100)
        assert [[1]] == calls

    play(body)


def test_after_a_failure_the_running_flushes_have_the_limit() -> None:
    """After a failure running flushes end, or are abandoned at the limit; none is started."""

    def body(stage: Stage) -> None:
        def sink(batch: list[str]) -> None:
            stage.sleep({"fails": 1, "ends": 3}.get(batch[0], 100))
            if batch == ["fails"]:
                raise OSError

        queue = queue_of(sink, NaturalPolicy(1), max_in_flight=3, max_shutdown_wait=5)
        for item in ("fails", "ends", "hangs", "waits"):
            queue.enqueue(item)
        queue.start()
        began = stage.now
        while queue.state != "failed":
            stage.sleep(0.5)
        assert isinstance(error_of(queue.close), FlushFailed)
        assert began + 6 == stage.now
        assert (["fails", "hangs"], ["waits"]) == (queue.in_doubt, queue.undelivered)
        assert 1 == queue.stats().delivered

    for seed in range(5):
        play(body, seed)


def test_an_exception_of_the_body_goes_on() -> None:
    """T6: leaving the block with an exception drains; a loss is noted on the exception."""

    def body(stage: Stage) -> None:
        sink = Sink(stage, 1)
        with pytest.raises(OSError, match="body") as raised, queue_of(sink) as queue:
            queue.enqueue(1)
            raise OSError("body")
        assert [1] == sink.items
        assert not hasattr(raised.value, "__notes__")
        queue = queue_of(Sink(stage, 9), max_shutdown_wait=1)
        with pytest.raises(OSError, match="body") as raised, queue:
            queue.enqueue(1)
            raise OSError("body")
        assert "ended with ShutdownTimeout" in raised.value.__notes__[0]

    play(body)


def test_an_interrupt_during_the_drain_aborts_it(caplog: pytest.LogCaptureFixture) -> None:
    """T6: the items left are listed, logged and noted, and the interrupt is raised."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(stage, 100), NaturalPolicy(1), max_queue_size=5)
        queue.enqueue(1)
        queue.enqueue(2)
        queue.start()

        def press() -> None:
            for _ in range(2):
                stage.sleep(3)
                main.interrupt = Interrupt()

        main = stage.tasks[0]
        stage.spawn(press)
        began = stage.now
        with pytest.raises(Interrupt) as raised:
            queue.close()
        assert began + 3 == stage.now
        assert ([1], [2]) == (queue.in_doubt, queue.undelivered)
        assert ["1 undelivered, 1 in doubt" in note for note in raised.value.__notes__] == [True]
        assert isinstance(error_of(queue.close), ShutdownTimeout)
        with pytest.raises(Interrupt):
            stage.sleep(10)

    play(body)
    assert [logging.ERROR] == [record.levelno for record in caplog.records]


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("is_started", [False, True])
def test_an_interrupt_at_any_step_of_a_close(is_started: bool, limit: float | None) -> None:  # noqa: FBT001 - a parameter
    """A close that has begun ends the queue, although interrupted; the next close always does."""

    def body(stage: Stage, make: Callable[[Callable[[], object]], None]) -> None:
        queue = queue_of(Sink(stage, 1), NaturalPolicy(1), max_shutdown_wait=limit)
        for item in range(3):
            queue.enqueue(item)
        if is_started:
            queue.start()
            stage.sleep(0.5)
        with suppress(Interrupt, ShutdownTimeout):
            make(queue.close)
        assert queue.state != "closing"
        with suppress(ShutdownTimeout):
            queue.close()
        stats = queue.stats()
        lost = [*queue.in_doubt, *queue.undelivered]
        assert (3, 3, 0) == (stats.accepted, stats.delivered + len(lost), stats.in_flight)
        assert [] == [item for item in lost if item < stats.delivered]

    at_every_step_on_stage(interrupt, body)


def test_a_close_at_the_limit_of_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A close raises a RecursionError without a retry, changes nothing, and can be called again."""
    close, errors = Runner.close, [RecursionError()] * 3

    def close_in_the_depth(runner: Any) -> None:
        if errors:
            raise errors.pop()
        close(runner)

    monkeypatch.setattr(Runner, "close", close_in_the_depth)
    queue = queue_of(Sink())
    for _ in range(3):
        with pytest.raises(RecursionError):
            queue.close()
        assert "new" == queue.state
    queue.close()
    assert "closed" == queue.state


def test_an_interrupt_of_a_thread_that_does_not_own_the_queue() -> None:
    """An interrupt of another thread's close does not cut short the drain of the block."""

    def body(stage: Stage) -> None:
        sink = Sink(stage, 5)

        def close_later() -> None:
            stage.sleep(1)
            errors.append(error_of(queue.close))

        errors: list[Any] = []
        closer = stage.spawn(close_later)

        def press() -> None:
            stage.sleep(3)
            closer.interrupt = Interrupt()

        stage.spawn(press)
        with queue_of(sink) as queue:
            queue.enqueue(1)
        assert [1] == sink.items
        assert [Interrupt] == list(map(type, errors))

    play(body)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_that_flush_fn_raises(kind: type[BaseException]) -> None:
    """T13: an interrupt in flush_fn ends the queue like a failure, without asking the handler."""

    def body(stage: Stage) -> None:
        def sink(_: list[int]) -> None:
            raise kind("stop")

        def judge(_: Any) -> Any:
            raise AssertionError

        queue = queue_of(sink, on_failure=judge)
        assert "new" == queue.state
        queue.start()
        assert "running" == queue.state
        queue.enqueue(1)
        error: Any = error_of(queue.flush)
        assert (FlushFailed, kind) == (type(error), type(error.__cause__))
        assert "failed" == queue.state
        assert isinstance(error_of(queue.close), FlushFailed)

    play(body)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_that_others_raise(kind: type[BaseException]) -> None:
    """An interrupt in on_failure, policy or throttle is a failure; in on_report it is logged."""

    def raise_it(*_: Any) -> Any:
        raise kind

    class Policy(NaturalPolicy):
        """A policy that raises."""

        def decide(self, now: float) -> Any:
            """Raise the interrupt."""
            raise kind

    class Broken(RateLimit):
        """A throttle that raises."""

        def ready_at(self, now: float) -> float:
            """Raise the interrupt."""
            raise kind

    def body(_: Stage) -> None:
        for queue in (
            queue_of(lambda _: 1 / 0, on_failure=raise_it),
            queue_of(lambda _: None, Policy()),
            queue_of(lambda _: None, throttle=Broken(1, 1.0)),
        ):
            queue.enqueue(1)
            error: Any = error_of(queue.close)
            assert (kind, "failed") == (type(error.__cause__), queue.state)
        with queue_of(lambda _: None, on_report=raise_it) as queue:
            queue.enqueue(1)
        assert 1 == queue.stats().delivered

    play(body)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_report_that_cannot_even_be_logged_holds_nothing_up(kind: type[BaseException]) -> None:
    """Even if on_report and the logger both raise, the queue reports all flushes and drains."""

    def report(flushed: Any) -> None:
        reports.append(flushed.count)
        raise kind

    def body(_: Stage) -> None:
        with (
            failing_logger(),
            queue_of(lambda _: None, NaturalPolicy(1), on_report=report) as queue,
        ):
            for item in range(3):
                queue.enqueue(item)

    reports: list[int] = []
    play(body)
    assert [1, 1, 1] == reports


def test_states_of_a_close() -> None:
    """A queue is closing while it drains, and closed afterwards; it cannot be started again."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(stage, 5), NEVER, on_failure=lambda _: Drop)
        queue.start()
        assert isinstance(error_of(queue.start), RuntimeError)
        queue.enqueue(1)
        stage.spawn(queue.close)
        stage.sleep(1)
        assert "closing" == queue.state
        queue.close()
        assert ("closed", "<FlushQueue closed, 0 pending, 0 in flight>") == (
            queue.state,
            repr(queue),
        )
        assert isinstance(error_of(queue.start), RuntimeError)

    play(body)
