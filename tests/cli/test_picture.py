"""The picture of the lab: what stands in it, and the scales that all rows share."""

import math
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from flushq import Decision, Flush, FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.lab import Failures, Run, Setting, Sink, run
from flushq.cli.picture import (
    Steps,
    save_picture,
    scales_of,
    sink_text,
    steps_of,
    traffic_text,
)

SETTING = Setting((0.0, 1.0, 2.0, 8.0), Sink(0.5, 0.5), 1, flush_cost=3.0, delay_cost=2.0)
SECONDLY = attrs.evolve(SETTING, arrivals=[float(second) for second in range(1000)])


def lab(policy: FlushPolicy, setting: Setting = SETTING, text: str = "policy") -> Run:
    """A run of the policy, whose least cost is 10."""
    return run(text, policy, setting, lambda cap: 10.0, lambda size: None)


FULL = lab(IntervalPolicy(5.0, 2), text="interval:5.0,2")
NOTHING = lab(IntervalPolicy(math.inf, 9), text="interval:inf,9")


def drawn(runs: list[Run], folder: Path) -> list[str]:
    """The texts of the SVG picture of some runs."""
    path = folder / "lab.svg"
    save_picture(runs, str(path))
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_how_many_wait() -> None:
    """The number of items that wait grows by arrivals, first, and shrinks by flushes."""
    steps = steps_of(FULL)
    assert [0, 1, 1, 2, 7, 8, 13] == steps.times
    assert [1, 2, 0, 1, 0, 1, 0] == steps.levels


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        (0, 4, Steps([0, 1, 3, 4], [1, 5, 2])),
        (1, 3, Steps([1, 3], [5])),
        (2, 9, Steps([2, 3, 9], [5, 2])),
        (-2, -1, Steps([-2, -1], [0])),
    ],
)
def test_a_part_of_the_steps(start: float, end: float, part: Steps) -> None:
    """A part begins with the level of its first moment, and lasts until its last."""
    assert part == Steps([0, 1, 3], [1, 5, 2]).between(start, end)


def test_most_and_mean() -> None:
    """The mean counts how long each level lasts."""
    part = Steps([0, 1, 3, 4], [1, 5, 2])
    assert (5, (1 + 2 * 5 + 2) / 4) == (part.most, part.mean)


def scales(*runs: Run) -> tuple[float, float]:
    """The closer look at some runs."""
    return scales_of(runs, [steps_of(each) for each in runs]).close


def test_scales_fit_all_runs() -> None:
    """The whole run ends with the last change, and latencies have some room at both ends."""
    both = [FULL, NOTHING]
    found = scales_of(both, [steps_of(each) for each in both])
    assert ((0, 13), 4) == (found.whole, found.most)
    assert (1.5 / 1.5, 6 * 1.5) == found.latency


def test_the_closer_look_is_about_the_middle() -> None:
    """It is at a dozen flushes of the quickest, more if the slowest had none, a hundred at most."""
    quick = lab(NaturalPolicy(), attrs.evolve(SECONDLY, sink=Sink(0, 0)))
    slow = lab(IntervalPolicy(math.inf, 20), SECONDLY)
    slower = lab(IntervalPolicy(math.inf, 500), SECONDLY)
    start, end = scales(quick)
    assert pytest.approx((500, 12), rel=0.01) == ((start + end) / 2, end - start)
    assert pytest.approx(1.5 * 20, rel=0.01) == math.dist(*[[at] for at in scales(quick, slow)])
    assert pytest.approx(100, rel=0.01) == math.dist(*[[at] for at in scales(quick, slower)])
    assert (0, 8) == scales(NOTHING)


@pytest.mark.parametrize(
    ("arrivals", "text"),
    [
        (SETTING.arrivals, "4 items in 8 s, 0.5 a second on average"),
        ((1.0, 1.0), "2 items"),
        ((1.0,), "1 item"),
    ],
)
def test_the_traffic_in_words(arrivals: tuple[float, ...], text: str) -> None:
    """The title tells how many items came, and how fast."""
    assert text == traffic_text(attrs.evolve(SETTING, arrivals=arrivals))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "A flush takes 500 ms and 500 ms for each item. {costs}"),
        ({"sink": Sink(0, 0)}, "A flush takes 0 ms. {costs}"),
        (
            {"sink": Sink(0, 0.01), "slots": 3},
            "A flush takes 10 ms for each item; 3 may run at a time. {costs}",
        ),
        (
            {"sink": Sink(1, 0), "max_queue_size": 1000, "failures": Failures(0.005, 1, 1.0, 3)},
            "A flush takes 1 s. {costs} At most 1,000 items wait. 0.5% of the calls fail.",
        ),
    ],
)
def test_the_sink_in_words(changes: dict[str, Any], text: str) -> None:
    """The title tells how long a flush takes, what is paid, and what limits there are."""
    costs = "It costs 3; a second that an item waits costs 2."
    assert text.format(costs=costs) == sink_text(attrs.evolve(SETTING, **changes))


def test_a_row_has_the_figures_of_its_policy(tmp_path: Path) -> None:
    """What a row says is what the table says."""
    texts = drawn([FULL, NOTHING], tmp_path)
    assert "interval:5.0,2" in texts
    assert "3.10 x least cost" in texts
    assert "flushes: age 2, full 1" in texts
    assert "50% 2.5 s,  99% 6 s" in texts
    assert "flushes: 4 items never" in texts
    assert "nothing was delivered" in texts


def test_counts_have_whole_ticks(tmp_path: Path) -> None:
    """Where one item waits at most, there is no tick between 0 and 1."""
    texts = drawn([lab(NaturalPolicy(), attrs.evolve(SETTING, arrivals=(0.0,)))], tmp_path)
    assert ["0", "1"] == texts[texts.index("seconds") + 1 : texts.index("items")]


def test_moments_are_told_by_the_clock(tmp_path: Path) -> None:
    """Where the traffic has dates, so has the picture; elsewhere it has seconds."""
    dated = attrs.evolve(SECONDLY, began=datetime(2026, 3, 1, 8, 59, 30, tzinfo=UTC))
    texts = drawn([lab(IntervalPolicy(5.0), dated)], tmp_path)
    assert "09:00" in texts
    assert "UTC" in texts
    assert "2026-Mar-01" in texts
    assert "seconds" not in texts
    assert "seconds" in drawn([lab(IntervalPolicy(5.0), SECONDLY)], tmp_path)


def test_any_text_is_written_as_it_is(tmp_path: Path) -> None:
    """A formula is not typeset, and what is too long is cut off."""

    class Odd(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush("$x_" + 60 * "y")

    texts = drawn([lab(Odd(), text="m" * 41)], tmp_path)
    assert f"{'m' * 37}..." in texts
    assert f"flushes: $x_{'y' * 45}..." in texts


@pytest.mark.parametrize("runs", [[FULL], [FULL, NOTHING, FULL]])
def test_a_png(runs: list[Run], tmp_path: Path) -> None:
    """The picture is a PNG if its name does not end with .svg; higher for more runs."""
    path = tmp_path / "lab.png"
    save_picture(runs, str(path))
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert (1200, 160 + 160 * len(runs)) == tuple(
        int.from_bytes(content[at : at + 4]) for at in (16, 20)
    )


def test_the_same_runs_are_the_same_picture(tmp_path: Path) -> None:
    """Nothing in an SVG picture tells when it was drawn."""
    pictures = []
    for name in ("one.svg", "two.SVG"):
        save_picture([FULL], str(tmp_path / name))
        pictures.append((tmp_path / name).read_text())
    assert pictures[0].startswith("<?xml")
    assert pictures[0] == pictures[1]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a picture needs matplotlib."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError):
        save_picture([FULL], str(tmp_path / "lab.png"))
