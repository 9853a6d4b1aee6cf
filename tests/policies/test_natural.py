"""NaturalPolicy: a slot is never free while something waits, which is 2-competitive."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import NaturalPolicy
from flushq.policy import Flush, Wait
from flushq.simulation import simulate
from tests.models import always_busy, least_latency
from tests.strategies import SLOTS, UNITS, arrivals, workloads


def test_an_item_that_finds_a_slot_free_is_flushed() -> None:
    """The first item of a natural queue does not wait."""
    assert Flush("natural") == NaturalPolicy().item_added(0)


def test_a_finished_flush_wakes_a_natural_queue() -> None:
    """What gathered while a flush ran is flushed when it ends."""
    policy = NaturalPolicy()
    policy.item_added(0)
    assert Wait() == policy.flush_started(0, 1)
    assert Wait() == policy.item_added(1, 5)
    assert Flush("natural") == policy.flush_done(2, 1, 2)


def test_by_default_there_are_no_caps() -> None:
    """Without caps a batch is whatever waits."""
    assert (None, None) == (NaturalPolicy().max_records, NaturalPolicy().max_weight)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_records": 0}, ValueError, "max_records must be at least 1, not 0"),
        ({"max_records": "9"}, TypeError, "max_records must be an int, not '9'"),
        ({"max_weight": math.nan}, ValueError, "max_weight must be above 0, not nan"),
        ({"max_weight": "9"}, TypeError, "max_weight must be a real number, not '9'"),
    ],
)
def test_bad_caps_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A cap that is none is refused at construction, and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        NaturalPolicy(**arguments)


@given(
    workload=workloads(),
    records=st.none() | st.integers(1, 6),
    weight=st.none() | st.integers(4, 12),
    seconds=st.integers(0, 8),
    slots=SLOTS,
)
def test_a_slot_is_never_free_while_something_waits(
    workload: tuple[Any, list[Any], list[Any]],
    records: int | None,
    weight: int | None,
    seconds: int,
    slots: int,
) -> None:
    """From the arrival of its oldest item to the start of a flush, every slot is taken."""
    unit, times, weights = workload
    policy = NaturalPolicy(records, None if weight is None else weight * unit)
    trace = simulate(policy, times, seconds * unit, max_in_flight=slots, weights=weights)
    assert 0 == trace.stranded
    for flush in trace.flushes:
        assert always_busy(trace, flush.oldest, flush.started, slots)


@given(
    data=st.data(),
    unit=UNITS,
    seconds=st.sampled_from([1, 2, 3, 5, 8, 100]),
    slots=SLOTS,
    records=st.none() | st.integers(1, 3),
)
def test_the_longest_latency_is_at_most_twice_the_optimum(
    data: st.DataObject, unit: Any, seconds: int, slots: int, records: int | None
) -> None:
    """With flushes of one duration, no schedule halves the longest time to completion.

    Li and Yuan, Information Processing Letters 111 (2011).
    """
    times = data.draw(arrivals(unit, max_size=7).filter(len))
    trace = simulate(NaturalPolicy(records), times, seconds * unit, max_in_flight=slots)
    longest = max(flush.ended - flush.oldest for flush in trace.flushes)
    assert longest <= 2 * least_latency(times, seconds * unit, slots, records)
