"""The benchmarks: the table shows what was measured. The speed itself is not tested here."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import benchmarks.__main__
from benchmarks import figures
from benchmarks.__main__ import main, tabulate
from benchmarks.figures import Figure, Limits, Measured, Verdict, at_least, at_most, find
from benchmarks.launch import ROOT, Failed, Unavailable, launch
from benchmarks.rounds import Rounds
from benchmarks.rows import ROWS, Candidate, Row
from benchmarks.saved import Conditions, Run, load

PAIR = Row(
    "pair",
    "two of them",
    (Candidate("own", "floor:tight"), Candidate("old", "queues:tight_natural", "old==1")),
    (figures.time("own", "old", limits=at_most(0.5, 0.25)),),
)


def rounds_of(seconds: Mapping[str, float], most: int = 3) -> Rounds:
    """Return rounds in which each path takes these seconds, and every peer is installed."""
    return Rounds(lambda path, home, extra: seconds[path], most, lambda peer: ROOT)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_whole(row: Row) -> None:
    """The figures of a row use all its candidates, one figure has a bar, and names are unique.

    The function of each path exists: the test reads the source, since a peer may not be installed.
    """
    names = [candidate.name for candidate in row.candidates]
    assert len(names) == len(set(names))
    assert {name for figure in row.figures for name in (figure.of, *figure.to)} == set(names)
    assert any(figure.limits for figure in row.figures)
    for candidate in row.candidates:
        module, _, name = candidate.path.partition(":")
        assert name in defined_in(ROOT / "benchmarks" / "candidates" / f"{module}.py")


def defined_in(path: Path) -> Iterator[str]:
    """Yield the names that the source of a module defines at its top level."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AsyncFunctionDef):
            yield node.name
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


RATIO = figures.time("a", "b", "c")


@pytest.mark.parametrize(
    ("figure", "samples", "expected"),
    [
        # A machine that becomes three times slower between the rounds changes no ratio.
        (RATIO, {"a": [2.0, 6.0, 9.0], "b": [1.0, 3.0, 3.0]}, 2.0),
        # The ratio is to the fastest of the peers that were measured.
        (RATIO, {"a": [4.0], "b": [2.0], "c": [1.0]}, 4.0),
        (figures.speed("a", "b"), {"a": [2.0], "b": [1.0]}, 0.5),
        (figures.spread("a", "b", "c"), {"a": [2.0], "b": [1.0], "c": [5.0]}, 5.0),
        (figures.amount("a", "B"), {"a": [8.0, 9.0, 80.0]}, 9.0),
    ],
    ids=["by round", "to the fastest", "speed", "spread", "median"],
)
def test_a_figure_is_made_of_samples(
    figure: Figure, samples: dict[str, list[float]], expected: float
) -> None:
    """A ratio is taken within its round, an amount is a median."""
    assert find(figure, Measured(samples, {}, {})).value == expected


@pytest.mark.parametrize(
    ("samples", "noise"), [([8.0, 9.0, 10.0, 11.0, 12.0], 0.1), ([8.0], 0.0)], ids=["five", "one"]
)
def test_noise_is_half_the_distance_of_the_quartiles(samples: list[float], noise: float) -> None:
    """The noise is a share of the value, and 0 for a single round."""
    assert find(figures.amount("a", "B"), Measured({"a": samples}, {}, {})).noise == noise


@pytest.mark.parametrize(
    ("figure", "measured", "verdict", "why"),
    [
        (figures.amount("own", "B"), Measured({"own": [1.0]}, {}, {}), Verdict.SHOWN, ""),
        (
            PAIR.figures[0],
            Measured({"own": [1.0]}, {"old": "needs a newer Python"}, {}),
            Verdict.MISSING,
            "old: needs a newer Python",
        ),
        (
            PAIR.figures[0],
            Measured({"old": [1.0]}, {}, {"own": "ImportError"}),
            Verdict.FAILED,
            "own: ImportError",
        ),
    ],
    ids=["no limit", "a missing peer", "a failure"],
)
def test_only_a_failure_fails_a_figure_without_a_value(
    figure: Figure, measured: Measured, verdict: Verdict, why: str
) -> None:
    """A missing peer is reported and does not fail the figure; a candidate that fails does."""
    finding = find(figure, measured)
    assert (finding.verdict, finding.why) == (verdict, why)
    assert finding.holds == (verdict is not Verdict.FAILED)


@pytest.mark.parametrize(
    ("limits", "value", "expected"),
    [
        (at_most(2.0, 1.5), 1.5, Verdict.GOAL),
        (at_most(2.0, 1.5), 2.0, Verdict.BAR),
        (at_most(2.0, 1.5), 2.01, Verdict.MISSED),
        (at_most(2.0), 0.1, Verdict.BAR),
        (at_least(0.8, 0.9), 0.9, Verdict.GOAL),
        (at_least(0.8, 0.9), 0.8, Verdict.BAR),
        (at_least(0.8, 0.9), 0.79, Verdict.MISSED),
    ],
)
def test_a_limit_judges_a_value(limits: Limits, value: float, expected: Verdict) -> None:
    """A value that is exactly at the bar or the goal meets it."""
    assert limits.verdict(value) is expected


def test_candidates_take_turns() -> None:
    """Each round measures all candidates, in an order that changes from round to round.

    A peer is imported from its own folder, everything else from the checkout.
    """
    order = []
    homes = {}

    def note(path: str, home: Path, extra: Mapping[str, str]) -> float:
        order.append(path.partition(":")[0])
        homes[path] = home
        return float(len(order))

    measured = Rounds(note, 3, lambda peer: Path("cache") / peer).measure(PAIR)
    assert homes == {"floor:tight": ROOT, "queues:tight_natural": Path("cache/old==1")}
    assert order == ["floor", "queues", "queues", "floor", "floor", "queues"]
    assert measured == Measured({"own": [1.0, 4.0, 5.0], "old": [2.0, 3.0, 6.0]}, {}, {})


def test_a_candidate_that_fails_is_out() -> None:
    """A candidate that fails is not measured again, and its samples do not count."""

    def fail_at_last(path: str, home: Path, extra: Mapping[str, str]) -> float:
        launched.append(path)
        if launched[-1] == "floor:tight" and launched.count("floor:tight") == 2:
            raise Failed("ValueError")
        return 1.0

    launched: list[str] = []
    measured = Rounds(fail_at_last, 3, lambda peer: ROOT).measure(PAIR)
    assert measured == Measured({"old": [1.0, 1.0, 1.0]}, {}, {"own": "ValueError"})
    assert launched.count("floor:tight") == 2


def test_the_table_shows_value_bar_goal_and_verdict() -> None:
    """A row of the table shows its title, its figures, and the samples behind the figures."""
    said: list[str] = []
    run = Run(Conditions.here("asyncio"))
    times = {"floor:tight": 1.5e-7, "queues:tight_natural": 5e-7}
    tabulate([PAIR], rounds_of(times), run, None, said.append)
    assert "\n".join(said).splitlines()[1:] == [
        "pair: two of them",
        "  own / old                                        0.300x     0%    <= 0.5x  0.25x  ok",
        "  own 150 ns, old 500 ns",
        "0 at the goal, 1 within the bar, 0 missed, 0 failed, 0 missing",
    ]


def test_a_run_can_be_kept_and_compared_with(tmp_path: Path) -> None:
    """A saved run can be loaded, and the table shows the changes since then."""
    run = Run(Conditions.here("asyncio"))
    fast = {"floor:tight": 1.0, "queues:tight_natural": 4.0}
    tabulate([PAIR], rounds_of(fast), run, None, lambda _: None)
    run.save(tmp_path / "run.json")
    assert load(tmp_path / "run.json") == run
    said: list[str] = []
    slow = {"floor:tight": 1.5, "queues:tight_natural": 4.0}
    tabulate([PAIR], rounds_of(slow), Run(run.conditions), run, said.append)
    assert "was 0.250 (+50%)" in "\n".join(said)


@pytest.mark.parametrize("text", ["{bad", "[]", "{}"])
def test_a_file_that_save_did_not_write(tmp_path: Path, text: str) -> None:
    """The ValueError names the file, whether it has no JSON or other JSON."""
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path} must be a file that --save has written: "):
        load(path)


@pytest.mark.parametrize(("own", "code"), [(1.0, 0), (10.0, 1)])
def test_a_missed_bar_is_the_exit_code(
    own: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing peer is reported and does not fail the run; a missed bar does."""

    def is_missing(requirement: str) -> Path:
        raise Unavailable(f"{requirement} cannot be installed")

    times = {"floor:tight": 1.0, "queues:tight_natural": own, "by_hand:tight_natural": 1.0}
    rounds = Rounds(lambda path, home, extra: times[path], 2, is_missing)
    monkeypatch.setattr(benchmarks.__main__, "Rounds", lambda launch, most: rounds)
    assert main(["tight-natural", "--rounds", "2"]) == code
    assert "flushq 0.2.2: flushq==0.2.2 cannot be installed" in capsys.readouterr().out


def test_a_candidate_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """A candidate returns a time; if flushq is imported from another folder, it fails."""
    assert launch("floor:tight", ROOT, "asyncio", {}) > 0
    with pytest.raises(Failed, match="flushq must come from"):
        launch("queues:tight_natural", tmp_path, "asyncio", {})
