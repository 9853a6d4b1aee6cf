"""Reports: one of every flight that has ended, with the right figures."""

from asyncio import CancelledError
from collections import Counter
from collections.abc import Iterator

from flushq import FlushReport
from tests.sessions.account import Account
from tests.sessions.causes import Cause, is_any
from tests.sessions.endings import Endings
from tests.sessions.facts import BETWEEN, DELIVERED, DROPPED, Flight, Limits
from tests.sessions.history import History
from tests.sessions.loop import EARLY


class ReportError(Exception):
    """What on_report raises."""


class Reports:
    """What on_report was told.

    Attributes:
        reasons: How many reports there were, by reason.
        raised: How many times on_report has raised.
        logged: How many log records there were of that.
    """

    def __init__(
        self, limits: Limits, history: History, account: Account, endings: Endings
    ) -> None:
        self.reasons: Counter[str] = Counter()
        self.raised = 0
        self.logged = 0
        self._limits = limits
        self._history = history
        self._account = account
        self._endings = endings

    def told(self, report: FlushReport) -> None:
        """On_report was called."""
        self.reasons[report.reason] += 1
        self._check_pressure(report)
        flights = list(filter(self._may_have_ended, self._account.flights))
        flaws = {flight: list(self._flaws(report, flight)) for flight in flights}
        flight = min(flaws, key=lambda each: _unlikeliness(each, flaws[each]), default=None)
        if flight is None:
            self._history.complain(21, f"a report of no flight: {report}")
            return
        for flaw in flaws[flight]:
            self._history.complain(21, f"the report of {flight} says {flaw}")
        flight.reported = True
        if not flight.over and flight.state is BETWEEN:
            self._account.cut_short(flight)

    def _check_pressure(self, report: FlushReport) -> None:
        """Only a full queue is pressed: all that its batch took and left behind fills it."""
        waited, size = report.count + report.pending, self._limits.max_queue_size
        if report.reason == "pressure" and waited != size:
            self._history.complain(7, f"a queue of {size} was pressed when {waited} items waited")

    def _may_have_ended(self, flight: Flight) -> bool:
        """Whether there may be a report of it: of one that nobody saw end too."""
        if flight.reported:
            return False
        return flight.over or not flight.called or flight.state is BETWEEN

    def _flaws(self, report: FlushReport, flight: Flight) -> Iterator[str]:
        """What a report tells wrong if it is one of this flight."""
        dropped = flight.count(DROPPED)
        figures = {
            "count": len(flight.items),
            "weight": sum(item.weight for item in flight.items),
            "waited": flight.cut_at - flight.oldest,
            "started": flight.cut_at,
            "attempts": flight.calls,
            "delivered": flight.count(DELIVERED),
            "dropped": dropped,
            "pending": flight.behind,
        }
        for name, right in figures.items():
            told = getattr(report, name)
            if told != right:
                yield f"{name}={told!r}, not {right!r}"
        if report.reason not in flight.reasons:
            yield f"reason={report.reason!r}, not one of {sorted(flight.reasons)}"
        ended = report.started + report.seconds
        if not flight.over_at <= ended <= self._history.loop.time() + 2 * EARLY:
            yield f"seconds={report.seconds!r}"
        if not is_any(report.error, _errors(flight)):
            yield f"error={report.error!r}"

    def check_idle(self) -> None:
        """There was a report of every flight that has ended."""
        for flight in self._account.flights:
            if flight.over and not flight.reported and not flight.unsent:
                self._history.complain(21, f"there was no report of {flight}")
                flight.reported = True

    def finish(self) -> None:
        """What on_report raises is logged."""
        if self.raised != self.logged:
            self._history.complain(21, f"{self.logged} log records of {self.raised} errors")


def _unlikeliness(flight: Flight, flaws: list[str]) -> tuple[int, int, bool]:
    """How unlikely it is that a report is of this flight; one with more reasons can wait."""
    return len(flaws), len(flight.reasons), not flight.over


def _errors(flight: Flight) -> list[Cause]:
    """What a report may give as its error."""
    if not flight.called:
        return [None, CancelledError()]
    if not flight.over:
        return [CancelledError()]
    dropped = [fate.cause for fate in flight.fates.values() if fate.kind == DROPPED]
    return [flight.error or (dropped[-1] if dropped else None)]
