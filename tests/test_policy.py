"""The state machine: its facts are exact, its silence is strict, its promises hold."""

import copy
import inspect
import math
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Self

import attrs
import pytest

from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import (
    Decision,
    Flush,
    FlushPolicy,
    QueueState,
    Wait,
    check_caps,
    flaw_in,
    running_copy,
    wait_until,
)
from tests.models import exact, state_of
from tests.narrow import NarrowInteger
from tests.strategies import (
    ECHOES,
    EchoPolicy,
    FrozenEchoPolicy,
    PlainEchoPolicy,
)

# What a policy answers.


def test_decisions_are_frozen_values() -> None:
    """Decisions compare by value, can be hashed, and cannot be changed."""
    assert Flush("full", 3) == Flush("full", up_to=3)
    assert Flush("full", 3) != Flush("full")
    assert {Wait(2): 1} == {Wait(2.0): 1}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Wait().until = 1  # type: ignore[misc]  # that is what is tried
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Flush().reason = "full"  # type: ignore[misc]  # that is what is tried


def test_decisions_are_plain_by_default() -> None:
    """A Flush takes all it may for the reason "policy"; a Wait has no end."""
    assert Flush("policy", None) == Flush()
    assert Wait(math.inf) == Wait()


def test_waits_for_the_same_time_may_be_the_same() -> None:
    """wait_until makes one Wait for one time, and takes a float for no Fraction that equals it."""
    assert Wait(0.5) == wait_until(0.5)
    assert wait_until(0.5) is wait_until(0.5)
    assert Wait(1.5) == wait_until(1.5)
    assert [float, Fraction, float] == [
        type(wait_until(time).until) for time in (0.5, exact(1, 2), 0.5)
    ]


@pytest.mark.parametrize(
    "decision",
    [
        Flush(),
        Flush("", 1),
        Flush("full", 10**9),
        Wait(),
        Wait(6),
        Wait(5.5),
        Wait(exact(16, 3)),
    ],
)
def test_decisions_without_flaw(decision: Decision) -> None:
    """A Flush of at least one item, and a Wait for any later time, are decisions."""
    assert flaw_in(decision, 5) is None


@pytest.mark.parametrize(
    "until",
    [5, 5.0, Fraction(5), 4, -math.inf, math.nan, True, "6", None],
)
def test_a_wait_must_be_for_a_later_time(until: Any) -> None:
    """A Wait until now, for the past, or for what is no real number, is none."""
    assert "until must be a time after 5" == flaw_in(Wait(until), 5)


def test_true_is_no_time() -> None:
    """A bool is no time, however early it is."""
    assert "until must be a time after -3" == flaw_in(Wait(until=True), -3)


@pytest.mark.parametrize("up_to", [0, -1, 2.0, True, "3", Fraction(3)])
def test_a_flush_takes_at_least_one_item(up_to: Any) -> None:
    """A Flush of less than one item, or of what is no count, is none."""
    assert "up_to must be None or an int of at least 1" == flaw_in(Flush(up_to=up_to), 5)


@pytest.mark.parametrize("reason", [None, 3, b"full"])
def test_a_reason_is_text(reason: Any) -> None:
    """A Flush whose reason is no str is none."""
    assert "reason must be a str" == flaw_in(Flush(reason), 5)


@pytest.mark.parametrize("answer", [None, True, 5.5, "flush", Flush, Wait])
def test_anything_else_is_no_decision(answer: object) -> None:
    """What is neither a Flush nor a Wait is no decision."""
    assert "a decision is a Flush or a Wait" == flaw_in(answer, 5)


# The facts.


def test_facts_of_an_empty_queue() -> None:
    """At first nothing is pending, nothing runs, and the oldest item came never."""
    queue = QueueState(3)
    facts = (queue.pending, queue.weight, queue.oldest, queue.in_flight, queue.max_in_flight)
    assert (0, 0, math.inf, 0, 3) == facts


def test_facts_are_not_made_up() -> None:
    """A QueueState is made of the slots alone: everything else is what has happened since."""
    assert ["max_in_flight"] == list(inspect.signature(QueueState).parameters)


def test_there_is_one_slot_and_one_item_by_default() -> None:
    """Without further arguments there is one slot, and one item has arrived, of no weight."""
    queue = QueueState()
    queue.item_added(5)
    assert (1, 1, 0) == (queue.max_in_flight, queue.pending, queue.weight)


def test_a_flush_weighs_nothing_by_default() -> None:
    """A flush that is told without a weight leaves the weight of what still waits as it is."""
    queue = QueueState()
    queue.item_added(0, 2, 5)
    queue.flush_started(0, 1)
    assert (1, 5) == (queue.pending, queue.weight)


def test_oldest_is_exact_after_a_flush_of_a_part() -> None:
    """A flush takes from the front, and from the middle of a burst."""
    queue = QueueState(3)
    queue.item_added(1, 3, 6)
    queue.item_added(2, 2, 5)
    queue.flush_started(3, 2, 4)
    assert (3, 7, 1) == (queue.pending, queue.weight, queue.oldest)
    queue.flush_started(3, 2, 4)
    assert (1, 3, 2) == (queue.pending, queue.weight, queue.oldest)
    queue.flush_started(3, 1, 3)
    assert (0, 0, math.inf) == (queue.pending, queue.weight, queue.oldest)


def test_weight_does_not_drift() -> None:
    """Rounding leaves no weight behind in an empty queue, and never less than none."""
    queue = QueueState(3)
    for _ in range(3):
        queue.item_added(0, 1, 0.1)
    queue.flush_started(0, 3, 0.3)
    assert 0 == queue.weight
    queue.item_added(0, 2, 0.1)
    queue.flush_started(0, 1, 0.1 + 2**-50)
    assert 0 == queue.weight


ARRIVED = "pending=3, weight=6, oldest=1"


@pytest.mark.parametrize(
    ("event", "facts", "message"),
    [
        ("item_added", (4.5,), "now must not go back from 5 to 4.5"),
        ("item_added", (math.nan,), "now must be finite, not nan"),
        ("item_added", (math.inf,), "now must be finite, not inf"),
        ("item_added", (5, 0), "count must be at least 1, not 0"),
        ("item_added", (5, 1, -2), "weight and seconds must be finite and not negative, not -2"),
        ("item_added", (5, 1, math.nan), "must be finite and not negative, not nan"),
        ("item_added", (5, 1, math.inf), "must be finite and not negative, not inf"),
        ("flush_started", (4,), "now must not go back from 5 to 4"),
        ("flush_started", (5, 4), "cannot start a flush of 4 items: 3 are pending"),
        ("flush_started", (5, 1), "cannot start a flush: 2 of 2 are in flight"),
        ("flush_started", (5, -1), "count must be at least 1, not -1"),
        ("flush_started", (5, 1, -0.5), "must be finite and not negative, not -0.5"),
        ("flush_done", (4, 1, 2), "now must not go back from 5 to 4"),
        ("flush_done", (5, 0, 2), "count must be at least 1, not 0"),
        ("flush_done", (5, 1, -2), "must be finite and not negative, not -2"),
        ("flush_done", (5, 1, math.nan), "must be finite and not negative, not nan"),
        ("tick", (4,), "now must not go back from 5 to 4"),
        ("tick", (-math.inf,), "now must be finite, not -inf"),
    ],
)
def test_impossible_events_are_refused(event: str, facts: tuple[Any, ...], message: str) -> None:
    """An event that cannot have happened is refused, shown, and leaves no trace."""
    policy = running_copy(NaturalPolicy(), 2)
    policy.item_added(1, 5, 10)
    policy.flush_started(2, 1, 2)
    policy.flush_started(5, 1, 2)
    before = state_of(policy)
    facts = (*facts, 1)[: max(2, len(facts))] if event == "flush_started" else facts
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        getattr(policy, event)(*facts)
    assert before == state_of(policy)


@pytest.mark.parametrize("event", ["item_added", "flush_started", "flush_done", "tick"])
def test_every_event_moves_time_on(event: str) -> None:
    """After any event no other can be earlier; one at the same time can."""
    policy = running_copy(NaturalPolicy(), 2)
    policy.item_added(1, 5)
    policy.flush_started(2, 1)
    facts = {"item_added": (1,), "flush_started": (1,), "flush_done": (1, 2), "tick": ()}
    getattr(policy, event)(5, *facts[event])
    with pytest.raises(ValueError, match=r"^now must not go back from 5 to 4\.5$"):
        policy.tick(4.5)
    policy.tick(5)


def test_a_flush_that_did_not_run_cannot_end() -> None:
    """The end of a flush is refused when none is in flight."""
    with pytest.raises(ValueError, match="cannot end a flush of 2 items: none is in flight"):
        NaturalPolicy().flush_done(0, 2, 1)


@pytest.mark.parametrize("count", [True, 1.0, "1", None])
def test_a_count_is_an_int(count: Any) -> None:
    """A count of another type is a TypeError, and leaves no trace."""
    queue = QueueState()
    with pytest.raises(TypeError, match="count must be an int"):
        queue.item_added(0, count)
    assert QueueState() == queue


def test_any_subclass_of_int_will_do() -> None:
    """A count may be of a subclass of int."""

    class Number(int):
        pass

    queue = QueueState()
    queue.item_added(0, Number(2))
    assert 2 == queue.pending


# The events.


class CountingPolicy(NaturalPolicy):
    """Counts how often it is asked."""

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.asked: list[float] = []

    def decide(self, now: float) -> Decision:
        """Flush."""
        self.asked.append(now)
        return super().decide(now)


def test_decide_is_asked_only_when_it_matters() -> None:
    """While nothing is pending or no slot is free, the answer is Wait() and nobody is asked."""
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


def test_bursts_of_one_time_are_one() -> None:
    """Arrivals of one time lead to the same facts, told one by one or at once."""
    singly, at_once = QueueState(), QueueState()
    for weight in [1, 2, 4]:
        singly.item_added(5, 1, weight)
    at_once.item_added(5, 3, 7)
    assert at_once == singly
    singly.item_added(6)
    assert at_once != singly


@pytest.mark.parametrize("caps", [{"max_records": 3}, {"max_weight": 6}])
def test_full_is_when_a_cap_is_reached(caps: dict[str, Any]) -> None:
    """A policy is full from the item on that reaches its cap, by number or by weight."""
    policy = NaturalPolicy(**caps)
    policy.item_added(0, 2, 5)
    before = policy.full
    policy.item_added(0, 1, 1)
    assert (False, True) == (before, policy.full)


def test_full_is_the_same_for_a_cap_of_few_bits() -> None:
    """A max_weight is compared as the number that it is, whatever its type."""
    max_weight: Any = NarrowInteger(6)
    policy = NaturalPolicy(max_weight=max_weight)
    policy.item_added(0, 1, 5)
    before = policy.full
    policy.item_added(0, 1, 2**16 - 5)
    assert (False, True) == (before, policy.full)


# Running copies.


@attrs.define
class Slotted(FlushPolicy):
    """A slotted class with fields that are and are not arguments."""

    size: list[int]
    learnt: dict[str, int] = attrs.field(factory=dict, init=False)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.define
class Extra(FlushPolicy):
    """Sets an attribute that is no field."""

    size: list[int]

    def __attrs_post_init__(self) -> None:
        self.extra = [7]

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.frozen
class Frozen(FlushPolicy):
    """A frozen class with a default that is made anew."""

    size: list[int]
    learnt: list[int] = attrs.field(factory=list)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class Plain(FlushPolicy):
    """A plain class with an argument that it has to be given, and no super().__init__()."""

    def __init__(self, size: list[int]) -> None:
        self.size = size
        self.me = self

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class HandSlotted(FlushPolicy):
    """A class with slots written by hand, one of them private and one never set."""

    __slots__ = ("__hidden", "size", "unset")

    def __init__(self, size: list[int]) -> None:
        self.size = size
        self.__hidden = size

    def decide(self, now: float) -> Decision:
        """Flush if what is hidden is what is not."""
        return Flush() if self.__hidden is self.size else Wait()


@attrs.define
class Jittered(IntervalPolicy):
    """A subclass of a policy that ships."""

    max_wait_seconds: float = 2.0
    size: list[int] = attrs.field(kw_only=True)


KINDS: list[Callable[..., Any]] = [Plain, Slotted, Frozen, Extra, HandSlotted, Jittered]


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_copy_has_everything_of_its_own(kind: Callable[..., Any]) -> None:
    """A running copy holds copies of all attributes, and facts that start afresh."""
    template = kind(size=[1])
    template.item_added(5, 3)
    copies: list[Any] = [running_copy(template, 2), running_copy(template, 2)]
    for clone in copies:
        assert type(template) is type(clone)
        assert QueueState(2) == clone.queue
        assert [1] == clone.size
        clone.item_added(0)
        clone.size.append(2)
    assert [1] == template.size
    assert [1, 2] == copies[0].size
    assert copies[0].queue is not copies[1].queue
    assert (3, 1, 1) == tuple(policy.queue.pending for policy in (template, *copies))


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_copy_decides_like_its_template(kind: Callable[..., Any]) -> None:
    """A running copy answers as the template would."""
    template = kind(size=[1])
    assert template.item_added(1) == running_copy(template, 1).item_added(1)


def test_every_attribute_is_copied() -> None:
    """Fields, other attributes, slots and references to itself are all there in a copy."""
    slotted = Slotted([1])
    slotted.learnt["a"] = 2
    assert {"a": 2} == copy.deepcopy(slotted).learnt
    assert [7] == copy.deepcopy(Extra([1])).extra
    plain = copy.deepcopy(Plain([1]))
    assert plain is plain.me
    assert not hasattr(copy.deepcopy(HandSlotted([1])), "unset")


@pytest.mark.parametrize("kind", ECHOES)
def test_what_one_copy_learns_no_other_knows(
    kind: Callable[[], EchoPolicy | PlainEchoPolicy | FrozenEchoPolicy],
) -> None:
    """A copy that learns leaves the template and other copies as they were."""
    template = kind()
    one, other = running_copy(template, 1), running_copy(template, 1)
    before = state_of(other)
    one.item_added(0)
    one.flush_started(0, 1)
    one.flush_done(10, 1, 10)
    assert before == state_of(other)
    assert Wait(12.0) == one.item_added(10)
    assert Flush("echo") == other.item_added(10)
    assert Flush("echo") == template.item_added(10)


def test_a_copy_starts_afresh_also_from_a_running_policy() -> None:
    """A copy of a running copy has its facts neither shared nor inherited."""
    running = running_copy(NaturalPolicy(), 2)
    running.item_added(5, 3)
    assert QueueState(1) == running_copy(running, 1).queue
    assert 3 == running.queue.pending


def test_parts_that_are_shared_stay_shared() -> None:
    """A deep copy of two policies that hold one list holds one list."""
    size = [1]
    one, other = copy.deepcopy((Slotted(size), Frozen(size)))
    assert one.size is other.size
    assert size is not one.size


def test_policies_can_be_pickled() -> None:
    """A policy comes back from pickling with its fields."""
    assert IntervalPolicy(2.0, 5) == pickle.loads(pickle.dumps(IntervalPolicy(2.0, 5)))


class Locked(FlushPolicy):
    """A policy that holds what cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "Locked()"

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class Sharing(Locked):
    """A policy that says how it is copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        clone = type(self)()
        clone.lock = self.lock
        return clone


def test_a_policy_with_a_lock_cannot_be_copied() -> None:
    """What cannot be copied is a TypeError that names the policy and tells what to do."""
    message = r"cannot make a deep copy of the policy Locked\(\): .*lock.*defines __deepcopy__$"
    with pytest.raises(TypeError, match=message) as caught:
        running_copy(Locked(), 1)
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_deepcopy_of_the_users_own_is_honoured() -> None:
    """A policy that defines __deepcopy__ shares what it says, but never its facts."""
    template = Sharing()
    template.item_added(0)
    clone = running_copy(template, 3)
    assert isinstance(clone, Sharing)
    assert template.lock is clone.lock
    assert QueueState(3) == clone.queue


@pytest.mark.parametrize("answer", ["self", None, NaturalPolicy])
def test_a_deepcopy_must_be_another_policy(answer: Any) -> None:
    """A __deepcopy__ that answers itself, or no policy, is a TypeError."""

    class Odd(NaturalPolicy):
        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            return self if answer == "self" else answer

    with pytest.raises(TypeError, match=r"a deep copy of the policy .*Odd.* must be another one"):
        running_copy(Odd(), 1)


@pytest.mark.parametrize("policy", [None, "natural", NaturalPolicy, Flush()])
def test_what_is_no_policy_is_refused(policy: Any) -> None:
    """Only an instance of FlushPolicy is a policy."""
    with pytest.raises(TypeError, match="policy must be a FlushPolicy, not "):
        running_copy(policy, 1)


def test_a_policy_must_decide() -> None:
    """A subclass without decide cannot be made."""

    class Undecided(FlushPolicy):
        pass

    with pytest.raises(TypeError, match="decide"):
        Undecided()  # type: ignore[abstract]  # that is what is tried


# Caps.


@pytest.mark.parametrize(
    ("caps", "error", "message"),
    [
        ((0, None), ValueError, "max_records must be at least 1, not 0"),
        ((1.0, None), TypeError, r"max_records must be an int, not 1\.0"),
        ((None, -1), ValueError, "max_weight must be above 0, not -1"),
        ((None, math.nan), ValueError, "max_weight must be above 0, not nan"),
        ((None, "9"), TypeError, "max_weight must be a real number, not '9'"),
    ],
)
def test_caps_that_are_none_are_refused(caps: Any, error: type[Exception], message: str) -> None:
    """A cap of a wrong value or type is refused and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        check_caps(*caps)


@pytest.mark.parametrize("caps", [(None, None), (1, None), (None, 0.5), (9, math.inf)])
def test_caps_may_be_missing(caps: Any) -> None:
    """Neither cap is needed."""
    check_caps(*caps)


def test_a_policy_without_caps_is_never_full() -> None:
    """A policy that sets no caps has none."""
    policy = EchoPolicy()
    policy.item_added(0, 10**9, 10**9)
    assert (None, None, False) == (policy.max_records, policy.max_weight, policy.full)


def test_a_first_event_before_all_time_is_refused() -> None:
    """Minus infinity is no time, not even for the first event."""
    with pytest.raises(ValueError, match="not -inf"):
        QueueState().item_added(-math.inf)


# Defaults.


def test_an_item_weighs_nothing_unless_told() -> None:
    """Arrivals and flushes without a weight leave the weight of the queue at 0."""
    policy = running_copy(NaturalPolicy(), 1)
    policy.item_added(0.0, 2)
    assert 0 == policy.queue.weight
    policy.flush_started(0.0, 1)
    assert (1, 0) == (policy.queue.pending, policy.queue.weight)


@pytest.mark.parametrize("time", [-1.0, -100, -1e300])
def test_time_may_begin_below_zero(time: float) -> None:
    """Any monotonic clock will do."""
    policy = running_copy(NaturalPolicy(), 1)
    policy.item_added(time)
    assert time == policy.queue.oldest
