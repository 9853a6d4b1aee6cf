"""The checker: whoever acts tells it, and it compares with the contract.

Its parts know one thing each: the account the items, the deliveries what is done with those of a
batch, the line the producers, the receipts, the barriers and the closers those who wait, the
endings when the end begins, the outcomes what everyone is told of it, the hearing the policy, the
reports and the figures what is told of it all, and the idleness what must hold when nothing is left
to be done.
"""

from asyncio import Timeout
from typing import Self

from flushq import Failure, FlushQueue, FlushReport
from tests.sessions.account import Account
from tests.sessions.barriers import Barriers
from tests.sessions.closers import Closers
from tests.sessions.deliveries import Deliveries
from tests.sessions.endings import Endings
from tests.sessions.facts import Flight, Item, Limits
from tests.sessions.figures import Figures
from tests.sessions.hearing import Hearing
from tests.sessions.history import History
from tests.sessions.idle import Idleness
from tests.sessions.line import Line
from tests.sessions.outcomes import Outcomes
from tests.sessions.receipts import Receipts
from tests.sessions.reports import Reports
from tests.sessions.waiting import Barrier, Call, Closer, Wait, Waiting


class Checker:
    """Whoever acts tells it; it compares with the contract and complains to the history."""

    def __init__(self, limits: Limits, history: History, *, handled: bool = False) -> None:
        self.history = history
        self.account = account = Account(limits, history)
        self.endings = endings = Endings(limits, history, account)
        self.outcomes = outcomes = Outcomes(account, endings)
        self.receipts = Receipts(history, account, endings, outcomes)
        self.closers = Closers(history, account, endings, outcomes)
        self.barriers = Barriers(history, account, endings, outcomes)
        self.line = Line(limits, history, account, endings, outcomes)
        self.hearing = Hearing(history, account, endings, self.barriers, self.line)
        self.deliveries = Deliveries(history, account, endings, handled=handled)
        self.reports = Reports(limits, history, account, endings)
        self._figures = Figures(history, account, endings, self.line, self.reports)
        self._idleness = Idleness(
            limits,
            history,
            account,
            endings,
            self.barriers,
            self.line,
            self.hearing,
            self.deliveries,
        )

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def watch(self, queue: FlushQueue[Item]) -> None:
        """Know the queue: what can be seen of it, and the lists that exceptions must carry."""
        self.endings.queue = queue

    # Producers.

    def enqueue_called(self, call: Call) -> None:
        """Somebody calls enqueue, enqueue_nowait, submit or deliver."""
        self.history.note(call.who, "deliver" if call.delivers else "enqueue", call.item)
        self.line.called(call)

    def enqueue_accepted(self, call: Call) -> Item:
        """The item was accepted; return the one that stays."""
        self.history.note(call.who, "  accepted", call.item)
        return self.line.accepted(call)

    def enqueue_refused(self, call: Call, error: BaseException) -> None:
        """It was not."""
        self.history.note(call.who, "  refused", call.item, error)
        self.line.refused(call, error)

    def receipt_awaited(self, wait: Wait) -> None:
        """Somebody awaits a receipt."""
        self.history.note(wait.who, "awaits", wait.item)
        self.receipts.awaited(wait)

    def receipt_told(self, wait: Wait, error: BaseException | None) -> None:
        """They await it no more."""
        self.history.note(wait.who, "  delivered" if error is None else "  not", wait.item, error)
        self.receipts.told(wait, error)

    def interrupt(self, waiting: Waiting, *, surely: bool = True) -> None:
        """Somebody is being cancelled, or is perhaps."""
        if surely:
            waiting.requested = True
        else:
            waiting.vague = True
        if isinstance(waiting, Closer):
            self.endings.interrupt(waiting, surely=surely)

    # The sink.

    def sink_called(self, batch: list[Item], who: str) -> Flight:
        """The sink was called with a batch, in the context of somebody."""
        self.history.note("sink", "called", tuple(batch))
        flight = self.deliveries.called(batch)
        if flight.calls == 1:
            self._check_first(who)
        elif who != "sink":
            self.history.complain(13, f"the sink runs again in the context of {who}")
        self._look_around()
        return flight

    def _check_first(self, who: str) -> None:
        """The first call of a flight: in the context of whoever started the queue."""
        if self.endings.cut_surely:
            self.history.complain(10, "a flush was started after the close was cut short")
        if self.endings.failures:
            self.history.complain(12, "a flush was started after a failure")
        if who != self.endings.started_by:
            self.history.complain(13, f"the sink runs in the context of {who}")

    def cancelled(self, who: str, flight: Flight) -> None:
        """The sink or the handler sees a cancellation."""
        self.history.note(who, "  cancelled", flight)
        flight.cancelled_in.append(self.history.loop.iteration)
        if not self.endings.interrupts:
            self.history.complain(10, f"{flight} was cancelled without need")

    def sink_ended(self, flight: Flight, error: BaseException | None) -> None:
        """The sink has returned or raised."""
        if error is None:
            self.history.note("sink", "  returned", flight)
            self.deliveries.returned(flight)
        else:
            self.history.note("sink", "  raised", flight, error)
            self.deliveries.raised(flight, error)
        self._look_around()

    # The failure handler.

    def handler_called(self, failure: Failure[Item], who: str) -> Flight:
        """The handler is asked about a failure, in the context of somebody."""
        self.history.note("handler", "asked", tuple(failure.items), failure.attempt)
        if who != "sink":
            self.history.complain(13, f"the handler runs in the context of {who}")
        return self.deliveries.asked(failure)

    def handler_answered(self, flight: Flight, verdict: object) -> None:
        """The handler has answered."""
        self.history.note("handler", "  answered", flight, verdict)
        self.deliveries.answered(flight, verdict)
        self._look_around()

    def handler_raised(self, flight: Flight, error: BaseException) -> None:
        """The handler has raised."""
        self.history.note("handler", "  raised", flight, error)
        self.deliveries.broke(flight, error)
        self._look_around()

    def _look_around(self) -> None:
        """Look for what a step of a flight may have brought about."""
        self.line.look_for_deadlock()
        self._figures.check_sum()

    # Reports.

    def reported(self, report: FlushReport) -> None:
        """On_report is told of a flush."""
        self.history.note("report", report.reason, report.count, report.delivered, report.dropped)
        self.reports.told(report)
        self._figures.check_sum()

    def report_raised(self) -> None:
        """On_report raises."""
        self.history.note("report", "  raised")
        self.reports.raised += 1

    # Barriers.

    def flush_called(self, who: str, scopes: tuple[Timeout, ...]) -> Barrier:
        """Somebody calls flush()."""
        self.history.note(who, "flush")
        account = self.account
        barrier = Barrier(
            who=who,
            scopes=scopes,
            start=account.settled,
            heard=account.heard,
            mark=account.position,
            late=bool(self.endings.failures),
        )
        self.barriers.call(barrier)
        return barrier

    def flush_ended(self, barrier: Barrier, error: BaseException | None) -> None:
        """The call has ended."""
        self.history.note(barrier.who, "  flushed" if error is None else "  flush failed", error)
        self.barriers.end(barrier, error)

    # Owners.

    def start_refused(self, who: str, error: BaseException) -> None:
        """Somebody came to start the queue, too late."""
        self.history.note(who, "did not start the queue", error)
        if not (isinstance(error, RuntimeError) and self.endings.closing_maybe):
            self.history.complain(17, f"{who} got {error!r}")

    def queue_started(self, who: str) -> None:
        """The queue was started."""
        self.history.note(who, "started the queue")
        self.endings.start(who)

    def closer_called(self, closer: Closer) -> Closer:
        """Somebody begins to wait for the end of the queue."""
        self.history.note(closer.who, closer.kind, closer.body_error)
        self.endings.call(closer)
        return closer

    def closer_ended(self, closer: Closer, error: BaseException | None) -> None:
        """It waits no more."""
        self.history.note(closer.who, f"  ended {closer.kind}", error)
        self.closers.end(closer, error)

    # The loop.

    def idle(self) -> None:
        """Nothing can happen at this moment any more; time is about to move on."""
        self.endings.become_sure()
        self._idleness.check()
        self.receipts.check_idle()
        self.reports.check_idle()
        self._figures.check_idle()

    def finish(self) -> None:
        """The loop is quiet for good."""
        queue = self.endings.queue
        self.account.balance(queue.undelivered, queue.in_doubt)
        self.closers.agree()
        if self.endings.logged != (queue.state == "failed"):
            self.history.complain(12, f"{self.endings.logged} log records of a failure")
        for error in self.outcomes.contradictions():
            self.history.complain(12, f"somebody was told {error!r}, though a flush had failed")
        self.deliveries.check_chains()
        self.reports.finish()
