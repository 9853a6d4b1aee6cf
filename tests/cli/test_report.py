"""What the lab found, as a table, as JSON and as a picture."""

import json
import sys
from pathlib import Path

import pytest

from flushq import Decision, Flush, FlushPolicy, NaturalPolicy
from flushq.cli.lab import Run, Setting, Sink
from flushq.cli.report import (
    as_json,
    as_table,
    in_intervals,
    piece_of,
    queue_lengths,
    save_plot,
)
from tests.cli.test_lab import FULL, NOTHING, STRANDED, run_of


def test_the_table_has_a_row_for_each_run() -> None:
    """Figures are rounded, and reasons come last."""
    lines = as_table([FULL, STRANDED, NOTHING]).splitlines()
    assert [
        ["policy", "flushes", "mean", "largest", "p50", "p95", "p99", "max", "busy", "cost"],
        ["IntervalPolicy", "3", "1.3", "2", "2.5", "s", "6", "s", "6", "s"],
        ["IntervalPolicy", "1", "3.0", "3", "3", "s", "4", "s", "4", "s"],
        ["IntervalPolicy", "0", "0.0", "0", "-", "-", "-", "-", "0%", "0"],
    ] == [line.split()[:10] for line in lines]
    assert lines[0].endswith("busy   cost   x least cost   why it flushed")
    assert lines[1].endswith("25%     31           3.10   age 2, full 1")
    assert lines[2].endswith("  -   full 1, 1 items never")
    assert lines[3].endswith("  -   4 items never")


def test_a_reason_is_shown_as_it_is() -> None:
    """It is not read as styles or emojis."""

    class Styled(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush("[bold]:smile:[/nothing]")

    assert as_table([run_of(Styled())]).endswith("   [bold]:smile:[/nothing] 4")


def test_times_below_a_second_are_in_milliseconds() -> None:
    """A second is in seconds."""
    for seconds, text in ((0.0123, " 12.3 ms "), (1, " 1 s ")):
        assert text in as_table(
            [run_of(NaturalPolicy(), Setting((0.0,), Sink(seconds, 0), 1, 1, 1))]
        )


def test_the_json_has_all_figures() -> None:
    """They are not rounded."""
    text = as_json([FULL, NOTHING])
    full, nothing = json.loads(text)
    assert text.startswith('[\n  {\n    "policy": ')
    assert {
        "policy": "IntervalPolicy",
        "items": 4,
        "stranded": 0,
        "flushes": 3,
        "mean_batch": 4 / 3,
        "largest_batch": 2,
        "latency_seconds": {"p50": 2.5, "p95": 6.0, "p99": 6.0, "max": 6.0},
        "busy": 0.25,
        "cost": 31.0,
        "least_cost": 10.0,
        "ratio": 3.1,
        "reasons": {"age": 2, "full": 1},
    } == full
    assert dict.fromkeys(["p50", "p95", "p99", "max"]) == nothing["latency_seconds"]
    names = ("stranded", "flushes", "mean_batch", "ratio")
    assert (4, 0, 0.0, None) == tuple(nothing[name] for name in names)


def test_the_queue_grows_by_arrivals_and_shrinks_by_flushes() -> None:
    """Of a time arrivals come first."""
    times, lengths = queue_lengths(FULL)
    assert [0, 1, 1, 2, 7, 8, 13] == times
    assert [1, 2, 0, 1, 0, 1, 0] == lengths


def test_a_value_is_in_the_interval_of_its_time() -> None:
    """The last edge belongs to the last interval."""
    assert [[10, 11], [12], []] == in_intervals([0, 1, 2], [10, 11, 12], [0, 2, 3, 4])
    assert [[10], [11, 12]] == in_intervals([0, 1, 2], [10, 11, 12], [0, 1, 2])


def test_the_closer_look_is_at_a_dozen_flushes() -> None:
    """They are about the middle; of fewer all are seen."""
    setting = Setting([float(second) for second in range(30)], Sink(0, 0), 1, 1, 1)
    assert (9, 21) == piece_of(run_of(NaturalPolicy(), setting))
    assert (1, 13) == piece_of(FULL)
    assert 0 == piece_of(NOTHING)[0]


@pytest.mark.parametrize("runs", [[FULL, STRANDED, NOTHING], [NOTHING]])
def test_the_picture_is_a_png(runs: list[Run], tmp_path: Path) -> None:
    """It is higher for more runs."""
    path = tmp_path / "lab.png"
    save_plot(runs, str(path))
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int(100 * (1 + 2.3 * len(runs))) == int.from_bytes(content[20:24])
    assert 1500 == int.from_bytes(content[16:20])


def test_only_pictures_need_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A table does without."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError):
        save_plot([FULL], str(tmp_path / "lab.png"))
    assert "IntervalPolicy" in as_table([FULL])
