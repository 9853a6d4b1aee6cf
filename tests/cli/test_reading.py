"""Reading: sources, lines, and the thread that reads."""

import asyncio
import os
import resource
import threading
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.cli import reading
from flushq.cli.reading import (
    BEGINNING,
    CHUNKS,
    Chunk,
    Reader,
    Skipped,
    Splitter,
    Start,
    Unreadable,
    check_source,
    is_terminal,
    opened,
    shown,
)
from tests.cli.support import eventually, piped, standard_input

PIECES = st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "é".encode(), b"\xc3", b"\xff", b"\0"])
FD_SETSIZE = 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a file of two lines, and return its path."""
    path = tmp_path / "x"
    path.write_text("a\nb\n")
    return path


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Make a named pipe, and return its path."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


# Sources.


def test_a_source_that_cannot_be_read_is_found_beforehand(
    tmp_path: Path, path: Path, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing source, a directory, or an unreadable pipe is refused, and no pipe is opened."""
    for good in (path, pipe):
        check_source(str(good))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for bad, error in (
        (tmp_path / "gone", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        (pipe, PermissionError),
    ):
        with pytest.raises(error):
            check_source(str(bad))
    fd = os.open(tmp_path, os.O_RDONLY)
    with standard_input(fd), pytest.raises(IsADirectoryError):
        check_source("-")
    os.close(fd)


def test_standard_input_is_read_where_it_stands_and_stays_open(path: Path) -> None:
    """Standard input is read from its current position, and is not closed."""
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 1, os.SEEK_SET)
    with standard_input(fd):
        check_source("-")
        with opened("-") as same:
            assert b"\nb\n" == os.read(same, 9)
        os.fstat(0)
        assert not is_terminal()
    os.close(fd)


def test_a_name_that_is_not_utf_8_is_shown_with_escapes() -> None:
    """A name that is UTF-8 is shown unchanged; other bytes are shown as escapes."""
    assert "é.log" == shown("é.log")
    assert "\\xff.log" == shown(os.fsdecode(b"\xff.log"))


# Lines.


def split(*blocks: bytes) -> list[Chunk]:
    """Return the chunks that result from each block, and from the end of the source."""
    splitter = Splitter("x")
    return [splitter.feed(block) for block in (*blocks, b"")]


def bodies(chunk: Chunk) -> list[str]:
    """Return the texts of the lines in a chunk."""
    return [body for _, _, body in chunk.rows]


def test_a_line_comes_as_soon_as_it_ends() -> None:
    """LF, CRLF or the end of the source ends a line; a CR elsewhere is part of the line."""
    chunks = split(b"a\nb\r\nc", b"d\r", b"\n\n\re")
    assert [["a", "b"], [], ["cd", ""], ["\re"]] == list(map(bodies, chunks))


def test_a_line_that_is_not_utf_8_is_skipped() -> None:
    """The message shows the position of the bad byte; the lines around the bad line are kept."""
    chunk = split(b"good\ncaf\xe9 x\nfine\n")[0]
    assert ([("x", 1, "good"), ("x", 3, "fine")], 3) == (chunk.rows, len(chunk))
    [skipped] = chunk.skipped
    assert (
        "skipped line 2 of 'x': not UTF-8: "
        "'utf-8' codec can't decode byte 0xe9 in position 3: invalid continuation byte"
    ) == str(skipped)


@given(st.lists(PIECES).map(b"".join), st.sets(st.integers(0, 40)))
def test_lines_do_not_depend_on_the_blocks(text: bytes, cuts: set[int]) -> None:
    """For any division into blocks, the lines and their numbers are those of a naive split."""
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    naive = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    naive[-1] = text.rpartition(b"\n")[2]
    expected = [line.decode(errors="ignore") for line in naive[: len(naive) - (not naive[-1])]]

    found: dict[int, str | Skipped] = {}
    for chunk in split(*(text[start:end] for start, end in pairwise(edges))):
        found |= {number: body for _, number, body in chunk.rows}
        found |= {skipped.line: skipped for skipped in chunk.skipped}

    assert {*range(1, len(expected) + 1)} == found.keys()
    for number, line in found.items():
        assert isinstance(line, Skipped) or expected[number - 1] == line


# The reader.


async def all_of(reader: Reader) -> list[str]:
    """Return the bodies of all lines that are left, and the errors of unreadable sources."""
    found: list[str] = []
    async for piece in reader:
        found += [str(piece)] if isinstance(piece, Unreadable) else bodies(piece)
    return found


async def read(*sources: str | Path) -> list[str]:
    """Read sources to their end, and return their lines and errors."""
    with Reader([str(source) for source in sources]) as reader:
        return await all_of(reader)


def test_sources_are_read_one_after_the_other(path: Path) -> None:
    """A source that cannot be read is reported, and the next one is read."""
    gone = "cannot read 'gone': No such file or directory"
    assert ["a", "b", gone, "a", "b"] == asyncio.run(read(path, "gone", path))


def test_a_named_pipe_is_read_until_its_last_writer_leaves(pipe: Path) -> None:
    """The reader waits until a writer opens the pipe, and reads until no writer is left."""
    writer = threading.Thread(target=pipe.write_text, args=("a\nb\n",))

    async def scenario() -> list[str]:
        with Reader([str(pipe)]) as reader:
            lines = asyncio.create_task(all_of(reader))
            await asyncio.sleep(0)
            writer.start()
            return await lines

    assert ["a", "b"] == asyncio.run(scenario())
    writer.join()


def test_another_process_may_take_the_input(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process takes the input, the reader waits for the next input."""
    other = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"a\n")
    os_read = os.read
    taken: list[bytes] = []

    def late_read(fd: int, size: int) -> bytes:
        if taken:
            return os_read(fd, size)
        taken.append(os_read(other, size))
        try:
            return os_read(fd, size)
        finally:
            os.write(writer, b"b\n")
            os.close(writer)

    monkeypatch.setattr(os, "read", late_read)

    assert ["b"] == asyncio.run(read(pipe))
    assert [b"a\n"] == taken
    os.close(other)


def test_a_source_is_read_however_many_descriptors_are_open(path: Path) -> None:
    """A descriptor above FD_SETSIZE can be read, which ``select()`` does not support."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        fd = 0
        while fd < FD_SETSIZE:
            fd = os.dup(0)
            stack.callback(os.close, fd)
        assert ["a", "b"] == asyncio.run(read(path))


def test_a_line_of_an_open_pipe_is_handed_over_at_once() -> None:
    """A line arrives although the pipe stays open; a stop does not wait for the next line end."""

    async def scenario(pipe: int) -> list[str]:
        found: list[str] = []
        os.write(pipe, b"1\n")
        with Reader(["-", "never looked at"]) as reader:
            async for piece in reader:
                assert isinstance(piece, Chunk)
                found += bodies(piece)
                if len(found) == 1:
                    os.write(pipe, b"2\n3\nunfinished")
                else:
                    reader.stop()
                    reader.stop()
        return found

    with piped() as pipe:
        assert ["1", "2", "3"] == asyncio.run(scenario(pipe))


@pytest.mark.parametrize("asked", [True, False])
def test_nothing_is_read_after_a_stop_before_the_start(path: Path, *, asked: bool) -> None:
    """A reader that is stopped before its start reads nothing, whether it is iterated or not."""

    async def scenario() -> tuple[list[str], int]:
        reader = Reader([str(path)])
        reader.stop()
        with reader:
            found = await all_of(reader) if asked else []
        return found, reader.untaken

    assert ([], 0) == asyncio.run(scenario())


def test_the_thread_reads_few_chunks_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread reads at most CHUNKS + 1 chunks ahead; ``untaken`` counts their lines."""
    path = tmp_path / "long"
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


def test_lines_that_were_not_taken_are_counted(path: Path) -> None:
    """Bad lines count as untaken lines, too; a source that could not be read does not."""
    path.write_bytes(b"a\nb\n\xff\n")

    async def scenario() -> int:
        with Reader([str(path), str(path), "gone"]) as reader:
            assert 3 == len(await anext(aiter(reader)))  # type: ignore[arg-type]  # a chunk
            eventually(reader._pieces.full)  # noqa: SLF001 - the thread has read it all
        return reader.untaken

    assert 3 == asyncio.run(scenario())


def test_a_read_that_hangs_does_not_hang_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a read does not return, the exit waits only GRACE_SECONDS for the thread."""
    returns, reads = threading.Event(), threading.Event()

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


def test_an_unforeseen_error_comes_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error in the thread is raised where the lines are taken."""
    monkeypatch.setattr(reading, "Splitter", lambda source, line: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(read(path))


# The share that is read.


async def share(*sources: str | Path, start: Start = BEGINNING) -> list[float | None]:
    """Return the share of the input that one line is, before the first read and at the end."""
    reader = Reader([str(source) for source in sources])
    reader.starts = {str(sources[0]): start}
    with reader:
        before = reader.share(1)
        await all_of(reader)
        return [before, reader.share(1)]


def test_it_is_known_which_share_of_files_some_lines_are(path: Path) -> None:
    """The text before a start does not count; a missing file counts as empty."""
    assert [None, 1 / 4] == asyncio.run(share(path, path))
    assert [None, 1] == asyncio.run(share(path, "gone", start=Start(2, 2, b"a\n")))


def test_it_is_not_known_which_share_of_a_pipe_some_lines_are(path: Path, tmp_path: Path) -> None:
    """The share is unknown if any source is a pipe, or if there is nothing to read."""
    empty = tmp_path / "empty"
    empty.touch()
    reading, writing = os.pipe()
    os.close(writing)
    with standard_input(reading):
        assert [None, None] == asyncio.run(share(path, "-"))
    os.close(reading)
    assert [None, None] == asyncio.run(share(empty))


def test_standard_input_may_be_a_file_that_is_half_read_and_grows(path: Path) -> None:
    """Lines that come later do not count, and the share never exceeds 1."""
    path.write_text("before\n1\n2\n3\n4\n")
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    start = os.lseek(fd, len("before\n"), os.SEEK_SET)

    async def scenario() -> list[float | None]:
        with Reader(["-"]) as reader:
            os.write(fd, b"5\n")
            os.lseek(fd, start, os.SEEK_SET)
            await all_of(reader)
            return [reader.share(lines) for lines in (1, 2, 5)]

    with standard_input(fd):
        assert [1 / 4, 1 / 2, 1] == asyncio.run(scenario())
    os.close(fd)
