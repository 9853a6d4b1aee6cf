"""``python -m flushq simulate``."""

import io
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flushq import Decision, FlushPolicy, IntervalPolicy, Wait
from flushq.cli import main
from tests.cli.support import Terminal


class Acting(FlushPolicy):
    """A policy that calls a function in decide, and never flushes."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        self.act = act

    def decide(self, now: float) -> Decision:
        """Call the function, and wait."""
        self.act()
        return Wait()


class Capped(Acting):
    """A policy with an invalid cap."""

    max_records: Any = "five"


BROKEN = Acting(lambda: 1 / 0)
CAPPED = Capped()
HEAVY = IntervalPolicy(1.0, max_weight=5)
INTERRUPTED = Acting(lambda: signal.raise_signal(signal.SIGINT))
LATE = Acting()
LEAVING = Acting(lambda: sys.exit(0))


def simulate(call: str, text: str | bytes | None = None) -> Result:
    """Call ``simulate`` in this process, with the words of a text as arguments."""
    words = ["simulate", *call.replace("OWN", __name__).split()]
    return CliRunner().invoke(main, words, input=text, catch_exceptions=False)


def figures(call: str, text: str | bytes | None = None) -> list[dict[str, Any]]:
    """Return the figures that a call prints as JSON."""
    result = simulate(f"{call} --json", text)
    assert (0, "") == (result.exit_code, result.stderr)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


# Traffic.


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf10\n11\n12\n18\n", b"10\r\n11\r\n12\r\n18", b"\n10\n11\n\n12\n 18"],
    ids=["BOM", "CRLF", "empty lines"],
)
def test_arrivals_come_from_a_file_or_standard_input(content: bytes, here: Path) -> None:
    """Arrivals come from a file or from standard input, with either kind of line end."""
    Path("arrivals").write_bytes(content)
    options = "--sink 0.5+0.5n --policy interval:5,2 --policy natural"
    one, other = figures(f"arrivals {options}")
    assert ("interval:5,2", 4, 3) == (one["policy"], one["items"], one["flushes"])
    assert 14 - 10.5 == one["busy"] * 14
    assert ("natural", {"natural": 4}) == (other["policy"], other["reasons"])
    assert [one, other] == figures(f"- {options}", content)


def test_a_rate_is_a_model() -> None:
    """A rate is items per second; the traffic lasts a minute unless the call has --seconds."""
    call = "--rate 20 --sink 0 --policy natural"
    (minute,) = figures(call)
    assert 1000 < minute["items"] < 1400
    assert 120 < figures(f"{call} --seconds 10")[0]["items"] < 280
    assert [minute] == figures(f"{call} --seed 1") != figures(f"{call} --seed 2")


def test_partitions_are_in_a_file_or_of_a_model() -> None:
    """--partitions of a model are drawn by the seed, and are equally frequent without --skew.

    The arrivals are the same whatever the partitions are.
    """
    (keyed,) = figures("- --sink 1 --policy natural", "0\ta\n0\tb\n0\ta\n")
    slowest = {"partition": "b", "p99": 2, "others_p99": 1}
    assert (2, slowest) == (keyed["flushes"], keyed["slowest"])
    call = "--rate 20 --sink 0 --policy interval:999 --drain"
    ((one,), (other,), (equal,), (skewed,)) = (
        figures(f"{call} {options}")
        for options in ("", "--seed 2 --partitions 5", "--partitions 5", "--partitions 5 --skew 1")
    )
    assert [1, 5, 5, 5] == [each["flushes"] for each in (one, other, equal, skewed)]
    assert one["items"] == equal["items"] == skewed["items"] != other["items"]
    assert [True, False] == [each["largest_batch"] < 300 for each in (equal, skewed)]


# Options of a run.


def test_prices() -> None:
    """The costs have the prices of the call; the optimum has the cap of the policy."""
    text, call = "0\n1\n1\n", "- --sink 0 --policy interval:1"
    one, other = figures(f"{call} --flush-cost 3 --delay-cost 2 --policy natural:1", text)
    assert (3 + 2, 3 + 2, 1) == (one["cost"], one["least_cost"], one["ratio"])
    assert (9, 9) == (other["cost"], other["least_cost"])
    assert 1 + 1 == figures(call, text)[0]["cost"]


IMPATIENT = "- --sink 1 --policy interval:9"


@pytest.mark.parametrize(
    ("call", "text", "latency", "others"),
    [
        ("- --sink 1 --policy natural:1", "0\n0\n", 2, {"flushes": 2}),
        ("- --sink 1 --policy natural:1 --slots 2", "0\n0\n", 1, {"flushes": 2}),
        (
            f"{IMPATIENT} --queue-size 2",
            "0\n" * 5,
            1 + 9 + 1,
            {"blocked": 3, "reasons": {"pressure": 2, "age": 1}},
        ),
        (f"{IMPATIENT} --queue-size 5", "0\n" * 5, 9 + 1, {"blocked": 0, "reasons": {"age": 1}}),
        (
            f"{IMPATIENT} --queue-size 2 --when-full drop_oldest",
            "0\n" * 5,
            1,
            {"displaced": 3, "reasons": {"pressure": 1}},
        ),
        (f"{IMPATIENT} --drain", "0\n3\n", 3 + 1, {"reasons": {"drain": 1}}),
        ("- --sink 0 --policy OWN:LATE", "0\n", None, {"stranded": 1, "ratio": None}),
        ("- --sink 0 --policy OWN:LATE --drain", "0\n", 0, {"stranded": 0, "ratio": 1}),
        (f"{IMPATIENT} --queue-size 1 --drain", "0\n" * 3, 2, {"ratio": None}),
        ("- --sink 1 --policy natural:1 --throttle rate:1/5", "0\n0\n", 5 + 1, {"flushes": 2}),
        # Each of two flushes makes three calls of 0.5 s, with two pauses; the last ends at 12.5 s.
        (
            "- --sink 0.5 --policy natural --fail-rate 1",
            "0\n0\n9\n",
            None,
            {"dropped": 3, "cost": 6, "busy": 6 * 0.5 / 12.5},
        ),
        (
            "- --sink 0.5 --policy natural --fail-rate 1 --retry 0.25 --attempts 5",
            "0\n",
            None,
            {"dropped": 1, "cost": 5, "busy": 5 * 0.5 / (5 * 0.5 + 4 * 0.25)},
        ),
        (
            "- --sink 0.5 --policy natural --fail-rate 1 --attempts 2 --throttle breaker:1/4.5",
            "0\n",
            None,
            {"dropped": 1, "busy": 2 * 0.5 / (2 * 0.5 + 4.5)},
        ),
    ],
)
def test_slots_limits_drain_throttle_and_failures(
    call: str, text: str, latency: float | None, others: dict[str, Any]
) -> None:
    """Each option changes the longest latency and other figures as expected."""
    (found,) = figures(call, text)
    assert latency == found["latency_seconds"]["max"]
    assert others == {name: found[name] for name in others}


def test_items_have_weights() -> None:
    """The seed draws the weights, also for a FILE; weights count for the queue and the policies."""
    call, text = "- --sink 0 --policy OWN:HEAVY --weight 2", "0\n" * 20
    (found,) = figures(call, text)
    assert 2 <= found["largest_batch"] < found["items"]
    assert found == figures(f"{call} --seed 1", text)[0] != figures(f"{call} --seed 2", text)[0]
    blocked = [figures(f"{call} --queue-weight {n}", text)[0]["blocked"] for n in (4, 20 * 4)]
    assert [True, False] == [count > 0 for count in blocked]


def test_which_calls_fail() -> None:
    """The same calls fail under each policy; the seed determines which calls, also for a FILE."""
    text = "".join(f"{second}\n" for second in range(1000))
    call = "- --sink 0.5 --policy natural --policy interval:0.1 --attempts 1 --fail-rate"
    one, other = figures(f"{call} 0.25", text)
    assert 200 < one["dropped"] < 300
    assert one["dropped"] == other["dropped"]
    assert one == figures(f"{call} 0.25 --seed 1", text)[0]
    assert one["dropped"] != figures(f"{call} 0.25 --seed 2", text)[0]["dropped"]
    assert 0 == figures(f"{call} 0", text)[0]["dropped"]


def test_figures_of_a_limit_or_of_failures_are_shown_only_if_there_are_any() -> None:
    """Without a limit or failures, neither the table nor the JSON has their figures."""
    options = "--queue-size 1 --fail-rate 0"
    for extra, special in (
        ("", []),
        (options, ["blocked", "dropped"]),
        ("--weight 1 --queue-weight 2", ["blocked"]),
        ("--queue-size 1 --when-full drop_newest", ["displaced"]),
    ):
        columns = simulate(f"{IMPATIENT} {extra}", "0\n").stdout.split("p50")[0].split()
        assert ["policy", "flushes", "mean", "largest", *special] == columns
    (plain,) = figures(IMPATIENT, "0\n")
    assert {**plain, "blocked": 0, "dropped": 0} == figures(f"{IMPATIENT} {options}", "0\n")[0]


# The printed output and the picture.

HIDDEN_CURSOR, SHOWN_CURSOR = "\x1b[?25l", "\x1b[?25h"


def test_without_json_a_table_is_printed() -> None:
    """The table shows why each policy flushed; without --policy there are default policies."""
    result = simulate("- --sink 0.1", "0\n0.01\n5\n")
    rows = [line.split()[0] for line in result.stdout.splitlines()]
    assert (0, ["policy", "interval:1.0,500", "natural", "budget:1.0", "pause"]) == (
        result.exit_code,
        rows,
    )
    result = simulate(f"{IMPATIENT} --queue-size 1 --drain", "0\n0\n0\n")
    assert result.stdout.rstrip().endswith("  -   pressure 1, drain 1, 1 item refused")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("policy", "interrupts", "shown"),
    [("natural", 0, ("natural", "the optimum", "100%")), (f"{__name__}:INTERRUPTED", 1, ())],
    ids=["to the end", "interrupted"],
)
def test_progress_is_shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, policy: str, interrupts: int, shown: tuple[str, ...]
) -> None:
    """An interrupt restores the terminal, and then calls the handler that was set before."""
    terminal, heard = Terminal(), list[int]()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdin", io.StringIO("0\n1\n"))
    monkeypatch.setenv("TERM", "xterm")

    def hear(number: int, frame: object) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, hear)
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "-", "--sink", "0", "--policy", policy])

    assert hear is signal.getsignal(signal.SIGINT)
    assert ([signal.SIGINT] * interrupts, not interrupts) == (heard, ended.value.code == 0)
    text = terminal.getvalue()
    assert all(part in text for part in shown)
    assert text.count(HIDDEN_CURSOR) == text.count(SHOWN_CURSOR) > 0


ONE = "--rate 1 --seconds 9 --sink 0 --policy natural"


def test_a_plot_is_a_picture_beside_the_figures(here: Path) -> None:
    """If the picture cannot be written the figures are printed, and the exit code is 1."""
    Path("gone.png").symlink_to("nowhere/lab.png")
    cannot = "Error: cannot write 'gone.png': No such file or directory\n"
    for path, code, complaint in (("lab.png", 0, ""), ("gone.png", 1, cannot)):
        result = simulate(f"{ONE} --plot {path}")
        assert (code, complaint) == (result.exit_code, result.stderr)
        assert "natural" in result.stdout
    assert Path("lab.png").exists()


def test_a_picture_is_drawn_though_the_figures_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """The exit code is 1, and the picture is drawn."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            main(["simulate", *ONE.split(), "--plot", "lab.png"])
    assert (1, True) == (ended.value.code, Path("lab.png").exists())
    assert "cannot write to standard output: No space left on device\n" == capsys.readouterr().err


# Mistakes and failures.


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("--sink 0", "the traffic is missing: name a FILE with arrivals or give a --rate"),
        ("--seed 5 --sink 0", "the traffic is missing: name a FILE with arrivals or give a"),
        ("- --rate 5 --sink 0", "a FILE with arrivals or give a --rate, not both"),
        ("- --seconds 60 --sink 0", "--seconds is about random arrivals (--rate)"),
        ("--seed 1 - --sink 0", "--seed is about random arrivals (--rate): it must not be"),
        ("- --seconds 1 --sink 0 --fail-rate 0", "--seconds is about random arrivals"),
        ("- --sink 0", "cannot read arrivals from '<stdin>': line 1: 'soon' must be"),
        ("bytes --sink 0", "cannot read arrivals from 'bytes': 'utf-8' codec can't decode"),
        ("bytes --sink 0 --plot ./bytes", "--plot must not be the same file as 'bytes'"),
        ("--rate 0 --sink 0", "0.0 is not in the range 0<x<="),
        ("--rate nan --sink 0", "it must be a number, not nan"),
        ("--rate 1e9 --sink 0", "there must be at most 10000000 items"),
        ("--rate 1 --sink fast", "bad sink 'fast'"),
        (f"{ONE} --skew 1", "--skew is about random partitions: it needs --partitions"),
        (f"{ONE} --partitions 0", "0 is not in the range 1<=x<=10000000"),
        (f"{ONE} --partitions 2 --skew -1", "-1.0 is not in the range 0<=x<="),
        ("bytes --sink 0 --partitions 2", "--partitions is about random arrivals"),
        (f"{ONE} --seconds inf", "inf is not in the range 0<x<="),
        (f"{ONE} --flush-cost inf", "inf is not in the range 0<=x<="),
        (f"{ONE} --delay-cost -1", "-1.0 is not in the range 0<=x<="),
        (f"{ONE} --policy lazy", "bad policy 'lazy'"),
        (f"{ONE} --policy OWN:CAPPED", "not 'five'"),
        (f"{ONE} --policy OWN:HEAVY", "needs weights"),
        (f"{ONE} --fail-rate 1.5", "1.5 is not in the range 0<=x<=1"),
        (f"{ONE} --retry 1 --attempts 2", "--retry is about calls that fail: it needs --fail-rate"),
        (f"{ONE} --attempts 2", "--attempts is about calls that fail: it needs --fail-rate"),
        (f"{ONE} --fail-rate 1 --attempts 0", "0 is not in the range 1<=x<=10000"),
        (f"{ONE} --queue-weight 5", "--queue-weight is about the weights of items: it needs"),
        (f"{ONE} --when-full drop_oldest", "--when-full is about full queues: it needs"),
        (f"{ONE} --queue-size 5 --when-full shed", "'shed' is not one of 'wait', 'drop_oldest'"),
        (f"{ONE} --weight 9 --queue-weight 17", "--queue-weight must be at least 18, not 17"),
        (f"{ONE} --throttle breaker:5/30", "a breaker is about calls that fail: it needs"),
        (f"{ONE} --weight 0", "0.0 is not in the range 0<x<="),
        (f"{ONE} --queue-size 0", "0 is not in the range x>=1"),
        (f"{ONE} --slots 0", "0 is not in the range x>=1"),
        (f"{ONE} --plot /no/lab.png", "cannot write '/no/lab.png': its directory does not exist"),
        (f"{ONE} --plot /", "cannot write '/': it is a directory"),
        (f"{ONE} --policy OWN:BROKEN", "the policy Acting raised ZeroDivisionError('division by"),
        (f"{ONE} --policy OWN:LEAVING", "the policy raised SystemExit(0)"),
    ],
)
def test_a_mistake_is_one_line(call: str, why: str, here: Path) -> None:
    """The exit code is 2, or 1 if a policy fails, and no file is changed."""
    Path("bytes").write_bytes(b"\xff\xfe\n")
    result = simulate(call, "soon\n")
    code = 1 if "the policy" in why else 2
    assert (code, 1, "") == (result.exit_code, result.stderr.count("\n"), result.stdout)
    assert result.stderr.startswith("Error: ")
    assert why in result.stderr
    assert b"\xff\xfe\n" == Path("bytes").read_bytes()


def test_without_matplotlib_a_plot_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the command that installs matplotlib."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = simulate(f"{ONE} --plot lab.png")
    assert (2, 1, "") == (result.exit_code, result.stderr.count("\n"), result.stdout)
    assert "pip install '.[plot]'" in result.stderr


def test_a_closed_standard_input_is_a_mistake_if_it_is_to_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the traffic of a model standard input is not needed."""
    monkeypatch.setattr(sys, "stdin", None)
    complaint = "Error: Invalid value for 'FILE': '-': standard input is closed\n"
    for call, code, told in (("- --sink 0", 2, complaint), (ONE, 0, "")):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", *call.split()])
        assert (code, told) == (ended.value.code, capsys.readouterr().err)
