"""An ingestion: what runs between the files and the table.

    files -> Reader -> FlushQueue -> Table

Every line that is read becomes one of: stored, duplicate, ignored (by the table, without a word),
skipped (for what it is), dead letter (for what the table says of it), lost (for what happened). The
end comes when all is read, or a signal or a failure stops the reading; then the queue drains, and
the figures tell what became of the lines.
"""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

import attrs

from flushq import (
    FlushFailed,
    FlushPolicy,
    FlushQueue,
    FlushReport,
    PolicyError,
    ShutdownTimeout,
)
from flushq.cli.console import Complaints, complain, say
from flushq.cli.dead_letter import CannotAppend
from flushq.cli.failures import FailureHandler
from flushq.cli.figures import Figures, shown_live
from flushq.cli.keys import BadLine, JsonField
from flushq.cli.lines import Chunk, Skipped
from flushq.cli.policy_text import leaving
from flushq.cli.reader import Reader, Unreadable
from flushq.cli.shutdown import Shutdown, current_task
from flushq.cli.table import Table


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
        on_failure: FailureHandler | None = None,
    ) -> None:
        self._reader = Reader(sources)
        self._table = table
        self._queue = FlushQueue(
            table.write,
            policy,
            dedupe_key=dedupe_key,
            max_queue_size=max_queue_size,
            max_shutdown_wait=max_shutdown_wait,
            on_failure=on_failure,
            on_report=self._look,
        )
        self._stats = self._queue.stats()
        self._limit = max_shutdown_wait
        self._started = 0.0
        self._taken = 0
        self._skipped = Complaints("skipped lines")
        self._unreadable = 0
        self._failed = False
        self._trouble = "stopped early"

    def run_alone(self) -> int:
        """Run in a loop of its own, which ends where the policy raises SystemExit: a failure.

        Raises:
            CannotOpen: The table cannot be opened; nothing was read.
        """
        with asyncio.Runner() as runner:
            try:
                return runner.run(self.run())
            except SystemExit as error:
                self._failed = True
                self._trouble = leaving(error)
                return 1

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
        figures = self._account()
        return 1 if figures.skipped or figures.dead or figures.lost or self._unreadable else 0

    async def _ingest(self) -> None:
        self._started = time.perf_counter()
        try:
            with shown_live(self._figures), self._reader:
                await self._feed()
        except FlushFailed as failure:
            self._failed = True
            self._trouble = self._told(failure.__cause__)
            if not isinstance(failure.__cause__, sqlite3.Error | CannotAppend):
                raise
        except PolicyError as failure:
            self._failed = True
            self._trouble = failure.args[0]
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
            self._skipped.complain(str(skipped))
        for row in piece.rows:
            try:
                await self._queue.enqueue(row)
            except BadLine as error:
                self._skipped.complain(str(Skipped(row[0], row[1], str(error))))

    def _stop(self, number: signal.Signals) -> None:
        self._trouble = f"stopped by {number.name}"
        self._reader.stop()

    def _look(self, report: FlushReport) -> None:
        """Look at the account; once a flush was lost nothing more can be stored, nor is it read."""
        self._stats = self._queue.stats()
        if report.delivered + report.dropped < report.count:
            self._reader.stop()

    # What became of the lines.

    def _report(self) -> None:
        figures = self._account()
        if figures.lost or self._failed:
            lines = "line" if figures.lines == 1 else "lines"
            complain(f"{self._trouble}: {figures.lines} {lines} stored, {figures.lost} not stored")
        if not say(str(figures)):
            self._failed = True

    def _figures(self) -> Figures:
        """How far it has come; called in a thread, where the account may not be looked at."""
        stats = self._stats
        return Figures(
            lines=self._table.stored,
            seconds=time.perf_counter() - self._started,
            batches=self._table.batches,
            waiting=self._queue.pending,
            duplicates=stats.duplicates,
            ignored=self._table.ignored,
            skipped=self._skipped.count,
            dead=stats.dropped,
            flushes=stats.flushes,
        )

    def _account(self) -> Figures:
        """What became of every line, once the end has come."""
        self._stats = self._queue.stats()
        figures = self._figures()
        written = figures.lines + figures.ignored
        ended = written + figures.duplicates + figures.skipped + figures.dead
        return attrs.evolve(figures, lost=self._taken + self._reader.untaken - ended)

    def _told(self, cause: BaseException | None) -> str:
        """What to tell the user of what ended the queue."""
        if isinstance(cause, CannotAppend):
            return str(cause)
        return f"cannot write to {self._table}: {cause}"
