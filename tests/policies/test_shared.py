"""Properties that several policies have in common."""

import copy
import math
from typing import Any
from unittest.mock import PropertyMock

import attrs
import pytest

from flushq.facts import QueueState
from flushq.policies import AlarmPolicy, BudgetPolicy, IntervalPolicy, NaturalPolicy, PausePolicy
from flushq.policy import Flush, FlushPolicy, Wait, running_copy
from tests.models import state_of

WAITING = {AlarmPolicy: "alarm", BudgetPolicy: "budget", IntervalPolicy: "age"}
"""The policies that wait as long as their first argument says, with their reasons."""

waiting_kinds = pytest.mark.parametrize("kind", WAITING)
learning_kinds = pytest.mark.parametrize("kind", [AlarmPolicy, BudgetPolicy, PausePolicy])
all_kinds = pytest.mark.parametrize("kind", [*WAITING, PausePolicy, NaturalPolicy])
caps = pytest.mark.parametrize("cap", [{"max_records": 3}, {"max_weight": 6}])


@pytest.mark.parametrize("kind", [*WAITING, PausePolicy])
@caps
def test_a_full_batch_does_not_wait(kind: Any, cap: dict[str, Any]) -> None:
    """A batch that is full by number or by weight is due at once, and not before."""
    policy = kind(9, **cap)
    assert isinstance(policy.item_added(0, 2, 4), Wait)
    assert Flush("full") == policy.item_added(1, 1, 2)


@waiting_kinds
def test_full_comes_before_the_time(kind: Any) -> None:
    """If a full batch has also waited long enough, the reason of its flush is ``full``."""
    policy = kind(1, max_records=2)
    policy.item_added(0)
    assert Flush("full") == policy.item_added(1)


@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, {}) for kind in WAITING), (AlarmPolicy, {"u": 0.5})]
)
def test_an_infinite_wait_is_for_a_full_batch_alone(kind: Any, options: dict[str, float]) -> None:
    """With inf an item waits until a batch is full."""
    policy = kind(math.inf, max_records=2, **options)
    assert Wait() == policy.item_added(0)
    assert Flush("full") == policy.item_added(10**9)


@waiting_kinds
def test_what_became_due_during_a_flush_is_due_when_that_ends(kind: Any) -> None:
    """The time during which items wait for a slot counts, too."""
    policy = kind(6)
    policy.item_added(0)
    policy.flush_started(1, 1)
    policy.item_added(2)
    policy.item_added(7)
    assert Flush(WAITING[kind]) == policy.flush_done(9, 1, 8)


@waiting_kinds
@pytest.mark.parametrize("now", [-20, 10])
def test_a_copy_of_a_running_policy_starts_afresh(kind: Any, now: int) -> None:
    """A copy does not count the time that items of the original policy have waited."""
    policy = kind(6)
    policy.item_added(0, 2)
    policy.item_added(2)
    assert Wait(now + 6) == copy.deepcopy(policy).item_added(now)


@all_kinds
def test_by_default_there_are_no_caps(kind: Any) -> None:
    """Without arguments neither cap is set."""
    policy = kind(1) if kind in WAITING else kind()
    assert (None, None) == (policy.max_records, policy.max_weight)


@pytest.mark.parametrize("kind", [AlarmPolicy, BudgetPolicy])
def test_a_long_queue_is_not_gone_through_for_each_batch(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a batch is full the policy does not read the arrival times of the waiting items."""
    arrivals = PropertyMock(return_value=())
    monkeypatch.setattr(QueueState, "arrivals", arrivals)
    policy = running_copy(kind(9, max_records=10), 100)
    policy.item_added(0, 1000)
    for _ in range(100):
        policy.flush_started(1, 10)
    assert 1 == arrivals.call_count


@learning_kinds
def test_items_weigh_nothing_unless_it_is_said(kind: Any) -> None:
    """An event without a weight adds or removes no weight."""
    policy = running_copy(kind(9), 2)
    policy.item_added(0, 3)
    assert 0 == policy.queue.weight
    policy.item_added(0, 3, 5)
    policy.flush_started(0, 2)
    assert 5 == policy.queue.weight


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (AlarmPolicy, ["item_seconds", "u", "max_records", "max_weight"]),
        (BudgetPolicy, ["item_seconds", "max_records", "max_weight"]),
        (PausePolicy, ["flush_seconds", "max_records", "max_weight"]),
    ],
)
def test_only_what_is_set_once_is_an_argument(kind: Any, arguments: list[str]) -> None:
    """The private state of a policy is no argument of its constructor."""
    assert arguments == [field.name for field in attrs.fields(kind) if field.init]


@learning_kinds
def test_an_event_that_cannot_be_changes_nothing(kind: Any) -> None:
    """A refused event leaves the policy unchanged."""
    policy: FlushPolicy = kind(6)
    policy.item_added(3)
    before = state_of(policy)
    for event, *facts in [("item_added", 2, 1), ("item_added", 4, 0), ("flush_started", 4, 2)]:
        with pytest.raises(ValueError, match=r"not|only \d+ wait"):
            getattr(policy, event)(*facts)
    assert before == state_of(policy)


@all_kinds
def test_a_policy_may_name_the_type_of_its_items(kind: Any) -> None:
    """Code for flushq 0.2.2 subscripts policy classes; a subscript returns the class itself."""
    assert kind is kind[str]
    assert kind is kind[list[int]]
