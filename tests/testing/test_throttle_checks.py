"""check_throttle finds a throttle that breaks a law, and shows the law and the smallest history."""

import copy
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from flushq.testing import (
    THROTTLE_LAWS,
    Burst,
    Call,
    Due,
    Finish,
    Pass,
    ThrottleHistory,
    ThrottleLawBroken,
    ThrottleStep,
    check_throttle,
    check_throttle_history,
    throttle_histories,
)
from flushq.testing.throttle_laws import ThrottlePlay, flat
from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from tests.testing.throttles import (
    BAD,
    GOOD,
    UNSOUND,
    AtMostTwo,
    CountingBursts,
    Fickle,
    Forgetting,
    Irritable,
    Lazy,
    Raising,
    Stuck,
    Tired,
)

IMPLIED: dict[type[Throttle], Collection[str]] = {
    Fickle: ["pure", "later", "bursts", "shift"],
    Forgetting: ["later"],
    Tired: ["later"],
}
"""The other laws that a throttle may break besides the law that it is made for."""

SMALLEST: dict[type[Throttle], list[str]] = {
    Raising: ["call_started(0.0, 1, 1)"] * 2 + ["call_started(0.0, 1, 1) -> ArithmeticError('3')"],
    Stuck: ["call_started(0.0, 1, 1)"] * 2 + ["call_done(0.0, 1, 0.0, 1, None)"] * 2,
    CountingBursts: ["call_started(0.0, 1, 1)", "call_done(0.0, 1, 0.0, 1, None)"] * 2,
}
"""For some throttles: the events of the smallest history in which they break their law."""


@pytest.mark.parametrize(("law", "throttle"), [*BAD, *UNSOUND])
def test_a_throttle_that_breaks_a_law_is_refused(law: str, throttle: Throttle) -> None:
    """The message has the law and its text, the reason, and the smallest history."""
    with pytest.raises(ThrottleLawBroken) as broken:
        check_throttle(throttle)

    assert law == broken.value.law
    first, why, *lines = str(broken.value).splitlines()
    assert (f"{law}: {THROTTLE_LAWS[law]}", f"    but {broken.value.why}") == (first, why)
    assert lines == [f"    {told}" for told in broken.value.history]
    assert ("Error" in why) == isinstance(broken.value.__cause__, ArithmeticError)
    if type(throttle) in SMALLEST:
        events = [line.strip().removesuffix(" -> None") for line in lines if "ready" not in line]
        assert sorted(SMALLEST[type(throttle)]) == sorted(events)


@pytest.mark.parametrize(("law", "throttle"), BAD)
def test_a_law_that_need_not_be_kept_is_not_checked(law: str, throttle: Throttle) -> None:
    """A throttle that breaks one law keeps all others, which are still checked."""
    check_throttle(throttle, except_for={law, *IMPLIED.get(type(throttle), ())}, examples=20)


def test_there_is_a_bad_throttle_for_every_law() -> None:
    """Each law has a bad throttle."""
    assert set(THROTTLE_LAWS) == {law for law, _ in [*BAD, *UNSOUND]}


@pytest.mark.parametrize("throttle", [RateLimit(2, 0.3), CircuitBreaker(2, 0.7), *GOOD])
def test_a_good_throttle_passes(throttle: Throttle) -> None:
    """A good throttle is not changed by the check, and rounding errors of floats are accepted."""
    before = copy.deepcopy(throttle.__getstate__())
    check_throttle(throttle, examples=30)
    check_throttle(lambda: throttle, examples=2)
    assert before == throttle.__getstate__()


@given(history=throttle_histories())
@settings(max_examples=5, suppress_health_check=[HealthCheck.nested_given])
def test_it_may_be_called_within_a_property(history: ThrottleHistory) -> None:
    """The checks can be called inside a test that draws its own history."""
    check_throttle_history(RateLimit(2, 1), history)
    check_throttle(RateLimit(2, 1), examples=2)


FAILED = Finish(0, 0, failed=True)


@pytest.mark.parametrize(
    ("throttle", "steps", "why", "last"),
    [
        (Irritable(1), (), "the throttle raised ArithmeticError('1')", "ready_at(0) -> Arithmetic"),
        (Irritable(0), (), "a time must be a real number, not None", "ready_at(0) -> None"),
        (Tired(), (), "the last answer makes a call wait for 0.0 s, not for 1.0 s", "ready_at(0) "),
        (
            Lazy(),
            (Call(0, 1), Call(0, 1), FAILED, FAILED),
            "the last answer makes a call wait for 0.0 s, not for 2.0 s",
            "ready_at(0) -> -inf",
        ),
    ],
)
def test_what_a_throttle_does_otherwise_is_reported(
    throttle: Throttle, steps: tuple[ThrottleStep, ...], why: str, last: str
) -> None:
    """The report says what the throttle did when it was asked more often or less often."""
    with pytest.raises(ThrottleLawBroken) as broken:
        check_throttle_history(throttle, ThrottleHistory(1, steps))
    assert ("pure", why) == (broken.value.law, broken.value.why)
    assert str(broken.value.history[-1]).startswith(last)


# Plays.


def played(throttle: Throttle, *steps: ThrottleStep) -> list[Any]:
    """Return the name, the time and the other facts of each event; a unit is half a second."""
    calls = flat(ThrottlePlay(throttle, ThrottleHistory(0.5, steps)).run())
    return [(call.name, call.now, *call.facts) for call in calls if call.name != "ready_at"]


def test_a_call_starts_and_ends_so_many_units_later() -> None:
    """The events of a call have its items, its weight and its duration."""
    steps = (
        Call(3, 2),
        Pass(1),
        Call(1, 4),
        Finish(2, 1, failed=False),
        Finish(1, 4, failed=False),
    )
    assert [
        ("call_started", 1.5, 2, 2),
        ("call_started", 2.5, 4, 4),
        ("call_done", 3.5, 4, 1.0, 4, None),
        ("call_done", 4.0, 2, 2.5, 2, None),
    ] == played(AtMostTwo(), *steps)


def test_a_call_may_fail() -> None:
    """A call that fails ends with its error."""
    *_, (name, *_, error) = played(AtMostTwo(), Call(0, 1), Finish(1, 0, failed=True))
    assert ("call_done", "OSError('flush_fn raised')") == (name, repr(error))


def test_a_burst_starts_and_ends_at_one_time() -> None:
    """The calls of a burst end in order; only as many start as the throttle allows."""
    burst = Burst(1, (True, False, False))
    events = played(RateLimit(3, 9.0), Call(0, 5), burst, Finish(4, 0, failed=False))
    assert [
        ("call_started", 0.0, 5, 5),
        ("call_started", 0.5, 1, 1),
        ("call_started", 0.5, 1, 1),
        ("call_done", 0.5, 1, 0.0, 1),
        ("call_done", 0.5, 1, 0.0, 1),
        ("call_done", 2.5, 5, 2.5, 5),
    ] == [event[:5] for event in events]
    assert [True, False, False] == [event[-1] is not None for event in events[3:]]


def test_what_cannot_happen_does_not() -> None:
    """No call ends if none runs, and none starts before the throttle is ready."""
    steps = (Due(), Finish(0, 0, failed=False), Call(0, 1), Call(1, 1), Due(), Due(), Call(0, 1))
    assert [("call_started", 0.0, 1, 1), ("call_started", 7.5, 1, 1)] == played(
        RateLimit(1, 7.5), *steps
    )


def test_ready_at_is_asked_before_a_call_and_after_each_event() -> None:
    """``ready_at`` is asked before each call, after each event, and at the last answered time."""
    turns = ThrottlePlay(RateLimit(1, 7.0), ThrottleHistory(1.0, (Call(2, 1), Call(0, 1)))).run()
    assert [
        "ready_at(0.0) -> 0.0",
        "ready_at(2.0) -> 2.0",
        "call_started(2.0, 1, 1) -> None",
        "ready_at(2.0) -> 9.0",
        "ready_at(9.0) -> 9.0",
    ] == list(map(str, flat(turns)))


FIRST_FOUND = settings(max_examples=1000, database=None, phases=[Phase.generate])


@pytest.mark.parametrize(
    "condition",
    [
        lambda history: {Call, Burst, Due, Finish, Pass} == set(map(type, history.steps)),
        lambda history: len(history.steps) == 15,
        lambda history: not history.steps,
        lambda history: Burst(0, (True, False)) in history.steps,
    ],
    ids=range(4),
)
def test_the_extremes_are_drawn(condition: Any) -> None:
    """Histories have steps of each kind, no step, or as many steps as possible."""
    find(throttle_histories(), condition, settings=FIRST_FOUND)


# Arguments.


@pytest.mark.parametrize("name", ["sound", "speed"])
def test_some_names_cannot_be_left_out(name: str) -> None:
    """An unknown name, and ``sound``, which all laws need, are refused."""
    with pytest.raises(ValueError, match=f"^except_for must not name '{name}'; it may name repeat"):
        check_throttle(RateLimit(1, 1), except_for=[name])


@pytest.mark.parametrize(
    ("throttle", "examples", "error", "message"),
    [
        (RateLimit(1, 1), 0, ValueError, "examples must be at least 1, not 0"),
        (lambda: 5, 1, TypeError, "throttle must be a Throttle, not 5"),
        (5, 1, TypeError, "throttle must be a Throttle, not 5"),
    ],
)
def test_bad_arguments_are_refused(
    throttle: Any, examples: int, error: type[Exception], message: str
) -> None:
    """The message shows the name and the value of the bad argument."""
    with pytest.raises(error, match=f"^{message}"):
        check_throttle(throttle, examples=examples)
