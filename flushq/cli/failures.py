"""What is done when a transaction fails: tried again, split, put aside, or the end.

Two things can be wrong. The database is in trouble (it is locked, full, broken): then it may help
to try again, and to split does not. Or the table refuses a line: then the batch is halved until
that line is alone. It becomes a dead letter, and all others are stored. What a trigger looks at is
not known, so a refused batch too is tried again before it is halved. Its halves are not tried
again, as that would cost the pauses once for every halving.

The dead-letter file has one JSON object a line. What it holds is whole and on the disk: a letter
that cannot be written to its end is taken back.
"""

import json
import os
import sqlite3
from contextlib import suppress
from contextvars import ContextVar
from typing import Self

from flushq import Drop, Fail, Failure, Retry, Split, Verdict
from flushq.cli.reading import Row
from flushq.cli.sink import NotPublished
from flushq.cli.table import is_refusal
from flushq.cli.terminal import Complaints

Unstored = sqlite3.Error | NotPublished
"""What a sink raises if it has not stored all."""

FIRST_PAUSE = 0.1
DOUBLINGS = 6
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o666

# The handler is asked about a batch and its parts in one context, that of the flush.
_isolating = ContextVar("flushq_isolating", default=False)


class CannotAppend(Exception):
    """The file cannot be written to, or its content cannot be brought to the disk."""


class DeadLetter:
    """A file that letters are appended to; ``with`` opens it, and makes it if it is not there."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            CannotAppend: It is read-only, a directory, or not a file on a disk.
        """
        try:
            self._fd = os.open(self._path, _FLAGS, _MODE)
            os.fsync(self._fd)
        except OSError as error:
            self.__exit__()
            raise self._refusal(error) from error
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._fd != -1:
            os.close(self._fd)
            self._fd = -1

    def append(self, row: Row, error: Exception) -> None:
        """Append a letter; it is on the disk when this returns.

        Raises:
            CannotAppend: The file is as it was.
        """
        source, line, body = row
        letter = {"source": source, "line": line, "body": body, "error": str(error)}
        end = os.fstat(self._fd).st_size
        try:
            self._write(f"{json.dumps(letter)}\n".encode())
        except OSError as trouble:
            with suppress(OSError):
                os.ftruncate(self._fd, end)
            raise self._refusal(trouble) from trouble

    def _write(self, letter: bytes) -> None:
        while letter:
            letter = letter[os.write(self._fd, letter) :]
        os.fsync(self._fd)

    def _refusal(self, error: OSError) -> CannotAppend:
        return CannotAppend(f"cannot append to {self._path!r}: {error.strerror}")


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
        if not isinstance(error, Unstored):
            return Fail()
        refused = error.refused if isinstance(error, NotPublished) else is_refusal(error)
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

    def _put_aside(self, dead_letter: DeadLetter, row: Row, error: Exception) -> Drop:
        dead_letter.append(row, error)
        self._of_letters.complain(f"refused line {row[1]} of {row[0]!r}: {error}")
        return Drop()
