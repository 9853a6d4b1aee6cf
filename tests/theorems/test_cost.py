"""Budget and alarm: at most twice the least cost of flushes and waiting."""

from typing import Any

import attrs
import pytest

from flushq.policies import AlarmPolicy, BudgetPolicy, IntervalPolicy, NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.testing import CostRatio
from tests.models import exact
from tests.theorems.cases import SIZES, arrivals, many, search

GAPS = [0, 0, 1, 1, 2, 3, 4, 7, 12]


def budget(price: Any, records: int | None) -> FlushPolicy:
    """The policy for this price."""
    return BudgetPolicy(price, records)


def alarm(price: Any, records: int | None) -> FlushPolicy:
    """The deterministic policy for this price."""
    return AlarmPolicy(price, max_records=records)


POLICIES = pytest.mark.parametrize("make", [budget, alarm])


@POLICIES
@pytest.mark.parametrize("count", SIZES)
def test_never_more_than_twice_the_optimum(make: Any, count: int) -> None:
    """In random small cases, with a cap and without, the ratio is exact and at most 2."""
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
    """An item that waits alone costs two flushes where an optimal schedule pays for one."""
    price = exact(7, 1)
    assert CostRatio(2, price).measure(make(price, records), [0, 10**6, 2 * 10**6]) == 2


@POLICIES
def test_twice_the_optimum_is_reached_by_crowds(make: Any) -> None:
    """A crowd that comes at once is kept waiting for the price of a flush, too."""
    price = exact(7, 1)
    assert CostRatio(2, price).measure(make(price, None), [0] * 50 + [100] * 50) == 2


@POLICIES
@pytest.mark.parametrize("records", [None, 2, 3])
def test_no_search_beats_the_bound(make: Any, records: int | None) -> None:
    """Arrivals that are chosen for their ratio come to 2 and no further."""
    price = exact(6, 1)
    ratio = CostRatio(2, price)
    assert 1.98 <= search(lambda times: ratio.measure(make(price, records), times), GAPS) <= 2


@attrs.define
class Debounce(FlushPolicy):
    """An alarm that each arrival puts off."""

    item_seconds: Any
    due: Any = 0

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Set the alarm anew."""
        self.due = now + self.item_seconds / (self.queue.pending + count)
        return super().item_added(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush when nothing has come for long enough."""
        return Flush() if self.due <= now else Wait(self.due)


def test_what_is_not_true_of_a_debounce() -> None:
    """An alarm that arrivals put off has no bound: it grows with the root of their number."""
    price = exact(1, 1)
    times: list[Any] = [0 * price]
    for waiting in range(1, 200):
        times.append(times[-1] + price / waiting * exact(99, 100))
    assert CostRatio(2, price).measure(Debounce(price), times) > 5


@pytest.mark.parametrize("seconds", [exact(1, 10), exact(1, 1), exact(10, 1)])
def test_what_is_not_true_of_a_fixed_time(seconds: Any) -> None:
    """No fixed waiting time has a bound: a crowd waits for too long, a single one not enough."""
    crowd = [0] * 1000
    ratio = CostRatio(2, exact(1, 1))
    assert ratio.measure(IntervalPolicy(seconds), crowd) > 50


def test_what_is_not_true_of_natural_batching() -> None:
    """A sink that is always free gets items one by one, however dear that is."""
    times = [exact(number, 1000) for number in range(50)]
    assert CostRatio(2, exact(10, 1)).measure(NaturalPolicy(), times) > 20
