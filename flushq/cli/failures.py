"""What is done when a transaction fails: tried again, split, put aside, or the end.

Two things can be wrong. The database is in trouble (it is locked, full, broken): then it may help
to try again, and to split does not. Or the table refuses a line: then the batch is halved until
that line is alone. It becomes a dead letter, and all others are stored. What a trigger looks at is
not known, so a refused batch too is tried again before it is halved. Its halves are not tried
again, as that would cost the pauses once for every halving.

The dead-letter file has one JSON object a line. What it holds is whole and on the disk: a letter
that cannot be written to its end is taken back. A kill may leave the beginning of a letter, which
the next ingestion with ``--resume`` takes back; without, the next letter begins a line of its own.
"""

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
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
_HEAD = b'{"source": '

# The handler is asked about a batch and its parts in one context, that of the flush.
_isolating = ContextVar("flushq_isolating", default=False)


class CannotAppend(Exception):
    """The file cannot be written to, or its content cannot be brought to the disk."""


class DeadLetter:
    """A file that letters are appended to; ``with`` opens it, and makes it if it is not there."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path
        self._known = set[Row]()

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

    def recall(self, starts: Mapping[str, int]) -> None:
        """Learn which letters are there; cut off the beginning of one at the end of the file.

        Args:
            starts: The sources of those letters, and the first line that is of interest in each.

        Raises:
            CannotAppend: The file cannot be read or cut off.
        """
        try:
            with Path(self._path).open("rb") as file:
                for text in file:
                    if text.endswith(b"\n") or _is_whole(text):
                        self._learn(text, starts)
                    elif text[: len(_HEAD)] == _HEAD[: len(text)]:
                        os.ftruncate(self._fd, file.tell() - len(text))
        except OSError as error:
            raise self._refusal(error) from error

    def _learn(self, text: bytes, starts: Mapping[str, int]) -> None:
        with suppress(ValueError, TypeError, KeyError, RecursionError):  # not a letter
            letter = json.loads(text)
            row = (letter["source"], letter["line"], letter["body"])
            if row[1] >= starts[row[0]]:
                self._known.add(row)

    def append(self, row: Row, error: Exception) -> None:
        """Append a letter, unless it is known to be there; it is on the disk when this returns.

        Raises:
            CannotAppend: The file is as it was.
        """
        if row in self._known:
            return
        source, line, body = row
        letter = {"source": source, "line": line, "body": body, "error": str(error)}
        end = os.fstat(self._fd).st_size
        try:
            self._write(b"\n" * self._ends_within_a_line() + f"{json.dumps(letter)}\n".encode())
        except OSError as trouble:
            with suppress(OSError):
                os.ftruncate(self._fd, end)
            raise self._refusal(trouble) from trouble

    def _ends_within_a_line(self) -> bool:
        with suppress(OSError), Path(self._path).open("rb") as file:  # it is empty, or not for us
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
        return False

    def _write(self, letter: bytes) -> None:
        while letter:
            letter = letter[os.write(self._fd, letter) :]
        os.fsync(self._fd)

    def _refusal(self, error: OSError) -> CannotAppend:
        return CannotAppend(f"cannot append to {self._path!r}: {error.strerror}")


def _is_whole(letter: bytes) -> bool:
    """Whether nothing but the end of its line is missing."""
    with suppress(ValueError, RecursionError):
        json.loads(letter)
        return True
    return False


class Retries:
    """The pauses before further attempts, which double; there are at most so many of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._complaints = Complaints("retries")

    def __call__(self, attempt: int, trouble: str) -> float | None:
        """Report the trouble, and return after how many seconds to try again; None: not again.

        Args:
            attempt: The number of the attempt that has failed, from 1.
            trouble: Why it failed.
        """
        if attempt > self._most:
            return None
        pause = FIRST_PAUSE * 2.0 ** min(attempt - 1, DOUBLINGS)
        self._complaints.complain(f"{trouble}; trying again in {pause:g} s")
        return pause


class FailureHandler:
    """Gives a FlushQueue of rows its verdicts.

    Args:
        retries: How many times a transaction that failed is tried again.
        dead_letter: Where lines go that the table refuses. None: they end the queue.

    Attributes:
        retry_after: The pauses before these retries.
    """

    def __init__(self, retries: int = 0, dead_letter: DeadLetter | None = None) -> None:
        self.retry_after = Retries(retries)
        self._dead_letter = dead_letter
        self._complaints = Complaints("dead letters")

    def __call__(self, failure: Failure[Row]) -> Verdict:
        """Judge a failure.

        Raises:
            CannotAppend: The line could not be put aside.
        """
        error = failure.error
        if not isinstance(error, Unstored):
            return Fail()
        refused = error.refused if isinstance(error, NotPublished) else is_refusal(error)
        if not (refused and _isolating.get()):
            pause = self.retry_after(failure.attempt, f"cannot write: {error}")
            if pause is not None:
                return Retry(pause)
        if self._dead_letter is None or not refused:
            return Fail()
        if len(failure.items) > 1:
            _isolating.set(True)
            return Split()
        return self._put_aside(self._dead_letter, failure.items[0], error)

    def _put_aside(self, dead_letter: DeadLetter, row: Row, error: Exception) -> Drop:
        dead_letter.append(row, error)
        self._complaints.complain(f"refused line {row[1]} of {row[0]!r}: {error}")
        return Drop()
