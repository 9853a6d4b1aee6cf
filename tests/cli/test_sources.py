"""Sources of lines."""

import os
from pathlib import Path

import pytest

from flushq.cli import reading as sources
from tests.cli.support import standard_input


def test_a_file(tmp_path: Path) -> None:
    """A file can be read; checking it reads nothing."""
    path = tmp_path / "x"
    path.write_text("abc")
    sources.check_source(str(path))

    with sources.opened(str(path)) as fd:
        assert b"abc" == os.read(fd, 9)


def test_missing(tmp_path: Path) -> None:
    """A missing file cannot be read."""
    with pytest.raises(FileNotFoundError):
        sources.check_source(str(tmp_path / "x"))


def test_a_directory(tmp_path: Path) -> None:
    """A directory cannot be read, under its name or as standard input."""
    with pytest.raises(IsADirectoryError):
        sources.check_source(str(tmp_path))

    fd = os.open(tmp_path, os.O_RDONLY)
    with standard_input(fd), pytest.raises(IsADirectoryError):
        sources.check_source("-")
    os.close(fd)


def test_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe that must not be read is found out without opening it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sources.check_source(str(path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with pytest.raises(PermissionError):
        sources.check_source(str(path))


def test_standard_input(tmp_path: Path) -> None:
    """Standard input is read where it stands, and stays open."""
    path = tmp_path / "x"
    path.write_text("abc")
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 1, os.SEEK_SET)

    with standard_input(fd):
        sources.check_source("-")
        with sources.opened("-") as same:
            assert b"bc" == os.read(same, 9)
        os.fstat(0)
        assert not sources.is_terminal()
    os.close(fd)


def test_names() -> None:
    """A name that is no UTF-8 is shown with escapes, any other as it is."""
    assert "é.log" == sources.shown("é.log")
    assert "\\xff.log" == sources.shown(os.fsdecode(b"\xff.log"))
