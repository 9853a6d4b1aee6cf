"""The dead-letter file: lines that the table refuses, one JSON object a line.

What the file holds is whole and on the disk: a letter that cannot be written to its end is taken
back.
"""

import json
import os
from contextlib import suppress
from typing import Self

from flushq.cli.lines import Row

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o666


class CannotAppend(Exception):
    """The file cannot be written to, or its content not be brought to the disk."""


class DeadLetter:
    """A file that letters are appended to; ``with`` opens it, and makes it if it is not there."""

    _fd = -1

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            CannotAppend: It is read-only, a directory, or no file on a disk.
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
