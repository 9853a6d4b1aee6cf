"""The figures of stats(): they add up at every moment, and at an idle one each of them is right."""

import attrs

from flushq import QueueStats
from tests.sessions.account import Account
from tests.sessions.endings import Endings
from tests.sessions.history import History
from tests.sessions.line import Line
from tests.sessions.reports import Reports

PLACES = "duplicates", "delivered", "dropped", "undelivered", "in_doubt", "pending", "in_flight"


class Figures:
    """What stats() tells."""

    def __init__(
        self, history: History, account: Account, endings: Endings, line: Line, reports: Reports
    ) -> None:
        self._history = history
        self._account = account
        self._endings = endings
        self._line = line
        self._reports = reports

    def check_sum(self) -> QueueStats:
        """Every accepted item is in one place, at this moment, and in none before its time."""
        stats = self._endings.queue.stats()
        if stats.accepted != sum(getattr(stats, place) for place in PLACES):
            self._history.complain(21, f"the figures do not add up: {stats}")
        for name in ("delivered", "dropped"):
            if getattr(stats, name) > getattr(self._account, name):
                self._history.complain(21, f"stats() tells too early of what was {name}: {stats}")
        return stats

    def check_idle(self) -> None:
        """Each figure is that of the account."""
        told, account = self.check_sum(), self._account
        stopped, waiting = self._endings.stopped, len(account.waiting)
        right = QueueStats(
            accepted=len(account.accepted),
            duplicates=len(account.duplicates),
            delivered=account.delivered,
            dropped=account.dropped,
            undelivered=account.unsent + (waiting if stopped else 0),
            in_doubt=account.doubtful,
            pending=0 if stopped else waiting,
            in_flight=account.in_flight,
            waiting=len(self._line.calls),
            flushes=self._reports.reasons,
            oldest_age=0.0 if stopped else max(0.0, self._history.loop.time() - account.oldest),
        )
        if told != right:
            self._complain(attrs.asdict(told), attrs.asdict(right))

    def _complain(self, told: dict[str, object], right: dict[str, object]) -> None:
        for name, figure in right.items():
            if told[name] != figure:
                self._history.complain(21, f"stats() tells {name}={told[name]}, not {figure}")
