"""An ingestion: what runs between the files and the table.

    files -> Reader -> FlushQueue -> Table

Every line that is read becomes one of: stored, duplicate, skipped (for what it is), lost (for
what happened). The end comes when all is read, or a signal or a failure stops the reading; then
the queue drains, and the figures tell what became of the lines.
"""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

import attrs

from flushq import FlushFailed, FlushPolicy, FlushQueue, ShutdownTimeout
from flushq.cli.console import complain, say
from flushq.cli.figures import Figures, shown_live
from flushq.cli.keys import BadLine, JsonField
from flushq.cli.lines import Chunk, Row, Skipped
from flushq.cli.reader import Reader, Unreadable
from flushq.cli.shutdown import Shutdown, current_task
from flushq.cli.table import Table

REPORTED = 10


class Ingestion:
    """One run. The arguments are those of FlushQueue, and where the lines are and go to."""

    def __init__(
        self,
        sources: Sequence[str],
        table: Table,
        policy: FlushPolicy,
        *,
        dedupe_key: JsonField | None = None,
        max_queue_size: int = 10_000,
        max_shutdown_wait: float | None = None,
    ) -> None:
        self._reader = Reader(sources)
        self._table = table
        self._queue = FlushQueue(
            self._write,
            policy,
            dedupe_key=dedupe_key,
            max_queue_size=max_queue_size,
            max_shutdown_wait=max_shutdown_wait,
        )
        self._limit = max_shutdown_wait
        self._started = 0.0
        self._taken = 0
        self._accepted = 0
        self._skipped = 0
        self._unreadable = 0
        self._failed = False
        self._trouble = "stopped early"

    async def run(self) -> int:
        """Do it, print what became of the lines, and return the exit code.

        Raises:
            CannotOpen: The table cannot be opened; nothing was read.
        """
        shutdown = Shutdown(self._stop, self._limit)
        with suppress(asyncio.CancelledError):  # at a second signal, or the limit after the first
            async with self._table:
                await self._ingest()
        if self._failed:
            return 1
        if shutdown.signal is not None:
            return 128 + shutdown.signal
        return 1 if self._skipped or self._unreadable or self._account().lost else 0

    async def _ingest(self) -> None:
        self._started = time.perf_counter()
        try:
            with shown_live(self._figures), self._reader:
                await self._feed()
        except FlushFailed as failure:
            self._failed = True
            self._trouble = f"cannot write to {self._table}: {failure.__cause__}"
            if not isinstance(failure.__cause__, sqlite3.Error):
                raise
        except ShutdownTimeout:
            self._trouble = f"not done {self._limit} s after the last line"
        finally:
            self._report()

    async def _feed(self) -> None:
        """Put all lines into the queue, and let it drain; but not if this is cancelled."""
        async with self._queue:
            try:
                async for piece in self._reader:
                    await self._take(piece)
            except asyncio.CancelledError:
                current_task().cancel()
                raise

    async def _take(self, piece: Chunk | Unreadable) -> None:
        if isinstance(piece, Unreadable):
            self._unreadable += 1
            complain(str(piece))
            return
        self._taken += len(piece)
        for skipped in piece.skipped:
            self._skip(skipped)
        for row in piece.rows:
            try:
                await self._queue.enqueue(row)
            except BadLine as error:
                self._skip(Skipped(row[0], row[1], str(error)))
            else:
                self._accepted += 1

    def _stop(self, number: signal.Signals) -> None:
        self._trouble = f"stopped by {number.name}"
        self._reader.stop()

    def _skip(self, skipped: Skipped) -> None:
        self._skipped += 1
        if self._skipped <= REPORTED:
            complain(str(skipped))

    async def _write(self, rows: list[Row]) -> None:
        """Write a batch; after a failure nothing more can be stored, so nothing more is read."""
        try:
            await self._table.write(rows)
        except BaseException:
            self._reader.stop()
            raise

    # What became of the lines.

    def _report(self) -> None:
        figures = self._account()
        if figures.lost:
            complain(f"{self._trouble}: {figures.lines} lines stored, {figures.lost} not stored")
        say(str(figures))

    def _figures(self) -> Figures:
        """How far it has come."""
        seconds = time.perf_counter() - self._started
        table = self._table
        return Figures(table.stored, seconds, table.batches, self._queue.pending)

    def _account(self) -> Figures:
        """What became of every line, once the end has come."""
        stored = self._table.stored
        left = len(self._queue.undelivered) + len(self._queue.in_doubt)
        duplicates = self._accepted - stored - left
        read = self._taken + self._reader.untaken
        return attrs.evolve(
            self._figures(),
            duplicates=duplicates,
            skipped=self._skipped,
            lost=read - stored - duplicates - self._skipped,
        )
