"""Barriers: what flush() waits for, and what it must tell."""

from asyncio import CancelledError

from flushq import QueueClosed, QueueEnded
from tests.sessions.account import Account
from tests.sessions.endings import Endings
from tests.sessions.facts import Flight
from tests.sessions.history import History
from tests.sessions.outcomes import Flaw, Outcomes
from tests.sessions.waiting import Barrier


class Barriers:
    """The calls of flush().

    Attributes:
        calls: Those that have not ended.
        mark: The highest mark that any of them ever had.
    """

    def __init__(
        self, history: History, account: Account, endings: Endings, outcomes: Outcomes
    ) -> None:
        self.calls: dict[Barrier, None] = {}
        self.mark = 0
        self._history = history
        self._account = account
        self._endings = endings
        self._outcomes = outcomes

    def call(self, barrier: Barrier) -> None:
        """Somebody calls flush()."""
        self.calls[barrier] = None
        self.mark = max(self.mark, barrier.mark)

    def end(self, barrier: Barrier, error: BaseException | None) -> None:
        """A call of flush() has ended."""
        del self.calls[barrier]
        if error is None:
            self._check_reached(barrier)
        elif isinstance(error, CancelledError):
            if not barrier.may_go(self._history.loop.time()):
                self._history.complain(9, f"nobody cancelled {barrier.who}")
        elif isinstance(error, QueueEnded):
            flaw = self._flaw(barrier, error)
            if flaw is not None:
                self._history.complain(flaw[0], f"{barrier.who}: {error!r} {flaw[1]}")
        elif not (isinstance(error, QueueClosed) and self._endings.closing_maybe):
            self._history.complain(9, f"{barrier.who} got {error!r}")

    def is_reached(self, barrier: Barrier) -> bool:
        """Whether all that was accepted before has ended; to be asked at an idle moment."""
        return not self._still_running(barrier) and self._is_settled(barrier)

    def _may_be_reached(self, barrier: Barrier) -> bool:
        """The same, of any moment: nobody sees a flight end that is cut short between two calls."""
        running = self._still_running(barrier)
        return all(map(self._endings.may_be_over, running)) and self._is_settled(barrier)

    def _still_running(self, barrier: Barrier) -> list[Flight]:
        running = self._account.running
        return [each for each in running if each.first_unended < barrier.mark and each.called]

    def _is_settled(self, barrier: Barrier) -> bool:
        return self._endings.stops or self._account.settled >= barrier.mark

    def _check_reached(self, barrier: Barrier) -> None:
        account = self._account
        if barrier.cancelled:
            self._history.complain(11, f"{barrier.who} swallowed a cancellation")
        if account.settled < barrier.mark:
            self._history.complain(9, f"{barrier.who} returned before item {barrier.mark} ended")
        elif account.lost(barrier.start, barrier.mark):
            self._history.complain(9, f"{barrier.who} returned after a loss")

    def _flaw(self, barrier: Barrier, error: QueueEnded) -> Flaw:
        account = self._account
        if barrier.late:
            return self._outcomes.flaw_of_failure(error)
        if not self._may_be_reached(barrier):
            return (9, f"came before item {barrier.mark} had ended")
        lost = self._still_running(barrier) or account.lost(barrier.heard, barrier.mark)
        if account.cut >= barrier.mark and not lost:
            return (9, "though all it waited for was delivered")
        return self._outcomes.flaw_of_outcome(error)
