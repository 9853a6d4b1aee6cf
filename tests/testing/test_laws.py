"""A play tells a policy the steps of a history that can happen."""

import math
from typing import Any

import pytest

from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import Flush, FlushPolicy, Wait
from flushq.testing import Arrive, Due, Finish, History, Pass, Start, Step
from flushq.testing.laws import Play
from tests.testing.bad_policies import deciding


def played(policy: FlushPolicy, *steps: Step, slots: int = 1, unit: float = 0.5) -> list[Any]:
    """Return the name, the time and the other facts of each event."""
    events = Play(policy, History(slots, unit, steps), ()).run()
    return [(event.name, event.now, *event.facts) for event in events]


def test_a_step_happens_so_many_units_after_the_last_one() -> None:
    """The time of a step counts from the step before; at the end the last Wait.until is reached."""
    assert [
        ("item_added", 1.5, 2, 3),
        ("tick", 2.5),
        ("flush_started", 2.5, 2, 3),
        ("item_added", 4.0, 1, 0),
        ("flush_done", 6.0, 2, 3.5, None),
        ("tick", 14.0),
    ] == played(
        IntervalPolicy(10.0),
        *(Arrive(3, (1, 2)), Pass(2), Start(0, None), Arrive(3, (0,)), Finish(4, 0, failed=False)),
    )


def test_what_cannot_happen_does_not() -> None:
    """No flush starts if nothing waits or no slot is free, and none ends if none runs."""
    start, finish = Start(1, None), Finish(0, 0, failed=False)
    assert [("item_added", 1.0, 2, 0), ("flush_started", 1.5, 1, 0), ("tick", 2.5)] == played(
        NaturalPolicy(1), start, finish, Arrive(1, (0, 0)), Due(), start, start, Due(), Pass(1)
    )


@pytest.mark.parametrize(("which", "seconds"), [(0, 2.0), (1, 1.0), (2, 2.0)])
def test_any_of_the_running_flushes_may_end(which: int, seconds: float) -> None:
    """The index of the flush that ends is taken modulo the number of flushes that run."""
    steps = (Arrive(0, (0, 0)), Start(0, None), Start(2, None), Finish(2, which, failed=False))
    assert ("flush_done", 2.0, 1, seconds, None) == played(NaturalPolicy(1), *steps, slots=2)[-1]


def test_a_flush_may_fail() -> None:
    """A flush that fails ends with its error."""
    steps = (Arrive(0, (0,)), Start(0, None), Finish(1, 0, failed=True))
    *_, (name, *_, error) = played(NaturalPolicy(), *steps)
    assert ("flush_done", "OSError('flush_fn raised')") == (name, repr(error))


Sparing = deciding("Sparing", lambda _, now: Flush(up_to=2))
Patient = deciding("Patient", lambda _, now: Wait())


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
        (Sparing(), None, (2, 4)),
        (Sparing(), 3, (2, 4)),
        (Sparing(), 1, (1, 2)),
    ],
)
def test_a_flush_takes_the_oldest_items_within_the_caps(
    policy: FlushPolicy, up_to: int | None, taken: tuple[int, float]
) -> None:
    """A flush takes at most what the step and the policy allow; weights are quarters of the cap."""
    assert ("flush_started", 0, *taken) == played(policy, Arrive(0, (2,) * 4), Start(0, up_to))[1]


def test_where_no_time_was_asked_for_none_comes() -> None:
    """A play ends without a tick if the policy never asked for one."""
    history = History(1, 1.0, (Arrive(0, (0,)), Due()))
    assert 1 == len(Play(Patient(), history, ["idle"]).run())


def test_an_event_is_shown_as_the_call_that_it_was() -> None:
    """An event and its answer are shown in one line."""
    (event, last) = Play(IntervalPolicy(3.0), History(1, 1.0, (Arrive(2, (1, 1)),)), ()).run()
    assert "item_added(2.0, 2, 2) -> Wait(until=5.0)" == str(event)
    assert "tick(5.0) -> Flush(reason='age', up_to=None)" == str(last)
