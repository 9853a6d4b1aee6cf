"""check_policy finds who breaks a law, says which, and shows the smallest history."""

import asyncio
import gc
import importlib
import itertools
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, cast

import attrs
import pytest
from hypothesis import HealthCheck, given, settings

from flushq.policies import (
    AlarmPolicy,
    BudgetPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
)
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.testing import (
    LAWS,
    Arrive,
    CostRatio,
    FlushesRatio,
    History,
    LatencyRatio,
    LawBroken,
    Ratio,
    Start,
    check_history,
    check_policy,
    histories,
)
from tests.models import state_of
from tests.strategies import EchoPolicy, FrozenEchoPolicy, PlainEchoPolicy
from tests.testing.culprits import (
    CULPRITS,
    UNSOUND,
    Deaf,
    Growing,
    Numbering,
    Punching,
    Raising,
    Stranding,
)

IMPLIED = {"repeatable": {"bursts", "shift"}}
"""Laws that nobody can keep who breaks another."""


@pytest.mark.parametrize(("law", "culprit"), [*CULPRITS, *UNSOUND])
def test_who_breaks_a_law_is_found(law: str, culprit: type[FlushPolicy]) -> None:
    """A policy that breaks a law is refused in the name of that law."""
    with pytest.raises(LawBroken) as broken:
        check_policy(culprit)
    assert law == broken.value.law
    assert str(broken.value).startswith(f"{law}: {LAWS[law]}\n    but {broken.value.why}")


@pytest.mark.parametrize(("law", "culprit"), CULPRITS)
def test_who_breaks_one_law_keeps_the_others(law: str, culprit: type[FlushPolicy]) -> None:
    """Where that law need not be kept, nothing is found."""
    check_policy(culprit, except_for={law, *IMPLIED.get(law, ())}, examples=60)


def test_every_law_has_a_culprit() -> None:
    """For each law, but for the three bounds, there is a policy that breaks it."""
    bounds = {"max_latency", "max_batch", "ratio"}
    assert set(LAWS) - bounds == {law for law, _ in [*CULPRITS, *UNSOUND]}


@pytest.mark.parametrize(
    "policy",
    [
        IntervalPolicy(2.0),
        IntervalPolicy(0.3, 3, 5),
        NaturalPolicy(3, 3),
        BudgetPolicy(1.5),
        BudgetPolicy(0.3, 4, 9),
        AlarmPolicy(1.5),
        AlarmPolicy(0.3, 0.7, 4, 9),
        PausePolicy(),
        PausePolicy(0.3, 3),
        EchoPolicy(),
        EchoPolicy,
        lambda: EchoPolicy(0.5),
        PlainEchoPolicy(max_weight=4),
        FrozenEchoPolicy(),
    ],
)
def test_good_policies_are_found_good(policy: Any) -> None:
    """A policy that keeps the laws passes, as an object, a class, or what a function makes."""
    check_policy(policy, examples=60)


@pytest.mark.parametrize("max_weight", [0.3, 10**30, math.inf])
def test_weights_that_floats_cannot_add_are_no_offence(max_weight: float) -> None:
    """Whether a batch is full does not hang on the order in which weights were added."""
    check_policy(AlarmPolicy(1.1, max_weight=max_weight), max_latency=1.1, examples=60)


def test_what_floats_lose_of_a_long_time_is_no_offence() -> None:
    """In millennia a thousandth of a second is nothing; in a second it is much."""
    history = History(1, 0.1, (Arrive(1, (0,)),))
    check_history(IntervalPolicy(1e12), history)
    check_history(IntervalPolicy(1e-300), history)

    class Drifting(FlushPolicy):
        def decide(self, now: float) -> Decision:
            due = self.queue.oldest * 1.000001 + 1
            return Flush() if due <= now else Wait(due)

    with pytest.raises(LawBroken, match=r"^shift: "):
        check_history(Drifting(), history)


class _Called(FlushPolicy):
    """A policy that can be called, for a reason of its own."""

    def __call__(self) -> int:
        return 5

    def decide(self, now: float) -> Decision:
        return Flush()


class _Caching(FlushPolicy):
    """Works something out when it is first asked, and holds it."""

    @cached_property
    def seconds(self) -> float:
        return 2.0

    def decide(self, now: float) -> Decision:
        due = self.queue.oldest + self.seconds
        return Flush() if due <= now else Wait(due)


@attrs.frozen
class _CachingSlots(FlushPolicy):
    """The same, in a slot that attrs makes."""

    @cached_property
    def seconds(self) -> float:
        return 2.0

    def decide(self, now: float) -> Decision:
        due = self.queue.oldest + self.seconds
        return Flush() if due <= now else Wait(due)


class _Static(FlushPolicy):
    """A policy that needs no facts."""

    decide: Any = staticmethod(lambda now: Flush())


@pytest.mark.parametrize("policy", [_Called(), _Called, _Caching, _CachingSlots, _Static])
def test_odd_policies_that_keep_the_laws(policy: Any) -> None:
    """What is unusual is no offence."""
    check_policy(policy, examples=60)


def test_decide_is_let_go_of() -> None:
    """After a check a class is what it was."""
    decide = NaturalPolicy.decide
    check_policy(NaturalPolicy(), examples=5)
    assert decide is NaturalPolicy.decide
    check_policy(_Heir, examples=5)
    assert "decide" not in vars(_Heir)


class _Clocked(FlushPolicy):
    """Flushes a second after a clock of its own says that it was asked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def decide(self, now: float) -> Decision:
        return Wait(now + abs(self.clock()) + 1)


@pytest.mark.parametrize(
    ("clock", "name"),
    [
        (time.time, "time.time"),
        (time.monotonic_ns, "time.monotonic_ns"),
        (time.perf_counter, "time.perf_counter"),
        (lambda: datetime.now(UTC).timestamp(), "datetime.now"),
        (lambda: date.today().toordinal(), "date.today"),  # noqa: DTZ011 - the mistake
        (lambda: asyncio.BaseEventLoop.time(cast("Any", None)), "time.monotonic"),
    ],
)
def test_who_reads_a_clock_hears_of_that_clock(clock: Callable[[], float], name: str) -> None:
    """Whatever comes of what a clock says, it is the clock that is named."""
    with pytest.raises(LawBroken) as broken:
        check_policy(lambda: _Clocked(clock), examples=20)
    assert f"decide reads {name}; the time is its argument, now" == broken.value.why
    assert str(broken.value.history[0]).startswith("item_added(0.0, 1, ")
    assert None is sys.getprofile()


@attrs.define
class _Collecting(FlushPolicy):
    """Has the garbage collector run in decide, as any allocation may, and logs what it does."""

    def decide(self, now: float) -> Decision:
        gc.collect(0)
        logging.getLogger(__name__).debug("asked at %s", now)
        logging.LogRecord("log", logging.DEBUG, "file", 1, "asked", (), None)
        return Flush()


class _Flushing:
    """Can be called, and is no function."""

    def __call__(self, now: float) -> Decision:
        return Flush()


class _Made(FlushPolicy):
    decide = _Flushing()


@pytest.mark.parametrize("policy", [_Collecting(), _Made()])
def test_what_else_runs_in_decide_is_no_clock(policy: FlushPolicy) -> None:
    """Hypothesis times the collector, a log record has a time, and neither is read by decide."""
    check_policy(policy, examples=20)


@attrs.define
class _Asking(FlushPolicy):
    """Reads a clock once it has asked another policy of its class."""

    inner: "_Asking | None" = None

    def decide(self, now: float) -> Decision:
        if self.inner is not None:
            self.inner.decide(now)
            time.monotonic()
        return Flush()


def test_who_asks_another_policy_is_heard_to_the_end() -> None:
    """A clock that is read after that is read."""
    with pytest.raises(LawBroken, match=r"decide reads time\.monotonic;"):
        check_policy(_Asking(_Asking()), examples=20)


def test_a_profiler_is_left_in_peace() -> None:
    """Where somebody else listens to calls already, clocks are not looked for."""

    def profile(frame: object, event: str, called: object) -> None:
        """Hear nothing."""

    sys.setprofile(profile)
    try:
        check_policy(Punching, examples=20)
        assert profile is sys.getprofile()
    finally:
        sys.setprofile(None)


class _Heir(_Called):
    """A policy whose decide is inherited."""


def test_the_policy_is_not_changed() -> None:
    """The check runs copies."""
    policy = EchoPolicy()
    before = state_of(policy)
    check_policy(policy, examples=20)
    assert before == state_of(policy)


def test_the_smallest_history_is_shown() -> None:
    """The message shows all that was told, event by event, and nothing that is not needed."""
    with pytest.raises(LawBroken) as broken:
        check_policy(Stranding)
    assert (
        "idle: while something is pending and no flush runs, a time to flush is known\n"
        "    but 1 wait for ever\n"
        "    item_added(0.0, 1, 0) -> Wait(until=inf)"
    ) == str(broken.value)
    assert [] == broken.value.__notes__


@pytest.mark.parametrize(
    ("culprit", "last"),
    [
        (Raising, "item_added(0.0, 3, 0) -> ArithmeticError('three')"),
        (Deaf, "flush_done(0.0, 1, 0.0, None) -> Wait(until=inf)"),
        (Growing, "flush_started(0.0, 1, 0) -> Wait(until=inf)"),
    ],
)
def test_it_is_the_smallest(culprit: type[FlushPolicy], last: str) -> None:
    """Of all histories that were found the message has the last, in which nothing is too many."""
    with pytest.raises(LawBroken) as broken:
        check_policy(culprit)
    events = {Raising: 1, Deaf: 3, Growing: 2}
    assert (events[culprit], last) == (len(broken.value.history), str(broken.value.history[-1]))


def test_what_the_policy_raised_is_the_cause() -> None:
    """An exception of the policy is shown with the event, and chained."""
    with pytest.raises(LawBroken) as broken:
        check_policy(_Failing)
    assert isinstance(broken.value.__cause__, ZeroDivisionError)
    assert "it raised ZeroDivisionError" in broken.value.why
    assert str(broken.value).splitlines()[-1].endswith("-> ZeroDivisionError('division by zero')")


@attrs.define
class _Failing(FlushPolicy):
    def decide(self, now: float) -> Decision:
        return Wait(now + 1 / (self.queue.pending - 1))


@attrs.define
class _FailingLater(FlushPolicy):
    """Fails only where items are told one by one."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        decision = super().item_added(now, count, weight)
        if self.queue.pending == 2 and count == 1:
            raise LookupError("two")
        return decision

    def decide(self, now: float) -> Decision:
        return Flush()


def test_what_it_raises_in_a_retelling_is_the_cause() -> None:
    """A policy that raises where it should do the same as before breaks that law."""
    with pytest.raises(LawBroken) as broken:
        check_history(_FailingLater(), History(1, 1.0, (Arrive(0, (0, 0)),)))
    assert "bursts" == broken.value.law
    assert "it raised LookupError('two')" == broken.value.why
    assert isinstance(broken.value.__cause__, LookupError)


def test_a_fickle_policy_is_found_all_the_same() -> None:
    """A policy that never does the same twice confuses the search; what it found is reported."""
    fickle = itertools.count()

    @attrs.define
    class Fickle(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush(str(next(fickle))) if next(fickle) > 40 else Flush()

    with pytest.raises(LawBroken):
        check_policy(Fickle)


@attrs.define
class _Tired(FlushPolicy):
    """Lets a batch wait for ever after six flushes, as far as it has heard of their ends."""

    flushes: int = 0

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        self.flushes += 1
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        return Wait() if self.flushes >= 6 else Flush()


class _Confused(FlushPolicy):
    """Fails while two flushes run."""

    def decide(self, now: float) -> Decision:
        if self.queue.in_flight == 2:
            raise ArithmeticError("two")
        return Flush()


@pytest.mark.parametrize(
    ("culprit", "events"),
    [pytest.param(_Tired, {18, 19}, marks=pytest.mark.long), (_Confused, {4, 5})],
)
def test_a_mistake_that_takes_many_steps_is_found(
    culprit: type[FlushPolicy], events: set[int]
) -> None:
    """Several flushes one after the other, or at a time, are frequent; no step is too many."""
    with pytest.raises(LawBroken) as broken:
        check_policy(culprit)
    assert len(broken.value.history) in events


@attrs.define(eq=False)
class _Lock:
    held: Any = attrs.field(factory=threading.Lock)


class _Locked(FlushPolicy):
    """Holds what cannot be copied, and what cannot be compared; and copies itself."""

    def __init__(self) -> None:
        self.lock = _Lock()
        self.thing = object()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Locked":
        return _Locked()

    def decide(self, now: float) -> Decision:
        return Flush()


def test_what_cannot_be_copied_or_compared_is_no_offence() -> None:
    """A policy is not accused of a change that nobody can see."""
    check_policy(_Locked)


def test_a_share_of_a_float_is_no_offence() -> None:
    """What rounding alone makes of a time some time later is the same time."""

    @attrs.define
    class Odd(FlushPolicy):
        def decide(self, now: float) -> Decision:
            due = self.queue.oldest + 0.1
            return Flush() if due <= now else Wait(due)

    check_policy(Odd)


@given(history=histories())
@settings(max_examples=20, suppress_health_check=[HealthCheck.nested_given])
def test_it_may_be_called_within_a_property(history: History) -> None:
    """A single history, drawn by the caller's own test, is checked as well."""
    check_history(NaturalPolicy(), history)
    check_policy(NaturalPolicy(), examples=2)


def test_a_broken_law_may_be_left_out_of_one_history() -> None:
    """except_for holds for a single history, too."""
    history = History(1, 1.0, (Arrive(0, (0,)), Start(0, None)))
    check_history(Growing(), history, except_for=["caps"])
    with pytest.raises(LawBroken, match=r"^caps: .*\n    but they were \(2, None\), and are \(10"):
        check_history(Growing(), history)
    check_history(Numbering(), history, except_for=["repeatable", "bursts", "shift"])


@pytest.mark.parametrize("name", ["sound", "speed", "max_latency", "max_batch", "ratio"])
def test_what_is_no_law_cannot_be_left_out(name: str) -> None:
    """A name that is none is refused, and so is that of the law without which nothing works."""
    refused = f"^'{name}' is no law that can be left out: caps, silent, .*, bursts, shift$"
    with pytest.raises(ValueError, match=refused):
        check_policy(NaturalPolicy(), except_for=[name])
    with pytest.raises(ValueError, match=refused):
        check_history(NaturalPolicy(), History(1, 1.0, ()), except_for=[name])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_latency": -1}, ValueError, "max_latency must be at least 0, not -1"),
        ({"max_latency": math.nan}, ValueError, "max_latency must be at least 0, not nan"),
        ({"max_latency": math.inf}, ValueError, "max_latency must be finite, not inf"),
        ({"max_latency": "2"}, TypeError, "max_latency must be a real number, not '2'"),
        ({"max_batch": 0}, ValueError, "max_batch must be at least 1, not 0"),
        ({"max_batch": 2.5}, TypeError, "max_batch must be an int, not 2.5"),
        ({"examples": 0}, ValueError, "examples must be at least 1, not 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A bound or a number that is none is refused, and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        check_policy(NaturalPolicy(), **arguments)


@pytest.mark.parametrize("make", [CostRatio, FlushesRatio, LatencyRatio])
def test_bad_ratios_are_refused(make: Callable[..., Ratio]) -> None:
    """A bound that nothing could exceed, or a time for which there is no ratio, is refused."""
    for bound, seconds in [(math.nan, 1), (-1, 1), (2, 0), (2, math.inf), (2, math.nan)]:
        with pytest.raises(ValueError, match=r"must be (above|at least|finite)"):
            make(bound, seconds)
    assert math.inf == make(math.inf, 1).bound
    assert 0 == make(0, 1).bound


def test_a_ratio_knows_no_weights() -> None:
    """There is no optimum for a policy with a max_weight, and that is said before anything else."""
    policy = NaturalPolicy(max_weight=3)
    with pytest.raises(TypeError, match=r"^the optimum of a ratio knows no max_weight: Natural"):
        check_policy(policy, ratio=LatencyRatio(2, 1))


def test_a_ratio_needs_a_slot() -> None:
    """Without a slot nothing is flushed."""
    with pytest.raises(ValueError, match=r"^max_in_flight must be at least 1, not 0$"):
        LatencyRatio(2, 1, 0)


def test_what_is_no_policy_is_refused() -> None:
    """Something else than a policy is a TypeError."""
    for nonsense in (5, lambda: 5):
        with pytest.raises(TypeError, match=r"^policy must be a FlushPolicy, not 5$"):
            check_policy(nonsense)  # type: ignore[arg-type]  # the mistake that is tested


# Bounds.


@pytest.mark.parametrize(
    ("policy", "bounds"),
    [
        (IntervalPolicy(2.0, 5), {"max_latency": 2.0, "max_batch": 5}),
        (IntervalPolicy(2.0, 5, 7), {"max_latency": 2.0, "max_batch": 5}),
        (NaturalPolicy(), {"max_latency": 0.0}),
        (IntervalPolicy(2.0, 5), {"ratio": FlushesRatio(1, 2.0)}),
        (BudgetPolicy(1.5), {"ratio": CostRatio(2, 1.5)}),
        (PausePolicy(0.5), {"ratio": LatencyRatio(1.4143, 0.5)}),
        (PausePolicy(0.5), {"ratio": LatencyRatio(1.3028, 0.5, max_in_flight=2)}),
    ],
)
def test_bounds_that_hold(policy: FlushPolicy, bounds: dict[str, Any]) -> None:
    """Where a bound holds, nothing is found."""
    check_policy(policy, examples=60, **bounds)


@pytest.mark.parametrize(
    ("policy", "bounds", "why"),
    [
        (
            IntervalPolicy(2.0, 5),
            {"max_latency": 1.5},
            "one waited 2.0 s, longer than 1.5 s",
        ),
        (IntervalPolicy(0.25), {"max_latency": 0}, "one waited 0.25 s, longer than 0 s"),
        (NaturalPolicy(), {"max_batch": 2}, "one has 3 items, more than 2"),
        (
            NaturalPolicy(),
            {"ratio": LatencyRatio(1.5, 8.0)},
            "it is 1.66",
        ),
        (
            PausePolicy(8.0),
            {"ratio": LatencyRatio(1.3028, 8.0)},
            "it is 1.41",
        ),
        (IntervalPolicy(2.0), {"ratio": FlushesRatio(10, 1.0)}, "it is inf times, more than 10"),
        (IntervalPolicy(2.0), {"ratio": FlushesRatio(1, 8.0)}, "it is "),
        (IntervalPolicy(4.0), {"ratio": CostRatio(2, 1.0)}, "it is 5.0 times, more than 2"),
    ],
)
def test_bounds_that_do_not_hold(policy: FlushPolicy, bounds: dict[str, Any], why: str) -> None:
    """Where a bound does not hold, it is found, and the run is shown."""
    with pytest.raises(LawBroken) as broken:
        check_policy(policy, examples=60, **bounds)
    assert [broken.value.law] == list(bounds)
    assert broken.value.why.startswith(why)
    assert len(str(broken.value).splitlines()) > 2


@pytest.mark.parametrize(
    ("bounds", "law"),
    [
        ({"max_latency": 100.0}, "max_latency"),
        ({"ratio": CostRatio(100, 1)}, "ratio"),
        ({"ratio": FlushesRatio(100, 1)}, "ratio"),
        ({"ratio": LatencyRatio(100, 1)}, "ratio"),
    ],
)
def test_an_item_that_is_left_keeps_no_bound(bounds: dict[str, Any], law: str) -> None:
    """What is never flushed has waited longer than any bound allows."""
    with pytest.raises(LawBroken) as broken:
        check_policy(Stranding, except_for=["idle"], **bounds)
    assert law == broken.value.law


@pytest.mark.parametrize(
    ("ratio", "policy", "arrivals", "expected"),
    [
        (CostRatio(2, 3), IntervalPolicy(5), [0, 1, 9], (2 * 3 + 9 + 5) / (2 * 3 + 1)),
        (CostRatio(2, 3), NaturalPolicy(1), [0, 0, 0], 1),
        (FlushesRatio(1, 5), NaturalPolicy(), [0, 1, 5, 6], 2),
        (FlushesRatio(1, 5), NaturalPolicy(2), [0, 0, 1, 1], 1),
        (LatencyRatio(2, 10), NaturalPolicy(), [0, 1], 19 / 11),
        (LatencyRatio(2, 10, 2), NaturalPolicy(), [0, 1], 1),
        (LatencyRatio(2, 10), NaturalPolicy(1), [0, 0], 1),
    ],
)
def test_ratios(ratio: Ratio, policy: FlushPolicy, arrivals: list[float], expected: float) -> None:
    """A ratio is what the policy spends, in multiples of the optimum under the same cap."""
    assert expected == ratio.measure(policy, arrivals)


class _ByNumber(FlushPolicy):
    """At so many items, or at an age: no cap, for more than so many may come at once."""

    def __init__(self, number: int, crowded_seconds: float = 1.0) -> None:
        self.number = number
        self.crowded_seconds = crowded_seconds

    def decide(self, now: float) -> Flush | Wait:
        many = self.queue.pending >= self.number
        due = self.queue.oldest + (self.crowded_seconds if many else 1.0)
        return Flush() if due <= now or (many and self.crowded_seconds == 1.0) else Wait(due)


@pytest.mark.parametrize("most", [5, 11, 100, 500])
def test_a_batch_that_a_crowd_makes_too_large_is_found(most: int) -> None:
    """A bound on batches is tried with more items than it allows."""
    for policy in (_ByNumber(most), IntervalPolicy(1.0), NaturalPolicy(max_records=most + 1)):
        with pytest.raises(LawBroken, match=r"^max_batch: "):
            check_policy(policy, max_batch=most, examples=40)
    check_policy(NaturalPolicy(max_records=most), max_batch=most, examples=20)


def test_what_happens_in_a_crowd_is_found() -> None:
    """A mistake that a policy makes only when a hundred items wait."""
    with pytest.raises(LawBroken, match=r"^max_latency: "):
        check_policy(_ByNumber(100, crowded_seconds=9.0), max_latency=1.0)


def test_a_report_tells_at_what_time_the_other_answer_was() -> None:
    """A duration given as a time: the two answers look alike, the times do not."""

    class Duration(FlushPolicy):
        def decide(self, now: float) -> Flush | Wait:
            return Wait(2.0) if now < 2.0 else Flush()

    with pytest.raises(LawBroken, match=r"item_added\(1000\.3") as broken:
        check_policy(Duration())
    assert "until is a time, no duration" in str(broken.value)


def test_without_hypothesis_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named to whoever has not installed it."""
    for name in [name for name in sys.modules if name.startswith("flushq.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"needs hypothesis, .* pip install '\.\[testing\]'$"):
        importlib.import_module("flushq.testing")


def test_a_ratio_that_is_none() -> None:
    """A number is no ratio: it does not say of what."""
    with pytest.raises(TypeError, match="ratio must be a CostRatio"):
        check_policy(NaturalPolicy(), ratio=2)  # type: ignore[arg-type]  # the mistake that is tested
