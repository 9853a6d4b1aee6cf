"""Fixtures of the tests of the command line."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flushq.cli import reading
from flushq.cli.table import Table
from tests.cli.support import Writing


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty directory the current one, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> Writing:
    """Return a function that replaces ``Table.write`` by another function."""
    return lambda write: monkeypatch.setattr(Table, "write", write)


@pytest.fixture
def read_lines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make readers read small blocks; the returned list gets the number of lines of each block."""
    counts: list[int] = []
    read = os.read

    def counting(fd: int, size: int) -> bytes:
        block = read(fd, size)
        counts.append(block.count(b"\n"))
        return block

    monkeypatch.setattr(os, "read", counting)
    monkeypatch.setattr(reading, "BLOCK", 100)
    return counts
