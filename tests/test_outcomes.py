"""Verdicts, reports and stats are plain values, and a verdict with bad values is refused."""

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
    """A verdict equals another one with the same values, can be hashed, and cannot be changed."""
    same = attrs.evolve(verdict)
    assert {verdict} == {same}
    with pytest.raises(AttributeError):
        verdict.after = 3


def test_verdicts_differ() -> None:
    """Verdicts of different classes differ, and so do Retries with different times (default 0)."""
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
    """A time that is negative, not finite or no number is refused, and the message shows it."""
    with pytest.raises(error, match=re.escape(message)):
        Retry(after)


def test_a_hold_is_a_bool() -> None:
    """A ``hold`` that is not a bool is refused, and the message shows it."""
    with pytest.raises(TypeError, match="hold must be a bool, not 30"):
        Retry(1, hold=30)  # type: ignore[arg-type]  # a mistake


# Pauses that grow.


@pytest.mark.parametrize(
    ("pauses", "arguments"),
    [
        ([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0], {}),
        ([1.0, 2.0, 3.0, 3.0], {"first": 1.0, "most": 3.0}),
        ([2, 2], {"first": 2, "most": 2}),
        ([0.75, 1.5], {"first": Fraction(3, 2), "jitter": lambda: 0.5}),
        ([0, 0], {"jitter": lambda: 0}),
        ([30.0], {"first": 30.0, "jitter": lambda: 1}),
    ],
)
def test_a_backoff_doubles_up_to_the_most(pauses: list[float], arguments: Any) -> None:
    """Each pause is double the one before, up to ``most``; jitter shortens each pause."""
    attempts = range(1, len(pauses) + 1)
    assert pauses == [Retry.backoff(attempt, **arguments).after for attempt in attempts]


def test_a_backoff_never_overflows() -> None:
    """For a very high attempt the pause is the longest one, without an error."""
    assert Retry(30.0) == Retry.backoff(10**6) == Retry.backoff(2000, first=1e-300)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"attempt": 0}, ValueError, "attempt must be at least 1, not 0"),
        ({"attempt": 1.0}, TypeError, "attempt must be an int, not 1.0"),
        ({"first": 0}, ValueError, "first must be above 0, not 0"),
        ({"first": math.inf}, ValueError, "first must be finite, not inf"),
        ({"first": "1"}, TypeError, "first must be a real number, not '1'"),
        ({"first": 2, "most": 1}, ValueError, "most must be at least 2, not 1"),
        ({"most": math.inf}, ValueError, "most must be finite, not inf"),
        ({"jitter": 0.5}, TypeError, "jitter must be callable, not 0.5"),
        ({"jitter": lambda: 1.5}, ValueError, "the result of jitter must be at most 1, not 1.5"),
        ({"jitter": lambda: -1}, ValueError, "the result of jitter must be at least 0, not -1"),
        ({"jitter": str}, TypeError, "the result of jitter must be a real number, not ''"),
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused(
    arguments: Any, error: type[Exception], message: str
) -> None:
    """A bad argument of Retry.backoff is refused, and the message shows the value."""
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Retry.backoff(**{"attempt": 1, **arguments})


# Facts.


def test_a_report_and_the_stats_are_frozen_values() -> None:
    """Reports and stats with the same values are equal, and cannot be changed."""

    def report() -> FlushReport:
        return FlushReport("full", 2, 3.0, 0.5, 1.0, 2.0, 1, None, 2, 0, 4)

    def stats() -> QueueStats:
        return QueueStats(9, 1, 2, 0, 0, 0, 4, 2, 0, {"full": 1}, 0.5)

    for one, other in ((report(), report()), (stats(), stats())):
        assert one == other
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            one.delivered = 3  # type: ignore[misc]  # this is what is tested
