"""Reading: a thread reads, the loop takes what was read, and memory stays bounded.

Theory of operation. Reading may wait for ever (for a pipe whose writer says nothing), so a thread
does it for which no exit waits. It hands over chunks: the lines that one read brought, as soon as
it brought them. So a line from a slow pipe waits for no other, and those of a fast file cost one
hand-over for thousands. While CHUNKS of them are not taken the thread waits; thus a full queue
makes itself felt at the source.

``stop()`` ends the reading wherever it is, waiting for input included. What was read by then is
still handed over, but for a line whose end has not come: it is not read yet.
"""

import asyncio
import os
import queue
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

import attrs

from flushq.cli.lines import Chunk, Splitter
from flushq.cli.sources import opened, shown

BLOCK = 65_536
CHUNKS = 2
GRACE_SECONDS = 1.0


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
        untaken: After the end, how many lines were read that nobody took.
    """

    def __init__(self, sources: Sequence[str]) -> None:
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

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._bell, self._rope = os.pipe()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and count what was not taken.

        A read that does not return (another process was quicker to take the input) has brought no
        line, and is left alone.
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
            BaseException: What the thread raised unforeseen.
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
                self._split(fd, Splitter(shown(source)))
        except OSError as error:
            self._hand_over(Unreadable(source, error))

    def _split(self, fd: int, splitter: Splitter) -> None:
        for block in self._blocks(fd):
            chunk = splitter.feed(block)
            if chunk:
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
            yield block

    def _hand_over(self, piece: Piece | None) -> None:
        self._pieces.put(piece)
        self._loop.call_soon_threadsafe(self._arrived.set)
