"""Fixtures for the tests of an ingestion."""

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
    """An empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def handlers() -> Iterator[None]:
    """Leave the handlers of the signals as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> Writing:
    """Write batches with another function than `Table.write`."""
    return lambda write: monkeypatch.setattr(Table, "write", write)


@pytest.fixture
def read_lines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have lines read in small blocks; the list gets how many each block brings."""
    counts: list[int] = []
    read = os.read

    def counting(fd: int, size: int) -> bytes:
        block = read(fd, size)
        counts.append(block.count(b"\n"))
        return block

    monkeypatch.setattr(os, "read", counting)
    monkeypatch.setattr(reading, "BLOCK", 100)
    return counts
