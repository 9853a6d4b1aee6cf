"""A play tells a policy what the history says, as far as it can happen."""

import math
from fractions import Fraction
from typing import Any

import pytest

from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.testing import Arrive, Due, Finish, History, Pass, Start, Step
from flushq.testing.histories import quarter_of
from flushq.testing.laws import Play
from tests.models import exact


def told(policy: FlushPolicy, *steps: Step, slots: int = 1, unit: float = 0.5) -> list[Any]:
    """The name, the time and the other facts of each event."""
    events = Play(policy, History(slots, unit, steps), ()).run()
    return [(event.name, event.now, *event.facts) for event in events]


def test_time_passes_in_units() -> None:
    """A step happens so many units after the last one; the last promise is waited for."""
    assert [
        ("item_added", 1.5, 2, 3),
        ("tick", 2.5),
        ("flush_started", 2.5, 2, 3),
        ("item_added", 4.0, 1, 0),
        ("flush_done", 6.0, 2, 3.5, None),
        ("tick", 14.0),
    ] == told(
        IntervalPolicy(10.0),
        Arrive(3, (1, 2)),
        Pass(2),
        Start(0, None),
        Arrive(3, (0,)),
        Finish(4, 0, failed=False),
    )


def test_what_cannot_happen_does_not() -> None:
    """Nothing starts where nothing waits or no slot is free, nothing ends where nothing runs."""
    assert [
        ("item_added", 1.0, 2, 0),
        ("flush_started", 1.5, 1, 0),
        ("tick", 2.5),
    ] == told(
        NaturalPolicy(1),
        Start(1, None),
        Finish(0, 0, failed=False),
        Arrive(1, (0, 0)),
        Due(),
        Start(1, None),
        Start(1, None),
        Due(),
        Pass(1),
    )


@pytest.mark.parametrize(("which", "seconds"), [(0, 2.0), (1, 1.0), (2, 2.0)])
def test_which_flush_ends(which: int, seconds: float) -> None:
    """Any of those that run may end, counted round."""
    steps = (Arrive(0, (0, 0)), Start(0, None), Start(2, None), Finish(2, which, failed=False))
    assert ("flush_done", 2.0, 1, seconds, None) == told(NaturalPolicy(1), *steps, slots=2)[-1]


def test_a_flush_may_fail() -> None:
    """The error of a flush that failed is told."""
    *_, (name, *_, error) = told(
        NaturalPolicy(), Arrive(0, (0,)), Start(0, None), Finish(1, 0, failed=True)
    )
    assert ("flush_done", "OSError('flush_fn raised')") == (name, repr(error))


@pytest.mark.parametrize(
    ("policy", "up_to", "taken"),
    [
        (IntervalPolicy(9), None, (4, 8)),
        (IntervalPolicy(9), 3, (3, 6)),
        (IntervalPolicy(9, 5), None, (4, 8)),
        (IntervalPolicy(9, 5), 3, (3, 6)),
        (IntervalPolicy(9, 3), None, (3, 6)),
        (IntervalPolicy(9, 2), 3, (2, 4)),
        (IntervalPolicy(9, max_weight=10), None, (2, 10)),
        (IntervalPolicy(9, max_weight=math.inf), None, (4, 8)),
    ],
)
def test_a_batch_is_within_the_caps(
    policy: FlushPolicy, up_to: int | None, taken: tuple[int, float]
) -> None:
    """A flush takes the oldest items, as many as it may; weights are quarters of the heaviest."""
    steps = (Arrive(0, (2, 2, 2, 2)), Start(0, up_to))
    assert ("flush_started", 0, *taken) == told(policy, *steps)[1]


@pytest.mark.parametrize(("up_to", "taken"), [(None, 2), (3, 2), (1, 1)])
def test_a_policy_says_how_many_at_most(up_to: int | None, taken: int) -> None:
    """Where the policy says Flush, its up_to counts, unless the history's is less."""

    class Sparing(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush(up_to=2)

    steps = (Arrive(0, (0, 0, 0)), Start(0, up_to))
    assert ("flush_started", 0, taken, 0) == told(Sparing(), *steps)[1]


def test_waiting_for_ever_ends_the_play() -> None:
    """Where no time was asked for none comes."""

    class Patient(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Wait()

    history = History(1, 1.0, (Arrive(0, (0,)), Due()))
    assert 1 == len(Play(Patient(), history, ["idle"]).run())


def test_an_event_is_shown_in_a_line() -> None:
    """An event is shown as the call that it was, with its answer."""
    (event, last) = Play(IntervalPolicy(3.0), History(1, 1.0, (Arrive(2, (1, 1)),)), ()).run()
    assert "item_added(2.0, 2, 2) -> Wait(until=5.0)" == str(event)
    assert "tick(5.0) -> Flush(reason='age', up_to=None)" == str(last)


@pytest.mark.parametrize("heaviest", [0.3, 5, 1.1, 1e6 / 3, 10**30, 1e-300, exact(1, 3)])
def test_weights_add_up(heaviest: Any) -> None:
    """Quarters of any cap make exact sums, of which four are no heavier than the cap."""
    quarter = quarter_of(heaviest)
    assert 0.249999 * heaviest < quarter
    assert 4 * quarter <= heaviest
    assert all(Fraction(quarter) * many == quarter * many for many in range(1000))


def test_quarters_of_what_is_no_cap() -> None:
    """Without a cap a weight is whatever it is."""
    assert 1 == quarter_of(None) == quarter_of(math.inf)
    assert (0.25, 1.25) == (quarter_of(1), quarter_of(5))


def test_a_history_is_a_value() -> None:
    """Histories with the same steps are the same, and cannot be changed."""
    steps = (Arrive(0, (1,)), Start(1, 2), Finish(0, 0, failed=False), Pass(3), Due())
    again = (Arrive(0, (1,)), Start(1, 2), Finish(0, 0, failed=False), Pass(3), Due())
    assert {History(1, 1.0, steps)} == {History(1, 1.0, again)}
