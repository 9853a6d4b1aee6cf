"""The figures of an ingestion: as a line of text, and live on a terminal."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs
from rich.console import Console
from rich.live import Live
from rich.table import Table


@attrs.frozen
class Figures:
    """How far an ingestion has come; at its end, what became of every line that was read.

    Attributes:
        lines: Lines that are stored.
        seconds: How long it has taken.
        batches: Transactions that stored them.
        waiting: Lines that wait in the queue.
        duplicates: Lines that were dropped as duplicates.
        ignored: Lines that the table ignored, as it was told to by whoever made it.
        skipped: Lines that are none, or have no key.
        dead: Lines that the table refused and that are in the dead-letter file.
        lost: Lines that were read and could not be stored for another reason.
        flushes: How many batches the queue has handed over, by reason.
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

    def named(self) -> dict[str, str]:
        """The figures as they are shown, by name: always five, and others that are not zero."""
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
        """All in one line."""
        return ", ".join(f"{name} {number}" for name, number in self.named().items())


@contextmanager
def shown_live(figures: Callable[[], Figures]) -> Iterator[None]:
    """Show the figures while they change, if standard error is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    with Live(
        get_renderable=lambda: _table(figures()), console=Console(stderr=True), transient=True
    ):
        yield


def _table(figures: Figures) -> Table:
    named = figures.named()
    table = Table(*named)
    table.add_row(*named.values())
    return table
