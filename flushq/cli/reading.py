"""The reading of files, pipes and terminals as numbered lines.

A source is a file, a named pipe, a terminal, or ``-`` for standard input. First all sources are
checked; then they are opened one after the other, so any number of files can be read. A line ends
with LF, with CRLF, or at the end of its source. In each source, all lines are numbered from 1.

Theory of operation. Reading can block for ever (at a pipe whose writer sends nothing). So a daemon
thread reads: the program can exit while this thread is blocked. The thread hands over chunks. A
chunk has all lines that end in the bytes of one call of ``read``: in a slow pipe, no line waits for
the next line; in a file, a chunk can have many lines. At most CHUNKS chunks wait to be taken.

``stop()`` ends the reading at any time; a line whose end has not arrived is not read.
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
"""A line: the name of its source, its number and its text."""


@attrs.frozen
class Start:
    """The position where the reading of a source starts.

    Attributes:
        line: The number of the first line that is read.
        offset: The number of bytes before that line.
        before: The line that ends at ``offset``; if the file has another line there, seek() fails.
    """

    line: int = 1
    offset: int = 0
    before: bytes = b""

    def seek(self, fd: int) -> None:
        """Move ``fd`` to this position; raise an OSError unless the line ``before`` ends here."""
        length = len(self.before) + (not self.before.endswith(b"\n"))
        if os.pread(fd, length, self.offset - len(self.before)) != self.before:
            raise OSError(errno.ESTALE, "its last stored line has changed")
        os.lseek(fd, self.offset, os.SEEK_SET)


BEGINNING = Start()


def check_source(source: str) -> None:
    """Check that a source can be read, without reading it.

    A named pipe is not opened: its writer would see a reader that connects and disconnects.

    Raises:
        OSError: The source does not exist, is a directory, or cannot be read by this user.
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
        OSError: The source cannot be opened.
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
    """Return how many bytes follow ``start``: inf for a pipe or a terminal, 0 on an OSError."""
    standard = source == STANDARD_INPUT
    try:
        status = os.fstat(_FD) if standard else Path(source).stat()
    except OSError:
        return 0
    if not stat.S_ISREG(status.st_mode):
        return math.inf
    return status.st_size - (os.lseek(_FD, 0, os.SEEK_CUR) if standard else start.offset)


def is_terminal() -> bool:
    """Return whether standard input is a terminal."""
    return os.isatty(_FD)


def shown(source: str) -> str:
    """Return the name of a source as it is stored: bytes that are not UTF-8 are escaped."""
    return os.fsencode(source).decode(errors="backslashreplace")


@attrs.frozen
class Skipped:
    """A line that cannot be stored, and the reason."""

    source: str
    line: int
    reason: str

    def __str__(self) -> str:
        """Return the message for the user."""
        return f"skipped line {self.line} of {self.source!r}: {self.reason}"


@attrs.frozen
class Chunk:
    """The lines whose last byte is in one block; lines that are not UTF-8 are in ``skipped``."""

    rows: Sequence[Row] = ()
    skipped: Sequence[Skipped] = ()

    def __len__(self) -> int:
        """Return the number of lines, including skipped lines."""
        return len(self.rows) + len(self.skipped)


@attrs.define
class Splitter:
    """A splitter that joins the blocks of one source and cuts them into numbered lines."""

    source: str
    _number: int = 1
    _open: list[bytes] = attrs.field(factory=list, init=False)

    def feed(self, block: bytes) -> Chunk:
        """Return the lines that end in the next block; an empty block is the end of the source."""
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
    """A source that could not be read to its end, and the error."""

    source: str
    error: OSError

    def __str__(self) -> str:
        """Return the message for the user."""
        return f"cannot read {self.source!r}: {self.error.strerror}"


Piece = Chunk | Unreadable


class Reader:
    """A reader of several sources, one after the other.

    Inside ``with``, ``async for`` yields chunks. If a source cannot be read to its end, an
    Unreadable follows, and then the next source. Other tasks can run before each step of the loop.

    Attributes:
        starts: The start of each source that is not read from line 1; set this before ``with``.
        untaken: The number of lines that were read but not yielded; known after ``with``.
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
        self._wake_read_fd = -1
        self._wake_write_fd = -1
        self._error: BaseException | None = None
        self._lines_read = 0
        self._bytes_read = 0
        self._bytes_to_read = 0.0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._bytes_to_read = sum(bytes_to_read(name, self._start(name)) for name in self._sources)
        self._wake_read_fd, self._wake_write_fd = os.pipe()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop the reading, and count the lines that were read but not yielded.

        The thread that reads stays blocked if another process has read the input first. Such a
        thread has no lines, so it is abandoned.
        """
        self.stop()
        with suppress(queue.Empty):
            while self._reading:
                piece = self._pieces.get(timeout=GRACE_SECONDS)
                self._reading = piece is not None
                self.untaken += len(piece) if isinstance(piece, Chunk) else 0
        if self._thread.ident is not None:
            self._thread.join(GRACE_SECONDS)
        os.close(self._wake_read_fd)
        os.close(self._wake_write_fd)
        self._wake_write_fd = -1

    def share(self, lines: int) -> float | None:
        """Return the estimated share of the input, 0 to 1, that the first ``lines`` lines contain.

        The estimate uses the mean length of the lines that were read. The result is None if no line
        was read yet, if the input was empty at the start, or if a source is not a file.
        """
        if not self._lines_read or not 0 < self._bytes_to_read < math.inf:
            return None
        return min(1.0, lines / self._lines_read * self._bytes_read / self._bytes_to_read)

    def _start(self, source: str) -> Start:
        return self.starts.get(source, BEGINNING)

    def stop(self) -> None:
        """Stop the reading. This may be called at any time, even before ``with``, or twice."""
        self._stopped = True
        if self._wake_write_fd != -1:
            os.write(self._wake_write_fd, b"!")

    # These methods run in the event loop.

    def __aiter__(self) -> Self:
        self._reading = True
        self._thread.start()
        return self

    async def __anext__(self) -> Piece:
        """Wait for the next piece and return it.

        Raises:
            StopAsyncIteration: All sources are read, or the reader was stopped.
            BaseException: An unexpected error that the thread has raised.
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

    # These methods run in the thread.

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
        """Yield blocks of bytes, then an empty block at the end; return early after ``stop()``."""
        waiting = select.poll()
        for awaited in (fd, self._wake_read_fd):
            waiting.register(awaited, select.POLLIN)
        while self._wake_read_fd not in dict(waiting.poll()):
            try:
                block = os.read(fd, BLOCK)
            except BlockingIOError:  # another process has taken the input first
                continue
            self._bytes_read += len(block)
            yield block

    def _hand_over(self, piece: Piece | None) -> None:
        self._pieces.put(piece)
        self._loop.call_soon_threadsafe(self._arrived.set)
