"""The lab: figures that can be computed by hand."""

import math

import attrs
import pytest

from flushq import FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.lab import Failures, Run, Setting, Sink, Slowest, WhenFull, run

SETTING = Setting((0.0, 1.0, 2.0, 8.0), Sink(0.5, 0.5), 1, flush_cost=3.0, delay_cost=2.0)


def run_of(policy: FlushPolicy, setting: Setting = SETTING, least: float = 10.0) -> Run:
    """Return a run of the policy, named after the class of the policy."""
    return run(type(policy).__name__, policy, setting, lambda cap: least, lambda size: None)


FULL = run_of(IntervalPolicy(5.0, 2))
STRANDED = run_of(IntervalPolicy(math.inf, 3))
NOTHING = run_of(IntervalPolicy(math.inf, 9))

KEYED = attrs.evolve(SETTING, partitions="abba")
PARTITIONED = run_of(IntervalPolicy(5.0), KEYED)


def test_figures_are_those_of_the_trace() -> None:
    """Sizes, latencies, reasons, load and cost agree with the trace."""
    # Two items flush at 1 (done at 2.5), the third at 7 (done at 8), the last at 13 (done at 14).
    assert [2, 1, 1] == FULL.sizes
    assert [1.5, 2.5, 6, 6] == FULL.latencies
    assert [("age", 2), ("full", 1)] == list(FULL.reasons.items())
    assert (1.5 + 1 + 1) / 14 == FULL.busy
    assert 3 * 3 + 2 * (1 + 5 + 5) == FULL.cost
    assert 31 / 10 == FULL.ratio
    assert (3, ()) == (len(FULL.trace.flushes), FULL.trace.events)


def test_figures_with_partitions() -> None:
    """Each batch, also of the optimum, has one partition; one partition is the slowest."""
    # Item 1 flushes at 5 (done at 6), items 2 and 3 at 6 (done at 7.5), item 4 at 13 (done at 14).
    assert [1, 2, 1] == PARTITIONED.sizes
    assert [5.5, 6, 6, 6.5] == PARTITIONED.latencies
    assert Slowest("b", [5.5, 6.5], [6, 6]) == PARTITIONED.slowest
    assert 3 * 3 + 2 * (5 + 5 + 4 + 5) == PARTITIONED.cost
    assert 3 * 4 == attrs.evolve(SETTING, partitions="abab").least_cost(None)
    assert Slowest(None, [], []) == run_of(IntervalPolicy(math.inf, 9), KEYED).slowest


@pytest.mark.parametrize(
    ("when_full", "latencies"), [("drop_oldest", [4, 5, 6]), ("drop_newest", [4, 6, 7])]
)
def test_figures_where_items_are_displaced(when_full: WhenFull, latencies: list[float]) -> None:
    """A displaced item is in no batch and has no latency; if there are any there is no ratio."""
    # Item 1 is done at 4; of items 2 to 5, which come at 1, 2, 2 and 3, two are done at 8.
    times, sink = (0.0, 1.0, 2.0, 2.0, 3.0), Sink(4, 0)
    setting = Setting(times, sink, 1, 3, 2, max_queue_size=2, when_full=when_full)
    full = run_of(NaturalPolicy(), setting)
    assert ([1, 2], latencies) == (full.sizes, full.latencies)
    assert (2, None) == (full.trace.displaced, full.ratio)
    assert 2 * 3 + 2 * (sum(latencies) - 3 * 4) == full.cost


def test_figures_where_items_of_partitions_are_displaced() -> None:
    """A partition has the latencies of its items that were not displaced."""
    # Item 1 (of a) is done at 4. Item 2 (of b) comes at 1 and is done at 8; item 3 (of b) is
    # displaced at 2. Item 4 (of a) comes at 8 and is done at 12.
    setting = attrs.evolve(KEYED, sink=Sink(4, 0), max_queue_size=1, when_full="drop_newest")
    full = run_of(NaturalPolicy(), setting)
    assert ([4, 4, 7], 1) == (full.latencies, full.trace.displaced)


def test_a_latency_is_the_least_that_a_share_did_not_exceed() -> None:
    """A quantile is one of the measured latencies, never a value between two of them."""
    assert [1.5, 1.5, 2.5, 6, 6] == [FULL.latency(share) for share in (0, 0.25, 0.5, 0.51, 1)]
    assert math.isnan(NOTHING.latency(0.5))


def test_where_an_item_is_left_there_is_no_ratio() -> None:
    """With an item that was never flushed there is no ratio; other figures count flushed items."""
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
    """The load counts from the first arrival; it is 0 if no time passed and nothing has a cost."""
    found = run_of(policy, setting, 10.0 if busy else 0.0)
    assert (busy, busy == 0) == (found.busy, found.ratio is None)


def test_the_least_cost_has_the_prices_of_the_setting_and_the_cap_of_the_policy() -> None:
    """``run`` passes the cap of the policy to ``least``, and each batch size to ``progress``."""
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
    """The items of a call that will be retried are subtracted from the progress again."""
    failures = Failures(0.5, seed=1, pause=1.0, attempts=3)
    setting = Setting([float(second) for second in range(50)], Sink(1, 0), 1, 1, 1)
    told: list[int] = []
    run("", IntervalPolicy(1), attrs.evolve(setting, failures=failures), lambda cap: 1, told.append)
    assert (50, True) == (sum(told), min(told) < 0)
