"""Random small cases that are drawn quickly.

Times and their sums are ints. Numbers that a policy divides are Fractions, so ratios are exact.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Any

import pytest

SEED = 20_111
SIZES = [1_000, pytest.param(6_000, marks=pytest.mark.long)]
"""The numbers of cases: a small one in the quick suite, and the large one in the long suite."""


def many(count: int) -> Iterator[Random]:
    """Yield a source of random numbers once for each of so many cases."""
    random = Random(SEED)
    for _ in range(count):
        yield random


def arrivals(random: Random, gaps: Sequence[Any], most: int = 8) -> list[Any]:
    """Draw the times of one to ``most`` arrivals."""
    return list(accumulate(random.choice(gaps) for _ in range(random.randint(1, most))))
