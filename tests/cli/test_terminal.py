"""The output of the command line on standard output and on the terminal."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flushq.cli.terminal import Complaints, complain, counted, progress_figures, say, shown_live
from tests.cli.support import Terminal


def test_results_and_trouble_go_to_different_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """A result is a line of standard output, and a problem is a line of standard error."""
    assert say("done")
    complain("not good")
    assert ("done\n", "not good\n") == tuple(capsys.readouterr())


@pytest.mark.parametrize(("name", "speak"), [("stdout", say), ("stderr", complain)])
def test_a_closed_pipe_is_not_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    speak: Callable[[str], object],
) -> None:
    """Writing to a closed pipe raises no error and reports nothing, also when the stream closes."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a file descriptor
        monkeypatch.setattr(sys, name, stream)
        assert speak("hello?") is not False
        assert speak("anyone?") is not False
    assert ("", "") == tuple(capsys.readouterr())


def test_a_result_that_cannot_be_written_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk or a closed standard output is reported once, unless standard error is closed."""
    cannot = "cannot write to standard output"
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert not say("done")
    assert f"{cannot}: No space left on device\n" == capsys.readouterr().err

    monkeypatch.setattr(sys, "stdout", None)
    assert not say("done")
    assert f"{cannot}: it is closed\n" == capsys.readouterr().err

    monkeypatch.setattr(sys, "stderr", None)
    assert not say("done")


def test_figures_are_shown_live_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are written meanwhile appear with the figures."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with shown_live(lambda: {"lines": "1234", "waiting": "7"}):
        sys.stderr.write("a word\n")
    for text in ("lines", "1234", "waiting", "a word"):
        assert text in terminal.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_figures_are_not_shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    """No figures are shown if standard error is a file or a pipe, or is closed."""
    monkeypatch.setattr(sys, "stderr", stream)
    with shown_live(dict):
        pass
    assert stream is None or stream.getvalue() == ""


def test_a_number_stands_before_its_noun() -> None:
    """The noun has no s after 1, and thousands have commas."""
    told = [counted(number, "line") for number in (0, 1, 2, 12_345)]
    assert ["0 lines", "1 line", "2 lines", "12,345 lines"] == told


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (None, {}),
        (0, {"done": "0%", "time left": "-"}),
        (0.25, {"done": "25%", "time left": "0:01:00"}),
        (1, {"done": "100%", "time left": "0:00:00"}),
    ],
)
def test_how_far_a_work_is(share: float | None, told: dict[str, str]) -> None:
    """The time left is in proportion to the time so far; an unknown share shows nothing."""
    assert told == progress_figures(share, 20.0)


def test_troubles_of_a_kind_are_reported_ten_times(capsys: pytest.CaptureFixture[str]) -> None:
    """After ten reports one line says that no more follow; ``start_anew`` begins anew."""
    troubles = Complaints("troubles")
    for _ in range(2):
        for number in range(12):
            troubles.complain(str(number))
        assert 12 == troubles.count
        troubles.start_anew()
    told = [*map(str, range(10)), "further troubles are not reported"]
    assert told * 2 == capsys.readouterr().err.splitlines()
