"""In any legal history, every policy obeys every law of the state machine."""

import math
from operator import attrgetter
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flushq.core.buffer import Buffer
from flushq.policy import Decision, Flush, Wait, running_copy
from tests.models import cap, state_of, twin
from tests.strategies import GAPS, SLOTS, UNITS, WEIGHTS, policies


@attrs.frozen
class Item:
    """An item of a history."""

    arrived: Any
    weight: Any


class History(RuleBasedStateMachine):
    """A policy in a random legal history, with a plain list of the waiting items."""

    @initialize(data=st.data(), unit=UNITS, slots=SLOTS)
    def start(self, data: st.DataObject, unit: Any, slots: int) -> None:
        """Start with any policy, any number of slots, and an empty queue."""
        self.unit = unit
        self.slots = slots
        self.policy = running_copy(data.draw(policies(unit)), slots)
        limits = (self.policy.max_records, self.policy.max_weight)
        self.buffer: Buffer[Item] = Buffer(None, attrgetter("weight"), *limits)
        self.waiting: list[Item] = []
        self.running: list[tuple[Any, int]] = []
        self.now: Any = 0 * unit
        self.decision: Decision = Wait()

    def free(self) -> bool:
        """Return whether a slot is free."""
        return len(self.running) < self.slots

    @rule(gap=GAPS, weights=st.lists(WEIGHTS, min_size=1, max_size=5))
    def arrive(self, gap: int, weights: list[int]) -> None:
        """Items told at once or one by one lead to the same state and decision."""
        self.now += gap * self.unit
        one_by_one = twin(self.policy)
        for weight in weights:
            item = Item(self.now, weight * self.unit)
            last = one_by_one.item_added(self.now, 1, item.weight)
            self.buffer.add(item, None, item.weight)
            self.waiting.append(item)
        weight = sum(weights) * self.unit
        self.decision = self.policy.item_added(self.now, len(weights), weight)
        assert last == self.decision
        assert state_of(one_by_one) == state_of(self.policy)

    @precondition(lambda self: self.waiting and self.free())
    @rule(gap=GAPS, up_to=st.none() | st.integers(1, 5))
    def flush(self, gap: int, up_to: int | None) -> None:
        """A batch has the oldest items and is within the caps, for any ``up_to``."""
        self.now += gap * self.unit
        if isinstance(self.decision, Flush):
            up_to = self.decision.up_to
        batch, weight, _ = self.buffer.take(up_to)
        assert self.waiting[: len(batch)] == batch
        assert 1 <= len(batch) <= min(cap(up_to), cap(self.policy.max_records))
        assert sum(item.weight for item in batch) == weight <= cap(self.policy.max_weight)
        del self.waiting[: len(batch)]
        self.running.append((self.now, len(batch)))
        self.decision = self.policy.flush_started(self.now, len(batch), weight)

    @precondition(lambda self: self.running)
    @rule(gap=GAPS, which=st.integers(0, 2), error=st.none() | st.just(OSError("lost")))
    def finish(self, gap: int, which: int, error: Exception | None) -> None:
        """Any of the running flushes ends, with or without an error."""
        self.now += gap * self.unit
        started, count = self.running.pop(which % len(self.running))
        self.decision = self.policy.flush_done(self.now, count, self.now - started, error)

    @precondition(lambda self: isinstance(self.decision, Wait) and self.decision.until < math.inf)
    @rule()
    def wait_for_the_promise(self) -> None:
        """If nothing happens until the time of a Wait, the policy flushes then."""
        assert isinstance(self.decision, Wait)
        self.now = self.decision.until
        self.decision = self.policy.tick(self.now)
        assert isinstance(self.decision, Flush)

    @rule(gap=GAPS)
    def tick_at_any_time(self, gap: int) -> None:
        """Time may pass without anything happening."""
        self.now += gap * self.unit
        self.decision = self.policy.tick(self.now)

    @invariant()
    def facts_are_those_of_the_list(self) -> None:
        """The facts match a plain list of the waiting items."""
        queue = self.policy.queue
        oldest = self.waiting[0].arrived if self.waiting else math.inf
        weight = sum(item.weight for item in self.waiting)
        assert len(self.waiting) == queue.pending
        assert weight == queue.weight
        assert oldest == queue.oldest
        assert (len(self.running), self.slots) == (queue.in_flight, queue.max_in_flight)
        full = len(self.waiting) >= cap(self.policy.max_records) or weight >= cap(
            self.policy.max_weight
        )
        assert full == self.policy.full

    @invariant()
    def silent_when_nothing_can_be_done(self) -> None:
        """If nothing is pending or no slot is free, the answer is Wait()."""
        if not self.waiting or not self.free():
            assert Wait() == self.decision

    @invariant()
    def decide_changes_nothing_and_is_the_answer(self) -> None:
        """If a flush is possible, the answer is that of decide, which changes nothing."""
        if self.waiting and self.free():
            before = state_of(self.policy)
            assert self.policy.decide(self.now) == self.decision
            assert before == state_of(self.policy)

    @invariant()
    def a_promise_is_for_later_and_kept(self) -> None:
        """Wait.until is later than now, and tick(until) answers Flush."""
        if isinstance(self.decision, Wait):
            assert self.now < self.decision.until
            if self.decision.until < math.inf:
                assert isinstance(twin(self.policy).tick(self.decision.until), Flush)


@pytest.mark.parametrize("examples", [50, pytest.param(600, marks=pytest.mark.long)])
def test_every_law_holds_in_every_history(examples: int) -> None:
    """In any legal history every policy obeys every law of the state machine."""
    budget = settings(max_examples=examples, stateful_step_count=30)
    run_state_machine_as_test(History, settings=budget)
