"""simulate() with a throttle: the start times of calls, worked out by hand."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from flushq import (
    Drop,
    FlushPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PolicyError,
    Retry,
    Verdict,
)
from flushq.simulation import MOST_BROKEN_PROMISES, Trace, simulate
from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from flushq.throttles.throttle import throttle_copy

ONE = NaturalPolicy(1)


def starts(trace: Trace) -> Sequence[float]:
    """Return the start times of the flushes."""
    return [flush.started for flush in trace.flushes]


@pytest.mark.parametrize("drain", [False, True])
def test_calls_start_as_the_throttle_says(*, drain: bool) -> None:
    """A batch is taken exactly when its call may start; items that come until then join it."""
    third: Any = Fraction(1, 3)
    limit = RateLimit(1, third)
    trace = simulate(NaturalPolicy(2), [0, 0, 0, third], 0, throttle=limit, drain=drain)
    assert [0, third] == starts(trace)
    assert [2, 2] == [flush.size for flush in trace.flushes]
    assert RateLimit(1, third) == limit == throttle_copy(limit)


def test_partitions_share_the_throttle() -> None:
    """The queue has one throttle for the calls of all partitions."""
    limit = RateLimit(1, 5)
    trace = simulate(NaturalPolicy(), [0, 0, 0], 1, partitions="aba", throttle=limit)
    assert ([0, 5], ["a", "b"]) == (starts(trace), [each.partition for each in trace.flushes])


def test_only_the_time_of_the_policy_is_an_event() -> None:
    """A trace has the events of the policy; waiting for the throttle is none of them."""
    trace = simulate(IntervalPolicy(2.0), [0.0, 2.5], 0, throttle=RateLimit(1, 5.0))
    assert [2.0, 7.0] == starts(trace)
    assert [2.0, 4.5] == [event.now for event in trace.events if event.name == "tick"]


def test_retries_wait_and_go_first() -> None:
    """The throttle counts each call of a flush, and no call starts during a hold."""

    def fails(attempt: int, size: int) -> Verdict | None:
        return Retry(4, hold=True) if attempt == 1 and size == 2 else None

    policy, limit = NaturalPolicy(2), RateLimit(1, 3)
    trace = simulate(policy, [0, 0, 1], 1, max_in_flight=2, flush_fails=fails, throttle=limit)
    assert [(0, 6, 2), (8, 9, 1)] == [
        (flush.started, flush.ended, flush.attempts) for flush in trace.flushes
    ]


def test_a_breaker_is_told_of_every_call() -> None:
    """A breaker opens when calls have failed, and closes when a trial call succeeds."""

    def fails(attempt: int, size: int) -> Verdict | None:
        return Drop() if size == 1 else None

    arrivals = [0, 10, 20, 20]
    trace = simulate(
        NaturalPolicy(2), arrivals, 1, flush_fails=fails, throttle=CircuitBreaker(1, 15)
    )
    assert [0, 16] == starts(trace)[:2]
    assert [1, 1, 2] == [flush.size for flush in trace.flushes]


class Late(Throttle):
    """A throttle whose ready time is always a second later."""

    def ready_at(self, now: float) -> float:
        """Return a second after ``now``."""
        return now + 1


class Broken(Throttle):
    """A throttle that raises."""

    def ready_at(self, now: float) -> float:
        """Raise."""
        raise OSError


@pytest.mark.parametrize(
    ("throttle", "message"),
    [
        (Late(), f"no call could start, {MOST_BROKEN_PROMISES + 1} times in a row "),
        (Broken(), r"the throttle Broken raised OSError\(\) in ready_at"),
    ],
    ids=type,
)
@pytest.mark.parametrize("policy", [ONE, IntervalPolicy(2.0)], ids=type)
def test_a_throttle_that_fails(throttle: Throttle, message: str, policy: FlushPolicy) -> None:
    """A throttle that raises, or never lets a call start, is a PolicyError."""
    with pytest.raises(PolicyError, match=message):
        simulate(policy, [0.0], 0, throttle=throttle)
