"""IntervalPolicy: no item waits too long, and no schedule needs fewer flushes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import IntervalPolicy
from flushq.policy import Flush, Wait
from flushq.simulation import simulate
from tests.models import always_busy, exact, least_flushes
from tests.strategies import SLOTS, workloads

CAPS = st.none() | st.integers(1, 6)
HEAVIEST = st.none() | st.integers(4, 12)


def test_the_oldest_item_comes_of_age() -> None:
    """The oldest item is due exactly max_wait_seconds after its arrival, and not before."""
    due, nearly_due = exact(1, 3), exact(333, 1000)
    policy = IntervalPolicy(due)
    policy.item_added(0)
    assert Wait(due) == policy.tick(nearly_due)
    assert Flush("age") == policy.tick(due)


def test_a_batch_full_by_weight_does_not_wait_for_what_weighs_nothing() -> None:
    """A full batch is flushed, although an item of weight 0 could still join it later."""
    trace = simulate(IntervalPolicy(10, max_weight=5), [0, 1], 0, weights=[5, 0])
    assert 1 == least_flushes([0, 1], [5, 0], 10, None, 5)
    assert [(0, "full"), (11, "age")] == [(flush.started, flush.reason) for flush in trace.flushes]


@given(
    workload=workloads(),
    wait=st.integers(1, 12),
    records=CAPS,
    weight=HEAVIEST,
    seconds=st.integers(0, 8),
    slots=SLOTS,
)
def test_no_item_is_too_old_while_a_slot_is_free(
    *,
    workload: tuple[Any, list[Any], list[Any]],
    wait: int,
    records: int | None,
    weight: int | None,
    seconds: int,
    slots: int,
) -> None:
    """An item becomes older than max_wait_seconds only while every slot is taken."""
    unit, times, weights = workload
    heaviest = None if weight is None else weight * unit
    policy = IntervalPolicy(wait * unit, records, heaviest)
    trace = simulate(policy, times, seconds * unit, max_in_flight=slots, weights=weights)
    assert 0 == trace.stranded
    for flush in trace.flushes:
        assert always_busy(trace, flush.oldest + wait * unit, flush.started, slots)
