"""Alarm with a random u: e/(e - 1) times the least cost, in expectation.

The expectation is exact except for rounding. While z = ln(1 + u(e - 1)) grows from 0 to 1, the
batches change at finitely many values of z, where an alarm meets an arrival or another alarm.
Between two of these values the cost is linear in z, so the mean cost is the cost at the mean of z.
The density of z is e^z / (e - 1).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise, product
from random import Random

import attrs
import pytest

from flushq.policies import AlarmPolicy
from flushq.policy import Decision, FlushPolicy
from flushq.testing import CostRatio
from tests.theorems.cases import arrivals, many

BOUND = math.e / (math.e - 1)
PRICE = 4
GAPS = [0, 0, 1, 1, 2, 3, 4, 6]


def alarm(z: float) -> FlushPolicy:
    """Return the policy whose threshold is z times the price."""
    return AlarmPolicy(PRICE, u=math.expm1(z) / (math.e - 1))


def turns(times: Sequence[int]) -> list[float]:
    """Return 0, 1, and the values of z between them at which the batches may change."""
    numbers = range(1, len(times) + 1)
    gaps = {later - earlier for earlier, later in combinations(times, 2)} - {0}
    meets_arrival = {gap * number / PRICE for gap in gaps for number in numbers}
    meets_alarm = {
        gap / PRICE * few * many / (many - few)
        for gap in gaps
        for few, many in combinations(numbers, 2)
    }
    return [0, *sorted(z for z in meets_arrival | meets_alarm if 0 < z < 1), 1]


def pieces(turning: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Yield the probability of each piece between two turns, and the mean of z in the piece."""
    for low, high in pairwise(turning):
        weight = math.exp(high) - math.exp(low)
        if weight > 1e-12:
            moment = (high - 1) * math.exp(high) - (low - 1) * math.exp(low)
            yield weight / (math.e - 1), moment / weight


def expected_ratio(times: Sequence[int], make: Callable[[float], FlushPolicy] = alarm) -> float:
    """Return the mean of the cost over all u, divided by the least cost."""
    ratio = CostRatio(BOUND, PRICE)
    return sum(share * ratio.measure(make(z), times) for share, z in pieces(turns(times)))


@pytest.mark.parametrize("count", [100, pytest.param(6_000, marks=pytest.mark.long)])
def test_never_more_than_the_bound(count: int) -> None:
    """In random small cases the expected ratio is at most e/(e - 1)."""
    worst = 0.0
    for random in many(count):
        times = arrivals(random, GAPS, 5)
        ratio = expected_ratio(times)
        assert ratio <= BOUND + 1e-9, times
        worst = max(worst, ratio)
    assert worst > 0.99 * BOUND


def test_the_bound_is_reached() -> None:
    """A single item costs 1 + z, and an optimal schedule pays 1: e/(e - 1) in expectation."""
    assert BOUND == pytest.approx(expected_ratio([0]))
    assert BOUND == pytest.approx(expected_ratio([0, 1000, 2000]))


def test_the_pieces_are_exact() -> None:
    """The expectation is close to the mean over many equally likely values of u."""
    random = Random(7)
    for _ in range(5):
        times = arrivals(random, GAPS, 5)
        ratio = CostRatio(BOUND, PRICE)
        values = [(number + 0.5) / 1000 for number in range(1000)]
        mean = sum(ratio.measure(AlarmPolicy(PRICE, u), times) for u in values) / 1000
        assert mean == pytest.approx(expected_ratio(times), rel=0.003)


@attrs.define
class Fresh(FlushPolicy):
    """An alarm policy with another z for each batch."""

    alarms: list[FlushPolicy]

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Set the alarm of this batch."""
        self.alarms[0].item_added(now, count, weight)
        return super().item_added(now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Continue with the next z."""
        del self.alarms[0]
        return super().flush_started(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Return the decision of the alarm of this batch."""
        return self.alarms[0].decide(now)


def quantiles(count: int) -> list[float]:
    """Return so many equally likely values of z."""
    return [math.log1p((number + 0.5) / count * (math.e - 1)) for number in range(count)]


def test_what_is_not_true_of_a_fresh_u_for_every_batch() -> None:
    """Independent draws for each batch cost more, since they do not compensate for each other."""
    times, ratio = [0, 4], CostRatio(BOUND, 16)
    zs = [AlarmPolicy(16, math.expm1(z) / (math.e - 1)) for z in quantiles(50)]
    ratios = [ratio.measure(Fresh([one, other]), times) for one, other in product(zs, zs)]
    assert 1.61 < sum(ratios) / 50**2
    assert sum(ratio.measure(policy, times) for policy in zs) / 50 < BOUND
