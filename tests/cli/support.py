"""What the tests of the command line share: calling it, feeding it, looking at what it stored."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from flushq.cli import main

PATIENCE = 30.0

Stored = tuple[str, int, str]


def ingest(*arguments: str | Path) -> Result:
    """Call ``ingest`` in this process."""
    return CliRunner().invoke(main, ["ingest", *map(str, arguments)], catch_exceptions=False)


def stored(database: Path, table: str = "events") -> list[Stored]:
    """The source, line and body of all that is stored, in order."""
    quoted = table.replace('"', '""')
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(
            f'SELECT source, line, body FROM "{quoted}" ORDER BY id'
        ).fetchall()


def count(database: Path) -> int:
    """How many lines are stored; none while there is no table."""
    try:
        return len(stored(database))
    except sqlite3.OperationalError:
        return 0


def eventually(happened: Callable[[], bool]) -> None:
    """Wait for what must happen, and fail if it does not."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def standard_input(fd: int) -> Iterator[None]:
    """Make a file descriptor the standard input of this process."""
    kept = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@contextmanager
def piped() -> Iterator[int]:
    """Make a pipe the standard input; yields the end to write to."""
    reading, writing = os.pipe()
    with standard_input(reading):
        os.close(reading)
        try:
            yield writing
        finally:
            os.close(writing)
