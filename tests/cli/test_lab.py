"""The lab: figures that are known by hand, as a table and as JSON."""

import json
import math

import pytest

from flushq import Decision, Flush, FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.lab import Run, Setting, run
from flushq.cli.lab_report import as_json, as_table, duration
from flushq.cli.sink_text import Sink

ARRIVALS = (0.0, 1.0, 2.0, 8.0)
SETTING = Setting(ARRIVALS, Sink(0.5, 0.5), 1, flush_cost=3.0, delay_cost=2.0)


def lab(policy: FlushPolicy, setting: Setting = SETTING, least: float = 10.0) -> Run:
    """A run of the policy under its class's name."""
    return run(type(policy).__name__, policy, setting, lambda cap: least, lambda size: None)


FULL = lab(IntervalPolicy(5.0, 2))
STRANDED = lab(IntervalPolicy(math.inf, 3))
NOTHING = lab(IntervalPolicy(math.inf, 9))


def test_figures() -> None:
    """Sizes, latencies, reasons, load and cost are those of the trace."""
    # Two items flush at 1 (done at 2.5), the third at 7 (done at 8), the last at 13 (done at 14).
    assert [2, 1, 1] == FULL.sizes
    assert [1.5, 2.5, 6, 6] == FULL.latencies
    assert {"age": 2, "full": 1} == FULL.reasons
    assert ["age", "full"] == list(FULL.reasons)
    assert (1.5 + 1 + 1) / 14 == FULL.busy
    assert 3 * 3 + 2 * (1 + 5 + 5) == FULL.cost
    assert 31 / 10 == FULL.ratio


def test_latencies_are_quantiles() -> None:
    """A latency is one that was seen: the least that the share did not exceed."""
    assert [1.5, 1.5, 2.5, 6, 6] == [FULL.latency(share) for share in (0, 0.25, 0.5, 0.51, 1)]
    assert math.isnan(NOTHING.latency(0.5))


def test_what_is_left() -> None:
    """Where an item is left there is no ratio, and the rest counts."""
    assert 1 == STRANDED.trace.stranded
    assert [3] == STRANDED.sizes
    assert None is STRANDED.ratio
    assert 3 + 2 * (2 + 1) == STRANDED.cost
    assert (0, 0, {}) == (NOTHING.cost, NOTHING.busy, NOTHING.reasons)


def test_where_nothing_costs() -> None:
    """There is no multiple of nothing; and no load where no time passed."""
    nothing = lab(NaturalPolicy(), Setting((1.0,), Sink(0, 0), 1, 0, 0), 0.0)
    assert (None, 0) == (nothing.ratio, nothing.busy)


def test_the_load_is_shared_by_the_slots() -> None:
    """The sink is busy when all its slots are."""
    both = lab(NaturalPolicy(), Setting((0.0, 0.0, 1.0), Sink(2, 0), 2, 1, 1))
    assert (2 + 2) / (2 * 3) == both.busy


def test_the_load_counts_from_the_first_arrival() -> None:
    """Before there is something to do nobody is idle."""
    late = lab(IntervalPolicy(1), Setting((10.0,), Sink(1, 0), 1, 1, 1))
    assert 1 / 2 == late.busy


def test_the_least_cost() -> None:
    """The optimum has the prices of the setting, and the cap that is asked for."""
    assert 3 * 3 + 2 * 1 == SETTING.least_cost(None)
    assert 4 * 3 == SETTING.least_cost(1)


def test_progress_is_told() -> None:
    """Each flush tells how many items it takes."""
    sizes: list[int] = []
    run("", IntervalPolicy(5.0, 2), SETTING, SETTING.least_cost, sizes.append)
    assert [2, 1, 1] == sizes


def test_the_optimum_has_the_cap_of_the_policy() -> None:
    """The least cost is asked for under the policy's own cap."""
    caps: list[int | None] = []

    def least(cap: int | None) -> float:
        caps.append(cap)
        return 5.0

    assert 5.0 == run("", IntervalPolicy(5.0, 2), SETTING, least, lambda size: None).least
    assert [2] == caps


def test_events_are_let_go_of() -> None:
    """Of millions of items only the flushes are kept."""
    assert () == FULL.trace.events
    assert 3 == len(FULL.trace.flushes)


def test_table() -> None:
    """The table has a row a run."""
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


def test_a_reason_is_plain_text() -> None:
    """Whatever a reason looks like, it is shown as it is."""

    class Styled(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush("[bold]:smile:[/nothing]")

    assert as_table([lab(Styled())]).endswith("   [bold]:smile:[/nothing] 4")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.01234, "12.3 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1 s"),
        (1.0, "1 s"),
        (1.0449, "1.04 s"),
        (1234.5, "1230 s"),
        (4e9, "4000000000 s"),
        (math.nan, "-"),
    ],
)
def test_a_time_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    """Below a second a time is in milliseconds; no time is told in powers of ten."""
    assert text == duration(seconds)


def test_json() -> None:
    """The JSON has all figures."""
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
    assert (4, 0, 0.0, None) == tuple(
        nothing[name] for name in ("stranded", "flushes", "mean_batch", "ratio")
    )
