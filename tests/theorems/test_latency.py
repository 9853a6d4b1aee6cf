"""Natural and pause: the longest latency, if every flush takes the same time.

The pause is an irrational part of a flush time, so sums with the pause are rounded. All other
times are ints or multiples of a power of two.
"""

import math
from typing import Any

import pytest

from flushq.policies import NaturalPolicy, PausePolicy
from flushq.policy import FlushPolicy, running_copy
from flushq.testing import LatencyRatio
from tests.theorems.cases import SIZES, arrivals, many

ROUNDING = 1e-12
SLOTS = pytest.mark.parametrize("slots", [1, 2, 3])
GOLDEN = (1 + math.sqrt(5)) / 2


def pause(slots: int, records: int | None) -> tuple[FlushPolicy, float]:
    """Return the policy for flushes of one second, and the bound that it promises."""
    policy = running_copy(PausePolicy(1.0, records), slots)
    assert isinstance(policy, PausePolicy)
    return policy, 1 + policy.alpha


def gaps(alpha: float) -> list[float]:
    """Return gaps that are small, or about as long as a pause, the rest of a flush, or a flush."""
    tiny = 2.0**-10
    return [0, 0, tiny, 0.125, 0.25, 0.5, alpha, alpha + tiny, 1 - alpha, 1, 1 + tiny]


@SLOTS
@pytest.mark.parametrize("count", SIZES)
def test_natural_never_more_than_twice_the_optimum(slots: int, count: int) -> None:
    """In random small cases, with and without a cap, the ratio is exact and at most 2."""
    worst = 0.0
    for random in many(count):
        seconds = random.choice([1, 2, 3, 5, 8, 1000])
        records = random.choice([None, None, 1, 2, 3])
        times = arrivals(random, [0, 0, 1, 1, 2, 3, 5])
        ratio = LatencyRatio(2, seconds, slots).measure(NaturalPolicy(records), times)
        assert ratio <= 2, (seconds, records, times)
        worst = max(worst, ratio)
    assert worst > 1.99


@SLOTS
def test_twice_the_optimum_is_reached(slots: int) -> None:
    """An item that comes just after every slot was taken waits for a flush before its own flush."""
    ratio = LatencyRatio(2, 10**6, slots).measure(NaturalPolicy(), list(range(slots + 1)))
    assert 1.9999 < ratio < 2


@SLOTS
@pytest.mark.parametrize("records", [None, 2, 3])
@pytest.mark.parametrize("count", SIZES)
def test_a_pause_never_more_than_its_bound(slots: int, records: int | None, count: int) -> None:
    """In random small cases, with and without a cap, the ratio is at most 1 + alpha."""
    policy, bound = pause(slots, records)
    ratio = LatencyRatio(bound, 1.0, slots)
    worst = 0.0
    for random in many(count):
        times = arrivals(random, gaps(bound - 1))
        spent = ratio.measure(policy, times)
        assert spent <= bound + ROUNDING, times
        worst = max(worst, spent)
    assert worst > 0.99 * bound


@pytest.mark.parametrize(
    ("slots", "records", "bound"),
    [(1, None, math.sqrt(2)), (2, None, 1.302775), (3, None, 1.236068), (1, 5, GOLDEN)],
)
def test_the_bound_of_a_pause_is_reached(slots: int, records: int | None, bound: float) -> None:
    """A single item waits for the whole pause, although no other item joins it."""
    policy, promised = pause(slots, records)
    assert bound == pytest.approx(promised, rel=1e-6)
    assert bound == pytest.approx(LatencyRatio(bound, 1.0, slots).measure(policy, [0.0]), rel=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_no_other_pause_does_better(share: float) -> None:
    """A shorter pause costs too much if an item comes late, a longer one if an item is alone."""
    policy = PausePolicy(share / (math.sqrt(2) - 1))
    ratio = LatencyRatio(0, 1.0)
    alone: Any = ratio.measure(policy, [0.0])
    late: Any = ratio.measure(policy, [0.0, share + 2.0**-20])
    assert max(alone, late) > math.sqrt(2) + 0.01
