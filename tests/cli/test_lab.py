"""The lab: traffic, and figures that are known by hand."""

import math
import time

import attrs
import pytest

from flushq import FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli import lab
from flushq.cli.lab import Failures, Run, Setting, Sink, model_arrivals, read_arrivals, run

SETTING = Setting((0.0, 1.0, 2.0, 8.0), Sink(0.5, 0.5), 1, flush_cost=3.0, delay_cost=2.0)


def run_of(policy: FlushPolicy, setting: Setting = SETTING, least: float = 10.0) -> Run:
    """A run of the policy under its class's name."""
    return run(type(policy).__name__, policy, setting, lambda cap: least, lambda size: None)


FULL = run_of(IntervalPolicy(5.0, 2))
STRANDED = run_of(IntervalPolicy(math.inf, 3))
NOTHING = run_of(IntervalPolicy(math.inf, 9))


# Traffic.


@pytest.mark.parametrize(
    ("lines", "times", "began"),
    [
        (["5", "5.5\n", "", "  7e0  "], [0, 0.5, 2], None),
        (["-3", "-1", "-1"], [0, 2, 2], None),
        (["2026-01-31T23:59:59.5", "2026-02-01"], [0, 0.5], "2026-01-31 23:59:59.500000+00:00"),
        (["2026-01-01T12:00+01:00", "2026-01-01T11:00:30Z"], [0, 30], "2026-01-01 11:00:00+00:00"),
        (["2026-01-01T12:00", "2026-01-01T12:00:10Z"], [0, 10], "2026-01-01 12:00:00+00:00"),
    ],
)
def test_a_line_of_traffic_is_seconds_or_iso_8601(
    lines: list[str], times: list[float], began: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is 0; a time without a zone is UTC, wherever the machine is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        arrivals, date = read_arrivals(lines)
        assert (times, began) == (arrivals, date and str(date))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["", " "], "there are no arrivals"),
        (["1", "", "soon"], "line 3: 'soon' is neither seconds nor an ISO 8601 time"),
        (["nan"], "line 1: 'nan' is neither seconds nor an ISO 8601 time"),
        (["inf"], "line 1: 'inf' is neither seconds nor an ISO 8601 time"),
        (["9", "", "2026-01-01"], "line 3: '2026-01-01' is an ISO 8601 time, unlike what is above"),
        (["2026-01-01", "9"], "line 2: '9' is a number of seconds, unlike what is above"),
        (["0", "2", "1 "], "line 3: '1' is earlier than what is above"),
    ],
)
def test_bad_traffic_is_refused_with_its_place(lines: list[str], why: str) -> None:
    """It is not a time, of another kind, or out of order."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        read_arrivals(lines)
    assert why == str(refused.value)


def test_a_model_has_as_many_items_as_it_should() -> None:
    """They are in order, spread evenly, and always the same for a seed."""
    times = model_arrivals(100, 50, 7)
    assert 4700 < len(times) < 5300
    assert sorted(times) == times
    assert 0 < times[0] < 0.5
    assert 49.5 < times[-1] < 50
    assert 24 < sum(times) / len(times) < 26
    assert times == model_arrivals(100, 50, 7)
    assert times != model_arrivals(100, 50, 8)


def test_a_model_of_too_many_items_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most items are not too many."""
    monkeypatch.setattr(lab, "MOST_ITEMS", 50)
    assert model_arrivals(5, 10, 1)
    with pytest.raises(ValueError, match=r"^about 51 items are more than 50$"):
        model_arrivals(5.1, 10, 1)
    with pytest.raises(ValueError, match=r"^there are no arrivals$"):
        model_arrivals(1e-9, 1, 1)


# Figures.


def test_figures_are_those_of_the_trace() -> None:
    """These are sizes, latencies, reasons, load and cost."""
    # Two items flush at 1 (done at 2.5), the third at 7 (done at 8), the last at 13 (done at 14).
    assert [2, 1, 1] == FULL.sizes
    assert [1.5, 2.5, 6, 6] == FULL.latencies
    assert [("age", 2), ("full", 1)] == list(FULL.reasons.items())
    assert (1.5 + 1 + 1) / 14 == FULL.busy
    assert 3 * 3 + 2 * (1 + 5 + 5) == FULL.cost
    assert 31 / 10 == FULL.ratio
    assert (3, ()) == (len(FULL.trace.flushes), FULL.trace.events)


def test_a_latency_is_the_least_that_a_share_did_not_exceed() -> None:
    """So it is one that was seen."""
    assert [1.5, 1.5, 2.5, 6, 6] == [FULL.latency(share) for share in (0, 0.25, 0.5, 0.51, 1)]
    assert math.isnan(NOTHING.latency(0.5))


def test_where_an_item_is_left_there_is_no_ratio() -> None:
    """The other figures count what was flushed."""
    assert (1, [3], None) == (STRANDED.trace.stranded, STRANDED.sizes, STRANDED.ratio)
    assert 3 + 2 * (2 + 1) == STRANDED.cost
    assert (0, 0, {}) == (NOTHING.cost, NOTHING.busy, NOTHING.reasons)


@pytest.mark.parametrize(
    ("policy", "setting", "busy"),
    [
        (NaturalPolicy(), Setting((0.0, 0.0, 1.0), Sink(2, 0), 2, 1, 1), (2 + 2) / (2 * 3)),
        (IntervalPolicy(1), Setting((10.0,), Sink(1, 0), 1, 1, 1), 1 / 2),
        (NaturalPolicy(), Setting((1.0,), Sink(0, 0), 1, 0, 0), 0),
    ],
)
def test_the_load_is_shared_by_slots(policy: FlushPolicy, setting: Setting, busy: float) -> None:
    """It counts from the first arrival; where no time passed, or nothing costs, it is 0."""
    found = run_of(policy, setting, 10.0 if busy else 0.0)
    assert (busy, busy == 0) == (found.busy, found.ratio is None)


def test_the_least_cost_has_the_prices_of_the_setting_and_the_cap_of_the_policy() -> None:
    """Each flush tells how many items it takes."""
    assert 3 * 3 + 2 * 1 == SETTING.least_cost(None)
    assert 4 * 3 == SETTING.least_cost(1)
    sizes: list[int] = []
    caps: list[int | None] = []

    def least(cap: int | None) -> float:
        caps.append(cap)
        return 5.0

    assert 5.0 == run("", IntervalPolicy(5.0, 2), SETTING, least, sizes.append).least
    assert ([2], [2, 1, 1]) == (caps, sizes)


def test_items_that_are_retried_count_once() -> None:
    """They are taken back from what was told of progress."""
    failures = Failures(0.5, seed=1, pause=1.0, attempts=3)
    setting = Setting([float(second) for second in range(50)], Sink(1, 0), 1, 1, 1)
    told: list[int] = []
    run("", IntervalPolicy(1), attrs.evolve(setting, failures=failures), lambda cap: 1, told.append)
    assert (50, True) == (sum(told), min(told) < 0)
