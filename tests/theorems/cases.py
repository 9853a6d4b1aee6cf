"""Random small cases, drawn quickly.

Times are ints, and so are their sums; what a policy divides is a Fraction. So ratios are exact.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Any

import pytest

SEED = 20_111
SIZES = [1_000, pytest.param(6_000, marks=pytest.mark.long)]
"""How many cases are tried: some in the quick suite, all of them in the long one."""


def many(count: int) -> Iterator[Random]:
    """Yield a source of random numbers for each of so many cases."""
    random = Random(SEED)
    for _ in range(count):
        yield random


def arrivals(random: Random, gaps: Sequence[Any], most: int = 8) -> list[Any]:
    """Draw the times of one to ``most`` arrivals."""
    return list(accumulate(random.choice(gaps) for _ in range(random.randint(1, most))))
