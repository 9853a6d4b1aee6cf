"""The picture of the lab: its texts, and the scales that all rows share."""

import math
import re
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from flushq import Decision, Flush, FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.lab import Failures, Run, Sink, WhenFull
from flushq.cli.picture import (
    Scales,
    Steps,
    save_picture,
    scales_of,
    sink_text,
    steps_of,
    traffic_text,
)
from tests.cli.test_lab import FULL, KEYED, NOTHING, PARTITIONED, SETTING, run_of

SECONDLY = attrs.evolve(SETTING, arrivals=[float(second) for second in range(1000)])
DATED = attrs.evolve(SECONDLY, began=datetime(2026, 3, 1, 8, 59, 30, tzinfo=UTC))
ONE = attrs.evolve(SETTING, arrivals=(0.0,))


def drawn(runs: list[Run], folder: Path) -> list[str]:
    """Return the texts in the SVG picture of some runs."""
    path = folder / "lab.svg"
    save_picture(runs, str(path))
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_how_many_wait() -> None:
    """The number of waiting items grows at arrivals, and then shrinks at flushes."""
    assert Steps([0, 1, 1, 2, 7, 8, 13], [1, 2, 0, 1, 0, 1, 0]) == steps_of(FULL)


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_no_more_wait_than_may(when_full: WhenFull) -> None:
    """A displaced item leaves at the moment at which it is displaced."""
    full = attrs.evolve(SETTING, sink=Sink(9, 0), max_queue_size=1, when_full=when_full)
    steps = steps_of(run_of(NaturalPolicy(), full))
    assert Steps([0, 0, 1, 2, 8, 9], [1, 0, 1, 1, 1, 0]) == steps


def test_who_is_refused_waits_no_longer() -> None:
    """An item that has no room when the queue closes leaves at that moment, the last arrival."""
    closing = attrs.evolve(SETTING, sink=Sink(9, 0), slots=1, max_queue_size=1, drain=True)
    run = run_of(NaturalPolicy(), closing)
    assert 2 == run.trace.refused
    assert Steps([0, 0, 1, 2, 8, 9], [1, 0, 1, 2, 1, 0]) == steps_of(run)


def test_a_part_of_the_steps() -> None:
    """A part begins with the level at its first moment, and ends at its last moment."""
    steps = Steps([0, 1, 3], [1, 5, 2])
    whole = Steps([0, 1, 3, 4], [1, 5, 2])
    assert whole == steps.between(0, 4)
    assert Steps([1, 3], [5]) == steps.between(1, 3)
    assert Steps([2, 3, 9], [5, 2]) == steps.between(2, 9)
    assert Steps([-2, -1], [0]) == steps.between(-2, -1)
    assert (5, (1 + 2 * 5 + 2) / 4) == (whole.most, whole.mean)


def scales(*runs: Run) -> Scales:
    """Return the scales of some runs."""
    return scales_of(runs, [steps_of(each) for each in runs])


def test_scales_fit_all_runs() -> None:
    """The whole range ends with the last change; the latencies have a margin at both ends."""
    found = scales(FULL, NOTHING)
    assert ((0, 13), 4) == (found.whole, found.most)
    assert (1.5 / 1.5, 6 * 1.5) == found.latency


def test_the_closer_look_is_about_the_middle() -> None:
    """The range has 12 flushes of the quickest run, or up to 100 to include one of the slowest."""
    quick = run_of(NaturalPolicy(), attrs.evolve(SECONDLY, sink=Sink(0, 0)))
    for others, seconds in (((), 12), ((20,), 1.5 * 20), ((500,), 100)):
        slow = [run_of(IntervalPolicy(math.inf, size), SECONDLY) for size in others]
        start, end = scales(quick, *slow).part
        assert pytest.approx((500, seconds), rel=0.01) == ((start + end) / 2, end - start)
    assert (0, 8) == scales(NOTHING).part


def test_the_traffic_in_words() -> None:
    """The title says how many items came, how fast, and of how many partitions."""
    traffics = (SETTING.arrivals, (1.0, 1.0), (1.0,))
    texts = [traffic_text(attrs.evolve(SETTING, arrivals=times)) for times in traffics]
    assert ["4 items in 8 s, 0.5 a second on average", "2 items", "1 item"] == texts
    keyed = [attrs.evolve(ONE, arrivals=(1.0, 1.0), partitions=keys) for keys in ("ab", "aa")]
    assert ["2 items of 2 partitions", "2 items of 1 partition"] == [*map(traffic_text, keyed)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "A call of the sink takes 500 ms plus 500 ms for each item. {costs}"),
        ({"sink": Sink(0, 0)}, "A call of the sink takes 0 ms. {costs}"),
        (
            {"sink": Sink(0, 0.01), "slots": 3},
            "A call of the sink takes 10 ms for each item; 3 flushes may run at a time. {costs}",
        ),
        (
            {"sink": Sink(1, 0), "max_queue_size": 1000, "failures": Failures(0.005, 1, 1.0, 3)},
            "A call of the sink takes 1 s. {costs}\nThe queue has room for 1,000 items. {fail}",
        ),
        (
            {"sink": Sink(0, 0), "max_queue_weight": 20.5, "when_full": "drop_oldest"},
            "A call of the sink takes 0 ms. {costs}\n{weigh} {oldest}",
        ),
    ],
)
def test_the_sink_in_words(changes: dict[str, Any], text: str) -> None:
    """The title says how long a call takes, what it costs, and which limits there are."""
    costs = "Each call costs 3; each second that an item waits costs 2."
    oldest = "A full queue displaces the oldest item."
    fail, weigh = "0.5% of calls fail.", "The items in the queue weigh up to 20.5."
    text = text.format(costs=costs, oldest=oldest, fail=fail, weigh=weigh)
    assert text == sink_text(attrs.evolve(SETTING, **changes))


def test_a_row_has_the_figures_of_its_policy(tmp_path: Path) -> None:
    """A row shows the same figures as the table."""
    texts = drawn([FULL, NOTHING], tmp_path)
    assert {
        *("IntervalPolicy", "3.10 x least cost", "flushes: age 2, full 1", "50% 2.5 s,  99% 6 s"),
        *("flushes: 4 items not flushed", "nothing was delivered"),
    } <= {*texts}


def test_partitions_have_a_line_for_the_slowest_and_one_for_all_others(tmp_path: Path) -> None:
    """A run with only one partition has no line for other partitions."""
    alone = run_of(IntervalPolicy(5.0), attrs.evolve(KEYED, partitions="aaaa"))
    texts = drawn([PARTITIONED, alone], tmp_path)
    assert {
        *("the slowest partition", "99%: others 6 s,  slowest 6.5 s"),
        *("4 items of 2 partitions in 8 s, 0.5 a second on average",),
        *("99%: others -,  slowest 7 s",),
    } <= {*texts}
    assert "the slowest partition" not in drawn([FULL], tmp_path)


def test_axes(tmp_path: Path) -> None:
    """Counts have whole ticks; the time axis shows the clock if the traffic has dates."""
    texts = drawn([run_of(NaturalPolicy(), ONE)], tmp_path)
    assert ["0", "1"] == texts[texts.index("seconds") + 1 : texts.index("items")]
    texts = drawn([run_of(IntervalPolicy(5.0), DATED)], tmp_path)
    assert {"09:00", "UTC", "2026-Mar-01"} <= {*texts}
    assert "seconds" not in texts


def test_any_text_is_written_as_it_is(tmp_path: Path) -> None:
    """A formula is not typeset, and a text that is too long is cut off."""

    class Odd(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush("$x_" + 60 * "y")

    texts = drawn([attrs.evolve(run_of(Odd()), policy="m" * 41)], tmp_path)
    assert f"{'m' * 37}..." in texts
    assert f"flushes: $x_{'y' * 45}..." in texts


@pytest.mark.parametrize("runs", [[FULL], [FULL, NOTHING, FULL]])
def test_a_png(runs: list[Run], tmp_path: Path) -> None:
    """A name that does not end with .svg makes a PNG, which is higher for more runs."""
    path = tmp_path / "lab.png"
    save_picture(runs, str(path))
    content = path.read_bytes()
    assert b"\x89PNG" == content[:4]
    assert (1200, 160 + 160 * len(runs)) == struct.unpack(">II", content[16:24])


def test_the_same_runs_are_the_same_picture(tmp_path: Path) -> None:
    """An SVG picture does not contain the time at which it was drawn."""
    one, two = tmp_path / "one.svg", tmp_path / "two.SVG"
    for path in (one, two):
        save_picture([FULL], str(path))
    assert "<?xml" == one.read_text()[:5]
    assert one.read_text() == two.read_text()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A picture needs matplotlib, but importing the module does not."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError):
        save_picture([FULL], str(tmp_path / "lab.png"))
