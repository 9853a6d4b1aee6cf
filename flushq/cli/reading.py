"""Reading: from files, pipes and terminals to numbered lines.

A source is a file, a named pipe, a terminal, or ``-``, the standard input. It is opened when its
turn comes, so that any number of files can be read; that it can be opened is checked beforehand. A
line ends with LF, CRLF, or the source. Each counts, an empty one too, from 1 in each source.

Theory of operation. Reading may wait for ever (for a pipe whose writer says nothing), so a thread
reads, and no exit waits for that thread. It hands over chunks: the lines that one read brought, as
soon as it brought them. So a line from a slow pipe waits for no other line, and those of a fast
file cost one hand-over for thousands. While CHUNKS of them are not taken the thread waits.

``stop()`` ends the reading wherever it is; a line whose end has not come is not read yet.
"""

import asyncio
import errno
import math
import os
import queue
import select
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import Self

import attrs

STANDARD_INPUT = "-"
BLOCK = 65_536
CHUNKS = 2
GRACE_SECONDS = 1.0
_FD = 0

Row = tuple[str, int, str]
"""The source, the number and the text of a line."""


@attrs.frozen
class Start:
    """Where the reading of a source begins.

    Attributes:
        line: The number of the first line that is read.
        offset: How many bytes of the file come before it.
        before: The last of these bytes, by which the file is known.
    """

    line: int = 1
    offset: int = 0
    before: bytes = b""

    def seek(self, fd: int) -> None:
        """Go there, or raise an OSError: it is another file, or the line before it has grown."""
        length = len(self.before) + (not self.before.endswith(b"\n"))
        if os.pread(fd, length, self.offset - len(self.before)) != self.before:
            raise OSError(errno.ESTALE, "it has changed where it is resumed")
        os.lseek(fd, self.offset, os.SEEK_SET)


BEGINNING = Start()


def check_source(source: str) -> None:
    """Make sure that a source can be read, and read nothing.

    A named pipe is not opened: its writer would take that for a reader that came and went.

    Raises:
        OSError: It is missing, a directory, or must not be read.
    """
    mode = (os.fstat(_FD) if source == STANDARD_INPUT else Path(source).stat()).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if source == STANDARD_INPUT:
        return
    if not stat.S_ISFIFO(mode):
        with opened(source):
            return
    if not os.access(source, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def opened(source: str) -> Iterator[int]:
    """Open a source and yield its file descriptor; a named pipe need not have a writer yet.

    Raises:
        OSError: It cannot be opened.
    """
    if source == STANDARD_INPUT:
        yield _FD
        return
    fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def bytes_to_read(source: str, start: Start) -> float:
    """How many bytes are in a file from a start on; inf for what is not a file."""
    standard = source == STANDARD_INPUT
    try:
        status = os.fstat(_FD) if standard else Path(source).stat()
    except OSError:
        return 0
    if not stat.S_ISREG(status.st_mode):
        return math.inf
    return status.st_size - (os.lseek(_FD, 0, os.SEEK_CUR) if standard else start.offset)


def is_terminal() -> bool:
    """Whether standard input is a terminal."""
    return os.isatty(_FD)


def shown(source: str) -> str:
    """The name of a source as text that can be stored: bytes that are not UTF-8 are escaped."""
    return os.fsencode(source).decode(errors="backslashreplace")


@attrs.frozen
class Skipped:
    """A line that cannot be stored, and why."""

    source: str
    line: int
    reason: str

    def __str__(self) -> str:
        """What to tell the user."""
        return f"skipped line {self.line} of {self.source!r}: {self.reason}"


@attrs.frozen
class Chunk:
    """Lines that one read brought: source, number and text of each; and those that are not text."""

    rows: Sequence[Row] = ()
    skipped: Sequence[Skipped] = ()

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self.rows) + len(self.skipped)


@attrs.define
class Splitter:
    """Cuts the blocks of bytes of one source into lines, and numbers them."""

    source: str
    _number: int = 1
    _open: list[bytes] = attrs.field(factory=list, init=False)

    def feed(self, block: bytes) -> Chunk:
        """Take the next block, an empty one at the end; return the lines that end in it."""
        cut = block.rfind(b"\n") + 1
        if block and not cut:
            self._open.append(block)
            return Chunk()
        lines = b"".join([*self._open, block[:cut]])
        self._open = [block[cut:]]
        return self._chunk(lines.replace(b"\r\n", b"\n")) if lines else Chunk()

    def _chunk(self, lines: bytes) -> Chunk:
        lines = lines.removesuffix(b"\n")
        try:
            bodies = lines.decode().split("\n")
        except UnicodeDecodeError:
            return self._sift(lines.split(b"\n"))
        rows = list(zip(repeat(self.source), count(self._number), bodies, strict=False))
        self._number += len(rows)
        return Chunk(rows)

    def _sift(self, lines: list[bytes]) -> Chunk:
        rows, skipped = [], []
        for number, line in enumerate(lines, self._number):
            try:
                rows.append((self.source, number, line.decode()))
            except UnicodeDecodeError as error:
                skipped.append(Skipped(self.source, number, f"not UTF-8: {error}"))
        self._number += len(lines)
        return Chunk(rows, skipped)


@attrs.frozen
class Unreadable:
    """A source that could not be read to its end, and why."""

    source: str
    error: OSError

    def __str__(self) -> str:
        """What to tell the user."""
        return f"cannot read {self.source!r}: {self.error.strerror}"


Piece = Chunk | Unreadable


class Reader:
    """Reads sources one after the other.

    Inside ``with``, ``async for`` takes what was read; the loop runs at least once for each piece.
    After a source that cannot be read, or no further, comes the next one.

    Attributes:
        starts: Where those sources begin that begin behind their first line; set before ``with``.
        untaken: After the end, how many lines were read and not taken.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.starts: Mapping[str, Start] = {}
        self.untaken = 0
        self._sources = sources
        self._pieces: queue.Queue[Piece | None] = queue.Queue(CHUNKS)
        self._arrived = asyncio.Event()
        self._thread = threading.Thread(target=self._read_all, name="flushq reader", daemon=True)
        self._reading = False
        self._stopped = False
        self._bell = -1
        self._rope = -1
        self._error: BaseException | None = None
        self._lines_read = 0
        self._bytes_read = 0
        self._bytes_to_read = 0.0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._bytes_to_read = sum(bytes_to_read(name, self._start(name)) for name in self._sources)
        self._bell, self._rope = os.pipe()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and count what was not taken.

        A read that does not return (another process was quicker to take the input) has brought no
        line, and is not waited for.
        """
        self.stop()
        with suppress(queue.Empty):
            while self._reading:
                piece = self._pieces.get(timeout=GRACE_SECONDS)
                self._reading = piece is not None
                self.untaken += len(piece) if isinstance(piece, Chunk) else 0
        if self._thread.ident is not None:
            self._thread.join(GRACE_SECONDS)
        os.close(self._bell)
        os.close(self._rope)
        self._rope = -1

    def share(self, lines: int) -> float | None:
        """Which share of all sources so many lines are, of those that were read, from 0 to 1.

        All lines are taken to be of the same length on average. None: no line was read, or some
        source is not a file.
        """
        if not self._lines_read or not 0 < self._bytes_to_read < math.inf:
            return None
        return min(1.0, lines / self._lines_read * self._bytes_read / self._bytes_to_read)

    def _start(self, source: str) -> Start:
        return self.starts.get(source, BEGINNING)

    def stop(self) -> None:
        """Read no more. It may be called at any time, before the start too, and again."""
        self._stopped = True
        if self._rope != -1:
            os.write(self._rope, b"!")

    # In the loop.

    def __aiter__(self) -> Self:
        self._reading = True
        self._thread.start()
        return self

    async def __anext__(self) -> Piece:
        """Wait for a piece.

        Raises:
            StopAsyncIteration: All sources are read, or it was stopped.
            BaseException: The thread raised it, which was not foreseen.
        """
        await asyncio.sleep(0)
        piece = await self._next()
        if piece is not None:
            return piece
        self._reading = False
        raise self._error or StopAsyncIteration

    async def _next(self) -> Piece | None:
        while True:
            self._arrived.clear()
            try:
                return self._pieces.get_nowait()
            except queue.Empty:
                await self._arrived.wait()

    # In the thread.

    def _read_all(self) -> None:
        try:
            for source in self._sources:
                if self._stopped:
                    break
                self._read(source)
        except BaseException as error:
            self._error = error
        finally:
            self._hand_over(None)

    def _read(self, source: str) -> None:
        try:
            with opened(source) as fd:
                start = self._start(source)
                if start.offset:
                    start.seek(fd)
                self._split(fd, Splitter(shown(source), start.line))
        except OSError as error:
            self._hand_over(Unreadable(source, error))

    def _split(self, fd: int, splitter: Splitter) -> None:
        for block in self._blocks(fd):
            chunk = splitter.feed(block)
            if chunk:
                self._lines_read += len(chunk)
                self._hand_over(chunk)
            if not block:
                return

    def _blocks(self, fd: int) -> Iterator[bytes]:
        """Wait for blocks of input, until it is stopped; at the end of the input they are empty."""
        waiting = select.poll()
        for awaited in (fd, self._bell):
            waiting.register(awaited, select.POLLIN)
        while self._bell not in dict(waiting.poll()):
            try:
                block = os.read(fd, BLOCK)
            except BlockingIOError:  # another process was quicker to take the input
                continue
            self._bytes_read += len(block)
            yield block

    def _hand_over(self, piece: Piece | None) -> None:
        self._pieces.put(piece)
        self._loop.call_soon_threadsafe(self._arrived.set)
