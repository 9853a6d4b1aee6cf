"""An ingestion: it reads lines from files and pipes, and writes them to a table or a stream.

    files -> Reader -> FlushQueue -> Table or Publisher

Every line that is read ends in one of six ways:

* It is stored.
* It is a duplicate of a line that waits in the queue.
* It is ignored: the table does not store it, but raises no error; or the stream had it already.
* It is skipped: the line is not UTF-8, or has no key.
* It becomes a dead letter: the table or the stream refuses the line.
* It is lost: the database failed, for example.

The reading ends after the last line, at a signal or at a failure. Then the queue drains, and the
figures show how many lines ended in each way.
"""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
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
from flushq.cli.failures import CannotAppend, FailureHandler, Unstored
from flushq.cli.params import system_exit_message
from flushq.cli.reading import Chunk, Reader, Skipped, Start, Unreadable
from flushq.cli.signals import Shutdown, current_task
from flushq.cli.sink import Sink
from flushq.cli.table import BadLine, JsonField
from flushq.cli.terminal import Complaints, complain, counted, progress_figures, say, shown_live


@attrs.frozen
class Figures:
    """The figures of an ingestion so far, or of the whole ingestion at its end.

    Attributes:
        lines: The number of stored lines.
        seconds: The time since the start of the ingestion, in seconds.
        batches: The number of batches that the sink has stored; each stored part of a split batch
            counts as a batch.
        waiting: The number of lines that wait in the queue.
        duplicates: The number of lines that were dropped because a line with the same key waited.
        ignored: The number of lines that the table ignored (by its ``ON CONFLICT`` or a trigger),
            or that the stream had already.
        skipped: The number of lines that are not UTF-8, or have no key.
        dead: The number of lines that were refused, and are in the dead-letter file.
        lost: The number of lines that were read, but have ended in no other way; 0 until the
            end of the ingestion.
        flushes: The number of flushes for each reason ("full", for example).
    """

    lines: int = 0
    seconds: float = 0.0
    batches: int = 0
    waiting: int = 0
    duplicates: int = 0
    ignored: int = 0
    skipped: int = 0
    dead: int = 0
    lost: int = 0
    flushes: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def ended(self) -> int:
        """The number of lines that have ended in any way, except lost lines."""
        return self.lines + self.ignored + self.duplicates + self.skipped + self.dead

    def named(self) -> dict[str, str]:
        """Return a mapping from the name of each figure to its text.

        The mapping always has five figures, from "lines" to "waiting". It has each other figure
        only if this figure is not 0.
        """
        rate = self.lines / self.seconds if self.seconds else 0.0
        mean = self.lines / self.batches if self.batches else 0.0
        others = {
            "duplicates": self.duplicates,
            "ignored": self.ignored,
            "skipped": self.skipped,
            "dead letters": self.dead,
            "not stored": self.lost,
        }
        return (
            {
                "lines": str(self.lines),
                "lines/s": f"{rate:.0f}",
                "batches": str(self.batches),
                "mean batch": f"{mean:.1f}",
                "waiting": str(self.waiting),
            }
            | {name: str(number) for name, number in others.items() if number}
            | self._flushes()
        )

    def _flushes(self) -> dict[str, str]:
        if not self.flushes:
            return {}
        reasons = ", ".join(f"{number} {reason}" for reason, number in self.flushes.items())
        return {"flushes": f"{sum(self.flushes.values())} ({reasons})"}

    def __str__(self) -> str:
        """Return the figures of :meth:`named` in one line of text."""
        return ", ".join(f"{name} {number}" for name, number in self.named().items())


class Ingestion:
    """One run of ``ingest``. See FlushQueue for the arguments that are not listed here.

    Args:
        sources: The names of the files and pipes that the lines come from.
        table: The sink that stores the lines.
    """

    def __init__(
        self,
        sources: Sequence[str],
        table: Sink,
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
            on_report=self._on_report,
        )
        self._stats = self._queue.stats()
        self._limit = max_shutdown_wait
        self._started = 0.0
        self._taken = 0
        self._skipped = Complaints("skipped lines")
        self._unreadable = 0
        self._failed = False
        self._end_reason = "stopped early"

    def start_at(self, starts: Mapping[str, Start]) -> None:
        """Set the position where the reading of each source starts; call this before ``run``."""
        self._reader.starts = starts

    def run_alone(self) -> int:
        """Call ``run`` in a new event loop; return the exit code.

        The exit code is 1 if the policy raises SystemExit.

        Raises:
            CannotStart: The table cannot be opened; nothing was read.
        """
        with asyncio.Runner() as runner:
            try:
                return runner.run(self.run())
            except SystemExit as error:
                self._failed = True
                self._end_reason = system_exit_message(error)
                return 1

    async def run(self) -> int:
        """Read and store all lines, print the figures, and return the exit code.

        Raises:
            CannotStart: The table cannot be opened; nothing was read.
        """
        shutdown = Shutdown(self._stop, self._limit)
        with suppress(asyncio.CancelledError):  # a second signal, or the time limit after the first
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
            with shown_live(self._progress), self._reader:
                await self._feed()
        except FlushFailed as failure:
            self._failed = True
            self._end_reason = self._describe_cause(failure.__cause__)
            if not isinstance(failure.__cause__, Unstored | CannotAppend):
                raise
        except PolicyError as failure:
            self._failed = True
            self._end_reason = failure.args[0]
        except ShutdownTimeout:
            self._end_reason = f"the writing did not end within {self._limit} s after the reading"
        finally:
            self._report()

    async def _feed(self) -> None:
        """Enqueue all lines, then drain the queue; after a cancellation, do not drain the queue."""
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
        self._end_reason = f"stopped by {number.name}"
        self._reader.stop()

    def _on_report(self, report: FlushReport) -> None:
        """Update the statistics; if lines were lost, stop reading: no more lines can be stored."""
        self._stats = self._queue.stats()
        if report.delivered + report.dropped < report.count:
            self._reader.stop()

    # The figures.

    def _report(self) -> None:
        figures = self._account()
        if figures.lost or self._failed:
            stored = f"{counted(figures.lines, 'line')} stored"
            complain(f"{self._end_reason}: {stored}, {figures.lost:,} not stored")
        if not say(str(figures)):
            self._failed = True

    def _progress(self) -> dict[str, str]:
        figures = self._figures()
        return figures.named() | progress_figures(
            self._reader.share(figures.ended), figures.seconds
        )

    def _figures(self) -> Figures:
        """Return the figures so far.

        The live display calls this in a thread, where ``stats()`` of the queue must not be called.
        """
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
        """Return the final figures, with the lost lines; call this when the queue has ended."""
        self._stats = self._queue.stats()
        figures = self._figures()
        return attrs.evolve(figures, lost=self._taken + self._reader.untaken - figures.ended)

    def _describe_cause(self, cause: BaseException | None) -> str:
        """Return the message for the user about the error that ended the queue."""
        if isinstance(cause, CannotAppend):
            return str(cause)
        return f"cannot write to {self._table}: {cause}"
