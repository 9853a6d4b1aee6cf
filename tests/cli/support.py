"""Helpers of the tests of the command line: call it, give it input, read what it stored."""

import io
import json
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from flushq.cli import main
from flushq.cli.reading import Row
from flushq.cli.table import Table

PATIENCE = 30.0
DATABASE = Path("events.db")
COLUMNS = "id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT"

Stored = tuple[str, int, str]
Write = Callable[[Table, list[Row]], Awaitable[None]]
Writing = Callable[[Write], None]


def ingest(*arguments: str | Path) -> Result:
    """Call ``ingest`` in this process."""
    return CliRunner().invoke(main, ["ingest", *map(str, arguments)], catch_exceptions=False)


def stored(database: Path = DATABASE, table: str = "events") -> list[Stored]:
    """Return the source, line and body of each stored line, in order."""
    quoted = table.replace('"', '""')
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(
            f'SELECT source, line, body FROM "{quoted}" ORDER BY id'
        ).fetchall()


def bodies(database: Path = DATABASE) -> list[str]:
    """Return the bodies of the stored lines, in order; an empty list while there is no table."""
    try:
        return [body for _, _, body in stored(database)]
    except sqlite3.OperationalError:
        return []


def numbered(name: str, lines: int) -> Path:
    """Make a file of so many lines, numbered from 1, and return its path."""
    path = Path(name)
    path.write_text("".join(f"{number}\n" for number in range(1, lines + 1)))
    return path


def letters(path: Path) -> list[tuple[str, int, str, str]]:
    """Return the source, line, body and error of each letter in a dead-letter file."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(["source", "line", "body", "error"] == list(letter) for letter in found)
    return [tuple(letter.values()) for letter in found]


def figures(result: Result) -> dict[str, float]:
    """Return the figures of the summary, which must be the only line of standard output."""
    assert 1 == result.stdout.count("\n")
    numbers, _, _ = result.stdout.rstrip("\n").partition(" (")
    pairs = (figure.rpartition(" ") for figure in numbers.split(", "))
    return {name: float(number) for name, _, number in pairs}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def flushes(result: Result) -> str:
    """Return the flushes by reason, as the summary shows them."""
    return result.stdout.rstrip("\n").partition("flushes ")[2]


def complaints(result: Result) -> list[str]:
    """Return the lines of standard error."""
    return result.stderr.splitlines()


def assert_accounted(result: Result, read: list[int]) -> None:
    """Assert that each line that was read is counted in exactly one figure of the summary."""
    found = figures(result)
    assert found["lines"] == len(stored())
    fates = ("lines", "duplicates", "ignored", "skipped", "dead letters", "not stored")
    assert sum(read) == sum(found.get(fate, 0) for fate in fates)
    if "not stored" in found:
        lines = "line" if found["lines"] == 1 else "lines"
        told = f": {found['lines']:,.0f} {lines} stored, {found['not stored']:,.0f} not stored"
        assert complaints(result)[-1].endswith(told)


def eventually(happened: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail after ``PATIENCE`` seconds."""
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
    """Make a pipe the standard input; yield the end to which the test writes."""
    reading, writing = os.pipe()
    with standard_input(reading):
        os.close(reading)
        try:
            yield writing
        finally:
            os.close(writing)
