"""What the command line says, and to whom."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flushq.cli.terminal import complain, say


def test_to_whom(capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to standard output, trouble to standard error."""
    assert say("done")
    complain("not good")

    assert ("done\n", "not good\n") == tuple(capsys.readouterr())


@pytest.mark.parametrize(("name", "speak"), [("stdout", say), ("stderr", complain)])
def test_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    speak: Callable[[str], object],
) -> None:
    """Where nobody listens any more nothing happens, now or when the stream is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a file descriptor
        monkeypatch.setattr(sys, name, stream)
        assert speak("hello?") is not False
        assert speak("anyone?") is not False
    assert ("", "") == tuple(capsys.readouterr())


def test_no_room_for_a_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a result cannot be written that is told once, and nothing more when it is closed."""
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert not say("done")
    complaint = "cannot write to standard output: No space left on device\n"
    assert complaint == capsys.readouterr().err


def test_nowhere_to_write_a_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where standard output was closed from the start a result cannot be written, and that is told.

    If standard error was closed too, it cannot be told.
    """
    monkeypatch.setattr(sys, "stdout", None)
    assert not say("done")
    assert "cannot write to standard output: it is closed\n" == capsys.readouterr().err

    monkeypatch.setattr(sys, "stderr", None)
    assert not say("done")


def test_no_room_for_trouble(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where trouble cannot be told nothing can be done about it."""
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        complain("not good")
    assert "" == capsys.readouterr().out
