"""BudgetPolicy: a flush is due when waiting has cost as much as it does."""

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import BudgetPolicy
from flushq.policy import Flush, Wait, running_copy
from flushq.simulation import simulate
from tests.models import exact
from tests.policies.support import STEPS, Steps, due, play, times_asked
from tests.strategies import UNITS


def test_one_item_waits_for_the_whole_budget() -> None:
    """The first item alone is due when it has waited item_seconds."""
    policy = BudgetPolicy(6)
    assert Wait(8) == policy.item_added(2)
    assert Wait(8) == policy.tick(7)
    assert Flush("budget") == policy.tick(8)


def test_items_spend_the_budget_together() -> None:
    """The more items wait, the faster it is spent."""
    policy = BudgetPolicy(6)
    policy.item_added(0)
    assert Wait(2 + 4 / 2) == policy.item_added(2)
    assert Wait(3 + 2 / 4) == policy.item_added(3, 2)
    assert Flush("budget") == policy.item_added(4)


def test_after_a_flush_of_everything_the_budget_is_whole() -> None:
    """What the flushed items have waited is forgotten."""
    policy = running_copy(BudgetPolicy(6), 2)
    policy.item_added(0, 3)
    policy.flush_started(1, 3)
    assert Wait(16) == policy.item_added(10)


def test_after_a_flush_of_a_part_the_rest_has_waited() -> None:
    """What the items that are left have waited still counts."""
    policy = running_copy(BudgetPolicy(6), 2)
    policy.item_added(0, 3)
    policy.item_added(1, 1)
    assert Wait(exact(7, 2)) == policy.flush_started(exact(3, 2), 2)


def test_what_is_spent_while_every_slot_is_taken_counts() -> None:
    """A budget that ran out during a flush starts the next one when that ends."""
    policy = BudgetPolicy(6)
    policy.item_added(0)
    policy.flush_started(1, 1)
    policy.item_added(2)
    policy.item_added(7)
    assert Flush("budget") == policy.flush_done(9, 1, 8)


def test_full_comes_before_the_budget() -> None:
    """A batch that is full when the budget is spent is flushed because it is full."""
    policy = BudgetPolicy(1, 2)
    policy.item_added(0)
    assert Flush("full") == policy.item_added(1)


def test_an_infinite_budget_is_for_a_full_batch_alone() -> None:
    """With item_seconds=inf an item waits until a batch is full."""
    policy = BudgetPolicy(math.inf, 2)
    assert Wait() == policy.item_added(0)
    assert Flush("full") == policy.item_added(10**9)


def test_by_default_there_are_no_caps() -> None:
    """Without caps a batch is whatever waits."""
    assert (None, None) == (BudgetPolicy(1).max_records, BudgetPolicy(1).max_weight)


def test_a_copy_of_a_running_policy_starts_afresh() -> None:
    """What the items of one queue have waited is not held against those of another."""
    policy = BudgetPolicy(6)
    policy.item_added(0, 2)
    policy.item_added(2)
    assert Wait(16) == copy.deepcopy(policy).item_added(10)


@given(seconds=st.integers(1, 12), steps=STEPS, unit=UNITS, records=st.none() | st.integers(1, 6))
def test_it_is_due_when_what_waits_has_waited_for_the_budget(
    seconds: int, steps: Steps, unit: Any, records: int | None
) -> None:
    """Whatever has come and gone, it is the waiting of the pending items that counts."""
    budget = seconds * unit
    for now, waiting, decision in play(BudgetPolicy(budget, records), steps, unit):
        if waiting and (records is None or len(waiting) < records):
            spent = sum(now - time for time in waiting)
            expected = now + max(budget - spent, 0) / len(waiting)
            assert math.isclose(expected, due(decision, now), abs_tol=1e-9)
        else:
            assert (Flush("full") if waiting else Wait()) == decision


@pytest.mark.parametrize("rate", [10, 100, 1000])
def test_it_finds_the_economic_order_quantity(rate: int) -> None:
    """For steady arrivals it finds sqrt(2 * item_seconds * rate), which nobody told it."""
    arrivals = [exact(number, rate) for number in range(2000)]
    trace = simulate(BudgetPolicy(2), arrivals, 0)
    sizes = {flush.size for flush in trace.flushes[:-1]}
    assert math.isclose(math.sqrt(2 * 2 * rate), max(sizes), abs_tol=1)
    assert max(sizes) - min(sizes) <= 1


def test_a_long_queue_is_not_gone_through_for_each_batch() -> None:
    """While a batch is full nothing need be summed up."""
    assert 1 == times_asked(BudgetPolicy(9, 10), 1000)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"item_seconds": 0}, ValueError, "item_seconds must be above 0, not 0"),
        ({"item_seconds": math.nan}, ValueError, "item_seconds must be above 0, not nan"),
        ({"item_seconds": "2"}, TypeError, "item_seconds must be a real number, not '2'"),
        ({"max_records": 0}, ValueError, "max_records must be at least 1, not 0"),
        ({"max_weight": 0}, ValueError, "max_weight must be above 0, not 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A value that is none is refused at construction, and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        BudgetPolicy(**{"item_seconds": 2.0, **arguments})
