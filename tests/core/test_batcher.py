"""The batcher takes due batches, tells the policy, and records the end of every item."""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher, End
from flushq.errors import FlushFailed, PolicyError
from flushq.facts import QueueState
from flushq.policies import NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from tests.strategies import FAULTS, FaultyPolicy, HookedPolicy, Refusal


class ScriptedPolicy(HookedPolicy):
    """A policy with a fixed decision, which notes its events."""

    def __init__(self, decision: object = Wait()) -> None:
        self.decision = decision
        self.told: list[tuple[Any, ...]] = []

    def decide(self, now: float) -> Decision:
        """Return the fixed decision."""
        return cast("Decision", self.decision)

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Note the event, and answer it."""
        self.told.append((event, *facts))
        return tell(*facts)


class EagerPolicy(HookedPolicy):
    """A policy that answers every event with a Flush, even if nothing can be flushed."""

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Answer with a Flush."""
        tell(*facts)
        return Flush("anyway")


def batcher_of(policy: FlushPolicy, max_in_flight: int = 1, **options: Any) -> Batcher[int]:
    """Return a batcher that has started."""
    batcher: Batcher[int] = Batcher(policy, max_in_flight=max_in_flight, **options)
    batcher.start()
    return batcher


def accept(batcher: Batcher[int], *items: int, now: float = 0) -> None:
    """Add items, and tell the policy."""
    for item in items:
        batcher.buffer.append(item)
    batcher.announce(now)


def take(batcher: Batcher[int], now: float = 0, *, called: bool = True) -> Batch[int]:
    """Take a batch, which must be due, and note a call of flush_fn if ``called``."""
    due = batcher.due()
    assert due is not None
    batch = batcher.start_flush(due, now)
    assert batch is not None
    if called:
        batch.call(batch.items)
    return batch


def end(
    batcher: Batcher[int], batch: Batch[int], now: float, error: BaseException | None = None
) -> None:
    """End a batch: all its items are delivered or, with an error, lost."""
    if error is None:
        batch.returned()
    elif batch.called:
        batch.end_after_failure(error, {}, {}, range(batch.count))
    else:
        batch.fail(error)
    batcher.end_flush(batch, now)


def failure_of(batcher: Batcher[int]) -> End:
    """Return the failure that has ended the queue."""
    assert batcher.failure is not None
    return batcher.failure


# When a batch is taken and why.


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ("drain, barrier, policy, pressure", "drain"),
        ("drain", "drain"),
        ("barrier, policy, pressure", "flush"),
        ("barrier", "flush"),
        ("policy, pressure", "mine"),
        ("policy", "mine"),
        ("pressure", "pressure"),
        ("none", None),
    ],
)
def test_the_first_reason_counts(reasons: str, expected: str | None) -> None:
    """The order of the reasons is drain, flush, the policy's own, pressure."""
    batcher = batcher_of(ScriptedPolicy(Flush("mine") if "policy" in reasons else Wait()))
    accept(batcher, 1)
    if "drain" in reasons:
        batcher.drain()
    if "barrier" in reasons:
        batcher.barrier()
    due = batcher.due(pressed=True) if "pressure" in reasons else batcher.due()
    assert expected == (due and due.reason)


def test_a_batch_is_taken_late() -> None:
    """Items that arrive after the policy has decided join the batch."""
    batcher = batcher_of(NaturalPolicy(3))
    accept(batcher, 1, 2)
    accept(batcher, 3, 4, now=1)
    batch = take(batcher, 2)
    assert ([1, 2, 3], 3, "natural") == (batch.items, batch.count, batch.reason)
    assert (0, 0, 2) == (batch.first, batch.oldest, batch.started)
    assert 1 == len(batcher.buffer)


def test_a_policy_may_ask_for_a_part() -> None:
    """Flush(up_to=n) takes n items; a drain and a barrier take as many as the caps allow."""
    batcher = batcher_of(ScriptedPolicy(Flush(up_to=2)), 3)
    accept(batcher, *range(9))
    assert [0, 1] == take(batcher).items
    batcher.barrier()
    assert [2, 3, 4, 5, 6, 7, 8] == take(batcher).items


def test_a_flush_of_nothing_is_not_started() -> None:
    """A Flush starts nothing if nothing is pending or no slot is free."""
    batcher = batcher_of(EagerPolicy())
    batcher.tick(0)
    assert Flush("anyway") == batcher.policy.decision
    assert batcher.due(pressed=True) is None
    accept(batcher, 1)
    take(batcher)
    accept(batcher, 2)
    assert batcher.due() is None
    assert batcher.failure is None


def test_there_is_nothing_to_wake_for_while_nothing_can_be_taken() -> None:
    """No timer is set while nothing waits or no slot is free, even if the policy asks for one."""

    class Restless(HookedPolicy):
        def decide(self, now: float) -> Decision:
            return Flush()

        def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
            decision = tell(*facts)
            return Wait(facts[0] + 1) if decision == Wait() else decision

    batcher = batcher_of(Restless())
    batcher.tick(0)
    assert (Wait(1), math.inf) == (batcher.policy.decision, batcher.wake_at)
    accept(batcher, 1)
    take(batcher)
    accept(batcher, 2)
    assert (Wait(1), math.inf) == (batcher.policy.decision, batcher.wake_at)


def test_a_wait_from_a_tick_is_accepted() -> None:
    """A tick may be answered with another Wait, whose time is then the next one."""
    batcher = batcher_of(ScriptedPolicy(Wait(20)))
    accept(batcher, 1, now=5)
    batcher.tick(10)
    assert 20 == batcher.wake_at


# The events of the policy.


def test_the_policy_is_told_everything_once_and_in_order() -> None:
    """The policy is told of bursts, and of each start and end with seconds and error."""
    batcher = batcher_of(ScriptedPolicy(Flush()), 2, weigh=lambda item: item)
    error = Refusal("lost")
    accept(batcher, 3, 4, now=1)
    batcher.announce(2)
    one = take(batcher, 3)
    batcher.tick(4)
    accept(batcher, 5, now=5)
    other = take(batcher, 6)
    end(batcher, one, 8)
    end(batcher, other, 9, error)
    assert [
        ("item_added", 1, 2, 7),
        ("flush_started", 3, 2, 7),
        ("tick", 4),
        ("item_added", 5, 1, 5),
        ("flush_started", 6, 1, 5),
        ("flush_done", 8, 2, 5, None),
        ("flush_done", 9, 1, 3, error),
    ] == vars(batcher.policy.copy)["told"]


def test_time_never_runs_backwards_for_the_policy() -> None:
    """An event with an earlier time than the last one is told with the last time."""
    batcher = batcher_of(ScriptedPolicy(Flush()))
    accept(batcher, 1, now=10)
    batch = take(batcher, 9)
    accept(batcher, 2, now=8)
    batcher.tick(7)
    end(batcher, batch, 6)
    times = [facts[1] for facts in vars(batcher.policy.copy)["told"]]
    assert [10, 10, 10, 10, 10] == times
    assert (10, 10) == (batch.started, batcher.policy.now)
    assert ("flush_done", 10, 1, 0, None) == vars(batcher.policy.copy)["told"][-1]
    assert batcher.failure is None


def test_duplicates_count_for_the_burst_alone() -> None:
    """A duplicate counts in the burst, but the policy is not told of it."""
    batcher = batcher_of(ScriptedPolicy(), dedupe_key=lambda item: item % 2)
    batcher.buffer.append(1)
    batcher.buffer.append(3)
    assert (2, 1, 1) == (batcher.burst_size, batcher.buffer.duplicates, len(batcher.buffer))
    batcher.announce(0)
    batcher.buffer.append(5)
    assert 1 == batcher.burst_size
    batcher.announce(1)
    assert 0 == batcher.burst_size
    assert [("item_added", 0, 1, 0)] == vars(batcher.policy.copy)["told"]


def test_the_policy_that_runs_is_a_copy() -> None:
    """The given policy is a template, and is told nothing."""
    policy = ScriptedPolicy()
    batcher = batcher_of(policy, 2)
    accept(batcher, 1)
    assert policy is not batcher.policy.copy
    assert ([], QueueState()) == (policy.told, policy.queue)
    assert 2 == batcher.policy.copy.queue.max_in_flight


# The end of every item.


def lists_of(batcher: Batcher[int]) -> tuple[list[int], list[int]]:
    """Return the undelivered items, and those in doubt."""
    return batcher.losses.undelivered.items, batcher.losses.in_doubt.items


def test_a_flush_that_raised_ends_the_queue() -> None:
    """After a failed flush its items are in doubt, waiting ones undelivered, and none is taken."""
    batcher = batcher_of(NaturalPolicy(2))
    accept(batcher, 1, 2, 3)
    error = Refusal("lost")
    end(batcher, take(batcher), 1, error)
    message = "a batch of size 2 failed: Refusal('lost')"
    assert End(FlushFailed, message, error) == batcher.failure
    assert ([3], [1, 2]) == lists_of(batcher)
    assert batcher.due(pressed=True) is None


def test_a_batch_may_be_lost_in_part() -> None:
    """Only the lost positions of a batch are in doubt; the others were delivered or dropped."""
    batcher = batcher_of(NaturalPolicy(5))
    accept(batcher, *range(10, 22))
    end(batcher, take(batcher), 1)
    batch = take(batcher)
    batch.end_after_failure(Refusal("lost"), {2: Refusal("bad")}, {}, [1, 4])
    batcher.end_flush(batch, 1)
    assert ([20, 21], [16, 19]) == lists_of(batcher)
    assert (7, 1) == (batcher.delivered, batcher.dropped)
    assert 6 == batcher.losses.first
    assert "a batch of size 5 failed: Refusal('lost')" == failure_of(batcher).message


def test_a_batch_may_fail_and_lose_nothing() -> None:
    """If the handler raises after all items were dropped, the queue fails and loses nothing."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    batch = take(batcher)
    batch.end_after_failure(Refusal("the handler"), {0: Refusal("dropped")}, {}, [])
    batcher.end_flush(batch, 1)
    assert (FlushFailed, 1, 0) == (failure_of(batcher).kind, batcher.dropped, batcher.in_flight)
    assert ([], []) == lists_of(batcher)


def test_items_that_have_ended_early_are_counted_once() -> None:
    """Items that end before the rest of their batch are counted at once, and only once."""
    batcher, bad = batcher_of(NaturalPolicy()), Refusal("bad")
    accept(batcher, 1, 2, 3, 4)
    batch = take(batcher)
    batcher.end_part(batch, {0: bad, 1: None})
    batcher.end_part(batch, {2: bad})
    assert (1, 2, 1) == (batcher.delivered, batcher.dropped, batcher.in_flight)
    batch.end_after_failure(None, {0: bad, 2: bad}, {}, [])
    batcher.end_flush(batch, 1)
    assert (2, 2, 0) == (batcher.delivered, batcher.dropped, batcher.in_flight)


def test_what_an_interrupted_flush_raises_is_not_a_failure() -> None:
    """The first error of an interrupted flush that has called flush_fn is the interruption."""
    batcher = batcher_of(NaturalPolicy(1), 3)
    accept(batcher, 1, 2, 3)
    batches = [take(batcher, called=False), take(batcher), take(batcher)]
    batcher.stop("too late")
    errors = [asyncio.CancelledError(), TimeoutError(), Refusal("lost")]
    for batch, error in zip(batches, errors, strict=True):
        batch.interrupt()
        end(batcher, batch, 1, error)
    assert ([1], [2, 3]) == lists_of(batcher)
    assert (None, errors[1]) == (batcher.failure, batcher.interruption)


# Policies that misbehave.

MESSAGES = {
    "raises": r"raised Refusal\('not today'\) in {}$",
    "answers nonsense": "answered {} with 'flush': a decision must be a Flush or a Wait",
    "answers nothing": "answered {} with None: ",
    "forgets super()": r"answered {} with Wait\(until=inf\): self.queue has pending=. and in_flight"
    r"=., but must have pending=. and in_flight=.; an overridden event must call super\(\)",
}

CASES = {
    # event: how many such events succeed before, then the delivered and the undelivered items
    "item_added": (1, 3, [3]),
    "flush_started": (0, 0, [0, 1, 2]),
    "flush_done": (0, 3, [3]),
    "tick": (0, 3, [3]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("event", CASES)
def test_a_policy_that_misbehaves_ends_the_queue(event: str, fault: str) -> None:
    """A policy that raises, answers nonsense or forgets super() is a PolicyError.

    A tick changes no facts, so a tick without super() is not noticed if its answer is right.
    """
    after, delivered, undelivered = CASES[event]
    batcher = batcher_of(FaultyPolicy(fault, event, after), 2)
    accept(batcher, 0, 1, 2)
    due = batcher.due()
    batch = None if due is None else batcher.start_flush(due, 0)
    if batch is not None:
        batch.call(batch.items)
        accept(batcher, 3, now=1)
        batcher.tick(11)
        end(batcher, batch, 12)
    if (event, fault) == ("tick", "forgets super()"):
        assert batcher.failure is None
        return
    kind, message, cause = failure_of(batcher)
    assert PolicyError is kind
    assert re.match(f"the policy FaultyPolicy {MESSAGES[fault].format(event)}", str(message))
    assert (fault == "raises") == isinstance(cause, Refusal)
    assert (delivered, (undelivered, [])) == (batcher.delivered, lists_of(batcher))
    assert batcher.is_empty


@pytest.mark.parametrize(
    ("decision", "flaw"),
    [
        (None, "a decision must be a Flush or a Wait"),
        (Wait(5), "until must be a time after 5"),
        (Wait(cast("float", "6")), "until must be a time after 5"),
        (Flush(up_to=0), "up_to must be None or an int of at least 1"),
        (Flush(cast("str", 7)), "reason must be a str"),
    ],
)
def test_nonsense_is_shown(decision: object, flaw: str) -> None:
    """The message about a wrong answer shows the answer and its flaw."""
    batcher = batcher_of(ScriptedPolicy(decision))
    accept(batcher, 1, now=5)
    message = f"the policy ScriptedPolicy answered item_added with {decision!r}: {flaw}"
    assert (message, ([1], [])) == (failure_of(batcher).message, lists_of(batcher))


def test_a_wait_is_not_accepted_again_once_its_time_has_come() -> None:
    """A Wait that was right before is refused once its time has come."""
    batcher = batcher_of(ScriptedPolicy(Wait(5)))
    accept(batcher, 1)
    accept(batcher, 2, now=4)
    assert batcher.failure is None
    batcher.tick(5)
    assert "answered tick with Wait(until=5): until must be" in str(failure_of(batcher).message)


def test_a_policy_that_has_failed_is_asked_nothing_more() -> None:
    """A policy that has failed is not asked again, even if flushes end or items come."""

    class Failing(NaturalPolicy):
        asked = 0

        def decide(self, now: float) -> Decision:
            self.asked += 1
            if self.queue.pending > 1:
                raise Refusal("too many")
            return super().decide(now)

    batcher = batcher_of(Failing(1), 2)
    accept(batcher, 1)
    batch = take(batcher)
    accept(batcher, 2, 3)
    assert PolicyError is failure_of(batcher).kind
    asked = vars(batcher.policy.copy)["asked"]
    accept(batcher, 4, 5, 6)
    end(batcher, batch, 1)
    batcher.tick(2)
    batcher.policy.displaced(1)
    batcher.policy.reweighed(1)
    batcher.policy.ask_again(3)
    assert asked == vars(batcher.policy.copy)["asked"]


def test_a_policy_that_cannot_bear_corrected_facts_ends_the_queue() -> None:
    """A policy that raises when it is asked about corrected facts has failed in decide."""

    class Light(NaturalPolicy):
        def decide(self, now: float) -> Decision:
            if self.queue.weight > 5:
                raise Refusal("too heavy")
            return Wait()

    batcher = batcher_of(Light())
    accept(batcher, 1, 2)
    batcher.policy.reweighed(6)
    batcher.policy.ask_again(1)
    assert "the policy Light raised Refusal('too heavy') in decide" == failure_of(batcher).message
    assert ([1, 2], []) == lists_of(batcher)


class Unspeakable(Exception):
    """An exception whose repr raises."""

    def __repr__(self) -> str:
        raise Refusal("no repr")


def test_what_cannot_be_shown_is_no_harm() -> None:
    """An answer or an exception whose repr raises ends the queue like any other one."""
    batcher = batcher_of(ScriptedPolicy(Unspeakable()))
    accept(batcher, 1)
    assert "answered item_added with <tests." in str(failure_of(batcher).message)
    batcher = batcher_of(FaultyPolicy("raises", "item_added", error=Unspeakable()))
    accept(batcher, 1)
    assert "raised <tests." in str(failure_of(batcher).message)
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    end(batcher, take(batcher), 1, Unspeakable())
    assert "a batch of size 1 failed: <tests." in str(failure_of(batcher).message)
    assert ([], [1]) == lists_of(batcher)


def test_a_policy_that_counts_twice_is_found_out() -> None:
    """An override that calls super() twice is a PolicyError at this event."""

    class Twice(NaturalPolicy):
        def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
            super().item_added(now, count, weight)
            return super().item_added(now, count, weight)

    batcher = batcher_of(Twice())
    accept(batcher, 1)
    miscount = "has pending=2 and in_flight=0, but must have pending=1 and in_flight=0"
    assert miscount in str(failure_of(batcher).message)


@pytest.mark.parametrize("event", CASES)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=type)
def test_an_exit_in_a_policy_goes_on(error: BaseException, event: str) -> None:
    """KeyboardInterrupt and SystemExit of a policy are raised, and each item has its place."""
    batcher = batcher_of(FaultyPolicy("raises", event, error=error))
    with pytest.raises(type(error)) as caught:
        accept(batcher, 0, 1, 2)
        batcher.tick(1)
        end(batcher, take(batcher, 1), 2)
    assert PolicyError is failure_of(batcher).kind
    assert caught.value is failure_of(batcher).cause
    assert 3 == batcher.delivered + batcher.losses.undelivered.count
    assert batcher.is_empty


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=type)
def test_any_other_error_of_a_policy_does_not_go_on(error: BaseException) -> None:
    """A CancelledError or GeneratorExit of a policy is a failure, and is not raised."""
    batcher = batcher_of(FaultyPolicy("raises", "item_added", error=error))
    accept(batcher, 0)
    assert type(error) is type(failure_of(batcher).cause)


# Arguments.


def test_caps_are_read_once() -> None:
    """A policy that changes its caps later does not change what a batch may hold."""
    batcher = batcher_of(NaturalPolicy(2))
    batcher.policy.copy.max_records = 9
    accept(batcher, 1, 2, 3)
    assert [1, 2] == take(batcher).items


@pytest.mark.parametrize(
    ("policy", "slots", "error", "message"),
    [
        ("natural", 1, TypeError, "policy must be a FlushPolicy, not 'natural'"),
        (NaturalPolicy(max_weight=5), 1, TypeError, "max_weight=5 needs weigh, .*"),
        (NaturalPolicy(), 0, ValueError, "max_in_flight must be at least 1, not 0"),
        (NaturalPolicy(), True, TypeError, "max_in_flight must be an int, not True"),
        (NaturalPolicy(), 2.0, TypeError, r"max_in_flight must be an int, not 2\.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_parts_are_refused(
    policy: Any, slots: Any, error: type[Exception], message: str
) -> None:
    """A wrong policy or a wrong number of slots is refused, and the message shows it."""
    with pytest.raises(error, match=f"^{message}$"):
        Batcher(policy, max_in_flight=slots)


def test_the_caps_of_a_policy_are_checked_at_the_start() -> None:
    """A cap that was set wrongly after the policy was made is refused."""
    policy = NaturalPolicy()
    policy.max_records = 0
    with pytest.raises(ValueError, match="max_records must be at least 1, not 0"):
        Batcher(policy)
