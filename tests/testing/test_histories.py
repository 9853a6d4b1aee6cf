"""Histories are values, and the strategies draw them."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import find as find_any
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
THOROUGH = settings(max_examples=1000, database=None, phases=tuple(Phase))


def find(strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool]) -> Any:
    """The smallest that a strategy draws on some condition, whatever the profile says."""
    return find_any(strategy, condition, settings=THOROUGH)


@pytest.mark.parametrize("unit", UNITS)
@given(data=st.data())
def test_times_are_multiples_of_the_unit(data: st.DataObject, unit: Any) -> None:
    """Those of arrivals do not decrease; those of bursts, of one to five items, increase."""
    times = data.draw(arrivals(unit, max_size=5))
    drawn = data.draw(bursts(unit, max_size=5))
    assert sorted(times) == times
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(drawn))
    assert max(len(times), len(drawn)) <= 5
    assert all(time % unit == 0 for time in [*times, *(time for time, _ in drawn)])
    assert all(1 <= count <= 5 for _, count in drawn)


def test_the_extremes_are_drawn() -> None:
    """Some items arrive at one time, a burst may have five of them, a flush may take no time."""
    times = find(arrivals(), lambda times: len(set(times)) == 2 and len(times) == 3)
    assert {0.125} == {later - earlier for earlier, later in pairwise(times)} - {0}
    assert 20 == len(find(arrivals(), lambda times: len(times) > 19))
    assert [(0.125, 5)] == find(bursts(), lambda drawn: any(count > 4 for _, count in drawn))
    assert 10 == len(find(bursts(), lambda drawn: len(drawn) > 9))
    assert 0 == find(flush_durations(), lambda seconds: True)
    assert 1.0 == find(flush_durations(), lambda seconds: seconds > 0.875)
    assert 24 == find(flush_durations(3), lambda seconds: seconds > 21)
    assert (1, 3) == (find(slots(), lambda _: True), find(slots(), lambda count: count > 2))


def test_a_history_may_have_steps_of_every_kind() -> None:
    """The smallest has few of them."""
    kinds = {Arrive, Due, Finish, Pass, Start}
    history = find(histories(), lambda history: kinds == set(map(type, history.steps)))
    assert 5 <= len(history.steps) <= 7
    assert (1, 1.0) == (history.slots, history.unit)


@given(history=histories(max_steps=3))
@settings(max_examples=50)
def test_a_history_has_no_more_steps_than_allowed(history: History) -> None:
    """So it is for whole flushes as well, which are three steps."""
    assert len(history.steps) <= 3


def test_a_history_is_a_value() -> None:
    """Histories with the same steps are the same, and can be in a set."""
    one, other = (
        History(
            1,
            1.0,
            (Arrive(0, (1,)), Start(1, 2), Finish(0, 0, failed=False), Pass(3), Due()),
        )
        for _ in range(2)
    )
    assert 1 == len({one, other})


@pytest.mark.parametrize("heaviest", [0.3, 5, 1.1, 1e6 / 3, 10**30, 1e-300, exact(1, 3)])
def test_quarters_of_any_cap_make_exact_sums(heaviest: Any) -> None:
    """Four of them are no heavier than the cap."""
    quarter = quarter_of(heaviest)
    assert 0.249999 * heaviest < quarter
    assert 4 * quarter <= heaviest
    assert all(Fraction(quarter) * many == quarter * many for many in range(1000))


def test_without_a_cap_a_weight_is_a_plain_number() -> None:
    """An infinite cap is the same."""
    assert 1 == quarter_of(None) == quarter_of(math.inf)
    assert (0.25, 1.25) == (quarter_of(1), quarter_of(5))
