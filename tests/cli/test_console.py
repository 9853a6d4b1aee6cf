"""What the command line says, and to whom."""

import os
import sys
from collections.abc import Callable

import pytest

from flushq.cli.console import complain, say


def test_to_whom(capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to standard output, trouble to standard error."""
    say("done")
    complain("not good")

    assert ("done\n", "not good\n") == tuple(capsys.readouterr())


@pytest.mark.parametrize(("name", "speak"), [("stdout", say), ("stderr", complain)])
def test_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    speak: Callable[[str], None],
) -> None:
    """Where nobody listens any more nothing happens, now or when the stream is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a file descriptor
        monkeypatch.setattr(sys, name, stream)
        speak("hello?")
        speak("anyone?")
    assert ("", "") == tuple(capsys.readouterr())
