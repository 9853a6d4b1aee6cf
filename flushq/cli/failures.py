"""The failure handler of an ingestion: it retries or splits a batch, or writes a dead letter.

A batch fails for one of two reasons:

* The database is in trouble (locked, full or broken), or the stream does not answer. A retry may
  help; a split does not.
* The table or the stream refuses a line. If there is a dead-letter file, the batch is halved until
  this line is alone. This line becomes a dead letter, and all other lines are stored.

A trigger may accept a refused line at a later attempt, so a refused batch is retried before it is
halved. If a half is refused, too, it is not retried: otherwise each halving would be delayed by the
pauses of all retries.

In the dead-letter file, each line of text is one dead letter, a JSON object. The letters are
complete and synced to the disk: if only the beginning of a letter can be written, this beginning is
cut off again. If the process is killed, the beginning of a letter may stay in the file. The next
ingestion with ``--resume`` cuts off this beginning; without ``--resume``, the next letter starts on
a new line.
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
"""The errors that a sink raises if it has not stored all lines of a batch."""

FIRST_PAUSE = 0.1
DOUBLINGS = 6
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o666
_HEAD = b'{"source": '

# Whether the batch was split because the table refused a line. The queue calls the handler in the
# ``contextvars`` context of the flush, so a batch and its parts share this value.
_isolating = ContextVar("flushq_isolating", default=False)


class CannotAppend(Exception):
    """The error if a dead-letter file cannot be opened, read, written to or synced to the disk."""


class DeadLetterFile:
    """A dead-letter file; ``with`` opens the file, and creates it if it does not exist."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path
        self._known = set[Row]()

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            CannotAppend: The path cannot be opened for writing, or is not a file on a disk.
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

    def load(self, starts: Mapping[str, int]) -> None:
        """Remember the letters in the file; cut off an incomplete letter at the end of the file.

        Args:
            starts: A line number for each source. A letter is remembered only if ``starts`` has
                its source, and its line has the number of this source or a higher one.

        Raises:
            CannotAppend: The file cannot be read or truncated.
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
        with suppress(ValueError, TypeError, KeyError, RecursionError):  # not a letter to remember
            letter = json.loads(text)
            row = (letter["source"], letter["line"], letter["body"])
            if row[1] >= starts[row[0]]:
                self._known.add(row)

    def append(self, row: Row, error: Exception) -> None:
        """Append the letter of a line and sync the file, unless :meth:`load` has found this letter.

        Raises:
            CannotAppend: The letter cannot be written; the part that was written is cut off again,
                if possible.
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
        with suppress(OSError), Path(self._path).open("rb") as file:  # empty or unreadable
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
        return False

    def _write(self, letter: bytes) -> None:
        while letter:
            letter = letter[os.write(self._fd, letter) :]
        os.fsync(self._fd)

    def _refusal(self, error: OSError) -> CannotAppend:
        return CannotAppend(f"cannot append to dead-letter file {self._path!r}: {error.strerror}")


def _is_whole(letter: bytes) -> bool:
    """Return whether the JSON of a letter is complete; the line end after it may be missing."""
    with suppress(ValueError, RecursionError):
        json.loads(letter)
        return True
    return False


class Retries:
    """A function that returns the pause before a retry: 0.1 s, 0.2 s, 0.4 s and so on, up to 6.4 s.

    Args:
        most: The largest number of retries after the first attempt.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._complaints = Complaints("retries")

    def __call__(self, attempt: int, trouble: str) -> float | None:
        """Return the pause before the next attempt, in seconds, or None if no retry is left.

        If a retry is left, this function also reports the trouble and the pause.

        Args:
            attempt: The number of the attempt that has failed, counted from 1.
            trouble: The message that says why the attempt failed.
        """
        if attempt > self._most:
            return None
        pause = FIRST_PAUSE * 2.0 ** min(attempt - 1, DOUBLINGS)
        self._complaints.complain(f"{trouble}; trying again in {pause:g} s")
        return pause


class FailureHandler:
    """The ``on_failure`` handler that an ingestion gives to its queue.

    Args:
        retries: The largest number of retries of one batch, or of one part of a split batch.
        dead_letter: The file for lines that the sink refuses. None: such a line ends the queue.

    Attributes:
        retry_after: The function that returns the pause before a retry. The table calls this
            function, too, if it cannot open the database.
    """

    def __init__(self, retries: int = 0, dead_letter: DeadLetterFile | None = None) -> None:
        self.retry_after = Retries(retries)
        self._dead_letter = dead_letter
        self._complaints = Complaints("dead letters")

    def __call__(self, failure: Failure[Row]) -> Verdict:
        """Return the verdict for a failure.

        Raises:
            CannotAppend: A refused line could not be appended to the dead-letter file.
        """
        error = failure.error
        if not isinstance(error, Unstored):
            return Fail()
        refused = error.refused if isinstance(error, NotPublished) else is_refusal(error)
        if not (refused and _isolating.get()):
            pause = self.retry_after(failure.attempt, f"cannot write a batch: {error}")
            if pause is not None:
                return Retry(pause)
        if self._dead_letter is None or not refused:
            return Fail()
        if len(failure.items) > 1:
            _isolating.set(True)
            return Split()
        return self._put_aside(self._dead_letter, failure.items[0], error)

    def _put_aside(self, dead_letter: DeadLetterFile, row: Row, error: Exception) -> Drop:
        dead_letter.append(row, error)
        self._complaints.complain(f"refused line {row[1]} of {row[0]!r}: {error}")
        return Drop()
