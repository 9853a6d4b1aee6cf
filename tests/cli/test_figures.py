"""The figures."""

import io
import sys

import attrs
import pytest

from flushq.cli.ingestion import Figures
from flushq.cli.terminal import shown_live


class Terminal(io.StringIO):
    """A terminal of sorts."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_nothing_done() -> None:
    """Where nothing was done all figures are 0."""
    assert "lines 0, lines/s 0, batches 0, mean batch 0.0, waiting 0" == str(Figures())


def test_all() -> None:
    """Rates and means are worked out, and the figures of what was not stored join if not 0."""
    flushes = {"full": 8, "age": 3, "drain": 1}
    lines = Figures(1000, 4.0, 3, 7, duplicates=1, ignored=5, skipped=2, dead=4, lost=3)
    figures = attrs.evolve(lines, flushes=flushes)

    assert (
        "lines 1000, lines/s 250, batches 3, mean batch 333.3, waiting 7, "
        "duplicates 1, ignored 5, skipped 2, dead letters 4, not stored 3, "
        "flushes 12 (8 full, 3 age, 1 drain)"
    ) == str(figures)


def test_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the figures are shown while they change, with what is said above them."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")

    with shown_live(lambda: Figures(1234).named()):
        sys.stderr.write("a word\n")

    text = terminal.getvalue()
    assert "mean batch" in text
    assert "1234" in text
    assert "a word" in text


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_not_live(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    """Where there is no terminal nothing is shown."""
    monkeypatch.setattr(sys, "stderr", stream)

    with shown_live(dict):
        pass

    assert stream is None or stream.getvalue() == ""
