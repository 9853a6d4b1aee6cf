"""RateLimit: no interval has too many starts, and no call waits longer than necessary."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flushq.throttles import RateLimit
from tests.models import exact
from tests.strategies import UNITS, arrivals


def starts_of(limit: RateLimit, wanted: Sequence[Any]) -> list[Any]:
    """Return when calls start that arrive at these times, if each starts as soon as it may."""
    now, starts = wanted[0], []
    for time in wanted:
        now = max(now, time)
        now = max(now, limit.ready_at(now))
        assert limit.ready_at(now) <= now
        limit.call_started(now, 7)
        starts.append(now)
    return starts


def fullest(starts: Sequence[Any], seconds: Any) -> int:
    """Return the most starts in an interval ``[start, start + seconds)`` of any start."""
    return max(
        len([time for time in starts if first <= time < first + seconds]) for first in starts
    )


@given(calls=st.integers(1, 4), seconds=st.integers(1, 12), unit=UNITS, data=st.data())
def test_the_limit_holds_and_is_used_to_the_full(
    calls: int, seconds: int, unit: Any, data: st.DataObject
) -> None:
    """No half-open interval has too many starts; if a call started earlier, an interval would."""
    length = seconds * unit
    wanted = data.draw(arrivals(unit).filter(bool))
    starts = starts_of(RateLimit(calls, length), wanted)
    assert fullest(starts, length) <= calls
    assert fullest([-start for start in starts], length) <= calls
    for number, (start, time) in enumerate(zip(starts, wanted, strict=True)):
        before = starts[:number]
        if start > max([time, *before]):
            assert fullest([*before, start - unit], length) > calls


def test_a_crowd_starts_in_packs() -> None:
    """The limit is tight: an interval that includes both its ends has more starts."""
    third = exact(1, 3)
    packs = [0, 0, 0, third, third, third, 2 * third]
    assert packs == starts_of(RateLimit(3, third), [0] * 7)


def test_the_oldest_of_the_last_calls_counts() -> None:
    """Starts that were not used in one interval cannot be used in another."""
    limit = RateLimit(2, 10)
    assert [0, 7, 10, 17, 30, 30, 40] == starts_of(limit, [0, 7, 7, 7, 30, 30, 30])
    assert 40 == limit.ready_at(99)


def test_a_call_is_one_whatever_its_items_and_its_end() -> None:
    """The number of items, the weight and the end of a call do not matter."""
    limit = RateLimit(2, 10)
    limit.call_started(0, 1000, 1e9)
    limit.call_done(1, 1000, 1, 1e9, OSError())
    assert 1 == limit.ready_at(1)


TIMES = st.floats(0, 1e6) | st.sampled_from([0.0, 0.1, 0.3, 1e-300, 2.0**53])


@given(
    calls=st.integers(1, 3),
    seconds=st.floats(1e-9, 1e3) | st.sampled_from([0.1, 0.2, 5e-324]),
    gaps=st.lists(st.just(0.0) | TIMES, min_size=1, max_size=12),
    begin=TIMES,
)
def test_in_floats_the_limit_holds_as_floats_are_added(
    calls: int, seconds: float, gaps: list[float], begin: float
) -> None:
    """An interval that begins at a ends before ``a + seconds``, as floats round this sum."""
    starts = starts_of(RateLimit(calls, seconds), list(itertools.accumulate(gaps)))
    assert fullest(starts, seconds) <= calls
    assert sum(begin <= time < begin + seconds for time in starts) <= calls


@pytest.mark.parametrize(
    ("start", "seconds", "before", "due"),
    [
        (0.3, 0.6, 0.8999999999999998, 0.8999999999999999),
        (0.7, 0.1, 0.7999999999999998, 0.7999999999999999),
        (2.0**53, 1.0, 2.0**53 - 1, 2.0**53),
    ],
)
def test_at_the_time_that_was_answered_a_call_may_start(
    start: float, seconds: float, before: float, due: float
) -> None:
    """The answer is the float sum, although the rounded difference is less than ``seconds``."""
    limit = RateLimit(1, seconds)
    limit.call_started(start, 1)
    assert [due, due, due] == [limit.ready_at(now) for now in (before, due, due + 1)]
    assert before < due
    assert due - start < seconds


@given(count=st.integers(1, 5), calls=st.integers(1, 5))
@example(count=5, calls=5)
def test_only_the_last_starts_are_kept(count: int, calls: int) -> None:
    """A limit that was told only the last starts is equal to one that was told all starts."""
    old, new = RateLimit(calls, 1), RateLimit(calls, 1)
    for now in range(count):
        old.call_started(now, 1)
    for now in range(max(count - calls, 0), count):
        new.call_started(now, 1)
    assert new == old
