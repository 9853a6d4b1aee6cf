"""A program that kills ingestions at every moment, and resumes them.

    python -m tests.cli.killing STEP ARGUMENT...

The arguments are those of ``ingest``. A moment is the time just before or after a call by which the
ingestion reads, writes or syncs. An ingestion runs in a forked process, which kills itself at a
moment with SIGKILL. The first ingestion is killed at moment 1; then, in another copy of the current
directory, at moment 1 + STEP; and so on. In each copy a second ingestion, with ``--resume``, is
killed at a random moment, unless it ends before, and a third one runs to its end. For each copy the
program prints a line of JSON: how many lines were stored after the first kill, and which lines and
dead letters there are at the end.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flushq.cli import main, reading
from tests.cli.support import bodies, letters, stored

LETTERS = Path("dead.jsonl")

_read, _write, _fsync, _connect = os.read, os.write, os.fsync, sqlite3.connect


class Killed:
    """A counter of moments that kills this process at the last of so many moments."""

    def __init__(self, moments: int) -> None:
        self._left = iter(range(moments - 1))

    def moment(self) -> None:
        """Count a moment; kill this process if it is the last one."""
        if next(self._left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Any, *arguments: Any) -> Any:
        """Count a moment, call a function, and count another moment."""
        self.moment()
        result = call(*arguments)
        self.moment()
        return result

    def halving_write(self, fd: int, data: bytes) -> int:
        """Write only the first half of the data."""
        written: int = self.around(_write, fd, data[: (len(data) + 1) // 2])
        return written

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Connect to a database; count moments around each ``execute`` and ``commit``."""
        around = self.around

        class Connection(sqlite3.Connection):
            def execute(self, *statement: Any) -> sqlite3.Cursor:
                cursor: sqlite3.Cursor = around(super().execute, *statement)
                return cursor

            def executemany(self, *statement: Any) -> sqlite3.Cursor:
                cursor: sqlite3.Cursor = around(super().executemany, *statement)
                return cursor

            def commit(self) -> None:
                around(super().commit)

        return _connect(*arguments, factory=Connection, **options)


def ingest(arguments: list[str], moments: int) -> bool:
    """Ingest in a forked process; return whether the process was killed at the last moment."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    killed = Killed(moments)
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "read", partial(killed.around, _read))
    patch.setattr(os, "fsync", partial(killed.around, _fsync))
    patch.setattr(os, "write", killed.halving_write)
    patch.setattr(sqlite3, "connect", killed.connect)
    patch.setattr(reading, "BLOCK", 8)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        main(["ingest", *arguments])
    finally:
        os._exit(0)


def results(step: int, arguments: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the results for each first moment, until an ingestion ends without a kill."""
    home = Path.cwd()
    for moment in count(1, step):
        copy = home.with_name(f"{home.name}-{moment}")
        shutil.copytree(home, copy)
        os.chdir(copy)
        if not ingest(arguments, moment):
            return
        first = len(bodies())
        ingest([*arguments, "--resume"], random.Random(moment).randint(1, 2 * moment))
        ingest([*arguments, "--resume"], sys.maxsize)
        yield {"first": first, "stored": stored(), "letters": letters(LETTERS)}


if __name__ == "__main__":
    for result in results(int(sys.argv[1]), sys.argv[2:]):
        print(json.dumps(result))  # noqa: T201 - the test reads it
