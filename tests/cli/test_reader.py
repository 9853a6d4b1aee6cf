"""Reading in a thread."""

import asyncio
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flushq.cli import reading
from flushq.cli.reading import CHUNKS, Chunk, Reader, Unreadable
from tests.cli.support import eventually, piped

FD_SETSIZE = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have more descriptors open than select() knows of, so that all others are beyond them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        fd = 0
        while fd < FD_SETSIZE:
            fd = os.dup(0)
            opened.callback(os.close, fd)
        yield


async def all_of(reader: Reader) -> list[str]:
    """The bodies of all lines that are still to be taken, and what else is to be told."""
    found: list[str] = []
    async for piece in reader:
        if isinstance(piece, Unreadable):
            found.append(str(piece))
        else:
            found.extend(row[2] for row in piece.rows)
    return found


async def read(*sources: str | Path) -> list[str]:
    """Read sources to their end."""
    with Reader([str(source) for source in sources]) as reader:
        return await all_of(reader)


def test_in_turn(tmp_path: Path) -> None:
    """Sources are read one after the other, each to its end."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a\nb")
    two.write_text("c\n")

    assert ["a", "b", "c", "a", "b"] == asyncio.run(read(one, two, one))


def test_a_vanished_file(tmp_path: Path) -> None:
    """A source that cannot be read is told of, and the next one is read."""
    there = tmp_path / "there"
    there.write_text("a\n")

    assert ["cannot read 'gone': No such file or directory", "a"] == asyncio.run(
        read("gone", there)
    )


def test_a_named_pipe(tmp_path: Path) -> None:
    """A named pipe is waited for until a writer comes, and read until the last one leaves."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("a\nb\n",))

    async def scenario() -> list[str]:
        with Reader([str(path)]) as reader:
            lines = asyncio.create_task(all_of(reader))
            await asyncio.sleep(0)
            writer.start()
            return await lines

    assert ["a", "b"] == asyncio.run(scenario())
    writer.join()


def test_another_reader_is_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of input that another process takes first nothing is read, and the next is waited for."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    other = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pipe = os.open(path, os.O_WRONLY)
    os.write(pipe, b"a\n")
    os_read = os.read
    taken: list[bytes] = []

    def late_read(fd: int, size: int) -> bytes:
        if taken:
            return os_read(fd, size)
        taken.append(os_read(other, size))
        try:
            return os_read(fd, size)
        finally:
            os.write(pipe, b"b\n")
            os.close(pipe)

    monkeypatch.setattr(os, "read", late_read)

    assert ["b"] == asyncio.run(read(path))
    assert [b"a\n"] == taken
    os.close(other)


@pytest.mark.usefixtures("many_descriptors")
def test_many_descriptors(tmp_path: Path) -> None:
    """A source is read however many other descriptors are open."""
    path = tmp_path / "x"
    path.write_text("a\nb\n")

    assert ["a", "b"] == asyncio.run(read(path))


def test_a_line_is_not_kept_waiting() -> None:
    """A line of a pipe that stays open is handed over as soon as it is written."""

    async def scenario(pipe: int) -> list[str]:
        found: list[str] = []
        with Reader(["-"]) as reader:
            os.write(pipe, b"a\n")
            async for piece in reader:
                assert isinstance(piece, Chunk)
                found.extend(row[2] for row in piece.rows)
                if len(found) == 3:
                    break
                os.write(pipe, b"b\n")
        return found

    with piped() as pipe:
        assert ["a", "b", "b"] == asyncio.run(scenario(pipe))


def test_stop_while_waiting() -> None:
    """Stopping ends the wait for input; what was read is handed over, half a line is not."""

    async def scenario(pipe: int) -> list[str]:
        found: list[str] = []
        with Reader(["-", "never looked at"]) as reader:
            os.write(pipe, b"a\nb\nhal")
            async for piece in reader:
                assert isinstance(piece, Chunk)
                found.extend(row[2] for row in piece.rows)
                reader.stop()
                reader.stop()
        return found

    with piped() as pipe:
        assert ["a", "b"] == asyncio.run(scenario(pipe))


def test_stop_before_the_start(tmp_path: Path) -> None:
    """Who is stopped before the start reads nothing."""
    path = tmp_path / "x"
    path.write_text("a\n")

    async def scenario() -> list[str]:
        reader = Reader([str(path)])
        reader.stop()
        with reader:
            return await all_of(reader)

    assert [] == asyncio.run(scenario())


def test_never_asked() -> None:
    """A reader that nobody takes anything from reads nothing."""

    async def scenario() -> int:
        with Reader(["gone"]) as reader:
            pass
        return reader.untaken

    assert 0 == asyncio.run(scenario())


def test_backpressure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread reads CHUNKS chunks ahead and has one in hand, and waits."""
    path = tmp_path / "x"
    path.write_text("abc\n" * 100)
    monkeypatch.setattr(reading, "BLOCK", 4)
    taken = 0
    blocks: list[int] = []
    os_read = os.read

    def counting_read(fd: int, size: int) -> bytes:
        blocks.append(taken)
        return os_read(fd, size)

    monkeypatch.setattr(os, "read", counting_read)

    def reads_ahead() -> bool:
        return len(blocks) == taken + CHUNKS + 1

    async def scenario() -> int:
        nonlocal taken
        with Reader([str(path)]) as reader:
            async for _ in reader:
                taken += 1
                eventually(reads_ahead)
                if taken == 10:
                    break
        return reader.untaken

    assert CHUNKS + 1 == asyncio.run(scenario())
    assert all(n <= before + CHUNKS + 1 for n, before in enumerate(blocks))


def test_what_nobody_took(tmp_path: Path) -> None:
    """Lines that were read and not taken are counted."""
    path = tmp_path / "x"
    path.write_bytes(b"a\nb\n\xff\n")

    async def scenario() -> int:
        with Reader([str(path), str(path), "gone"]) as reader:
            async for piece in reader:
                assert isinstance(piece, Chunk)
                assert 3 == len(piece)
                break
            eventually(reader._pieces.full)  # noqa: SLF001 - the thread has read it all
        return reader.untaken

    assert 3 == asyncio.run(scenario())


def test_a_read_that_does_not_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that hangs, though input was there, does not hang the exit."""
    returns = threading.Event()
    reads = threading.Event()

    def hanging_read(fd: int, size: int) -> bytes:
        reads.set()
        returns.wait()
        return b""

    monkeypatch.setattr(os, "read", hanging_read)
    monkeypatch.setattr(reading, "GRACE_SECONDS", 0.01)

    async def scenario() -> int:
        with Reader(["-"]) as reader:
            aiter(reader)
            await asyncio.to_thread(reads.wait)
        untaken = reader.untaken
        returns.set()
        reader._thread.join()  # noqa: SLF001 - before the loop is closed
        return untaken

    with piped() as pipe:
        os.write(pipe, b"a\n")
        assert 0 == asyncio.run(scenario())


def test_the_unforeseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the thread that nobody foresaw comes out where lines are taken."""
    path = tmp_path / "x"
    path.write_text("a\n")
    monkeypatch.setattr(reading, "Splitter", lambda source: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(read(path))
