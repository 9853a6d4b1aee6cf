"""The constructor of a policy refuses bad arguments, and the message shows them."""

import math
from typing import Any

import pytest

from flushq.policies import AlarmPolicy, BudgetPolicy, IntervalPolicy, NaturalPolicy, PausePolicy

FIRST = {
    AlarmPolicy: "item_seconds",
    BudgetPolicy: "item_seconds",
    IntervalPolicy: "max_wait_seconds",
    NaturalPolicy: "max_records",
    PausePolicy: "flush_seconds",
}
"""The argument that each policy gets in these tests."""


CAPS = [
    ("max_records", 0, ValueError, "at least 1, not 0"),
    ("max_records", 2.0, TypeError, r"an int, not 2\.0"),
    ("max_weight", 0, ValueError, "above 0, not 0"),
    ("max_weight", math.nan, ValueError, "above 0, not nan"),
    ("max_weight", True, TypeError, "a real number, not True"),
]
PRICES = [
    (0, ValueError, "above 0, not 0"),
    (-1.5, ValueError, r"above 0, not -1\.5"),
    (math.nan, ValueError, "above 0, not nan"),
    (None, TypeError, "a real number, not None"),
]


@pytest.mark.parametrize(
    ("kind", "argument", "value", "error", "flaw"),
    [
        *((kind, *cap) for kind in FIRST for cap in CAPS),
        *(
            (kind, FIRST[kind], *price)
            for kind in (AlarmPolicy, BudgetPolicy, IntervalPolicy)
            for price in PRICES
        ),
        (AlarmPolicy, "u", -0.5, ValueError, r"at least 0, not -0\.5"),
        (AlarmPolicy, "u", 1.5, ValueError, r"at most 1, not 1\.5"),
        (AlarmPolicy, "u", math.nan, ValueError, "at least 0, not nan"),
        (AlarmPolicy, "u", True, TypeError, "a real number, not True"),
        (PausePolicy, "flush_seconds", -1, ValueError, "at least 0, not -1"),
        (PausePolicy, "flush_seconds", math.inf, ValueError, "finite, not inf"),
        (PausePolicy, "flush_seconds", "2", TypeError, "a real number, not '2'"),
    ],
)
def test_an_argument_that_makes_no_sense(
    kind: Any, argument: str, value: object, error: type[Exception], flaw: str
) -> None:
    """The policy refuses this value of one argument, although all other arguments are good."""
    arguments = {FIRST[kind]: 2, argument: value}
    with pytest.raises(error, match=f"^{argument} must be {flaw}$"):
        kind(**arguments)
