"""The benchmarks: the table says what was measured. That it is fast is not tested here."""

import ast
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import benchmarks.__main__
from benchmarks import figures, peers
from benchmarks.__main__ import main, tabulate
from benchmarks.figures import Figure, Limit, Measured, Verdict, at_least, at_most, find
from benchmarks.launch import ROOT, Failed, Unavailable, launch
from benchmarks.rounds import Rounds
from benchmarks.rows import ROWS, Candidate, Row
from benchmarks.saved import Conditions, Run, load

ROW_NAMES = [
    "tight-interval",
    "tight-natural",
    "dedupe-distinct",
    "dedupe-equal",
    "weigh",
    "trickle-natural",
    "trickle-interval",
    "blocked",
    "backlog",
    "custom-policy",
    "memory",
    "deliver",
    "batched",
    "threads-1",
    "threads-8",
    "threads-deliver",
    "sqlite",
    "postgres",
    "import",
    "simulate",
]
PAIR = Row(
    "pair",
    "two of them",
    (Candidate("own", "floor:tight"), Candidate("old", "queues:tight_natural", "old==1")),
    (figures.time("own", "old", limit=at_most(0.5, 0.25)),),
)


def read(figure: Figure, **samples: list[float]) -> float | None:
    """Return the value of a figure of these samples."""
    return find(figure, Measured(samples, {}, {})).value


def rounds_of(seconds: Mapping[str, float], most: int = 3) -> Rounds:
    """Return rounds in which a path takes so many seconds, and every peer is there."""
    return Rounds(lambda path, home, extra: seconds[path], most, lambda peer: ROOT)


def test_every_row_is_there() -> None:
    """The table has a row for each case that the speed is judged by."""
    assert [row.name for row in ROWS] == ROW_NAMES


@pytest.mark.parametrize("row", ROWS, ids=ROW_NAMES)
def test_a_row_is_whole(row: Row) -> None:
    """The figures of a row speak of its candidates, one has a bar, and no two are called the same.

    What a path names is there: read from the source, since a peer may not be installed.
    """
    names = [candidate.name for candidate in row.candidates]
    assert len(names) == len(set(names))
    assert {name for figure in row.figures for name in (figure.of, *figure.to)} == set(names)
    assert any(figure.limit for figure in row.figures)
    for candidate in row.candidates:
        module, _, name = candidate.path.partition(":")
        assert name in defined_in(ROOT / "benchmarks" / "candidates" / f"{module}.py")


def defined_in(path: Path) -> Iterator[str]:
    """Yield the names that the source of a module defines at its top."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AsyncFunctionDef):
            yield node.name
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_a_ratio_is_taken_within_its_round() -> None:
    """A machine that gets three times as slow between the rounds changes no ratio."""
    assert read(figures.time("a", "b"), a=[2.0, 6.0, 9.0], b=[1.0, 3.0, 3.0]) == 2.0


def test_a_ratio_to_several_is_one_to_the_fastest_of_each_round() -> None:
    """The fastest of several peers counts, of those that are there."""
    figure = figures.time("a", "b", "c")
    assert read(figure, a=[4.0], b=[2.0], c=[1.0]) == 4.0
    assert read(figure, a=[4.0], b=[2.0]) == 2.0


def test_a_speed_is_the_inverse_of_a_time() -> None:
    """What takes twice as long is half as fast."""
    assert read(figures.speed("a", "b"), a=[2.0], b=[1.0]) == 0.5


def test_a_spread_is_the_largest_by_the_smallest() -> None:
    """The order of the candidates does not matter."""
    assert read(figures.spread("a", "b", "c"), a=[2.0], b=[1.0], c=[5.0]) == 5.0


def test_an_amount_is_a_median() -> None:
    """What is not compared is shown as it is."""
    assert read(figures.amount("a", "B"), a=[8.0, 9.0, 80.0]) == 9.0


def test_noise_is_half_the_distance_of_the_quartiles() -> None:
    """It is a share of the value, and none of one round alone."""
    five = Measured({"a": [8.0, 9.0, 10.0, 11.0, 12.0]}, {}, {})
    assert find(figures.amount("a", "B"), five).noise == 0.1
    assert find(figures.amount("a", "B"), Measured({"a": [8.0]}, {}, {})).noise == 0


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
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
def test_a_limit_judges_a_value(limit: Limit, value: float, expected: Verdict) -> None:
    """What is exactly at the bar or the goal meets it."""
    assert limit.verdict(value) is expected


def test_a_figure_without_a_limit_is_only_shown() -> None:
    """Nothing is said of it."""
    finding = find(figures.amount("a", "B"), Measured({"a": [1.0]}, {}, {}))
    assert (Verdict.SHOWN, True) == (finding.verdict, finding.holds)


def test_a_missing_peer_is_reported_and_stands_in_nobody_s_way() -> None:
    """The figure that needs it says why it has no value."""
    measured = Measured({"own": [1.0]}, {"old": "needs a newer Python"}, {})
    finding = find(PAIR.figures[0], measured)
    assert (None, Verdict.MISSING, True) == (finding.value, finding.verdict, finding.holds)
    assert finding.why == "old: needs a newer Python"


def test_what_fails_is_no_excuse() -> None:
    """A candidate that was there and gave no number fails the figures that need it."""
    finding = find(PAIR.figures[0], Measured({"old": [1.0]}, {}, {"own": "ImportError"}))
    assert (None, Verdict.FAILED, False) == (finding.value, finding.verdict, finding.holds)
    assert finding.why == "own: ImportError"


def test_candidates_take_turns() -> None:
    """Each round measures all, and none of them always follows the same other."""
    order = []

    def note(path: str, home: Path, extra: Mapping[str, str]) -> float:
        order.append(path.partition(":")[0])
        return float(len(order))

    measured = Rounds(note, 3, lambda peer: ROOT).measure(PAIR)
    assert order == ["floor", "queues", "queues", "floor", "floor", "queues"]
    assert measured == Measured({"own": [1.0, 4.0, 5.0], "old": [2.0, 3.0, 6.0]}, {}, {})


def test_each_is_measured_with_its_product_first_on_the_path() -> None:
    """A peer comes from its own folder, everything else from the checkout."""
    homes = {}

    def note(path: str, home: Path, extra: Mapping[str, str]) -> float:
        homes[path] = home
        return 1.0

    Rounds(note, 1, lambda peer: Path("cache") / peer).measure(PAIR)
    assert homes == {"floor:tight": ROOT, "queues:tight_natural": Path("cache/old==1")}


def test_a_candidate_that_fails_is_out() -> None:
    """It is not measured again, and its samples do not count."""

    def fail_at_last(path: str, home: Path, extra: Mapping[str, str]) -> float:
        launched.append(path)
        if launched[-1] == "floor:tight" and launched.count("floor:tight") == 2:
            raise Failed("ValueError")
        return 1.0

    launched: list[str] = []
    measured = Rounds(fail_at_last, 3, lambda peer: ROOT).measure(PAIR)
    assert measured == Measured({"old": [1.0, 1.0, 1.0]}, {}, {"own": "ValueError"})
    assert launched.count("floor:tight") == 2


def test_a_row_without_its_service_is_missing() -> None:
    """Nothing is measured, and each candidate says why."""

    def nowhere() -> AbstractContextManager[Mapping[str, str]]:
        raise Unavailable("no server")

    row = Row(PAIR.name, PAIR.text, PAIR.candidates, PAIR.figures, service=nowhere)
    assert rounds_of({}).measure(row) == Measured({}, {"own": "no server", "old": "no server"}, {})


def test_the_table_shows_value_bar_goal_and_verdict() -> None:
    """A row says what it is about, its figures, and what they are made of."""
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
    """What was saved comes back, and the table shows what has changed since."""
    run = Run(Conditions.here("asyncio"))
    fast = {"floor:tight": 1.0, "queues:tight_natural": 4.0}
    tabulate([PAIR], rounds_of(fast), run, None, lambda _: None)
    run.save(tmp_path / "run.json")
    assert load(tmp_path / "run.json") == run
    said: list[str] = []
    slow = {"floor:tight": 1.5, "queues:tight_natural": 4.0}
    tabulate([PAIR], rounds_of(slow), Run(run.conditions), run, said.append)
    assert "was 0.250 (+50%)" in "\n".join(said)


def test_what_is_no_run_cannot_be_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line says so, whatever the file holds."""
    for text in ("[]", "{}", "no JSON"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(SystemExit):
            main(["--compare", str(tmp_path / "run.json")])
        assert "argument --compare" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nothing"], ["--rounds", "0"], ["--loop", "trio"]])
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The value stands in the message."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere/run.json", "there is no such folder"), (".", "it is a folder")]
)
def test_what_could_not_be_kept_is_not_measured(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be written is refused before six minutes are spent."""
    with pytest.raises(SystemExit) as ended:
        main(["weigh", "--save", str(tmp_path / name)])
    assert 2 == ended.value.code
    told = capsys.readouterr().err
    assert f"argument --save: cannot write {str(tmp_path / name)!r}: {why}" in told


def test_help_explains_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """What floor, bar and goal mean is told."""
    with pytest.raises(SystemExit):
        main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    for term in ("The floor is", "A bar is", "A goal"):
        assert term in told


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no peer be installable."""

    def fail(requirement: str, folder: Path) -> None:
        raise Unavailable(f"{requirement} is not to be had")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peers, "install", fail)


@pytest.mark.usefixtures("no_peers")
@pytest.mark.parametrize(("own", "code"), [(1.0, 0), (10.0, 1)])
def test_a_missed_bar_is_the_exit_code(
    own: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing peer is reported, and does not fail the run: a bar that is missed does."""
    times = {"floor:tight": 1.0, "queues:tight_natural": own, "by_hand:tight_natural": 1.0}
    monkeypatch.setattr(benchmarks.__main__, "launch", lambda path, home, loop, extra: times[path])
    assert main(["tight-natural", "--rounds", "2"]) == code
    assert "flushq 0.2.2: flushq==0.2.2 is not to be had" in capsys.readouterr().out


def test_a_peer_is_installed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It gets a folder of its own in the cache, whole or not at all."""
    installed = []

    def install(requirement: str, folder: Path) -> None:
        folder.mkdir()
        installed.append(requirement)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peers, "install", install)
    homes = {peers.home_of(requirement) for requirement in ("a==1", "b==1", "a==1")}
    assert installed == ["a==1", "b==1"]
    assert all(home.is_dir() and home.is_relative_to(tmp_path) for home in homes)
    assert len(list(peers.cache().iterdir())) == 2


def test_a_candidate_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """It prints a number; with the product of another folder it fails, and says so."""
    assert launch("floor:tight", ROOT, "asyncio", {}) > 0
    with pytest.raises(Failed, match="flushq should come from"):
        launch("queues:tight_natural", tmp_path, "asyncio", {})
