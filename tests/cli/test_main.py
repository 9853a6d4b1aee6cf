"""``python -m flushq``."""

import os
import runpy
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import flushq
from flushq import __main__ as start
from flushq.cli import main
from tests.cli.support import PATIENCE

MISTAKES = [["digest"], ["ingest", "--fast"], ["ingest", "--db"], ["ingest", "gone"]]


def lacking(package: str) -> SimpleNamespace:
    """Return a finder of modules that raises ModuleNotFoundError for a package."""

    def find_spec(name: str, *where: object) -> None:
        if name == package:
            raise ModuleNotFoundError(name=name)

    return SimpleNamespace(find_spec=find_spec)


@pytest.mark.usefixtures("handlers")
def test_the_package_runs_as_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help shows the name of the call, and the default action of SIGINT is set."""
    monkeypatch.setattr(sys, "argv", ["flushq", "ingest", "--help"])
    monkeypatch.delitem(sys.modules, "flushq.__main__")

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("flushq", run_name="__main__")

    assert 0 == ended.value.code
    help_lines = capsys.readouterr().out.splitlines()
    assert "Usage: python -m flushq ingest [OPTIONS] [FILE]..." == help_lines[0]
    assert signal.SIG_DFL == signal.getsignal(signal.SIGINT)


@pytest.mark.parametrize("missing", start.NEEDED)
def test_without_the_extra_one_line_tells_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """The message names the missing package and the command to install it; the exit code is 2."""
    for name in [name for name in sys.modules if name.startswith(("flushq.cli", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [lacking(missing), *sys.meta_path])

    with pytest.raises(SystemExit) as ended:
        start.run()

    assert 2 == ended.value.code
    assert (
        f"Error: the command line needs {missing}, which is not installed; "
        "run this in the checkout of flushq: pip install '.[cli]'\n"
    ) == capsys.readouterr().err


def test_another_missing_module_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised unchanged."""
    monkeypatch.setitem(sys.modules, "flushq.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"flushq\.cli"):
        start.run()


@pytest.mark.parametrize("command", [[], ["ingest"], ["simulate"]], ids=" ".join)
def test_help_begins_with_an_example_that_can_be_copied(here: Path, command: list[str]) -> None:
    """The example is one line after the usage, and a shell can run this line."""
    page = CliRunner().invoke(main, [*command, "--help"]).stdout.splitlines()
    assert ["", "Example:"] == page[1:3]
    Path("app.log").write_text("a\n")
    line = page[3].strip().replace("tail -f", "cat")
    result = subprocess.run(
        ["sh", "-c", line.replace("python", sys.executable)],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(flushq.__file__).parents[1])},
        timeout=PATIENCE,
    )
    assert result.stdout.startswith(("lines 1, ", "policy"))


def test_the_example_of_work_is_a_call_of_it() -> None:
    """The help of ``work`` begins with an example, which is not run: it needs servers."""
    page = CliRunner().invoke(main, ["work", "--help"]).stdout.splitlines()
    assert ["", "Example:"] == page[1:3]
    assert page[3].strip().startswith("python -m flushq work nats://")


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line(arguments: list[str]) -> None:
    """A mistake is reported in one line, and the exit code is 2."""
    result = CliRunner().invoke(main, arguments)
    assert (2, 1, "") == (result.exit_code, result.stderr.count("\n"), result.stdout)


@pytest.mark.parametrize("arguments", [[], ["--fast"], *MISTAKES], ids=" ".join)
def test_a_mistake_that_cannot_be_reported_ends_with_the_same_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """If standard error is full or closed, nothing is printed to standard output instead."""
    with Path("/dev/full").open("w") as full:
        for stream in (full, None):
            monkeypatch.setattr(sys, "stderr", stream)
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            assert (2, "") == (ended.value.code, capsys.readouterr().out)


def test_the_version_is_that_of_the_package() -> None:
    """The option, the metadata and the module have the same version."""
    result = CliRunner().invoke(main, ["--version"])
    assert (0, f"flushq, version {version('flushq')}\n") == (result.exit_code, result.output)
    assert version("flushq") == flushq.__version__
