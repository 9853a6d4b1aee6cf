"""What the strategies draw."""

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

UNITS = [0.125, 3, Fraction(1, 3)]
THOROUGH = settings(max_examples=2000, database=None, phases=tuple(Phase))


def find(strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool]) -> Any:
    """The smallest that a strategy draws on some condition, whatever the profile says."""
    return find_any(strategy, condition, settings=THOROUGH)


@pytest.mark.parametrize("unit", UNITS)
@given(data=st.data())
def test_arrivals(data: st.DataObject, unit: Any) -> None:
    """Arrivals are multiples of the unit, and do not decrease."""
    times = data.draw(arrivals(unit, max_size=5))
    assert sorted(times) == times
    assert len(times) <= 5
    assert all(time % unit == 0 for time in times)


def test_arrivals_tie() -> None:
    """Some arrive at one time, some do not."""
    times = find(arrivals(), lambda times: len(set(times)) == 2 and len(times) == 3)
    assert {0.125} == {later - earlier for earlier, later in pairwise(times)} - {0}
    assert 20 == len(find(arrivals(), lambda times: len(times) > 19))


@pytest.mark.parametrize("unit", UNITS)
@given(data=st.data())
def test_bursts(data: st.DataObject, unit: Any) -> None:
    """Bursts are of one to five items, at multiples of the unit, and their times increase."""
    drawn = data.draw(bursts(unit, max_size=5))
    assert len(drawn) <= 5
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(drawn))
    assert all(time % unit == 0 and 1 <= count <= 5 for time, count in drawn)


def test_the_largest_burst() -> None:
    """Some are of five items; there may be ten of them."""
    assert [(0.125, 5)] == find(bursts(), lambda drawn: any(count > 4 for _, count in drawn))
    assert 10 == len(find(bursts(), lambda drawn: len(drawn) > 9))


def test_durations_and_slots() -> None:
    """A flush may take no time at all, and up to three may run at a time."""
    assert 0 == find(flush_durations(), lambda seconds: True)
    assert 1.0 == find(flush_durations(), lambda seconds: seconds > 0.875)
    assert 24 == find(flush_durations(3), lambda seconds: seconds > 21)
    assert (1, 3) == (find(slots(), lambda _: True), find(slots(), lambda count: count > 2))


@pytest.mark.parametrize("step", [Arrive, Due, Finish, Pass, Start])
def test_histories(step: type) -> None:
    """In some history there is a step of each kind."""
    history = find(histories(), lambda history: any(isinstance(s, step) for s in history.steps))
    assert 1 <= len(history.steps) <= 2
    assert (1, 1.0) == (history.slots, history.unit)


@given(history=histories(max_steps=3))
def test_histories_are_no_longer_than_allowed(history: History) -> None:
    """No history has more steps than was asked for."""
    assert len(history.steps) <= 3
