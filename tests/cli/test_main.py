"""``python -m flushq``."""

import runpy
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

import flushq
from flushq import __main__ as start
from flushq.cli import main


class Lacking:
    """An import system that lacks a package."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, *where: object) -> None:
        """Do not find it."""
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Keep what this process does on SIGINT."""
    kept = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.usefixtures("interrupts")
def test_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The package runs as a program, under the name by which it was called."""
    monkeypatch.setattr(sys, "argv", ["flushq", "ingest", "--help"])
    monkeypatch.delitem(sys.modules, "flushq.__main__")

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("flushq", run_name="__main__")

    assert 0 == ended.value.code
    assert capsys.readouterr().out.startswith("Usage: python -m flushq ingest [OPTIONS] [FILE]...")
    assert signal.SIG_DFL == signal.getsignal(signal.SIGINT)


@pytest.mark.parametrize("missing", start.NEEDED)
def test_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """Without what the extra brings it says in one line what to do, and exits with 2."""
    for name in [name for name in sys.modules if name.startswith(("flushq.cli", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Lacking(missing), *sys.meta_path])

    with pytest.raises(SystemExit) as ended:
        start.run()

    assert 2 == ended.value.code
    assert (
        f"Error: the command line needs {missing}, which is not installed; "
        "in the checkout of flushq: pip install '.[cli]'\n"
    ) == capsys.readouterr().err


def test_another_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """That any other module is missing is not hidden."""
    monkeypatch.setitem(sys.modules, "flushq.cli", None)

    with pytest.raises(ModuleNotFoundError, match=r"flushq\.cli"):
        start.run()


def test_no_command() -> None:
    """Without a command it says what there is."""
    result = CliRunner().invoke(main)

    assert 2 == result.exit_code
    assert "ingest    Read lines and store them in an SQLite database." in result.stderr
    assert "simulate  Try policies on traffic, in virtual time, and" in result.stderr


@pytest.mark.parametrize("arguments", [["digest"], ["ingest", "--fast"], ["ingest", "--db"]])
def test_a_mistake(arguments: list[str]) -> None:
    """A mistake is told in one line, exit code 2."""
    result = CliRunner().invoke(main, arguments)

    assert 2 == result.exit_code
    assert 1 == result.stderr.count("\n")
    assert "" == result.stdout


MISTAKES = [[], ["digest"], ["--fast"], ["ingest", "--fast"], ["ingest", "gone"]]


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_that_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """A mistake for which standard error has no room ends with exit code 2 all the same."""
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as ended:
            main(arguments)

    assert 2 == ended.value.code
    assert ("", "") == tuple(capsys.readouterr())


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_that_nobody_hears(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Where standard error is closed a mistake ends with exit code 2, and is told nowhere else."""
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    assert "" == capsys.readouterr().out


def test_the_version() -> None:
    """It is that of the package, as of its metadata."""
    result = CliRunner().invoke(main, ["--version"])
    assert (0, f"flushq, version {version('flushq')}\n") == (result.exit_code, result.output)
    assert version("flushq") == flushq.__version__
