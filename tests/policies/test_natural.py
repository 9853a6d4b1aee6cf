"""NaturalPolicy: no slot is free while an item waits, which is 2-competitive."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import NaturalPolicy
from flushq.policy import Flush, Wait
from flushq.simulation import simulate
from tests.models import always_busy
from tests.strategies import SLOTS, workloads


def test_a_finished_flush_wakes_a_natural_queue() -> None:
    """The items that arrived during a flush are flushed when it ends."""
    policy = NaturalPolicy()
    policy.item_added(0)
    assert Wait() == policy.flush_started(0, 1)
    assert Wait() == policy.item_added(1, 5)
    assert Flush("natural") == policy.flush_done(2, 1, 2)


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
    """From the arrival of the oldest item of a batch to its flush, every slot is taken."""
    unit, times, weights = workload
    policy = NaturalPolicy(records, None if weight is None else weight * unit)
    trace = simulate(policy, times, seconds * unit, max_in_flight=slots, weights=weights)
    assert 0 == trace.stranded
    for flush in trace.flushes:
        assert always_busy(trace, flush.oldest, flush.started, slots)
