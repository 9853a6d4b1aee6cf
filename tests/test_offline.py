"""The optima are exact: they equal results by hand for few items, by brute force for more."""

import math
import re
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.offline import fewest_flushes, least_cost, least_latency
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.simulation import simulate
from tests.models import cheapest, exact, least_flushes
from tests.models import least_latency as brute_latency
from tests.strategies import SLOTS, UNITS, arrivals, workloads

CAPS = st.none() | st.integers(1, 6)


def test_without_items_nothing_is_spent() -> None:
    """No arrivals cost nothing, need no flush and have no latency."""
    assert 0 == least_cost([], flush_cost=1)
    assert 0 == fewest_flushes([])
    assert 0 == least_latency([], 1)


def test_the_least_cost() -> None:
    """One more flush is made if it costs less than the waiting that it saves."""
    arrivals = [0, 1, 9]
    assert 2 * 4 + 1 == least_cost(arrivals, flush_cost=4)
    assert 3 * 4 == least_cost(arrivals, flush_cost=4, delay_cost=5)
    assert 2 * 20 + 1 == least_cost(arrivals, flush_cost=20, max_records=2)
    assert 4 == least_cost(iter([5, 5, 5]), flush_cost=4)


def test_the_fewest_flushes() -> None:
    """An age, a number and a weight each limit a batch; a batch may be exactly at a limit."""
    arrivals = [0, 1, 2, 3, 7]
    assert 1 == fewest_flushes(arrivals)
    assert 2 == fewest_flushes(arrivals, max_wait_seconds=4)
    assert 3 == fewest_flushes(arrivals, max_records=2)
    assert 2 == fewest_flushes(arrivals, weights=iter([1, 2, 3, 1, 2]), max_weight=6)
    assert 1 == fewest_flushes([10**400] * 2)


def test_the_least_latency() -> None:
    """An item waits for the next one if that one would otherwise wait for a whole flush."""
    assert 10 == least_latency([0], 10)
    assert 13 == least_latency([0, 3], 10)
    assert 10 == least_latency([0, 3], 10, max_in_flight=2)
    assert 20 == least_latency([0, 0], 10, max_records=1)
    assert 10 == least_latency(iter([-50, -40]), 10)


def test_results_are_exact() -> None:
    """For ints and Fractions the results are ints and Fractions."""
    third = exact(1, 3)
    results = (
        least_cost([0, third], flush_cost=third, delay_cost=third),
        least_latency([third, 1], third),
    )
    assert (third + third * third, third) == results
    assert {type(third)} == set(map(type, results))
    assert isinstance(least_cost([0, 1], flush_cost=1), int)


@given(
    unit=UNITS,
    data=st.data(),
    flush_cost=st.integers(0, 40),
    delay_cost=st.integers(0, 3),
    records=CAPS,
)
def test_no_partition_is_cheaper(
    *, unit: Any, data: st.DataObject, flush_cost: int, delay_cost: int, records: int | None
) -> None:
    """The least cost is the cost of the cheapest of all FIFO partitions."""
    times = data.draw(arrivals(unit, max_size=30))
    least = least_cost(
        times, flush_cost=flush_cost * unit, delay_cost=delay_cost, max_records=records
    )
    assert cheapest(times, flush_cost * unit, delay_cost, records) == least


def test_times_may_be_far_from_zero() -> None:
    """Times in seconds since the epoch add no rounding error of their own."""
    epoch = 1.75e9
    times = [number / 1024 for number in range(5_000)]
    shifted = [epoch + time for time in times]
    assert least_cost(times, flush_cost=1) == least_cost(shifted, flush_cost=1)


def test_floats_are_summed_as_in_a_queue() -> None:
    """A sum that does not exceed a limit is within it, even if a difference of floats is not."""
    assert 1 == fewest_flushes([0.8, 1.0], max_wait_seconds=0.2)
    assert 2 == fewest_flushes([0.2, 0.9], max_wait_seconds=0.7)
    weights = [0.2, 0.1, 0.1, 0.7, 0.7, 0.2, 0.3, 0.3]
    trace = simulate(IntervalPolicy(9, max_weight=0.8), [0] * 8, 0, weights=weights)
    assert len(trace.flushes) == fewest_flushes([0] * 8, weights=weights, max_weight=0.8)


@given(
    workload=workloads(),
    wait=st.integers(0, 12),
    records=CAPS,
    weight=st.none() | st.integers(4, 12),
)
def test_no_partition_has_fewer_batches(
    workload: tuple[Any, list[Any], list[Any]], wait: int, records: int | None, weight: int | None
) -> None:
    """The fewest flushes are those of the best of all FIFO partitions within the limits."""
    unit, times, weights = workload
    heaviest = None if weight is None else weight * unit
    fewest = fewest_flushes(
        times,
        max_wait_seconds=wait * unit,
        max_records=records,
        weights=weights,
        max_weight=heaviest,
    )
    assert least_flushes(times, weights, wait * unit, records, heaviest) == fewest


@given(data=st.data(), unit=UNITS, seconds=st.integers(0, 9), slots=SLOTS, records=CAPS)
def test_no_partition_is_quicker(
    data: st.DataObject, unit: Any, seconds: int, slots: int, records: int | None
) -> None:
    """The least latency is the latency of the quickest of all FIFO partitions."""
    times = data.draw(arrivals(unit, max_size=8).filter(len))
    least = least_latency(times, seconds * unit, max_in_flight=slots, max_records=records)
    assert brute_latency(times, seconds * unit, slots, records) == least


@pytest.mark.parametrize("records", [None, 3, 9])
def test_no_partition_is_cheaper_for_many_items(records: int | None) -> None:
    """With many candidates for the start of a batch, none is lost or used too late."""
    random = Random(records or 0)
    for _ in range(100):
        times = list(accumulate(random.choice([0, 1, 1, 2, 5, 11]) for _ in range(40)))
        flush_cost = random.randint(1, 60)
        assert cheapest(times, flush_cost, 1, records) == least_cost(
            times, flush_cost=flush_cost, max_records=records
        )


def test_ways_that_are_worse_in_everything_are_forgotten() -> None:
    """Of the hundred million partitions of these items, only few are kept at a time."""
    random = Random(1)
    times = list(accumulate(random.random() for _ in range(28)))
    trace = simulate(NaturalPolicy(), times, 3, max_in_flight=2)
    longest = max(flush.ended - flush.oldest for flush in trace.flushes)
    assert 3 < least_latency(times, 3, max_in_flight=2) < longest < 6
    assert 10 + 9 == least_latency(list(range(30)), 10)


def test_many_items_take_little_time() -> None:
    """The least cost for n items takes n log n steps, not the millions of a naive search."""
    times = list(range(5_000))
    assert 1_000 * (12 + 10) == least_cost(times, flush_cost=12)
    assert 1_250 * (12 + 6) == least_cost(times, flush_cost=12, max_records=4)


BAD: dict[Callable[..., float], dict[str, dict[str, Any]]] = {
    least_cost: {
        "arrivals must not decrease: 1 comes after 2": {"arrivals": [2, 1]},
        "an arrival must be finite, not -inf": {"arrivals": [-math.inf]},
        "flush_cost must be finite, not inf": {"flush_cost": math.inf},
        "flush_cost must be at least 0, not -1": {"flush_cost": -1},
        "delay_cost must be finite, not inf": {"delay_cost": math.inf},
        "delay_cost must be at least 0, not nan": {"delay_cost": math.nan},
        "max_records must be at least 1, not 0": {"max_records": 0},
    },
    fewest_flushes: {
        "arrivals must not decrease: 1 comes after 2": {"arrivals": [2, 1]},
        "an arrival must be finite, not nan": {"arrivals": [0, math.nan]},
        "max_records must be at least 1, not 0": {"max_records": 0},
        "max_wait_seconds must be at least 0, not -1": {"max_wait_seconds": -1},
        "a weight must be finite, not inf": {"arrivals": [0], "weights": [math.inf]},
        "a weight must be at least 0, not -1": {"arrivals": [0], "weights": [-1]},
        "an item of weight 5 is too heavy: max_weight is 4": {
            "arrivals": [0],
            "weights": [5],
            "max_weight": 4,
        },
        "zip() argument 2 is shorter than argument 1": {"arrivals": [0], "weights": []},
    },
    least_latency: {
        "arrivals must not decrease: 1 comes after 2": {"arrivals": [2, 1]},
        "an arrival must be finite, not inf": {"arrivals": [math.inf]},
        "flush_seconds must be finite, not inf": {"flush_seconds": math.inf},
        "flush_seconds must be at least 0, not -1": {"flush_seconds": -1},
        "max_in_flight must be at least 1, not 0": {"max_in_flight": 0},
        "max_records must be at least 1, not 0": {"max_records": 0},
    },
}
USUAL: dict[Callable[..., float], dict[str, Any]] = {
    least_cost: {"flush_cost": 1},
    fewest_flushes: {},
    least_latency: {"flush_seconds": 1},
}


@pytest.mark.parametrize(
    ("optimum", "message"), [(optimum, message) for optimum in BAD for message in BAD[optimum]]
)
def test_bad_arguments_are_refused(optimum: Callable[..., float], message: str) -> None:
    """A bad value is refused, and the message shows it."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        optimum(**{"arrivals": [], **USUAL[optimum], **BAD[optimum][message]})
