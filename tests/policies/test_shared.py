"""What the policies with a state of their own have in common."""

from typing import Any

import attrs
import pytest

from flushq.policies import (
    AlarmPolicy,
    BudgetPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
)
from flushq.policy import Flush, FlushPolicy, Wait, running_copy
from tests.models import state_of

Kind = type[AlarmPolicy] | type[BudgetPolicy] | type[PausePolicy]
KINDS = pytest.mark.parametrize("kind", [AlarmPolicy, BudgetPolicy, PausePolicy])


@KINDS
@pytest.mark.parametrize("cap", [{"max_records": 3}, {"max_weight": 6}])
def test_a_full_batch_does_not_wait(kind: Kind, cap: dict[str, Any]) -> None:
    """A batch that is full by number or by weight is due at once."""
    policy = kind(9, **cap)
    assert isinstance(policy.item_added(0, 2, 4), Wait)
    assert Flush("full") == policy.item_added(1, 1, 2)


@KINDS
def test_items_weigh_nothing_unless_it_is_said(kind: Kind) -> None:
    """Without a weight an event moves none."""
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
def test_only_what_is_set_once_is_an_argument(kind: Kind, arguments: list[str]) -> None:
    """What a policy keeps for itself cannot be passed."""
    assert arguments == [field.name for field in attrs.fields(kind) if field.init]


@KINDS
def test_an_event_that_cannot_be_changes_nothing(kind: Kind) -> None:
    """A refused event leaves the policy as it was."""
    policy: FlushPolicy = kind(6)
    policy.item_added(3)
    before = state_of(policy)
    for event, *facts in [("item_added", 2, 1), ("item_added", 4, 0), ("flush_started", 4, 2)]:
        with pytest.raises(ValueError, match=r"not|are pending"):
            getattr(policy, event)(*facts)
    assert before == state_of(policy)


@pytest.mark.parametrize(
    "kind", [AlarmPolicy, BudgetPolicy, IntervalPolicy, NaturalPolicy, PausePolicy]
)
def test_a_policy_may_name_the_type_of_its_items(kind: Any) -> None:
    """Code for flushq 0.2.2 subscribes its policies; here that is the policy itself."""
    assert kind is kind[str]
    assert kind is kind[list[int]]
