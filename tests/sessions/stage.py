"""Everything around one queue: its loop, policy and sink, who acts, and the checker who watches."""

import asyncio
import logging
from collections.abc import Callable
from operator import attrgetter
from types import TracebackType
from typing import Any, Self

from flushq import FlushPolicy, FlushReport
from tests.sessions.cast import Cast
from tests.sessions.checker import Checker
from tests.sessions.facts import Limits
from tests.sessions.handler import ObservedHandler
from tests.sessions.history import History
from tests.sessions.loop import Livelock, SessionLoop
from tests.sessions.policies import PolicyPlan, make_policy
from tests.sessions.reports import ReportError
from tests.sessions.sink import ObservedSink
from tests.sessions.submitters import SubmittingQueue

_logger = logging.getLogger("flushq")


class Stage:
    """One queue on a loop of its own. A context manager: it hears the log records meanwhile."""

    def __init__(
        self,
        limits: Limits,
        plan: PolicyPlan,
        sink: ObservedSink,
        handler: ObservedHandler | None = None,
        *,
        fires_early: bool = False,
        report_fails: Callable[[], bool] = lambda: False,
    ) -> None:
        self.history = History()
        self.checker = Checker(limits, self.history, handled=handler is not None)
        self.loop = self.history.loop = SessionLoop(self.checker.idle, fires_early=fires_early)
        self.loop.set_exception_handler(self._on_exception)
        self._report_fails = report_fails
        policy = make_policy(plan, limits, self.checker.hearing)
        self.queue = self._queue(limits, policy, sink, handler)
        self.checker.watch(self.queue)
        self.cast = sink.cast = Cast(self.loop, self.checker, self.queue)
        if handler is not None:
            handler.cast = self.cast

    def _queue(
        self,
        limits: Limits,
        policy: FlushPolicy,
        sink: ObservedSink,
        handler: ObservedHandler | None,
    ) -> SubmittingQueue:
        return SubmittingQueue(
            sink,
            policy,
            dedupe_key=attrgetter("key") if limits.dedupe else None,
            weigh=attrgetter("weight") if limits.weighs else None,
            max_queue_size=limits.max_queue_size,
            max_in_flight=limits.max_in_flight,
            max_shutdown_wait=limits.max_shutdown_wait,
            on_failure=handler,
            on_report=self._on_report,
        )

    def __enter__(self) -> Self:
        _logger.addFilter(self._on_record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        _logger.removeFilter(self._on_record)
        self.loop.close()
        if isinstance(error, Livelock):
            self.history.complain(8, str(error))
            return True
        return False

    def finish(self) -> None:
        """Judge what is left when the loop is quiet for good."""
        for actor in self.cast.actors.values():
            if actor.task is None or not actor.done:
                self.history.complain(2, f"{actor.name} waits for ever")
            elif not actor.task.cancelled() and actor.task.exception() is not None:
                self.history.complain(12, f"{actor.name} got {actor.task.exception()!r}")
        for timer in self.loop.timers:
            self.history.complain(10, f"a timer is left: {timer}")
        for task in self.loop.tasks:
            self.history.complain(10, f"a task is left: {task.get_name()}")
        self.checker.finish()

    def _on_record(self, record: logging.LogRecord) -> bool:
        self.history.note("log", record.getMessage())
        if record.exc_info is not None and isinstance(record.exc_info[1], ReportError):
            self.checker.reports.logged += 1
        elif record.getMessage().startswith("the queue has failed"):
            self.checker.endings.logged += 1
        elif record.levelno >= logging.ERROR:
            self.checker.closers.logged += 1
        return False

    def _on_report(self, report: FlushReport) -> None:
        self.checker.reported(report)
        if self._report_fails():
            self.checker.report_raised()
            raise ReportError("on_report was told to raise")

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.history.complain(12, f"{context['message']}: {context.get('exception')!r}")
