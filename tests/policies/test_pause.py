"""PausePolicy: natural batching that waits for the next items to join."""

import copy
import math

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


@pytest.mark.parametrize(
    ("slots", "alpha"),
    [(1, ROOT), (2, (math.sqrt(13) - 3) / 2), (3, math.sqrt(5) - 2)],
)
def test_alpha_depends_on_the_slots(slots: int, alpha: float) -> None:
    """The pause is shorter if more flushes may run at a time: 0.414, 0.303, 0.236 flush times."""
    policy = running_copy(PausePolicy(10), slots)
    assert isinstance(policy, PausePolicy)
    assert alpha == pytest.approx(policy.alpha)
    assert 10 * alpha == pytest.approx(policy.pause_seconds)


@pytest.mark.parametrize("cap", [{"max_records": 5}, {"max_weight": 5}])
@pytest.mark.parametrize("slots", [1, 3])
def test_with_a_cap_alpha_is_golden(cap: dict[str, int], slots: int) -> None:
    """With either cap the pause is 0.618 flush times, for any number of slots."""
    running = running_copy(PausePolicy(1, **cap), slots)
    assert isinstance(running, PausePolicy)
    assert pytest.approx(GOLDEN) == running.alpha


def flush(policy: PausePolicy, now: float, seconds: float, error: Exception | None = None) -> None:
    """Flush one item, in so many seconds."""
    policy.item_added(now)
    policy.flush_started(now, 1)
    policy.flush_done(now + seconds, 1, seconds, error)


def test_it_learns_from_each_flush() -> None:
    """The first flush sets the pause; each later one moves it by a fifth of the difference."""
    policy = PausePolicy()
    assert Flush("pause") == policy.item_added(0)
    for number, (seconds, mean) in enumerate([(10, 10), (20, 12), (2, 10)]):
        flush(policy, 100 * number, seconds)
        assert mean * policy.alpha == pytest.approx(policy.pause_seconds)


@pytest.mark.parametrize(
    ("given_seconds", "error"), [(None, OSError("no route")), (0, None)], ids=["failed", "given"]
)
def test_some_flushes_teach_nothing(given_seconds: float | None, error: Exception | None) -> None:
    """A failed flush does not change the pause; if a duration was given, no flush does."""
    policy = PausePolicy(given_seconds)
    flush(policy, 0, 10, error)
    assert 0 == policy.pause_seconds


def test_a_copy_of_a_running_policy_knows_what_that_has_learnt() -> None:
    """A copy keeps the learned duration, since the sink is the same for every queue."""
    policy = PausePolicy()
    flush(policy, 0, 4)
    assert policy.pause_seconds == copy.deepcopy(policy).pause_seconds != 0


@given(times=arrivals(1), seconds=st.integers(0, 9), slots=st.integers(1, 3))
def test_no_item_waits_longer_than_the_pause_for_a_free_slot(
    times: list[int], seconds: int, slots: int
) -> None:
    """A flush starts at the end of the pause, or later at the end of another flush."""
    policy = running_copy(PausePolicy(seconds), slots)
    assert isinstance(policy, PausePolicy)
    trace = simulate(policy, times, seconds, max_in_flight=slots)
    ends = {flush.ended for flush in trace.flushes}
    assert 0 == trace.stranded
    for flush in trace.flushes:
        over = flush.oldest + policy.pause_seconds
        assert flush.started == over or (flush.started > over and flush.started in ends)
