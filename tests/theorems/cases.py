"""Random small cases, drawn quickly, and the worst ratio among them.

Times are ints, and so are their sums; what a policy divides is a Fraction. So ratios are exact.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

SEED = 20_111
SIZES = [1_000, pytest.param(20_000, marks=pytest.mark.long)]
"""How many cases are tried: some in the quick suite, all of them in the long one."""

Measure = Callable[[Sequence[Any]], Any]


def many(count: int) -> Iterator[Random]:
    """Yield a source of random numbers for each of so many cases."""
    random = Random(SEED)
    for _ in range(count):
        yield random


def arrivals(random: Random, gaps: Sequence[Any], most: int = 8) -> list[Any]:
    """Draw the times of one to ``most`` arrivals."""
    return list(accumulate(random.choice(gaps) for _ in range(random.randint(1, most))))


def search(measure: Measure, gaps: Sequence[Any], most: int = 8) -> float:
    """Let Hypothesis look for the arrivals with the largest ratio; return that."""
    worst = 0.0

    @settings(max_examples=200, database=None, derandomize=True)
    @given(st.lists(st.sampled_from(gaps), min_size=1, max_size=most))
    def climb(steps: list[Any]) -> None:
        nonlocal worst
        ratio = float(measure(list(accumulate(steps))))
        worst = max(worst, ratio)
        target(ratio)

    climb()
    return worst
