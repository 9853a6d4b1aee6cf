"""Whatever happens to a batcher, nothing vanishes, and the account is that of plain lists."""

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

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.errors import FlushFailed, PolicyError, QueueEnded
from flushq.policy import Flush, FlushPolicy
from tests.models import cut_size
from tests.strategies import (
    FAULTS,
    GAPS,
    SLOTS,
    UNITS,
    WEIGHTS,
    FaultyPolicy,
    Refusal,
    policies,
)

Setup = tuple[FlushPolicy, Any, int, bool, bool]

MOSTLY = st.sampled_from([True, True, True, False])
FAULTY = st.builds(
    FaultyPolicy,
    st.sampled_from(FAULTS),
    st.sampled_from(["item_added", "flush_started", "flush_done"]),
    st.integers(0, 5),
)
SETUPS: st.SearchStrategy[Setup] = UNITS.flatmap(
    lambda unit: st.tuples(
        policies(unit) | policies(unit) | FAULTY, st.just(unit), SLOTS, st.booleans(), MOSTLY
    )
)


@attrs.frozen(eq=False)
class Item:
    """An item; equal to no other."""

    number: int
    key: int
    weight: Any


class Account(RuleBasedStateMachine):
    """A batcher in a random history, beside plain lists of what became of every item.

    The model reads one thing from the batcher: what the policy has decided.
    """

    @initialize(setup=SETUPS)
    def start(self, setup: Setup) -> None:
        """Start with any policy, with or without keys, before or after the start."""
        policy, unit, slots, keyed, started = setup
        key = attrgetter("key") if keyed else None
        self.batcher: Batcher[Item] = Batcher(policy, key, attrgetter("weight"), slots)
        if started:
            self.batcher.start()
        self.unit, self.slots, self.keyed = unit, slots, keyed
        self.limits = (policy.max_records, policy.max_weight)
        losses = self.batcher.losses
        self.lists = (losses.undelivered.items, losses.in_doubt.items)
        self.now: Any = 0
        self.told: Any = -math.inf
        self.arrived: dict[Item, Any] = {}
        self.untold_duplicates = 0
        self.accepted: list[Item] = []
        self.duplicates = 0
        self.pending: list[Item] = []
        self.running: dict[Batch[Item], list[Item]] = {}
        self.delivered: list[Item] = []
        self.undelivered: list[Item] = []
        self.in_doubt: list[Item] = []
        self.mark = 0
        self.failure: tuple[type[QueueEnded], BaseException | None] | None = None
        self.draining = self.stopped = False
        self.interruption: BaseException | None = None

    # What the driver does.

    @precondition(lambda self: not self.stopped)
    @rule(
        pairs=st.lists(st.tuples(st.integers(0, 9), WEIGHTS), min_size=1, max_size=4),
        gap=GAPS,
        told=MOSTLY,
    )
    def arrive(self, *, pairs: list[tuple[int, int]], gap: int, told: bool) -> None:
        """Some items come; the policy may be told of them later."""
        for key, weight in pairs:
            self.accept(Item(len(self.accepted), key, weight * self.unit))
        if told:
            self.tell(gap)

    @precondition(lambda self: self.pending)
    @rule(gap=GAPS, pressed=st.booleans(), called=MOSTLY)
    def turn(self, *, gap: int, pressed: bool, called: bool) -> None:
        """All that is due is taken."""
        self.tell(gap)
        while self.take(pressed=pressed, called=called):
            pass

    @precondition(lambda self: self.running)
    @rule(gap=GAPS, which=st.integers(0, 2), returned=MOSTLY)
    def finish(self, *, gap: int, which: int, returned: bool) -> None:
        """A batch that has ended is delivered, or in doubt, or undelivered if it was not called."""
        self.tell(gap)
        batch = list(self.running)[which % len(self.running)]
        error = None if returned and batch.called else Refusal("lost")
        items = self.running.pop(batch)
        if error is None:
            self.delivered += items
            batch.returned()
        elif batch.called:
            self.in_doubt += items
            batch.conclude(error, {}, {}, range(batch.count))
        else:
            self.undelivered += items
            batch.fail(error)
        if error and not batch.interrupted:
            self.fail(FlushFailed, error)
        elif error and batch.called:
            self.interruption = self.interruption or error
        self.told = self.now
        self.batcher.end_flush(batch, self.now)
        self.notice_a_broken_policy()

    @precondition(lambda self: self.batcher.wake_at < math.inf)
    @rule()
    def tick(self) -> None:
        """At the time that the policy asked for, a flush is due if its promise still holds."""
        self.tell(0)
        if self.now < self.batcher.wake_at < math.inf:
            self.now = self.told = self.batcher.wake_at
            self.batcher.tick(self.now)
            assert isinstance(self.batcher.policy.decision, Flush)
            assert self.batcher.wake_at == math.inf

    @precondition(lambda self: self.pending and len(self.accepted) > self.mark + 9)
    @rule()
    def barrier(self) -> None:
        """All that was accepted by now becomes due."""
        self.mark = len(self.accepted)
        assert self.mark == self.batcher.barrier()

    @precondition(lambda self: not self.batcher.started)
    @rule()
    def open(self) -> None:
        """The queue starts."""
        self.batcher.start()

    @precondition(lambda self: len(self.accepted) > 15 and not self.draining)
    @rule()
    def drain(self) -> None:
        """All that waits becomes due."""
        self.batcher.drain()
        self.draining = True

    @precondition(lambda self: len(self.accepted) > 15 and not self.stopped)
    @rule(interrupted=st.lists(st.booleans(), min_size=3, max_size=3))
    def cut_short(self, interrupted: list[bool]) -> None:
        """What waits is undelivered, told or not; of what runs, some can be interrupted."""
        self.batcher.stop("too late")
        self.stop()
        for batch, interrupt in zip(self.running, interrupted, strict=False):
            if interrupt:
                batch.interrupt()

    @precondition(lambda self: self.stopped and not self.running)
    @rule(setup=SETUPS)
    def start_anew(self, setup: Setup) -> None:
        """A queue that has ended is empty, and another one begins."""
        assert self.batcher.is_empty
        assert self.batcher.due(pressed=True) is None
        self.start(setup)

    # What it consists of.

    def accept(self, item: Item) -> None:
        """An item whose key waits is a duplicate; any other waits."""
        duplicate = self.keyed and any(other.key == item.key for other in self.pending)
        measured = self.batcher.buffer.measure(item)
        assert duplicate == self.batcher.buffer.is_duplicate(measured[0])
        self.batcher.buffer.append(item)
        if duplicate:
            self.duplicates += 1
            self.untold_duplicates += 1
        else:
            self.accepted.append(item)
            self.pending.append(item)

    def tell(self, gap: int) -> None:
        """The policy is told of all that came; a time that lies in the past does no harm."""
        self.now += gap * self.unit
        untold = [item for item in self.pending if item not in self.arrived]
        if untold:
            self.told = max(self.told, self.now - self.unit)
            self.arrived.update(dict.fromkeys(untold, self.told))
        self.untold_duplicates = 0
        self.batcher.announce(self.now - self.unit)
        self.notice_a_broken_policy()

    def take(self, *, pressed: bool, called: bool) -> bool:
        """What is due is taken, for the first reason that applies, as long as the caps allow."""
        due = self.due(pressed=pressed)
        assert due == self.batcher.due(pressed=pressed)
        batch = None if due is None else self.batcher.start_flush(due, self.now)
        if self.notice_a_broken_policy() or due is None:
            assert batch is None
            return False
        assert batch is not None
        if called:
            batch.call(batch.items)
        size = cut_size([item.weight for item in self.pending], due.up_to, *self.limits)
        items, self.pending = self.pending[:size], self.pending[size:]
        self.running[batch] = items
        self.told = self.now
        assert items
        assert items == batch.items
        assert (self.arrived[items[0]], self.now) == (batch.oldest, batch.started)
        assert (due.reason, items[0].number) == (batch.reason, batch.first)
        assert (size, sum(item.weight for item in items)) == (batch.count, batch.weight)
        return True

    # What is expected of it.

    def due(self, *, pressed: bool) -> Flush | None:
        """The flush that is due."""
        busy = len(self.running) == self.slots
        if self.stopped or not self.batcher.started or not self.pending or busy:
            return None
        if self.draining:
            return Flush("drain")
        if any(item.number < self.mark for item in self.pending):
            return Flush("flush")
        if isinstance(self.batcher.policy.decision, Flush):
            return self.batcher.policy.decision
        return Flush("pressure") if pressed else None

    def stop(self) -> None:
        """What waits is undelivered."""
        self.stopped = True
        self.undelivered += self.pending
        self.pending = []

    def fail(self, kind: type[QueueEnded], cause: BaseException | None) -> None:
        """The first failure is kept."""
        self.failure = self.failure or (kind, cause)
        self.stop()

    def notice_a_broken_policy(self) -> Any:
        """A policy that has misbehaved ends the queue with a PolicyError."""
        policy: Any = self.batcher.policy.copy
        broken = getattr(policy, "broken", False)
        if broken and self.failure is None:
            actual = self.batcher.failure
            cause = actual and actual.cause
            assert (policy.fault == "raises") == isinstance(cause, Refusal)
            self.fail(PolicyError, cause)
        return broken

    # What always holds.

    @invariant()
    def nothing_vanishes(self) -> None:
        """Every accepted item is in exactly one place, and the batcher counts as the model."""
        batcher = self.batcher
        running = sum(batch.count for batch in batcher.running)
        lost = batcher.losses.undelivered.count + batcher.losses.in_doubt.count
        places = batcher.delivered + lost + len(batcher.buffer) + running
        assert len(self.accepted) == places
        assert len(self.delivered) == batcher.delivered
        assert self.duplicates == batcher.buffer.duplicates
        assert len(self.pending) == len(batcher.buffer)
        assert list(self.running.values()) == [batch.items for batch in batcher.running]

    @invariant()
    def the_lists_are_in_order_and_the_same(self) -> None:
        """What was lost is listed in order of acceptance, in the same two lists all along."""
        number = attrgetter("number")
        losses = self.batcher.losses
        assert sorted(self.undelivered, key=number) == losses.undelivered.items
        assert sorted(self.in_doubt, key=number) == losses.in_doubt.items
        assert self.lists[0] is losses.undelivered.items
        assert self.lists[1] is losses.in_doubt.items

    @invariant()
    def limits_hold(self) -> None:
        """Never more batches run than there are slots; a free slot is known."""
        batcher = self.batcher
        assert len(batcher.running) <= self.slots
        assert (len(self.running) < self.slots) == batcher.has_free_slot
        assert (not self.running and not self.pending) == batcher.is_empty

    @invariant()
    def positions_are_those_of_the_lists(self) -> None:
        """The first item that has not ended, and the first that was lost, are known."""
        unended = [*self.pending, *(item for items in self.running.values() for item in items)]
        settled = min((item.number for item in unended), default=len(self.accepted))
        lost = (item.number for item in self.undelivered + self.in_doubt)
        assert settled == self.batcher.settled
        assert min(lost, default=math.inf) == self.batcher.losses.first

    @invariant()
    def the_first_failure_is_known(self) -> None:
        """A failure is known and stays, and so does the first interruption, and a stop."""
        failure = self.batcher.failure
        assert self.failure == (failure and (failure.kind, failure.cause))
        assert self.interruption is self.batcher.interruption
        assert self.stopped == (self.batcher.stopped is not None)

    @invariant()
    def the_policy_knows_the_facts(self) -> None:
        """As long as the queue runs, its policy knows all that it was told of, and no more."""
        if self.stopped:
            return
        told = [item for item in self.pending if item in self.arrived]
        oldest = min((self.arrived[item] for item in told), default=math.inf)
        queue = self.batcher.policy.copy.queue
        assert (len(told), oldest) == (queue.pending, queue.oldest)
        assert sum(item.weight for item in told) == queue.weight
        assert len(self.running) == queue.in_flight
        assert len(self.pending) - len(told) + self.untold_duplicates == self.batcher.burst_size
        assert self.told == self.batcher.policy.now


@pytest.mark.parametrize("examples", [150, pytest.param(1500, marks=pytest.mark.long)])
def test_every_item_is_accounted_for_in_every_history(examples: int) -> None:
    """In any history nothing vanishes, order and limits hold, and the failure is known."""
    budget = settings(max_examples=examples, stateful_step_count=40)
    run_state_machine_as_test(Account, settings=budget)
