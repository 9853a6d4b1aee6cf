"""Interval: as few flushes as any schedule with the same caps and the same longest wait."""

from fractions import Fraction
from typing import Any

import pytest

from flushq.offline import fewest_flushes
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.simulation import simulate
from flushq.testing import FlushesRatio
from tests.theorems.cases import SIZES, arrivals, many

GAPS: list[Any] = [0, 0, 1, 1, 2, Fraction(5, 2), 3, 8]


@pytest.mark.parametrize("count", SIZES)
def test_never_more_than_the_fewest(count: int) -> None:
    """In random small cases, with and without either cap, the policy makes the fewest flushes."""
    for random in many(count):
        wait = random.randint(1, 9)
        records = random.choice([None, 1, 2, 3, 5])
        heaviest = random.choice([None, 4, 7, 10])
        times = arrivals(random, GAPS, 12)
        weights = [random.randint(1, 4) for _ in times]
        trace = simulate(IntervalPolicy(wait, records, heaviest), times, 0, weights=weights)
        fewest = fewest_flushes(
            times,
            max_wait_seconds=wait,
            max_records=records,
            weights=weights,
            max_weight=heaviest,
        )
        assert fewest == len(trace.flushes), (wait, records, heaviest, times, weights)
        assert all(flush.started - flush.oldest <= wait for flush in trace.flushes)


@pytest.mark.parametrize("count", SIZES)
def test_floats_tie_as_they_do_in_a_queue(count: int) -> None:
    """With rounded sums of floats the ratio is 1, too: no item is late, and no flush is saved."""
    for random in many(count):
        wait = random.choice([0.1, 0.2, 0.3, 0.7])
        times = arrivals(random, [0.0, 0.1, 0.2, 0.3, 0.7])
        assert 1 == FlushesRatio(1, wait).measure(IntervalPolicy(wait), times), (wait, times)


def test_what_is_not_true_of_natural_batching() -> None:
    """A policy that waits less than allowed needs several flushes instead of one."""
    assert 50 == FlushesRatio(1, 50).measure(NaturalPolicy(), list(range(50)))
    assert 2 == FlushesRatio(1, 5).measure(IntervalPolicy(2), [0, 3, 8, 11])
