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

from flushq.batcher import Batch, Batcher
from flushq.errors import FlushFailed, PolicyError, QueueEnded, ShutdownTimeout
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
        self.batcher.started = started
        self.unit, self.slots, self.keyed = unit, slots, keyed
        self.limits = (policy.max_records, policy.max_weight)
        self.lists = (self.batcher.undelivered, self.batcher.in_doubt)
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
        self.draining = False
        self.outcome: tuple[type[QueueEnded], BaseException | None] | None = None
        self.stopped = False
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
    @rule(gap=GAPS, pressed=st.booleans(), handed=MOSTLY)
    def turn(self, *, gap: int, pressed: bool, handed: bool) -> None:
        """All that is due is cut."""
        self.tell(gap)
        while self.seal(pressed=pressed, handed=handed):
            pass

    @precondition(lambda self: self.running)
    @rule(gap=GAPS, which=st.integers(0, 2), returned=MOSTLY)
    def finish(self, *, gap: int, which: int, returned: bool) -> None:
        """A batch that has ended is delivered, or in doubt, or undelivered if not handed over.

        After a stop a batch that was not handed over may end without an error.
        """
        self.tell(gap)
        batch = list(self.running)[which % len(self.running)]
        error = None if returned and (batch.handed or self.stopped) else Refusal("lost")
        items = self.running.pop(batch)
        if not batch.handed:
            self.undelivered += items
        elif error:
            self.in_doubt += items
        else:
            self.delivered += items
        if error and not batch.interrupted:
            self.fail(FlushFailed, error)
        elif error and batch.handed:
            self.interruption = self.interruption or error
        self.told = self.now
        self.batcher.finish(batch, self.now, error)
        self.notice_a_broken_policy()

    @precondition(lambda self: self.batcher.wake_at < math.inf)
    @rule()
    def tick(self) -> None:
        """At the time that the policy asked for, a flush is due if its promise still holds."""
        self.tell(0)
        if self.now < self.batcher.wake_at < math.inf:
            self.now = self.told = self.batcher.wake_at
            self.batcher.tick(self.now)
            assert isinstance(self.batcher.decision, Flush)
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
        self.batcher.started = True

    @precondition(lambda self: len(self.accepted) > 15 and not self.draining)
    @rule()
    def drain(self) -> None:
        """All that waits becomes due."""
        self.batcher.draining = self.draining = True

    @precondition(lambda self: len(self.accepted) > 15 and not self.stopped)
    @rule(interrupted=st.lists(st.booleans(), min_size=3, max_size=3))
    def cut_short(self, interrupted: list[bool]) -> None:
        """What waits is undelivered, told or not; of what runs, some can be interrupted."""
        self.batcher.stop("too late")
        self.stop()
        for batch, interrupt in zip(self.running, interrupted, strict=False):
            batch.interrupted = interrupt

    @precondition(lambda self: self.stopped and not self.running)
    @rule(setup=SETUPS)
    def start_anew(self, setup: Setup) -> None:
        """A queue that has ended is finished, and another one begins."""
        assert self.batcher.finished
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
        """The policy is told of all that came; a time that lies in the past is no harm."""
        self.now += gap * self.unit
        untold = [item for item in self.pending if item not in self.arrived]
        if untold:
            self.told = max(self.told, self.now - self.unit)
            self.arrived.update(dict.fromkeys(untold, self.told))
        self.untold_duplicates = 0
        self.batcher.tell_arrivals(self.now - self.unit)
        self.notice_a_broken_policy()

    def seal(self, *, pressed: bool, handed: bool) -> bool:
        """What is due is cut, for the first reason that applies, as long as the caps allow."""
        due = self.due(pressed=pressed)
        assert due == self.batcher.due(pressed=pressed)
        batch = None if due is None else self.batcher.seal(due, self.now)
        if self.notice_a_broken_policy() or due is None:
            assert batch is None
            return False
        assert batch is not None
        batch.handed = handed
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
        if isinstance(self.batcher.decision, Flush):
            return self.batcher.decision
        return Flush("pressure") if pressed else None

    def stop(self) -> None:
        """What waits is undelivered."""
        self.stopped = True
        self.undelivered += self.pending
        self.pending = []

    def fail(self, kind: type[QueueEnded], cause: BaseException | None) -> None:
        """The first failure is the outcome."""
        self.outcome = self.outcome or (kind, cause)
        self.stop()

    def notice_a_broken_policy(self) -> Any:
        """A policy that has misbehaved ends the queue with a PolicyError."""
        policy: Any = self.batcher.policy
        broken = getattr(policy, "broken", False)
        if broken and self.outcome is None:
            actual = self.batcher.outcome()
            cause = actual and actual.__cause__
            assert (policy.fault == "raises") == isinstance(cause, Refusal)
            self.fail(PolicyError, cause)
        return broken

    # What always holds.

    @invariant()
    def nothing_vanishes(self) -> None:
        """Every accepted item is in exactly one place, and the batcher counts as the model."""
        batcher = self.batcher
        running = sum(batch.count for batch in batcher.running)
        lost = len(batcher.undelivered) + len(batcher.in_doubt)
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
        assert sorted(self.undelivered, key=number) == self.batcher.undelivered
        assert sorted(self.in_doubt, key=number) == self.batcher.in_doubt
        assert self.lists[0] is self.batcher.undelivered
        assert self.lists[1] is self.batcher.in_doubt

    @invariant()
    def limits_hold(self) -> None:
        """Never more batches run than there are slots; a busy batcher says so."""
        batcher = self.batcher
        assert len(batcher.running) <= self.slots
        assert (len(self.running) == self.slots) == batcher.busy
        assert (not self.running and not self.pending) == batcher.finished

    @invariant()
    def positions_are_those_of_the_lists(self) -> None:
        """The first item that has not ended, and the first that was lost, are known."""
        unended = [*self.pending, *(item for items in self.running.values() for item in items)]
        settled = min((item.number for item in unended), default=len(self.accepted))
        lost = (item.number for item in self.undelivered + self.in_doubt)
        assert settled == self.batcher.settled
        assert min(lost, default=math.inf) == self.batcher.first_lost

    @invariant()
    def the_outcome_is_the_first_failure(self) -> None:
        """A failure is the outcome, else a stop that lost something; a new exception each time."""
        expected = self.outcome
        if expected is None and self.stopped and (self.undelivered or self.in_doubt):
            expected = (ShutdownTimeout, self.interruption)
        one, other = self.batcher.outcome(), self.batcher.outcome()
        assert (self.outcome is not None) == self.batcher.failed
        assert self.stopped == (self.batcher.stopped is not None)
        assert expected == (one and (type(one), one.__cause__))
        if one and other:
            assert one is not other
            assert one.undelivered is other.undelivered is self.batcher.undelivered
            assert one.in_doubt is other.in_doubt is self.batcher.in_doubt

    @invariant()
    def the_policy_knows_the_facts(self) -> None:
        """As long as the queue runs, its policy knows all that it was told of, and no more."""
        if self.stopped:
            return
        told = [item for item in self.pending if item in self.arrived]
        oldest = min((self.arrived[item] for item in told), default=math.inf)
        queue = self.batcher.policy.queue
        assert (len(told), oldest) == (queue.pending, queue.oldest)
        assert sum(item.weight for item in told) == queue.weight
        assert len(self.running) == queue.in_flight
        assert len(self.pending) - len(told) + self.untold_duplicates == self.batcher.burst
        assert self.told == self.batcher.now


@pytest.mark.parametrize("examples", [150, pytest.param(1500, marks=pytest.mark.long)])
def test_every_item_is_accounted_for_in_every_history(examples: int) -> None:
    """In any history nothing vanishes, order and limits hold, and the outcome is known."""
    budget = settings(max_examples=examples, stateful_step_count=40)
    run_state_machine_as_test(Account, settings=budget)
