"""Verdicts, reports and stats are plain values, and a verdict that makes no sense is refused."""

import math
import re
from fractions import Fraction
from typing import Any

import attrs
import pytest

from flushq.outcomes import Drop, Fail, FlushReport, QueueStats, Retry, Split

# Verdicts.


@pytest.mark.parametrize("verdict", [Fail(), Drop(), Retry(2), Split()], ids=repr)
def test_a_verdict_is_a_frozen_value(verdict: Any) -> None:
    """A verdict equals one that says the same, can be hashed, and cannot be changed."""
    same = attrs.evolve(verdict)
    assert {verdict} == {same}
    with pytest.raises(AttributeError):
        verdict.after = 3


def test_verdicts_differ() -> None:
    """No verdict equals another, nor a Retry one after another time; by default that is 0."""
    assert Retry(0.0) == Retry()
    assert 5 == len({Fail(), Drop(), Split(), Retry(), Retry(1)})


@pytest.mark.parametrize(
    ("after", "error", "message"),
    [
        (-1, ValueError, "after must be at least 0, not -1"),
        (Fraction(-1, 3), ValueError, "after must be at least 0, not Fraction(-1, 3)"),
        (math.nan, ValueError, "after must be at least 0, not nan"),
        (math.inf, ValueError, "after must be finite, not inf"),
        (10**400, ValueError, "after must be a number that a float can hold, not 1000"),
        (True, TypeError, "after must be a real number, not True"),
        (None, TypeError, "after must be a real number, not None"),
        ("1", TypeError, "after must be a real number, not '1'"),
    ],
)
def test_a_retry_after_no_time_is_refused(after: Any, error: type[Exception], message: str) -> None:
    """A time that is negative, not finite or no number is refused where it is given, and shown."""
    with pytest.raises(error, match=re.escape(message)):
        Retry(after)


def test_a_hold_is_a_bool() -> None:
    """Anything else is refused where it is given, and shown."""
    with pytest.raises(TypeError, match="hold must be a bool, not 30"):
        Retry(1, hold=30)  # type: ignore[arg-type]  # a mistake


# Facts.


def test_a_report_and_the_stats_are_frozen_values() -> None:
    """What is told of a flush and of a queue equals the same, and cannot be changed."""

    def report() -> FlushReport:
        return FlushReport("full", 2, 3.0, 0.5, 1.0, 2.0, 1, None, 2, 0, 4)

    def stats() -> QueueStats:
        return QueueStats(9, 1, 2, 0, 0, 0, 4, 2, 0, {"full": 1}, 0.5)

    for one, other in ((report(), report()), (stats(), stats())):
        assert one == other
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            one.delivered = 3  # type: ignore[misc]  # that is the point
