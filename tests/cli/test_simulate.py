"""``python -m flushq simulate``."""

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from flushq import Decision, FlushPolicy, IntervalPolicy, Wait
from flushq.cli import main
from flushq.cli.lab import Failures, Setting, Sink, run
from tests.cli.test_figures import Terminal

HEAVY = IntervalPolicy(1.0, max_weight=5)


class Broken(FlushPolicy):
    """A policy that raises."""

    def decide(self, now: float) -> Decision:
        """Raise."""
        raise ArithmeticError("no idea")


class Leaving(FlushPolicy):
    """A policy that leaves the program."""

    def decide(self, now: float) -> Decision:
        """Leave, as if all were well."""
        sys.exit(0)


class Late(FlushPolicy):
    """A policy that never flushes."""

    def decide(self, now: float) -> Decision:
        """Wait."""
        return Wait()


class Interrupted(FlushPolicy):
    """A policy that gets a Ctrl-C."""

    def decide(self, now: float) -> Decision:
        """Be interrupted."""
        signal.raise_signal(signal.SIGINT)
        return Wait()


class Capped(Late):
    """A policy whose cap is none."""

    max_records: Any = "five"


BROKEN = Broken()
CAPPED = Capped()
INTERRUPTED = Interrupted()
LATE = Late()
LEAVING = Leaving()


def simulate(*arguments: str | Path, text: str | None = None) -> Result:
    """Call ``simulate`` in this process."""
    words = ["simulate", *map(str, arguments)]
    return CliRunner().invoke(main, words, input=text, catch_exceptions=False)


def figures(*arguments: str | Path, text: str | None = None) -> list[dict[str, Any]]:
    """The figures that a call prints as JSON."""
    result = simulate(*arguments, "--json", text=text)
    assert (0, "") == (result.exit_code, result.stderr)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_a_file(tmp_path: Path) -> None:
    """Arrivals come from a file, policies and the sink from texts."""
    path = tmp_path / "arrivals"
    path.write_text("10\n11\n12\n18\n")
    one, other = figures(
        path, "--sink", "0.5+0.5n", "--policy", "interval:5,2", "--policy", "natural"
    )
    assert ("interval:5,2", 4, 3, 14 - 10.5) == (
        one["policy"],
        one["items"],
        one["flushes"],
        one["busy"] * 14,
    )
    assert ("natural", {"natural": 4}) == (other["policy"], other["reasons"])


def test_standard_input() -> None:
    """With - they come from standard input."""
    (found,) = figures("-", "--sink", "0", "--policy", "natural", text="2026-01-01\n2026-01-02\n")
    assert (2, 2, 0) == (found["items"], found["flushes"], found["latency_seconds"]["max"])


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf5\n6\n", b"5\r\n6\r\n", b"\n5\n\n 6"], ids=["BOM", "CRLF", "no end"]
)
def test_files_from_elsewhere(content: bytes, tmp_path: Path) -> None:
    """A mark at the beginning, other ends of lines, and none at the end do no harm."""
    path = tmp_path / "arrivals"
    path.write_bytes(content)
    words = ("--sink", "0", "--policy", "natural")
    assert 2 == figures(path, *words)[0]["flushes"]
    piped = CliRunner().invoke(main, ["simulate", "-", *words, "--json"], input=content)
    assert figures(path, *words) == json.loads(piped.stdout)


def test_help_tells_of_what_zone_times_are() -> None:
    """Whoever names no zone is told which is taken."""
    assert "UTC where a line does not say otherwise" in " ".join(simulate("--help").output.split())


def test_costs() -> None:
    """The prices are those that were named; the optimum is that of the policy's cap."""
    words = ("-", "--sink", "0", "--flush-cost", "3", "--delay-cost", "2")
    one, other = figures(
        *words, "--policy", "interval:1", "--policy", "natural:1", text="0\n1\n1\n"
    )
    assert (3 + 2, 3 + 2, 1) == (one["cost"], one["least_cost"], one["ratio"])
    assert (9, 9) == (other["cost"], other["least_cost"])
    (default,) = figures("-", "--sink", "0", "--policy", "interval:1", text="0\n1\n1\n")
    assert 1 + 1 == default["cost"]


def test_a_model() -> None:
    """A rate is a model of so many items a second, for a minute unless it is said how long."""
    words = ("--rate", "20", "--sink", "0", "--policy", "natural")
    (minute,), (second,), (other,) = (
        figures(*words),
        figures(*words, "--seconds", "10"),
        figures(*words, "--seed", "2"),
    )
    assert 1000 < minute["items"] < 1400
    assert 120 < second["items"] < 280
    assert minute != other
    assert minute == figures(*words, "--seed", "1")[0]


def test_slots() -> None:
    """So many flushes run at a time, one unless it is said how many."""
    words = ("-", "--sink", "1", "--policy", "natural:1")
    assert 2 == figures(*words, text="0\n0\n")[0]["latency_seconds"]["max"]
    assert 1 == figures(*words, "--slots", "2", text="0\n0\n")[0]["latency_seconds"]["max"]


IMPATIENT = ("-", "--sink", "1", "--policy", "interval:9")


def test_a_full_queue() -> None:
    """With --queue-size producers wait in line, which counts as a part of the latency."""
    words = (*IMPATIENT, "--queue-size", "2")
    (found,) = figures(*words, text="0\n0\n0\n0\n0\n")
    assert (3, {"pressure": 2, "age": 1}) == (found["blocked"], found["reasons"])
    assert 1 + 9 + 1 == found["latency_seconds"]["max"]
    (roomy,) = figures(*IMPATIENT, "--queue-size", "5", text="0\n0\n0\n0\n0\n")
    assert (0, {"age": 1}) == (roomy["blocked"], roomy["reasons"])


def test_a_drain() -> None:
    """With --drain what is left after the last arrival is flushed at once."""
    (found,) = figures(*IMPATIENT, "--drain", text="0\n3\n")
    assert (3 + 1, {"drain": 1}) == (found["latency_seconds"]["max"], found["reasons"])
    (late,) = figures("-", "--sink", "0", "--drain", "--policy", f"{__name__}:LATE", text="0\n")
    assert (0, 1) == (late["stranded"], late["ratio"])


def test_those_in_line_are_refused_by_a_drain() -> None:
    """A producer that does not come in is told of, and there is no ratio of what is not all."""
    words = (*IMPATIENT, "--queue-size", "1", "--drain")
    result = simulate(*words, text="0\n0\n0\n")
    assert result.stdout.rstrip().endswith("  -   pressure 1, drain 1, 1 items refused")
    assert None is figures(*words, text="0\n0\n0\n")[0]["ratio"]


def test_calls_that_fail() -> None:
    """Each call that fails is made again after a second, three times in all, and then dropped."""
    words = ("-", "--sink", "0.5", "--policy", "natural", "--fail-rate", "1")
    (found,) = figures(*words, text="0\n0\n9\n")
    assert (3, None) == (found["dropped"], found["latency_seconds"]["max"])
    # Each of the two flushes has three calls of 0.5 s, and two pauses; the last ends at 12.5 s.
    assert (6, 6 * 0.5 / 12.5) == (found["cost"], found["busy"])
    more = figures(*words, "--retry", "0.25", "--attempts", "5", text="0\n")[0]
    assert (5, 5 * 0.5 / (5 * 0.5 + 4 * 0.25)) == (more["cost"], more["busy"])


def test_which_calls_fail() -> None:
    """So many of them do, the same with each policy; the seed tells which, of a FILE as well."""
    text = "".join(f"{second}\n" for second in range(1000))
    both = ("--policy", "natural", "--policy", "interval:0.1")
    words = ("-", "--sink", "0.5", *both, "--attempts", "1", "--fail-rate")
    one, other = figures(*words, "0.25", text=text)
    assert 200 < one["dropped"] < 300
    assert one["dropped"] == other["dropped"]
    assert one == figures(*words, "0.25", "--seed", "1", text=text)[0]
    assert one["dropped"] != figures(*words, "0.25", "--seed", "2", text=text)[0]["dropped"]
    assert 0 == figures(*words, "0", text=text)[0]["dropped"]


def test_figures_that_are_not_asked_for() -> None:
    """Only where there is a limit, or a failure, is it told what came of it."""
    text = "0\n"
    columns = simulate(*IMPATIENT, text=text).stdout.split("p50")[0].split()
    assert ["policy", "flushes", "mean", "largest"] == columns
    (plain,) = figures(*IMPATIENT, text=text)
    options = ("--queue-size", "1", "--fail-rate", "0")
    columns = simulate(*IMPATIENT, *options, text=text).stdout.split("p50")[0].split()
    assert ["policy", "flushes", "mean", "largest", "blocked", "dropped"] == columns
    assert {**plain, "blocked": 0, "dropped": 0} == figures(*IMPATIENT, *options, text=text)[0]


def test_progress_with_failures() -> None:
    """What is to be handed over again is taken back, so that at the end each item is told once."""
    failures = Failures(0.5, seed=1, pause=1.0, attempts=3)
    setting = Setting([float(second) for second in range(50)], Sink(1, 0), 1, 1, 1)
    told: list[int] = []
    run("", IntervalPolicy(1), attrs.evolve(setting, failures=failures), lambda cap: 1, told.append)
    assert (50, True) == (sum(told), min(told) < 0)


def test_a_table() -> None:
    """Without --json a table is printed, of some policies if none is named."""
    result = simulate("-", "--sink", "0.1", text="0\n0.01\n5\n")
    assert 0 == result.exit_code
    rows = [line.split()[0] for line in result.stdout.splitlines()]
    assert ["policy", "interval:1.0,500", "natural", "budget:1.0", "pause"] == rows


def test_a_plot(tmp_path: Path) -> None:
    """With --plot there is a picture, too."""
    path = tmp_path / "lab.png"
    result = simulate("-", "--sink", "0.1", "--plot", path, text="0\n0.01\n5\n")
    assert (0, True) == (result.exit_code, "natural" in result.stdout)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_is_left_is_said() -> None:
    """Items that a policy never flushes are counted."""
    (found,) = figures("-", "--sink", "0", "--policy", f"{__name__}:LATE", text="0\n")
    assert (1, None) == (found["stranded"], found["ratio"])


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it is shown how far the runs have come."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdin", io.StringIO("0\n1\n"))
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "-", "--sink", "0", "--policy", "natural"])
    assert 0 == ended.value.code
    for seen in ("natural", "the optimum", "100%"):
        assert seen in terminal.getvalue()


@contextmanager
def listening(heard: list[int]) -> Iterator[None]:
    """Listen to interrupts; at the end nobody else does."""

    def hear(number: int, frame: object) -> None:
        heard.append(number)

    kept = signal.signal(signal.SIGINT, hear)
    try:
        yield
        assert hear is signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, kept)


def test_without_an_interrupt() -> None:
    """What an interrupt does is the same after a run as before."""
    with listening([]):
        assert 0 == simulate("-", "--sink", "0", text="0\n").exit_code


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt gives the terminal back as it was, and then does what it does otherwise."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdin", io.StringIO("0\n1\n"))
    monkeypatch.setenv("TERM", "xterm")
    heard: list[int] = []
    with listening(heard):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", "-", "--sink", "0", "--policy", f"{__name__}:INTERRUPTED"])
        assert 0 != ended.value.code
    assert [signal.SIGINT] == heard
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().count(hidden) == terminal.getvalue().count(shown) > 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--sink", "0"], "name a FILE with arrivals, or a --rate"),
        (["--seed", "5", "--sink", "0"], "name a FILE with arrivals, or a --rate"),
        (["-", "--rate", "5", "--sink", "0"], "a FILE with arrivals or a --rate, not both"),
        (["-", "--seconds", "60", "--sink", "0"], "--seconds is about the model of a --rate"),
        (["--seed", "1", "-", "--sink", "0"], "--seed is about the model of a --rate"),
        (["-", "--sink", "0"], "cannot read arrivals from '<stdin>': line 1: 'soon' is neither"),
        (["/nowhere", "--sink", "0"], "No such file"),
        (["--rate", "1"], "Missing option '--sink'"),
        (["--rate", "0", "--sink", "0"], "0.0 is not in the range 0<x<="),
        (["--rate", "inf", "--sink", "0"], "inf is not in the range 0<x<="),
        (["--rate", "nan", "--sink", "0"], "nan is not a number"),
        (["--rate", "1", "--seconds", "nan", "--sink", "0"], "nan is not a number"),
        (["--rate", "1", "--sink", "0", "--flush-cost", "inf"], "inf is not in the range 0<=x<="),
        (["--rate", "1", "--sink", "0", "--delay-cost", "nan"], "nan is not a number"),
        (["--rate", "1", "--sink", "0", "--policy", f"{__name__}:CAPPED"], "not 'five'"),
        (["--rate", "1e9", "--sink", "0"], "are more than 10000000"),
        (["--rate", "1", "--sink", "fast"], "bad sink 'fast'"),
        (["--rate", "1", "--sink", "0", "--policy", "lazy"], "bad policy 'lazy'"),
        (["--seed", "1", "-", "--sink", "0", "--fail-rate", "nan"], "nan is not a number"),
        (
            ["--seconds", "1", "-", "--sink", "0", "--fail-rate", "0"],
            "--seconds is about the model of a --rate",
        ),
        (["--rate", "1", "--sink", "0", "--fail-rate", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (
            ["--rate", "1", "--sink", "0", "--retry", "1", "--attempts", "2"],
            "--retry is about calls that fail, and there is no --fail-rate",
        ),
        (["--rate", "1", "--sink", "0", "--attempts", "2"], "--attempts is about calls that fail"),
        (
            ["--rate", "1", "--sink", "0", "--fail-rate", "1", "--attempts", "0"],
            "0 is not in the range 1<=x<=10000",
        ),
        (["--rate", "1", "--sink", "0", "--queue-size", "0"], "0 is not in the range x>=1"),
        (["--rate", "1", "--sink", "0", "--slots", "0"], "0 is not in the range x>=1"),
        (["--rate", "1", "--sink", "0", "--flush-cost", "-1"], "-1.0 is not in the range 0<=x<="),
        (["--rate", "1", "--sink", "0", "--policy", f"{__name__}:HEAVY"], "needs weights"),
        (
            ["--rate", "1", "--sink", "0", "--plot", "/nowhere/lab.png"],
            "cannot write '/nowhere/lab.png': there is no such directory",
        ),
        (["--rate", "1", "--sink", "0", "--plot", "/"], "cannot write '/': it is a directory"),
    ],
)
def test_mistakes(words: list[str], why: str) -> None:
    """A mistake is one line, exit code 2."""
    result = simulate(*words, text="soon\n")
    assert (2, 1) == (result.exit_code, result.stderr.count("\n"))
    assert result.stderr.startswith("Error: ")
    assert why in result.stderr


def test_no_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That standard input is closed is a mistake, if it is to be read."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "-", "--sink", "0"])
    assert 2 == ended.value.code
    complaint = "Error: Invalid value for 'FILE': '-': standard input is closed\n"
    assert ("", complaint) == tuple(capsys.readouterr())

    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--rate", "1", "--sink", "0"])
    assert 0 == ended.value.code


def test_the_picture_does_not_take_the_place_of_the_traffic(tmp_path: Path) -> None:
    """A FILE that is to be the picture, too, is a mistake, and left as it is."""
    path = tmp_path / "arrivals"
    path.write_text("1\n2\n")
    result = simulate(path, "--sink", "0", "--plot", tmp_path / "." / "arrivals")
    assert (2, 1) == (result.exit_code, result.stderr.count("\n"))
    assert f"{str(path)!r} cannot be the picture too" in result.stderr
    assert "1\n2\n" == path.read_text()


def test_what_is_no_text(tmp_path: Path) -> None:
    """A file that is no UTF-8 is a mistake, too."""
    path = tmp_path / "arrivals"
    path.write_bytes(b"\xff\xfe\n")
    result = simulate(path, "--sink", "0")
    assert (2, 1) == (result.exit_code, result.stderr.count("\n"))
    assert "cannot read arrivals from" in result.stderr


def test_a_policy_that_raises() -> None:
    """A failure of someone's policy is one line, exit code 1."""
    result = simulate("--rate", "1", "--sink", "0", "--policy", f"{__name__}:BROKEN")
    assert (1, 1) == (result.exit_code, result.stderr.count("\n"))
    assert "the policy Broken raised ArithmeticError('no idea') in item_added" in result.stderr


def test_a_policy_that_leaves() -> None:
    """A policy that would end the program as if all were well is a failure, as one that raises."""
    result = simulate("--rate", "1", "--sink", "0", "--policy", f"{__name__}:LEAVING")
    assert (1, "") == (result.exit_code, result.stdout)
    assert "Error: the policy raised SystemExit(0)\n" == result.stderr


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    """The figures are printed all the same; exit code 1."""
    path = tmp_path / "lab.png"
    path.symlink_to(tmp_path / "nowhere" / "lab.png")
    result = simulate("--rate", "1", "--sink", "0", "--plot", path)
    assert (1, 1) == (result.exit_code, result.stderr.count("\n"))
    assert "natural" in result.stdout
    assert f"cannot write '{path}': No such file or directory" in result.stderr


def test_figures_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The picture is drawn all the same; exit code 1."""
    path = tmp_path / "lab.png"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            main(["simulate", "--rate", "1", "--sink", "0", "--plot", str(path)])
    assert (1, True) == (ended.value.code, path.exists())
    assert "cannot write to standard output: No space left on device\n" == capsys.readouterr().err


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no matplotlib it is said what to do, and nothing is done."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = simulate("--rate", "1", "--sink", "0", "--plot", "lab.png")
    assert (2, 1, "") == (result.exit_code, result.stderr.count("\n"), result.stdout)
    assert "pip install '.[plot]'" in result.stderr
