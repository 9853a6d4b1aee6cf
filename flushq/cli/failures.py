"""What is done when a transaction fails: tried again, split, put aside, or the end.

Two things can be wrong. The database is in trouble (it is locked, full, broken): then it may help
to try again, and to split does not. Or the table refuses a line: then the batch is halved until
that line is alone, which becomes a dead letter, and all others are stored. Since nobody knows what
a trigger looks at, a refused batch too is tried again before it is halved; its halves are not, as
that would cost the pauses once for every halving.
"""

import sqlite3
from contextvars import ContextVar

from flushq import Drop, Fail, Failure, Retry, Split, Verdict
from flushq.cli.console import Complaints
from flushq.cli.dead_letter import DeadLetter
from flushq.cli.lines import Row
from flushq.cli.table import is_refusal

FIRST_PAUSE = 0.1
DOUBLINGS = 6

# A flush and all that is asked about it run in one context.
_isolating = ContextVar("flushq_isolating", default=False)


class FailureHandler:
    """Gives a FlushQueue of rows its verdicts.

    Args:
        retries: How many times a transaction that failed is tried again.
        dead_letter: Where lines go that the table refuses. None: they end the queue.
    """

    def __init__(self, retries: int = 0, dead_letter: DeadLetter | None = None) -> None:
        self._retries = retries
        self._dead_letter = dead_letter
        self._of_retries = Complaints("retries")
        self._of_letters = Complaints("dead letters")

    def __call__(self, failure: Failure[Row]) -> Verdict:
        """Judge a failure.

        Raises:
            CannotAppend: The line could not be put aside.
        """
        error = failure.error
        if not isinstance(error, sqlite3.Error):
            return Fail()
        refused = is_refusal(error)
        if failure.attempt <= self._retries and not (refused and _isolating.get()):
            return self._try_again(failure)
        if self._dead_letter is None or not refused:
            return Fail()
        if len(failure.items) > 1:
            _isolating.set(True)
            return Split()
        return self._put_aside(self._dead_letter, failure.items[0], error)

    def _try_again(self, failure: Failure[Row]) -> Retry:
        pause = FIRST_PAUSE * 2 ** min(failure.attempt - 1, DOUBLINGS)
        self._of_retries.complain(f"cannot write: {failure.error}; trying again in {pause:g} s")
        return Retry(pause)

    def _put_aside(self, dead_letter: DeadLetter, row: Row, error: sqlite3.Error) -> Drop:
        dead_letter.append(row, error)
        self._of_letters.complain(f"refused line {row[1]} of {row[0]!r}: {error}")
        return Drop()
