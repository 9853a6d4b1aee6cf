"""Histories are values, and the strategies draw them."""

import math
from copy import deepcopy
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from flushq.testing import (
    Arrive,
    Due,
    Finish,
    History,
    Pass,
    Start,
    arrivals,
    bursts,
    flush_durations,
    histories,
    slots,
)
from flushq.testing.histories import quarter_of
from tests.models import exact

UNITS = [0.125, 3, Fraction(1, 3)]
FIRST_FOUND = settings(max_examples=1000, database=None, phases=[Phase.generate])


@pytest.mark.parametrize("unit", UNITS)
@given(data=st.data())
@settings(max_examples=50)
def test_times_are_multiples_of_the_unit(data: st.DataObject, unit: Any) -> None:
    """Arrival times do not decrease; times of bursts, which have one to five items, increase."""
    times = data.draw(arrivals(unit, max_size=5))
    drawn = data.draw(bursts(unit, max_size=5))
    duration = data.draw(flush_durations(unit))
    assert sorted(times) == times
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(drawn))
    assert max(len(times), len(drawn)) <= 5
    assert all(time % unit == 0 for time in [*times, duration, *(time for time, _ in drawn)])
    assert all(1 <= count <= 5 for _, count in drawn)
    assert 0 <= duration <= 8 * unit
    assert 1 <= data.draw(slots()) <= 3


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (arrivals(), lambda times: len(set(times)) < len(times) < 4),
        (arrivals(), lambda times: len(times) == 20 and times[0] % 0.25 == 0.125),
        (bursts(), lambda drawn: len(drawn) == 10 and 0.125 == drawn[0][0]),
        (bursts(), lambda drawn: any(count == 5 for _, count in drawn)),
        (flush_durations(), lambda seconds: seconds == 0),
        (flush_durations(), lambda seconds: seconds == 1),
        (flush_durations(3), lambda seconds: seconds == 24),
        (slots(), lambda count: count == 1),
        (slots(), lambda count: count == 3),
        (
            histories(),
            lambda history: {Arrive, Due, Finish, Pass, Start} == set(map(type, history.steps)),
        ),
    ],
    ids=range(10),
)
def test_the_extremes_are_drawn(strategy: st.SearchStrategy[Any], condition: Any) -> None:
    """Equal arrival times, flushes that take no time, and steps of each kind are drawn."""
    find(strategy, condition, settings=FIRST_FOUND)


@given(history=histories(max_steps=3))
@settings(max_examples=50)
def test_a_history_has_no_more_steps_than_allowed(history: History) -> None:
    """The limit also holds for whole flushes, which consist of three steps."""
    assert len(history.steps) <= 3


def test_a_history_is_a_value() -> None:
    """Histories with the same steps are equal and hashable."""
    steps = (Arrive(0, (1,)), Start(1, 2), Finish(0, 0, failed=False), Pass(3), Due())
    history = History(1, 1.0, steps)
    assert {history} == {deepcopy(history)}


@pytest.mark.parametrize("heaviest", [0.3, 5, 1.1, 1e6 / 3, 10**30, 1e-300, exact(1, 3)])
def test_quarters_of_any_cap_make_exact_sums(heaviest: Any) -> None:
    """Four quarters weigh no more than the cap, and sums of quarters are exact."""
    quarter = quarter_of(heaviest)
    assert 0.249999 * heaviest < quarter
    assert 4 * quarter <= heaviest
    assert all(Fraction(quarter) * many == quarter * many for many in range(1000))


def test_without_a_cap_a_weight_is_a_plain_number() -> None:
    """Without a cap, or with an infinite one, the weight is 1."""
    assert 1 == quarter_of(None) == quarter_of(math.inf)
    assert (0.25, 1.25) == (quarter_of(1), quarter_of(5))
