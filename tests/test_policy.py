"""The state machine of a policy: its facts, its answers and its copies."""

import copy
import inspect
import math
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Self, cast

import attrs
import pytest

from flushq.facts import QueueState
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import (
    Decision,
    Flush,
    FlushPolicy,
    Wait,
    flaw_in,
    running_copy,
    wait_until,
)
from tests.models import exact, state_of
from tests.narrow import NarrowInteger

# What a policy answers.


def test_decisions_are_frozen_values() -> None:
    """Decisions compare by value, can be hashed, and cannot be changed.

    By default a Flush has the reason "policy" and no ``up_to``, and a Wait has no end.
    """
    assert (Flush("policy", None), Wait(math.inf)) == (Flush(), Wait())
    assert Flush("full", 3) == Flush("full", up_to=3)
    assert Flush("full", 3) != Flush("full")
    assert {Wait(2): 1} == {Wait(2.0): 1}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Wait().until = 1  # type: ignore[misc]  # this is what is tested
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Flush().reason = "full"  # type: ignore[misc]  # this is what is tested


def test_waits_for_the_same_time_may_be_the_same() -> None:
    """wait_until returns one Wait for one time, but different ones for equal float and Fraction."""
    assert Wait(0.5) == wait_until(0.5)
    assert wait_until(0.5) is wait_until(0.5)
    assert Wait(1.5) == wait_until(1.5)
    assert [float, Fraction, float] == [
        type(wait_until(time).until) for time in (0.5, exact(1, 2), 0.5)
    ]


LATER = "until must be a time after 5"
COUNT = "up_to must be None or an int of at least 1"


@pytest.mark.parametrize(
    ("flaw", "decisions"),
    [
        (None, [Flush(), Flush("", 1), Flush("full", 10**9)]),
        (None, [Wait(), Wait(6), Wait(5.5), Wait(exact(16, 3))]),
        (LATER, [Wait(5), Wait(5.0), Wait(exact(5, 1)), Wait(4), Wait(-math.inf), Wait(math.nan)]),
        (LATER, [Wait(cast("float", until)) for until in ("6", None)]),
        (
            COUNT,
            [Flush(up_to=cast("int", up_to)) for up_to in (0, -1, 2.0, True, "3", Fraction(3))],
        ),
        ("reason must be a str", [Flush(cast("str", reason)) for reason in (None, 3, b"full")]),
        ("a decision must be a Flush or a Wait", [None, True, 5.5, "flush", Flush, Wait]),
    ],
)
def test_the_flaw_in_an_answer(flaw: str | None, decisions: list[object]) -> None:
    """A decision is a Flush with a count of at least 1 and a str, or a Wait until a later time."""
    assert [flaw] * len(decisions) == [flaw_in(decision, 5) for decision in decisions]


def test_a_bool_is_not_a_time() -> None:
    """A bool as ``until`` is refused, even if it is after now."""
    assert "until must be a time after -3" == flaw_in(Wait(until=True), -3)


# The facts.


def test_what_is_told_by_default() -> None:
    """By default there is one slot, an arrival is of one item, and weights are 0."""
    queue = QueueState()
    assert (0, 0, math.inf, 0, 1) == facts_of(queue)
    queue.item_added(-1e300)
    assert (1, 0, -1e300, 0, 1) == facts_of(queue)
    queue.item_added(0, 2, 5)
    queue.flush_started(0, 1)
    assert (2, 5, 0, 1, 1) == facts_of(queue)


def facts_of(queue: QueueState) -> tuple[float, ...]:
    """Return pending, weight, oldest, in_flight and max_in_flight."""
    return queue.pending, queue.weight, queue.oldest, queue.in_flight, queue.max_in_flight


class Number(int):
    """A subclass of int, which is accepted as a count."""


@pytest.mark.parametrize("count", [2, Number(2)], ids=type)
def test_bursts_of_one_time_are_one(count: int) -> None:
    """Arrivals at one time lead to the same facts, whether told one by one or together."""
    singly, at_once = QueueState(), QueueState()
    for weight in [1, 2]:
        singly.item_added(5, 1, weight)
    at_once.item_added(5, count, 3)
    assert at_once == singly
    singly.item_added(6)
    assert at_once != singly


def test_facts_are_not_made_up() -> None:
    """A QueueState is made from the number of slots alone; all other facts come from events."""
    assert ["max_in_flight"] == list(inspect.signature(QueueState).parameters)


def test_weight_does_not_drift() -> None:
    """Rounding leaves no weight in an empty queue, and never a negative weight."""
    queue = QueueState(3)
    for _ in range(3):
        queue.item_added(0, 1, 0.1)
    queue.flush_started(0, 3, 0.3)
    assert 0 == queue.weight
    queue.item_added(0, 2, 0.1)
    queue.flush_started(0, 1, 0.1 + 2**-50)
    assert 0 == queue.weight


@pytest.mark.parametrize(
    ("event", "facts", "message"),
    [
        ("item_added", (4.5,), "now must not go back from 5 to 4.5"),
        ("item_added", (math.nan,), "now must be finite, not nan"),
        ("item_added", (math.inf,), "now must be finite, not inf"),
        ("item_added", (5, 0), "count must be at least 1, not 0"),
        ("item_added", (5, 1, -2), "weight and seconds must be finite and at least 0, not -2"),
        ("item_added", (5, 1, math.inf), "must be finite and at least 0, not inf"),
        ("flush_started", (4,), "now must not go back from 5 to 4"),
        ("flush_started", (5, 4), "cannot start a flush of 4 items: only 3 are pending"),
        ("flush_started", (5, 1), "cannot start a flush: 2 of 2 slots are taken"),
        ("flush_started", (5, -1), "count must be at least 1, not -1"),
        ("flush_started", (5, 1, -0.5), "must be finite and at least 0, not -0.5"),
        ("flush_done", (4, 1, 2), "now must not go back from 5 to 4"),
        ("flush_done", (5, 0, 2), "count must be at least 1, not 0"),
        ("flush_done", (5, 1, -2), "must be finite and at least 0, not -2"),
        ("tick", (4,), "now must not go back from 5 to 4"),
    ],
)
def test_impossible_events_are_refused(event: str, facts: tuple[Any, ...], message: str) -> None:
    """An impossible event is refused with a message that shows it, and changes nothing."""
    policy = running_copy(NaturalPolicy(), 2)
    policy.item_added(1, 5, 10)
    policy.flush_started(2, 1, 2)
    policy.flush_started(5, 1, 2)
    before = state_of(policy)
    facts = (*facts, 1)[: max(2, len(facts))] if event == "flush_started" else facts
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        getattr(policy, event)(*facts)
    assert before == state_of(policy)


def test_impossible_first_events_are_refused() -> None:
    """Minus infinity is not a time, and a flush cannot end if none runs."""
    with pytest.raises(ValueError, match=r"^now must be finite, not -inf$"):
        NaturalPolicy().item_added(-math.inf)
    with pytest.raises(ValueError, match=r"^cannot end a flush of 2 items: no flush is in flight$"):
        NaturalPolicy().flush_done(0, 2, 1)


@pytest.mark.parametrize("event", ["item_added", "flush_started", "flush_done", "tick"])
def test_every_event_moves_time_on(event: str) -> None:
    """After any event the next one must not be earlier, but may be at the same time."""
    policy = running_copy(NaturalPolicy(), 2)
    policy.item_added(1, 5)
    policy.flush_started(2, 1)
    facts = {"item_added": (1,), "flush_started": (1,), "flush_done": (1, 2), "tick": ()}
    getattr(policy, event)(5, *facts[event])
    with pytest.raises(ValueError, match=r"^now must not go back from 5 to 4\.5$"):
        policy.tick(4.5)
    policy.tick(5)


@pytest.mark.parametrize("count", [True, 1.0, "1", None])
def test_a_count_is_an_int(count: Any) -> None:
    """A count of another type is a TypeError, and changes nothing."""
    queue = QueueState()
    with pytest.raises(TypeError, match="count must be an int"):
        queue.item_added(0, count)
    assert QueueState() == queue


# The events.


class CountingPolicy(NaturalPolicy):
    """A policy that keeps the times at which it is asked."""

    def __attrs_post_init__(self) -> None:
        """Make the list of times."""
        self.asked: list[float] = []

    def decide(self, now: float) -> Decision:
        """Note the time, and flush."""
        self.asked.append(now)
        return super().decide(now)


def test_decide_is_asked_only_when_it_matters() -> None:
    """If nothing is pending or no slot is free, the answer is Wait() and decide is not called."""
    policy = running_copy(CountingPolicy(), 2)
    answers = [
        policy.tick(1),
        policy.item_added(2, 3),
        policy.tick(3),
        policy.flush_started(4, 1),
        policy.flush_started(5, 1),
        policy.tick(6),
        policy.item_added(7),
        policy.flush_done(8, 1, 4),
        policy.flush_started(9, 2),
        policy.flush_done(10, 1, 5),
    ]
    asked = [2, 3, 4, 8]
    assert asked == vars(policy)["asked"]
    assert [Flush("natural") if n in asked else Wait() for n in range(1, 11)] == answers


def test_full_is_the_same_for_a_cap_of_few_bits() -> None:
    """A max_weight is compared by its value, even if sums of its type would wrap around."""
    max_weight: Any = NarrowInteger(6)
    policy = NaturalPolicy(max_weight=max_weight)
    policy.item_added(0, 1, 5)
    before = policy.full
    policy.item_added(0, 1, 2**16 - 5)
    assert (False, True) == (before, policy.full)


# Running copies.


class Eager(FlushPolicy):
    """A policy that always flushes."""

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.define
class Slotted(Eager):
    """A slotted class with one field that is an argument and one that is not."""

    size: list[int]
    learnt: dict[str, int] = attrs.field(factory=dict, init=False)


@attrs.frozen
class Frozen(Eager):
    """A frozen class with a default that is made for each object."""

    size: list[int]
    learnt: list[int] = attrs.field(factory=list)


class Plain(Eager):
    """A plain class with a required argument and without super().__init__()."""

    def __init__(self, size: list[int]) -> None:
        self.size = size
        self.me = self


class HandSlotted(FlushPolicy):
    """A class with slots written by hand, one of them private and one never set."""

    __slots__ = ("__hidden", "size", "unset")

    def __init__(self, size: list[int]) -> None:
        self.size = size
        self.__hidden = size

    def decide(self, now: float) -> Decision:
        """Flush if the private slot holds the same object as ``size``."""
        return Flush() if self.__hidden is self.size else Wait()


KINDS: list[Callable[..., Any]] = [Plain, Slotted, Frozen, HandSlotted]


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_copy_has_everything_of_its_own(kind: Callable[..., Any]) -> None:
    """A running copy has copies of all attributes, and new facts.

    So has a copy of a running policy, and each copy answers like its template.
    """
    template = kind(size=[1])
    template.item_added(5, 3)
    copies: list[Any] = [running_copy(template, 2)]
    copies.append(running_copy(copies[0], 2))
    for clone in copies:
        assert type(template) is type(clone)
        assert QueueState(2) == clone.queue
        assert [1] == clone.size
        assert kind(size=[1]).item_added(0) == clone.item_added(0)
        clone.size.append(2)
    assert [1] == template.size
    assert [1, 2] == copies[0].size
    assert copies[0].queue is not copies[1].queue
    assert (3, 1, 1) == tuple(policy.queue.pending for policy in (template, *copies))


def test_every_attribute_is_copied() -> None:
    """A copy has all fields, other attributes, slots and references to itself."""
    slotted = Slotted([1])
    slotted.learnt["a"] = 2
    assert {"a": 2} == copy.deepcopy(slotted).learnt
    plain = copy.deepcopy(Plain([1]))
    assert plain is plain.me
    assert not hasattr(copy.deepcopy(HandSlotted([1])), "unset")


def test_policies_can_be_pickled() -> None:
    """A policy that is unpickled has its fields."""
    assert IntervalPolicy(2.0, 5) == pickle.loads(pickle.dumps(IntervalPolicy(2.0, 5)))


class Locked(Eager):
    """A policy with an attribute that cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "Locked()"


class Sharing(Locked):
    """A policy that defines how it is copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        clone = type(self)()
        clone.lock = self.lock
        return clone


def test_a_policy_with_a_lock_cannot_be_copied() -> None:
    """A policy that cannot be copied is a TypeError that names it and tells what to do."""
    message = r"cannot make a deep copy of the policy Locked\(\): .*lock.*must define __deepcopy__$"
    with pytest.raises(TypeError, match=message) as caught:
        running_copy(Locked(), 1)
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_deepcopy_of_the_users_own_is_honoured() -> None:
    """A policy with its own __deepcopy__ may share attributes, but never its facts."""
    template = Sharing()
    template.item_added(0)
    clone = running_copy(template, 3)
    assert isinstance(clone, Sharing)
    assert template.lock is clone.lock
    assert QueueState(3) == clone.queue


class Selfish(Eager):
    """A policy whose copy is the policy itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class Generous(Eager):
    """A policy whose copy is a class."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return Generous


@pytest.mark.parametrize(
    ("policy", "flaw"),
    [
        (None, "policy must be a FlushPolicy, not None"),
        (NaturalPolicy, r"policy must be an object, such as NaturalPolicy\(\), not its class"),
        (Flush(), "policy must be a FlushPolicy, not Flush.*"),
        (Selfish(), "the deep copy of the policy <(.*)> must be a new FlushPolicy, not <\\1>"),
        (Generous(), "the deep copy of .* must be a new FlushPolicy, not <class .*Generous'>"),
    ],
    ids=type,
)
def test_what_cannot_run_is_refused(policy: Any, flaw: str) -> None:
    """An argument that is not a policy, or whose copy is not another policy, is refused."""
    with pytest.raises(TypeError, match=f"^{flaw}$"):
        running_copy(policy, 1)


def test_a_policy_must_decide() -> None:
    """A subclass without decide cannot be made."""

    class Undecided(FlushPolicy):
        pass

    with pytest.raises(TypeError, match="decide"):
        Undecided()  # type: ignore[abstract]  # this is what is tested
