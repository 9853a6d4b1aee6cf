"""Those who wait for the end of the queue: what each of them must be told."""

from asyncio import CancelledError

from flushq import QueueEnded
from tests.sessions.account import Account
from tests.sessions.causes import Told
from tests.sessions.endings import Endings
from tests.sessions.history import History
from tests.sessions.outcomes import Outcomes
from tests.sessions.waiting import Closer


class Closers:
    """How they end.

    Attributes:
        logged: How many log records there were.
    """

    def __init__(
        self, history: History, account: Account, endings: Endings, outcomes: Outcomes
    ) -> None:
        self.logged = 0
        self._history = history
        self._account = account
        self._endings = endings
        self._outcomes = outcomes

    def end(self, closer: Closer, error: BaseException | None) -> None:
        """A closer waits no more."""
        may_go = closer.may_go(self._history.loop.time())
        closer.may_be_early = may_go and not closer.is_owner
        closer.over, closer.error = True, error
        if closer.cancelled and not isinstance(error, CancelledError):
            self._history.complain(11, f"{closer.who} swallowed a cancellation: {error!r}")
        elif may_go and isinstance(error, CancelledError):
            pass
        elif closer.body_error is not None:
            if error is not closer.body_error:
                self._history.complain(12, f"{closer.body_error!r} was replaced by {error!r}")
        elif isinstance(error, QueueEnded):
            flaw = self._outcomes.flaw_of_outcome(error)
            if flaw is not None:
                self._history.complain(flaw[0], f"{closer.who}: {error!r} {flaw[1]}")
        elif error is not None:
            self._history.complain(10, f"{closer.who} got {error!r}")
        if not (closer.may_be_early and self._endings.owners_wait):
            self._check_complete(closer)

    def _check_complete(self, closer: Closer) -> None:
        account = self._account
        waiting = account.cut < account.position and not self._endings.stops
        if waiting or any(flight.called for flight in account.running):
            self._history.complain(10, f"{closer.who} did not wait for the end")

    # The verdict.

    def agree(self) -> None:
        """Compare what all of them were told, when the loop is quiet for good."""
        queue, closers = self._endings.queue, self._endings.closers
        lost = bool(queue.undelivered or queue.in_doubt)
        if lost and not self._endings.stops:
            self._history.complain(2, "items were lost without need")
        bad = lost or bool(self._endings.failures)
        errors = [closer.error for closer in closers if _is_told_the_outcome(closer)]
        differ = any(not Told.by(errors[0]).is_same(Told.by(error)) for error in errors)
        if differ or any(bad != isinstance(error, QueueEnded) for error in errors):
            self._history.complain(10, f"closers were told of {errors}")
        notes = sum(self._check_note(closer, lost=bad) for closer in closers)
        if notes != self.logged:
            self._history.complain(11, f"{self.logged} log records, not {notes}")

    def _check_note(self, closer: Closer, *, lost: bool) -> int:
        """A loss beside another exception is told in a note, once; return how many there are."""
        notes = len(getattr(closer.error, "__notes__", ()))
        other = closer.error is not None and not isinstance(closer.error, QueueEnded)
        if notes != (lost and other) and (notes or not closer.may_be_early):
            self._history.complain(11, f"{closer.error!r} has {notes} notes")
        return notes


def _is_told_the_outcome(closer: Closer) -> bool:
    """Whether no other exception came before."""
    return closer.body_error is None and not isinstance(closer.error, CancelledError)
