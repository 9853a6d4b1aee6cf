"""Copies from a template equal deep copies, and have their own facts."""

from typing import Any

import attrs
import pytest

from flushq.core.policy_template import PolicyTemplate
from flushq.facts import QueueState
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy
from tests.models import exact


@attrs.define
class Learning(FlushPolicy):
    """A policy with a list."""

    known: list[Any] = attrs.field(factory=list)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush("natural")

    def tick(self, now: float) -> Decision:
        """Add the time to the list."""
        self.known.append(now)
        return super().tick(now)


@attrs.frozen
class Frozen(NaturalPolicy):
    """A frozen policy with a slot of its own."""

    limit: int = 3


class Own(NaturalPolicy):
    """A policy that defines how it is copied."""

    copies = 0

    def __deepcopy__(self, memo: object) -> "Own":
        """Count the copies."""
        clone = Own(self.max_records)
        clone.copies = self.copies + 1
        return clone


def never(what: str, cause: BaseException | None) -> None:
    """Raise AssertionError: no policy must fail in these tests."""
    raise AssertionError(what)


@pytest.mark.parametrize(
    "policy", [IntervalPolicy(exact(1, 3), 5), NaturalPolicy(), Frozen(limit=4), Learning([[1]])]
)
def test_a_copy_is_equal_and_another_one(policy: FlushPolicy) -> None:
    """The facts of a copy are new, even if the template or another copy was told events."""
    template = PolicyTemplate(policy, 7, never)
    copies = template.new_copy().copy, template.new_copy().copy
    copies[0].item_added(1.0, 2)
    for copy in (template.new_copy().copy, copies[1]):
        assert (type(policy), policy, QueueState(7)) == (type(copy), copy, copy.queue)
    assert 3 == len({id(each.queue) for each in (policy, *copies)})


def test_a_copy_holds_nothing_that_another_may_change() -> None:
    """Mutable attributes are copied deeply."""
    template = PolicyTemplate(Learning([[1]]), 1, never)
    first, second = template.new_copy(), template.new_copy()
    first.tick(1.0)
    learning: list[Any] = [each.copy for each in (first, second, template.new_copy())]
    learning[0].known[0].append(2)
    assert [[[1, 2], 1.0], [[1]], [[1]]] == [each.known for each in learning]


def test_a_policy_that_copies_itself() -> None:
    """The __deepcopy__ of a policy is called for each copy."""
    copy: Any = PolicyTemplate(Own(4), 1, never).new_copy().copy
    assert (1, 4) == (copy.copies, copy.max_records)
