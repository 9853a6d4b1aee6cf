"""AlarmPolicy: the earliest alarm of what waits counts."""

import copy
import math
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import AlarmPolicy
from flushq.policy import Flush, Wait, running_copy
from tests.models import exact
from tests.policies.support import STEPS, Steps, due, play, times_asked
from tests.strategies import UNITS


def test_one_item_waits_for_the_whole_threshold() -> None:
    """The first item alone is due when it has waited item_seconds."""
    policy = AlarmPolicy(6)
    assert Wait(8) == policy.item_added(2)
    assert Wait(8) == policy.tick(7)
    assert Flush("alarm") == policy.tick(8)


def test_an_arrival_sets_an_earlier_alarm() -> None:
    """An alarm is the nearer, the more items wait."""
    policy = AlarmPolicy(6)
    policy.item_added(0)
    assert Wait(1 + 6 / 3) == policy.item_added(1, 2)


def test_an_arrival_does_not_put_off_the_alarm() -> None:
    """A later alarm is no reason to wait longer: it is no debounce."""
    policy = AlarmPolicy(6)
    policy.item_added(0)
    assert Wait(6) == policy.item_added(5)
    assert Wait(6) == policy.item_added(exact(11, 2))
    assert Flush("alarm") == policy.item_added(6)


def test_after_a_flush_of_everything_alarms_are_set_anew() -> None:
    """The alarms of flushed items are forgotten."""
    policy = running_copy(AlarmPolicy(6), 2)
    policy.item_added(0, 3)
    policy.flush_started(1, 3)
    assert Wait(16) == policy.item_added(10)


def test_after_a_flush_of_a_part_the_rest_has_its_alarms() -> None:
    """The alarms are those that the items that are left would have set alone."""
    policy = running_copy(AlarmPolicy(6), 2)
    policy.item_added(0, 3)
    policy.item_added(1, 1)
    assert Wait(1 + 6 / 2) == policy.flush_started(exact(3, 2), 2)


def test_an_alarm_while_every_slot_is_taken_counts() -> None:
    """An alarm that went off during a flush starts the next one when that ends."""
    policy = AlarmPolicy(6)
    policy.item_added(0)
    policy.flush_started(1, 1)
    policy.item_added(2)
    assert Flush("alarm") == policy.flush_done(9, 1, 8)


def test_patience_is_a_quantile() -> None:
    """The threshold grows with u, from nothing to item_seconds, as ln(1 + u(e - 1))."""
    assert 0 == AlarmPolicy(6, u=0).threshold
    assert 6 * math.log((1 + math.e) / 2) == pytest.approx(AlarmPolicy(6, u=0.5).threshold)
    assert 6 == AlarmPolicy(6, u=1).threshold
    assert 6 == AlarmPolicy(6).threshold
    assert Flush("alarm") == AlarmPolicy(6, 0.0).item_added(1)


def test_without_rounding_if_u_is_one() -> None:
    """Of Fractions the deterministic policy makes Fractions."""
    assert Wait(exact(2, 3)) == AlarmPolicy(exact(1, 3)).item_added(exact(1, 3))


def test_full_comes_before_the_alarm() -> None:
    """A batch that is full when the alarm goes off is flushed because it is full."""
    policy = AlarmPolicy(1, max_records=2)
    policy.item_added(0)
    assert Flush("full") == policy.item_added(1)


@pytest.mark.parametrize("u", [0.5, 1])
def test_an_infinite_threshold_is_for_a_full_batch_alone(u: float) -> None:
    """With item_seconds=inf an item waits until a batch is full."""
    policy = AlarmPolicy(math.inf, u, 2)
    assert Wait() == policy.item_added(0)
    assert Flush("full") == policy.item_added(10**9)


def test_no_patience_at_all() -> None:
    """With u=0 an item does not wait, whatever a flush costs."""
    assert Flush("alarm") == AlarmPolicy(math.inf, u=0).item_added(0)


def test_by_default_there_are_no_caps() -> None:
    """Without caps a batch is whatever waits."""
    assert (None, None) == (AlarmPolicy(1).max_records, AlarmPolicy(1).max_weight)


def test_a_copy_of_a_running_policy_starts_afresh() -> None:
    """The alarms of one queue do not go off in another."""
    policy = AlarmPolicy(6)
    policy.item_added(0, 2)
    assert Wait(-14) == copy.deepcopy(policy).item_added(-20)
    assert Wait(16) == copy.deepcopy(policy).item_added(10)


@given(seconds=st.integers(1, 12), steps=STEPS, unit=UNITS, records=st.none() | st.integers(1, 6))
def test_it_is_due_at_the_earliest_alarm_of_what_waits(
    seconds: int, steps: Steps, unit: Any, records: int | None
) -> None:
    """Whatever has come and gone, it is the alarms of the pending items that count."""
    policy = AlarmPolicy(seconds * unit, max_records=records)
    for now, waiting, decision in play(policy, steps, unit):
        if waiting and (records is None or len(waiting) < records):
            numbers = accumulate(1 for _ in waiting)
            alarms = (
                time + seconds * unit / number
                for time, number in zip(waiting, numbers, strict=True)
            )
            assert math.isclose(max(min(alarms), now), due(decision, now), abs_tol=1e-9)
        else:
            assert (Flush("full") if waiting else Wait()) == decision


def test_a_long_queue_is_not_gone_through_for_each_batch() -> None:
    """While a batch is full no alarm need be set."""
    assert 1 == times_asked(AlarmPolicy(9, max_records=10), 1000)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"item_seconds": 0}, ValueError, "item_seconds must be above 0, not 0"),
        ({"item_seconds": math.nan}, ValueError, "item_seconds must be above 0, not nan"),
        ({"item_seconds": "2"}, TypeError, "item_seconds must be a real number, not '2'"),
        ({"u": -0.5}, ValueError, "u must be at least 0, not -0.5"),
        ({"u": 1.5}, ValueError, "u must be at most 1, not 1.5"),
        ({"u": math.nan}, ValueError, "u must be at least 0, not nan"),
        ({"u": True}, TypeError, "u must be a real number, not True"),
        ({"max_records": 0}, ValueError, "max_records must be at least 1, not 0"),
        ({"max_weight": 0}, ValueError, "max_weight must be above 0, not 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A value that is none is refused at construction, and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        AlarmPolicy(**{"item_seconds": 2.0, **arguments})
