"""The dead-letter file."""

import os
from pathlib import Path

import pytest

from flushq.cli.failures import CannotAppend, DeadLetter
from tests.cli.support import letters

REFUSED = ValueError("too bad")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "dead.jsonl"


def test_letters(path: Path) -> None:
    """A letter tells source, line, body and error, whatever they hold, in one line."""
    rows = [("x", 1, "a"), ('"\\', 2, "é\u2028\0\r"), ("", 10**15, "")]

    with DeadLetter(str(path)) as dead_letter:
        for row in rows:
            dead_letter.append(row, REFUSED)

    assert [(*row, "too bad") for row in rows] == letters(path)
    assert 3 == path.read_bytes().count(b"\n")
    assert path.read_bytes().isascii()


def test_appended(path: Path) -> None:
    """What a file holds stays; a file that is not there is made."""
    for number in (1, 2):
        with DeadLetter(str(path)) as dead_letter:
            dead_letter.append(("x", number, ""), REFUSED)

    assert [("x", 1, "", "too bad"), ("x", 2, "", "too bad")] == letters(path)


def test_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter is on the disk, whole, when it has been appended."""
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(path.read_bytes()))

    with DeadLetter(str(path)) as dead_letter:
        dead_letter.append(("x", 1, ""), REFUSED)

        assert [b"", path.read_bytes()] == synced


def test_written_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that the system takes in pieces is written to its end."""
    write = os.write

    with DeadLetter(str(path)) as dead_letter:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        dead_letter.append(("x", 1, "a" * 100), REFUSED)
        monkeypatch.undo()

    assert [("x", 1, "a" * 100, "too bad")] == letters(path)


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """A letter that cannot be written to its end, or not be synced, is taken back."""
    write = os.write

    def full(fd: int, data: bytes = b"") -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) // 2])

    with DeadLetter(str(path)) as dead_letter:
        dead_letter.append(("x", 1, ""), REFUSED)
        monkeypatch.setattr(os, broken, full)
        with pytest.raises(CannotAppend) as refused:
            dead_letter.append(("x", 2, ""), REFUSED)
        monkeypatch.undo()

    assert f"cannot append to {str(path)!r}: No space left on device" == str(refused.value)
    assert [("x", 1, "", "too bad")] == letters(path)


def test_not_even_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it cannot be taken back either, what is told is why it could not be written."""

    def broken(*arguments: object) -> int:
        raise OSError(5, "Input/output error")

    with DeadLetter(str(path)) as dead_letter:
        monkeypatch.setattr(os, "write", broken)
        monkeypatch.setattr(os, "ftruncate", broken)
        with pytest.raises(CannotAppend, match="Input/output error"):
            dead_letter.append(("x", 1, ""), REFUSED)
        monkeypatch.undo()


def descriptors() -> set[str]:
    """The file descriptors that are open."""
    return {entry.name for entry in Path("/dev/fd").iterdir()}


@pytest.mark.parametrize("read", [False, True])
def test_a_pipe(path: Path, *, read: bool) -> None:
    """A named pipe cannot be synced, so it is none; nobody waits for its reader."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if read else -1
    before = descriptors()

    with pytest.raises(CannotAppend, match=r"^cannot append to '.*dead\.jsonl': "):
        DeadLetter(str(path)).__enter__()

    assert before == descriptors()
    if read:
        os.close(reader)


def test_closed(path: Path) -> None:
    """At its end the file is closed."""
    before = descriptors()

    with DeadLetter(str(path)):
        assert len(before) + 1 == len(descriptors())

    assert before == descriptors()
