"""BudgetPolicy: a flush is due when waiting has cost as much as a flush costs."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import BudgetPolicy
from flushq.policy import Flush, Wait
from flushq.simulation import simulate
from tests.models import exact
from tests.policies.support import STEPS, Steps, check_due
from tests.strategies import UNITS


def test_items_spend_the_budget_together() -> None:
    """The more items wait, the faster they spend the budget."""
    policy = BudgetPolicy(6)
    policy.item_added(0)
    assert Wait(2 + 4 / 2) == policy.item_added(2)
    assert Wait(3 + 2 / 4) == policy.item_added(3, 2)
    assert Flush("budget") == policy.item_added(4)


@given(seconds=st.integers(1, 12), steps=STEPS, unit=UNITS, records=st.none() | st.integers(1, 6))
def test_it_is_due_when_what_waits_has_waited_for_the_budget(
    seconds: int, steps: Steps, unit: Any, records: int | None
) -> None:
    """After any arrivals and flushes, only the time that the waiting items have waited counts."""

    def spent(now: Any, waiting: list[Any]) -> Any:
        left = seconds * unit - sum(now - time for time in waiting)
        return now + left / len(waiting)

    check_due(BudgetPolicy(seconds * unit, records), steps, unit, spent)


@pytest.mark.parametrize("rate", [10, 100, 1000])
def test_it_finds_the_economic_order_quantity(rate: int) -> None:
    """With steady arrivals the batches have sqrt(2 * item_seconds * rate) items."""
    arrivals = [exact(number, rate) for number in range(2000)]
    trace = simulate(BudgetPolicy(2), arrivals, 0)
    sizes = {flush.size for flush in trace.flushes[:-1]}
    assert math.isclose(math.sqrt(2 * 2 * rate), max(sizes), abs_tol=1)
    assert max(sizes) - min(sizes) <= 1
