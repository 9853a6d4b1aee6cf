"""Budget and alarm: at most twice the least cost of flushes and waiting."""

from typing import Any

import pytest

from flushq.policies import AlarmPolicy, BudgetPolicy, NaturalPolicy
from flushq.policy import FlushPolicy
from flushq.testing import CostRatio
from tests.models import exact
from tests.theorems.cases import SIZES, arrivals, many

GAPS = [0, 0, 1, 1, 2, 3, 4, 7, 12]


def budget(price: Any, records: int | None) -> FlushPolicy:
    """Return the budget policy for this price."""
    return BudgetPolicy(price, records)


def alarm(price: Any, records: int | None) -> FlushPolicy:
    """Return the deterministic alarm policy for this price."""
    return AlarmPolicy(price, max_records=records)


POLICIES = pytest.mark.parametrize("make", [budget, alarm])


@POLICIES
@pytest.mark.parametrize("count", SIZES)
def test_never_more_than_twice_the_optimum(make: Any, count: int) -> None:
    """In random small cases, with and without a cap, the ratio is exact and at most 2."""
    worst = 0.0
    for random in many(count):
        price = exact(random.randint(1, 12), 1)
        records = random.choice([None, None, 2, 3, 5])
        times = arrivals(random, GAPS)
        ratio = CostRatio(2, price).measure(make(price, records), times)
        assert ratio <= 2, (price, records, times)
        worst = max(worst, ratio)
    assert worst > 1.99


@POLICIES
@pytest.mark.parametrize("records", [None, 3])
def test_twice_the_optimum_is_reached(make: Any, records: int | None) -> None:
    """An item that waits alone costs two flushes; an optimal schedule pays for one flush."""
    price = exact(7, 1)
    assert CostRatio(2, price).measure(make(price, records), [0, 10**6, 2 * 10**6]) == 2


def test_what_is_not_true_of_natural_batching() -> None:
    """If the sink is always free, natural batching flushes single items at any price."""
    times = [exact(number, 1000) for number in range(50)]
    assert CostRatio(2, exact(10, 1)).measure(NaturalPolicy(), times) > 20
