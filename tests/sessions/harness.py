"""One queue with its loop, policy, sink, users and mirror."""

import asyncio
import logging
from collections.abc import Callable
from operator import attrgetter
from types import TracebackType
from typing import Any, Self

from flushq import FlushReport
from tests.core_sessions.play import EventRecorder
from tests.sessions.facts import Limits
from tests.sessions.handler import Handler
from tests.sessions.history import History
from tests.sessions.loop import Livelock, SessionLoop
from tests.sessions.mirror import Mirror
from tests.sessions.mirrored import MirroredQueue
from tests.sessions.policies import PolicyPlan, make_policy
from tests.sessions.sink import Sink
from tests.sessions.users import Users

_logger = logging.getLogger("flushq")


class ReportError(Exception):
    """The exception that ``on_report`` raises."""


class Harness:
    """One queue on a loop of its own; as a context manager it collects the log records.

    Attributes:
        loop, history: The loop, and the events on it.
        users: The users of the queue.
    """

    def __init__(
        self,
        limits: Limits,
        plan: PolicyPlan,
        sink: Sink,
        handler: Handler | None,
        *,
        burst: float,
        fires_early: bool,
        report_fails: Callable[[], bool],
    ) -> None:
        self.loop = SessionLoop(fires_early=fires_early)
        self.history = History(self.loop)
        handles = handler is not None
        self._mirror = Mirror(limits, self.history, self.loop, handles=handles, burst=burst)
        self.loop.set_exception_handler(self._on_exception)
        self._report_fails = report_fails
        self._records: dict[str, int] = dict.fromkeys(("report", "failure", "loss"), 0)
        self._report_errors = 0
        self._news: list[object] = []
        self._queue = MirroredQueue(
            self._mirror,
            sink,
            make_policy(plan, limits, EventRecorder(self._mirror.policy_events)),
            dedupe_key=attrgetter("key") if limits.dedupe else None,
            weigh=attrgetter("weight") if limits.weighs else None,
            partition_key=attrgetter("partition") if limits.partitioned else None,
            max_queue_size=limits.max_queue_size,
            max_queue_weight=limits.max_queue_weight,
            when_full=limits.when_full,
            merge=limits.merge,
            max_in_flight=limits.max_in_flight,
            max_in_flight_per_partition=limits.max_in_flight_per_partition,
            max_shutdown_wait=limits.max_shutdown_wait,
            throttle=limits.throttle,
            on_failure=handler,
            on_report=self._on_report,
        )
        self.users = sink.users = Users(self._mirror, self._queue, self.history)
        if handler is not None:
            handler.users = self.users
        self.loop.on_idle = self._mirror.check_idle
        self.loop.on_cancel = self._mirror.cancelling

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
        """Complain of everything that is wrong once nothing can happen on the loop any more."""
        for actor in self.users.actors.values():
            if actor.task is None or not actor.done:
                self.history.complain(2, f"{actor.name} waits for ever")
            elif not actor.task.cancelled() and actor.task.exception() is not None:
                self.history.complain(12, f"{actor.name} got {actor.task.exception()!r}")
        left = [*self.loop.timers, *self.loop.tasks]
        if left:
            self.history.complain(10, f"timers and tasks are left: {left}")
        failed = self._mirror.model.failure is not None
        records = {"report": self._report_errors, "failure": failed, "loss": self.users.notes}
        if self._records != records:
            self.history.complain(12, f"log records: {self._records}, not {records}")
        if self._news != self._mirror.model.news:
            text = f"displaced items, as logged: {self._news}, not {self._mirror.model.news}"
            self.history.complain("B3", text)
        if self._queue.state != ("failed" if failed else "closed"):
            self.history.complain(17, f"the queue is {self._queue.state}")

    def _on_record(self, record: logging.LogRecord) -> bool:
        self.history.note("log", record.getMessage())
        if record.exc_info is not None and isinstance(record.exc_info[1], ReportError):
            self._records["report"] += 1
        elif record.getMessage().startswith("the queue has failed"):
            self._records["failure"] += 1
        elif record.levelno >= logging.ERROR:
            self._records["loss"] += 1
        elif isinstance(record.args, tuple) and "displaces items" in record.msg:
            self._news.append(record.args[2])
        return False

    def _on_report(self, report: FlushReport) -> None:
        self.history.note("report", report.reason, report.count, report.delivered, report.dropped)
        self._mirror.reports.append(report)
        if self._report_fails():
            self._report_errors += 1
            raise ReportError("on_report was told to raise")

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.history.complain(12, f"{context['message']}: {context.get('exception')!r}")
