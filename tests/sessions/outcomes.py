"""Exceptions that tell of an end: the right kind and cause, and each an object of its own.

The end is one, and everyone is told of the same. A flush that fails may do so in the very turn in
which the close is cut short, but never later, since then every flush that runs is cancelled. So
nobody is told of a ShutdownTimeout by a queue that ends with a FlushFailed. A policy, though, may
fail when it hears of the end of a flush that was cancelled. By then the receipts of what was
undelivered have told of a ShutdownTimeout; what they have told they tell again.
"""

from flushq import FlushFailed, QueueEnded, ShutdownTimeout
from tests.sessions.account import Account
from tests.sessions.causes import Cause, is_any, is_same
from tests.sessions.endings import Endings

Flaw = tuple[int, str] | None
"""A point of the contract and what is wrong, if anything is."""


class Outcomes:
    """What everyone is told who hears of the end."""

    def __init__(self, account: Account, endings: Endings) -> None:
        self._account = account
        self._endings = endings
        self._told: list[QueueEnded] = []

    def flaw_of_failure(self, error: QueueEnded) -> Flaw:
        """What is wrong with an exception that says that the queue has failed, if anything."""
        kinds = [failure.kind for failure in self._endings.failures]
        if type(error) not in kinds:
            return (12, f"though the failures are {kinds}")
        causes = [
            failure.cause for failure in self._endings.failures if failure.kind is type(error)
        ]
        if not is_any(error.__cause__, causes):
            return (12, f"has the cause {error.__cause__!r}, which is none of {causes}")
        return self._flaw_of_identity(error)

    def flaw_of_outcome(self, error: QueueEnded) -> Flaw:
        """What is wrong with an exception that tells how the queue has ended, if anything."""
        return self._flaw(error, self._interruptions() or [None])

    def flaw_of_early_outcome(self, error: QueueEnded) -> Flaw:
        """The same, of one that may come before the flights that were interrupted have ended.

        It may come before the policy has failed, too, if that is late.
        """
        causes = [None, *self._interruptions()]
        if isinstance(error, ShutdownTimeout) and not self._has_failed_in_time:
            return self._flaw_of_timeout(error, causes)
        return self._flaw(error, causes)

    @property
    def _has_failed_in_time(self) -> bool:
        """Whether there is a failure of which everyone must be told."""
        failures = self._endings.failures
        return any(failure.kind is FlushFailed or not failure.late for failure in failures)

    def _interruptions(self) -> list[Cause]:
        errors = [flight.error for flight in self._account.flights if flight.called]
        return [error for error in errors if error is not None]

    def _flaw(self, error: QueueEnded, causes: list[Cause]) -> Flaw:
        if self._endings.failures:
            return self.flaw_of_failure(error)
        if not isinstance(error, ShutdownTimeout):
            return (12, "though nothing has failed")
        return self._flaw_of_timeout(error, causes)

    def _flaw_of_timeout(self, error: ShutdownTimeout, causes: list[Cause]) -> Flaw:
        if not self._endings.interrupts:
            return (10, "though the close had neither reached its limit nor been cut short")
        if not is_any(error.__cause__, causes):
            return (10, f"has the cause {error.__cause__!r}, which is none of {causes}")
        return self._flaw_of_identity(error)

    def _flaw_of_identity(self, error: QueueEnded) -> Flaw:
        if any(error is other for other in self._told):
            return (12, "is an object that somebody else got")
        self._told.append(error)
        queue = self._endings.queue
        if error.undelivered is not queue.undelivered or error.in_doubt is not queue.in_doubt:
            return (2, "carries other lists than the queue")
        return None if isinstance(error, ShutdownTimeout) else self._flaw_of_difference(error)

    def _flaw_of_difference(self, error: QueueEnded) -> Flaw:
        """Whether others were told of another failure."""
        for other in self._told:
            if isinstance(other, ShutdownTimeout):
                continue
            if type(other) is not type(error) or not is_same(other.__cause__, error.__cause__):
                return (12, f"though somebody was told {other!r}")
        return None

    # When the loop is quiet for good.

    def contradictions(self) -> list[ShutdownTimeout]:
        """What somebody was told of a close that was cut short, though a flush had failed."""
        if all(failure.kind is not FlushFailed for failure in self._endings.failures):
            return []
        return [error for error in self._told if isinstance(error, ShutdownTimeout)]
