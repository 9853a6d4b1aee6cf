"""check_policy finds a policy that breaks a law, and reports the law and the smallest history."""

import importlib
import itertools
import math
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from flushq.policies import AlarmPolicy, BudgetPolicy, IntervalPolicy, NaturalPolicy, PausePolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.testing import (
    LAWS,
    Arrive,
    CostRatio,
    FlushesRatio,
    History,
    LatencyRatio,
    LawBroken,
    Start,
    check_history,
    check_policy,
    checks,
    histories,
)
from tests.models import state_of
from tests.strategies import EchoPolicy, FrozenEchoPolicy, PlainEchoPolicy
from tests.testing.bad_policies import (
    BAD,
    UNSOUND,
    Flushing,
    Growing,
    NotCounting,
    Numbering,
    Raising,
    RaisingInFlight,
    Stranding,
    deciding,
)

IMPLIED = {"repeatable": {"bursts", "shift"}}
"""Laws that a policy always breaks, too, if it breaks the law that is the key."""


SMALLEST: dict[type[FlushPolicy], tuple[set[int], str]] = {
    Stranding: ({1}, "item_added(0.0, 1, 0) -> Wait(until=inf)"),
    Raising: ({1}, "item_added(0.0, 3, 0) -> ArithmeticError('three')"),
    Growing: ({2}, "flush_started(0.0, 1, 0) -> Wait(until=inf)"),
    NotCounting: ({3}, "flush_done(0.0, 1, 0.0, None) -> Wait(until=inf)"),
    RaisingInFlight: ({4, 5}, " -> ArithmeticError('two')"),
}
"""For some policies: how many events the smallest bad history may have, and how its text ends."""


@pytest.mark.parametrize(("law", "policy"), [*BAD, *UNSOUND])
def test_a_policy_that_breaks_a_law_is_refused(law: str, policy: type[FlushPolicy]) -> None:
    """The message has the law and its text, the reason, and the smallest history."""
    with pytest.raises(LawBroken) as broken:
        check_policy(policy)

    assert law == broken.value.law
    first, why, *lines = str(broken.value).splitlines()
    assert (f"{law}: {LAWS[law]}", f"    but {broken.value.why}") == (first, why)
    assert lines == [f"    {event}" for event in broken.value.history]
    assert [] == getattr(broken.value, "__notes__", [])
    assert ("ArithmeticError" in why) == isinstance(broken.value.__cause__, ArithmeticError)
    if policy in SMALLEST:
        events, last = SMALLEST[policy]
        assert len(lines) in events
        assert lines[-1].endswith(last)


@pytest.mark.parametrize(("law", "policy"), BAD)
def test_a_law_that_need_not_be_kept_is_not_checked(law: str, policy: type[FlushPolicy]) -> None:
    """A policy that breaks one law keeps all others, which are still checked."""
    check_policy(policy, except_for={law, *IMPLIED.get(law, ())}, examples=10)


def test_there_is_a_bad_policy_for_every_law() -> None:
    """Each law has a bad policy, except the three bounds, which have their own tests."""
    bounds = {"max_latency", "max_batch", "ratio"}
    assert set(LAWS) - bounds == {law for law, _ in [*BAD, *UNSOUND]}


class Called(Flushing):
    """A policy that is callable for another reason."""

    def __call__(self) -> int:
        """Return a number."""
        return 5


ECHO = EchoPolicy()
GOOD = {
    "an object": ECHO,
    "a class": EchoPolicy,
    "a function": lambda: EchoPolicy(0.5),
    "plain": PlainEchoPolicy(max_weight=4),
    "frozen": FrozenEchoPolicy(),
    "an object to call": Called(),
    "a class of objects to call": Called,
    "light": AlarmPolicy(1.1, max_weight=0.3),
    "heavy": AlarmPolicy(1.1, max_weight=10**30),
    "any weight": AlarmPolicy(1.1, max_weight=math.inf),
}


@pytest.mark.parametrize("policy", GOOD.values(), ids=GOOD)
def test_a_good_policy_passes(policy: Any) -> None:
    """A good policy is not changed by the check, and rounding errors of floats are accepted."""
    before = state_of(ECHO)
    check_policy(policy, examples=10)
    assert before == state_of(ECHO)


def drift(policy: FlushPolicy, now: float) -> Decision:
    """Flush after one second plus a millionth of the time at which the oldest item came."""
    due = policy.queue.oldest * 1.000001 + 1
    return Flush() if due <= now else Wait(due)


def test_what_floats_lose_of_a_long_time_is_not_an_offence() -> None:
    """An error of a millisecond is accepted after millennia, but not after a second."""
    history = History(1, 0.1, (Arrive(1, (0,)),))
    check_history(IntervalPolicy(1e12), history)
    check_history(IntervalPolicy(1e-300), history)
    with pytest.raises(LawBroken, match=r"^shift: "):
        check_history(deciding("Drifting", drift)(), history)


@given(history=histories())
@settings(max_examples=5, suppress_health_check=[HealthCheck.nested_given])
def test_it_may_be_called_within_a_property(history: History) -> None:
    """The checks can be called inside a test that draws its own history."""
    check_history(NaturalPolicy(), history)
    check_policy(NaturalPolicy(), examples=2)


# Reports.


Duration = deciding("Duration", lambda _, now: Wait(2.0) if now < 2.0 else Flush())


class RaisingAtTwo(Flushing):
    """A policy that raises when a second item comes in an event of its own."""

    def item_added(self, now: float, *facts: Any) -> Decision:
        """Raise in that case, else return the answer of decide."""
        decision = super().item_added(now, *facts)
        if self.queue.pending == 2 and facts[0] == 1:
            raise LookupError("two")
        return decision


@pytest.mark.parametrize(
    ("policy", "told", "cause"),
    [
        (Duration(), "shift: .* a time, not a duration\n    but .* item_added.1000.3", None),
        (
            RaisingAtTwo(),
            r"bursts: .*\n    but the policy raised LookupError\('two'\)",
            LookupError,
        ),
    ],
    ids=["answering", "raising"],
)
def test_what_a_policy_does_otherwise_is_reported(
    policy: FlushPolicy, told: str, cause: type[Exception] | None
) -> None:
    """The report says what the policy did in a second run that should have gone like the first."""
    with pytest.raises(LawBroken, match=f"^{told}") as broken:
        check_history(policy, History(1, 1.0, (Arrive(0, (0, 0)),)))
    assert (cause is None) == (broken.value.__cause__ is None)


def test_a_policy_that_never_does_the_same_twice_is_refused() -> None:
    """The search for the smallest history fails, but a broken law is reported."""
    asked = itertools.count()
    fickle = deciding("Fickle", lambda _, now: Flush(str(max(20, next(asked)))))
    with pytest.raises(LawBroken):
        check_policy(fickle)


class Tired(Flushing):
    """A policy that never flushes again after six flushes."""

    flushes = 0

    def flush_done(self, now: float, *facts: Any) -> Decision:
        """Count the flush."""
        self.flushes += 1
        return super().flush_done(now, *facts)

    def decide(self, now: float) -> Decision:
        """Flush, or wait forever after six flushes."""
        return Wait() if self.flushes >= 6 else Flush()


@pytest.mark.long
def test_a_mistake_that_takes_many_flushes_is_found() -> None:
    """Histories have enough steps for six flushes, and the report has no superfluous step."""
    with pytest.raises(LawBroken) as broken:
        check_policy(Tired)
    assert len(broken.value.history) in {18, 19}


# Arguments.


def test_a_law_may_be_left_out_of_one_history() -> None:
    """check_history has the argument ``except_for`` of check_policy."""
    history = History(1, 1.0, (Arrive(0, (0,)), Start(0, None)))
    check_history(Growing(), history, except_for=["caps"])
    with pytest.raises(LawBroken, match=r"^caps: .*\n    but the caps were \(2, None\) and are \("):
        check_history(Growing(), history)
    check_history(Numbering(), history, except_for=["repeatable", "bursts", "shift"])


@pytest.mark.parametrize("name", ["sound", "speed", "max_latency", "max_batch", "ratio"])
def test_some_names_cannot_be_left_out(name: str) -> None:
    """An unknown name, the bounds, and ``sound``, which all laws need, are refused."""
    refused = f"^except_for must not name '{name}'; it may name caps, silent, .*, bursts, shift$"
    with pytest.raises(ValueError, match=refused):
        check_policy(NaturalPolicy(), except_for=[name])
    with pytest.raises(ValueError, match=refused):
        check_history(NaturalPolicy(), History(1, 1.0, ()), except_for=[name])


HEAVY = NaturalPolicy(max_weight=3)


@pytest.mark.parametrize(
    ("policy", "arguments", "error", "message"),
    [
        (NaturalPolicy, {"max_latency": -1}, ValueError, "max_latency must be at least 0, not"),
        (NaturalPolicy, {"max_latency": math.inf}, ValueError, "max_latency must be finite, not"),
        (NaturalPolicy, {"max_latency": "2"}, TypeError, "max_latency must be a real number"),
        (NaturalPolicy, {"max_batch": 0}, ValueError, "max_batch must be at least 1, not 0"),
        (NaturalPolicy, {"examples": 0}, ValueError, "examples must be at least 1, not 0"),
        (NaturalPolicy, {"ratio": 2}, TypeError, "ratio must be a CostRatio"),
        (5, {}, TypeError, "policy must be a FlushPolicy, not 5"),
        (NaturalPolicy, {"except_for": "idle"}, TypeError, "except_for must be .* as \\['idle'\\]"),
        (lambda: 5, {}, TypeError, "policy must be a FlushPolicy, not 5"),
        (HEAVY, {"ratio": LatencyRatio(2, 1)}, TypeError, "ratio must not be given for a policy"),
    ],
)
def test_bad_arguments_are_refused(
    policy: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message shows the name and the value of the bad argument."""
    with pytest.raises(error, match=f"^{message}"):
        check_policy(policy, **arguments)


def test_without_hypothesis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra to install."""
    for name in [name for name in sys.modules if name.startswith("flushq.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"needs hypothesis, .* pip install '\.\[testing\]'$"):
        importlib.import_module("flushq.testing")


# Bounds.


@pytest.fixture
def only_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the laws that are checked before the bounds."""
    monkeypatch.setattr(checks, "_check_histories", lambda *_: None)


@pytest.mark.usefixtures("only_bounds")
@pytest.mark.parametrize(
    ("policy", "bounds"),
    [
        (IntervalPolicy(2.0, 5), {"max_latency": 2.0, "max_batch": 5}),
        (IntervalPolicy(2.0, 5, 7), {"max_latency": 2.0, "max_batch": 5}),
        (NaturalPolicy(), {"max_latency": 0.0}),
        (IntervalPolicy(2.0, 5), {"ratio": FlushesRatio(1, 2.0)}),
        (BudgetPolicy(1.5), {"ratio": CostRatio(2, 1.5)}),
        (PausePolicy(0.5), {"ratio": LatencyRatio(1.3028, 0.5, max_in_flight=2)}),
    ],
)
def test_a_bound_that_holds_passes(policy: FlushPolicy, bounds: dict[str, Any]) -> None:
    """A policy within its bounds passes."""
    check_policy(policy, examples=30, **bounds)


def wait_for_long_in_a_crowd(policy: FlushPolicy, now: float) -> Decision:
    """Flush after one second, or after nine if fifty items or more wait."""
    due = policy.queue.oldest + (9.0 if policy.queue.pending >= 50 else 1.0)
    return Flush() if due <= now else Wait(due)


Crowded = deciding("Crowded", wait_for_long_in_a_crowd)


@pytest.mark.usefixtures("only_bounds")
@pytest.mark.parametrize(
    ("policy", "bounds", "why"),
    [
        (IntervalPolicy(2.0, 5), {"max_latency": 1.5}, "an item waited 2.0 s, longer than 1.5 s"),
        (IntervalPolicy(0.25), {"max_latency": 0}, "an item waited 0.25 s, longer than 0 s"),
        (NaturalPolicy(), {"max_batch": 2}, "a batch has 3 items, more than 2"),
        (NaturalPolicy(6), {"max_batch": 5}, "a batch has 6 items, more than 5"),
        (NaturalPolicy(101), {"max_batch": 100}, "a batch has 101 items, more than 100"),
        (Crowded(), {"max_latency": 1.0}, "an item waited "),
        (NaturalPolicy(), {"ratio": LatencyRatio(1.1, 8.0)}, "it spends 1."),
        (
            IntervalPolicy(4.0),
            {"ratio": CostRatio(2, 1.0)},
            "it spends 5.0 times the optimum, more than 2",
        ),
        (IntervalPolicy(2.0), {"ratio": FlushesRatio(10, 1.0)}, "it spends inf times the optimum"),
        (Stranding(), {"max_latency": 100.0}, "items were never flushed: 1"),
    ],
)
def test_a_bound_that_does_not_hold_is_found(
    policy: FlushPolicy, bounds: dict[str, Any], why: str
) -> None:
    """The report shows the run; the traffic has more items at one time than other histories."""
    with pytest.raises(LawBroken) as broken:
        check_policy(policy, examples=50, **bounds)
    assert [broken.value.law] == list(bounds)
    assert broken.value.why.startswith(why)
    assert len(str(broken.value).splitlines()) > 2
