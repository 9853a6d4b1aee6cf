"""PausePolicy: natural batching that lets the next items join."""

import copy
import math
from itertools import accumulate
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.policies import PausePolicy
from flushq.policy import Flush, Wait, running_copy
from flushq.simulation import simulate
from tests.strategies import arrivals

GOLDEN = (math.sqrt(5) - 1) / 2
ROOT = math.sqrt(2) - 1


def test_the_oldest_item_sets_the_end_of_the_pause() -> None:
    """A slot is left free until the oldest item has waited alpha flush times."""
    policy = PausePolicy(10)
    assert Wait(5 + policy.pause_seconds) == policy.item_added(5)
    assert Wait(5 + policy.pause_seconds) == policy.item_added(7, 100)
    assert Flush("pause") == policy.tick(5 + policy.pause_seconds)


def test_who_has_waited_for_a_flush_need_not_pause() -> None:
    """What an item has waited for a slot counts."""
    policy = PausePolicy(10)
    policy.item_added(0)
    policy.flush_started(5, 1)
    policy.item_added(6)
    assert Flush("pause") == policy.flush_done(15, 1, 10)


@pytest.mark.parametrize(
    ("slots", "alpha"),
    [(1, ROOT), (2, (math.sqrt(13) - 3) / 2), (3, math.sqrt(5) - 2)],
)
def test_alpha_depends_on_the_slots(slots: int, alpha: float) -> None:
    """The more flushes may run at a time, the shorter is the pause: 0.414, 0.303, 0.236."""
    policy = running_copy(PausePolicy(10), slots)
    assert isinstance(policy, PausePolicy)
    assert alpha == pytest.approx(policy.alpha)
    assert 10 * alpha == pytest.approx(policy.pause_seconds)


@pytest.mark.parametrize("policy", [PausePolicy(1, 5), PausePolicy(1, max_weight=5)])
@pytest.mark.parametrize("slots", [1, 3])
def test_with_a_cap_alpha_is_golden(policy: PausePolicy, slots: int) -> None:
    """With a cap of either kind the pause is 0.618 flush times."""
    running = running_copy(policy, slots)
    assert isinstance(running, PausePolicy)
    assert pytest.approx(GOLDEN) == running.alpha


def test_without_a_flush_time_nothing_is_known_at_first() -> None:
    """Until the first flush has ended there is no pause."""
    policy = PausePolicy()
    assert Flush("pause") == policy.item_added(0)
    policy.flush_started(0, 1)
    policy.flush_done(10, 1, 10)
    assert Wait(20 + 10 * policy.alpha) == policy.item_added(20)


def test_it_learns_from_each_flush() -> None:
    """The first flush is believed, of each further one a fifth."""
    policy = PausePolicy()
    for number, (seconds, mean) in enumerate([(10, 10), (20, 12), (2, 10)]):
        policy.item_added(100 * number)
        policy.flush_started(100 * number, 1)
        policy.flush_done(100 * number + seconds, 1, seconds)
        assert mean * policy.alpha == pytest.approx(policy.pause_seconds)


def test_a_flush_that_failed_teaches_nothing() -> None:
    """How long it takes to fail is not how long a flush takes."""
    policy = PausePolicy()
    policy.item_added(0)
    policy.flush_started(0, 1)
    policy.flush_done(10, 1, 10, OSError("no route"))
    assert 0 == policy.pause_seconds


def test_a_flush_time_that_is_given_is_not_learnt() -> None:
    """What it was told it believes."""
    policy = PausePolicy(0)
    policy.item_added(0)
    policy.flush_started(0, 1)
    policy.flush_done(10, 1, 10)
    assert 0 == policy.pause_seconds


def warm(seconds: float) -> PausePolicy:
    """A policy that has learnt from a flush of so many seconds."""
    policy = PausePolicy()
    policy.item_added(0)
    policy.flush_started(0, 1)
    policy.flush_done(seconds, 1, seconds)
    return policy


def test_a_copy_of_a_running_policy_knows_what_that_has_learnt() -> None:
    """The duration of a flush is that of the sink, whichever queue it serves."""
    assert warm(4).pause_seconds == copy.deepcopy(warm(4)).pause_seconds != 0


@pytest.mark.parametrize("rate", [1, 5, 20, 80])
@pytest.mark.parametrize("seconds", [0.001, 5])
def test_a_cold_and_a_warm_start_converge(rate: int, seconds: float) -> None:
    """Whatever was learnt before, the same arrivals lead to batches of one size in the end.

    A flush of n items takes 0.1 + 0.01 n seconds, so that the sink keeps up with 100 a second.
    """
    random = Random(rate)
    times = list(accumulate(random.expovariate(rate) for _ in range(200 * rate)))
    cold, hot = (
        simulate(policy, times, lambda size: 0.1 + 0.01 * size).flushes[-50:]
        for policy in (PausePolicy(), warm(seconds))
    )
    items = sum(flush.size for flush in cold)
    assert items == pytest.approx(sum(flush.size for flush in hot), rel=0.05)


@given(times=arrivals(1), seconds=st.integers(0, 9), slots=st.integers(1, 3))
def test_no_item_waits_longer_than_the_pause_for_a_free_slot(
    times: list[int], seconds: int, slots: int
) -> None:
    """A flush starts when the pause is over or when a flush ends, and at no other time."""
    policy = running_copy(PausePolicy(seconds), slots)
    assert isinstance(policy, PausePolicy)
    trace = simulate(policy, times, seconds, max_in_flight=slots)
    ends = {flush.ended for flush in trace.flushes}
    assert 0 == trace.stranded
    for flush in trace.flushes:
        over = flush.oldest + policy.pause_seconds
        assert flush.started == over or (flush.started > over and flush.started in ends)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"flush_seconds": -1}, ValueError, "flush_seconds must be at least 0, not -1"),
        ({"flush_seconds": math.nan}, ValueError, "flush_seconds must be at least 0, not nan"),
        ({"flush_seconds": math.inf}, ValueError, "flush_seconds must be finite, not inf"),
        ({"flush_seconds": "2"}, TypeError, "flush_seconds must be a real number, not '2'"),
        ({"max_records": 0}, ValueError, "max_records must be at least 1, not 0"),
        ({"max_weight": 0}, ValueError, "max_weight must be above 0, not 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A value that is none is refused at construction, and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        PausePolicy(**arguments)
