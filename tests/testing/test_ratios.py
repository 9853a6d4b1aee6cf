"""The ratios: what a policy spends, divided by the optimum."""

import math
from collections.abc import Callable

import pytest

from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import FlushPolicy
from flushq.testing import CostRatio, FlushesRatio, LatencyRatio, Ratio


@pytest.mark.parametrize(
    ("ratio", "policy", "arrivals", "expected"),
    [
        (CostRatio(2, 3), IntervalPolicy(5), [0, 1, 9], (2 * 3 + 9 + 5) / (2 * 3 + 1)),
        (CostRatio(2, 3), NaturalPolicy(1), [0, 0, 0], 1),
        (CostRatio(2, 3), IntervalPolicy(math.inf), [0], math.inf),
        (FlushesRatio(1, 5), NaturalPolicy(), [0, 1, 5, 6], 2),
        (FlushesRatio(1, 5), NaturalPolicy(2), [0, 0, 1, 1], 1),
        (FlushesRatio(1, 5), IntervalPolicy(5.5), [0], math.inf),
        (FlushesRatio(1, 5), IntervalPolicy(math.inf), [0], math.inf),
        (LatencyRatio(2, 10), NaturalPolicy(), [0, 1], 19 / 11),
        (LatencyRatio(2, 10, 2), NaturalPolicy(), [0, 1], 1),
        (LatencyRatio(2, 10), NaturalPolicy(1), [0, 0], 1),
        (LatencyRatio(2, 10), IntervalPolicy(math.inf), [0], math.inf),
    ],
)
def test_a_ratio_is_what_is_spent_in_multiples_of_the_optimum(
    ratio: Ratio, policy: FlushPolicy, arrivals: list[float], expected: float
) -> None:
    """The optimum has the same cap; the ratio is infinite if an item is left over or too late."""
    assert expected == ratio.measure(policy, arrivals)


@pytest.mark.parametrize("make", [CostRatio, FlushesRatio, LatencyRatio])
def test_bad_ratios_are_refused(make: Callable[..., Ratio]) -> None:
    """A bound that is NaN or negative, or a time without a ratio, is refused."""
    for bound, seconds in [(math.nan, 1), (-1, 1), (2, 0), (2, math.inf), (2, math.nan)]:
        with pytest.raises(ValueError, match=r"must be (above|at least|finite)"):
            make(bound, seconds)
    assert math.inf == make(math.inf, 1).bound
    assert 0 == make(0, 1).bound


def test_a_ratio_of_latency_needs_a_slot() -> None:
    """A ratio with no slot is refused, since nothing could be flushed."""
    with pytest.raises(ValueError, match=r"^max_in_flight must be at least 1, not 0$"):
        LatencyRatio(2, 1, 0)
