"""AlarmPolicy: a flush is due at the earliest alarm of the waiting items."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flushq.policies import AlarmPolicy
from flushq.policy import Flush, Wait
from tests.models import exact
from tests.policies.support import STEPS, Steps, check_due
from tests.strategies import UNITS


def test_an_arrival_does_not_put_off_the_alarm() -> None:
    """A later alarm does not make earlier items wait longer, unlike in a debounce."""
    policy = AlarmPolicy(6)
    policy.item_added(0)
    assert Wait(6) == policy.item_added(5)
    assert Wait(6) == policy.item_added(exact(11, 2))
    assert Flush("alarm") == policy.item_added(6)


def test_patience_is_a_quantile() -> None:
    """The threshold is item_seconds * ln(1 + u(e - 1)): it grows with u from 0 to item_seconds."""
    assert 0 == AlarmPolicy(6, u=0).threshold
    assert 6 * math.log((1 + math.e) / 2) == pytest.approx(AlarmPolicy(6, u=0.5).threshold)
    assert 6 == AlarmPolicy(6, u=1).threshold
    assert 6 == AlarmPolicy(6).threshold


@pytest.mark.parametrize("seconds", [6, math.inf])
def test_no_patience_at_all(seconds: float) -> None:
    """With u=0 an item does not wait, whatever a flush costs."""
    assert Flush("alarm") == AlarmPolicy(seconds, u=0).item_added(1)


def test_without_rounding_if_u_is_one() -> None:
    """With u=1 the policy computes Fractions from Fractions."""
    assert Wait(exact(2, 3)) == AlarmPolicy(exact(1, 3)).item_added(exact(1, 3))


@given(seconds=st.integers(1, 12), steps=STEPS, unit=UNITS, records=st.none() | st.integers(1, 6))
@example(seconds=12, steps=[(0, "arrive", 2), (0, "flush", 1)], unit=1, records=None)
def test_it_is_due_at_the_earliest_alarm_of_what_waits(
    seconds: int, steps: Steps, unit: Any, records: int | None
) -> None:
    """After any arrivals and flushes, only the alarms of the waiting items count."""

    def earliest(now: Any, waiting: list[Any]) -> Any:
        return min(time + seconds * unit / number for number, time in enumerate(waiting, 1))

    check_due(AlarmPolicy(seconds * unit, max_records=records), steps, unit, earliest)
