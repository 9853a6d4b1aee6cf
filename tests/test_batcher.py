"""The batcher cuts what is due, tells the policy, and says what became of every item."""

import asyncio
import copy
import math
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from flushq.batcher import Batch, Batcher
from flushq.errors import FlushFailed, ItemTooLarge, PolicyError, QueueEnded, ShutdownTimeout
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy, QueueState, Wait
from tests.strategies import FAULTS, FaultyPolicy, HookedPolicy, Refusal


class ScriptedPolicy(HookedPolicy):
    """Decides what it was made with, and notes what it hears."""

    def __init__(self, decision: object = Wait()) -> None:
        self.decision = decision
        self.heard: list[tuple[Any, ...]] = []

    def decide(self, now: float) -> Decision:
        """Decide as set."""
        return cast("Decision", self.decision)

    def hear(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Note the event."""
        self.heard.append((event, *facts))
        return tell(*facts)


class EagerPolicy(HookedPolicy):
    """Answers every event with a Flush, even when nothing is pending or no slot is free."""

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()

    def hear(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Flush anyway."""
        tell(*facts)
        return Flush("anyway")


def batcher_of(policy: FlushPolicy, max_in_flight: int = 1, **options: Any) -> Batcher[int]:
    """A batcher that has started."""
    batcher: Batcher[int] = Batcher(policy, max_in_flight=max_in_flight, **options)
    batcher.started = True
    return batcher


def accept(batcher: Batcher[int], *items: int, now: float = 0) -> None:
    """Let items in and tell the policy."""
    for item in items:
        batcher.buffer.append(item)
    batcher.tell_arrivals(now)


def seal(batcher: Batcher[int], now: float = 0, *, handed: bool = True) -> Batch[int]:
    """Cut a batch, which must be due, and hand it over."""
    due = batcher.due()
    assert due is not None
    batch = batcher.seal(due, now)
    assert batch is not None
    batch.handed = handed
    return batch


def outcome_of(batcher: Batcher[int]) -> QueueEnded:
    """The outcome, which must not be a good one."""
    outcome = batcher.outcome()
    assert outcome is not None
    return outcome


# When a batch is cut and why.


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
    """If several reasons apply: drain, flush, the policy's own, pressure, in this order."""
    batcher = batcher_of(ScriptedPolicy(Flush("mine") if "policy" in reasons else Wait()))
    accept(batcher, 1)
    batcher.draining = "drain" in reasons
    if "barrier" in reasons:
        batcher.barrier()
    due = batcher.due(pressed="pressure" in reasons)
    assert expected == (due and due.reason)


def test_a_batch_is_cut_late() -> None:
    """What has arrived since the policy decided joins the batch."""
    batcher = batcher_of(NaturalPolicy(3))
    accept(batcher, 1, 2)
    accept(batcher, 3, 4, now=1)
    batch = seal(batcher, 2)
    assert ([1, 2, 3], 3, "natural") == (batch.items, batch.count, batch.reason)
    assert (0, 0, 2) == (batch.first, batch.oldest, batch.started)
    assert 1 == len(batcher.buffer)


def test_a_batch_knows_its_place_and_its_weight() -> None:
    """A batch carries the number of its first item, and the arrival time of its oldest."""
    batcher = batcher_of(NaturalPolicy(max_weight=5), 2, weigh=lambda item: item)
    accept(batcher, 1, 4, now=1)
    accept(batcher, 3, 1, now=2)
    one, other = seal(batcher, 3), seal(batcher, 3)
    assert ([1, 4], 5, 0, 1) == (one.items, one.weight, one.first, one.oldest)
    assert ([3, 1], 4, 2, 2) == (other.items, other.weight, other.first, other.oldest)


def test_a_policy_may_ask_for_a_part() -> None:
    """Flush(up_to=n) takes n items; a drain and a barrier take all they may."""
    batcher = batcher_of(ScriptedPolicy(Flush(up_to=2)), 3)
    accept(batcher, *range(9))
    assert [0, 1] == seal(batcher).items
    batcher.barrier()
    assert [2, 3, 4, 5, 6, 7, 8] == seal(batcher).items


def test_nothing_is_cut_before_the_start() -> None:
    """A queue that has not started keeps what it is given, and sets no timer."""
    batcher: Batcher[int] = Batcher(IntervalPolicy(1, 2))
    accept(batcher, 1)
    assert math.inf == batcher.wake_at
    accept(batcher, 2)
    assert batcher.due(pressed=True) is None
    batcher.started = True
    assert [1, 2] == seal(batcher, 5).items


def test_nothing_is_cut_while_every_slot_is_taken() -> None:
    """No reason is good enough for more flushes than there are slots."""
    batcher = batcher_of(NaturalPolicy(1), 2)
    accept(batcher, 1, 2, 3)
    first, _ = seal(batcher), seal(batcher)
    batcher.draining = True
    assert batcher.busy
    assert batcher.due(pressed=True) is None
    batcher.finish(first, 1)
    assert [3] == seal(batcher, 1).items


def test_a_flush_of_nothing_is_not_started() -> None:
    """A Flush answered while nothing is pending or no slot is free starts nothing."""
    batcher = batcher_of(EagerPolicy())
    batcher.tick(0)
    assert Flush("anyway") == batcher.decision
    assert batcher.due(pressed=True) is None
    accept(batcher, 1)
    seal(batcher)
    accept(batcher, 2)
    assert batcher.due() is None
    assert not batcher.failed


def test_a_barrier_is_for_what_came_before() -> None:
    """Items that come after a barrier are not made due by it."""
    batcher = batcher_of(ScriptedPolicy(), 2)
    accept(batcher, 1, 2)
    assert 2 == batcher.barrier()
    batch = seal(batcher)
    accept(batcher, 3)
    assert batcher.due() is None
    assert 0 == batcher.settled
    batcher.finish(batch, 1)
    assert 2 == batcher.settled


def test_a_barrier_on_an_empty_queue_is_settled() -> None:
    """With nothing accepted there is nothing to wait for."""
    batcher = batcher_of(ScriptedPolicy())
    assert batcher.barrier() == batcher.settled
    assert batcher.finished


def test_the_timer_is_for_the_time_that_the_policy_asked_for() -> None:
    """There is something to wake for while the policy waits, and not once a flush is due."""
    batcher = batcher_of(IntervalPolicy(10))
    assert math.inf == batcher.wake_at
    accept(batcher, 1, now=5)
    assert 15 == batcher.wake_at
    batcher.tick(15)
    assert math.inf == batcher.wake_at


def test_there_is_nothing_to_wake_for_while_nothing_can_be_cut() -> None:
    """Whatever a policy asks for, no timer is set while nothing waits or every slot is taken."""

    class Restless(HookedPolicy):
        def decide(self, now: float) -> Decision:
            return Flush()

        def hear(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
            decision = tell(*facts)
            return Wait(facts[0] + 1) if decision == Wait() else decision

    batcher = batcher_of(Restless())
    batcher.tick(0)
    assert (Wait(1), math.inf) == (batcher.decision, batcher.wake_at)
    accept(batcher, 1)
    seal(batcher)
    accept(batcher, 2)
    assert (Wait(1), math.inf) == (batcher.decision, batcher.wake_at)


def test_a_queue_that_has_stopped_sets_no_timer() -> None:
    """After the stop there is nothing to wake for, whatever the policy waits for."""
    batcher = batcher_of(IntervalPolicy(10))
    accept(batcher, 1, now=5)
    batcher.stop("enough")
    assert math.inf == batcher.wake_at


def test_a_wait_from_a_tick_is_accepted() -> None:
    """A policy that breaks its promise is asked again at the next time it names."""
    batcher = batcher_of(ScriptedPolicy(Wait(20)))
    accept(batcher, 1, now=5)
    batcher.tick(10)
    assert 20 == batcher.wake_at


# What the policy hears.


def test_the_policy_hears_everything_once_and_in_order() -> None:
    """Arrivals in bursts, each start and each end with its duration and its error."""
    batcher = batcher_of(ScriptedPolicy(Flush()), 2, weigh=lambda item: item)
    error = Refusal("lost")
    accept(batcher, 3, 4, now=1)
    batcher.tell_arrivals(2)
    one = seal(batcher, 3)
    batcher.tick(4)
    accept(batcher, 5, now=5)
    other = seal(batcher, 6)
    batcher.finish(one, 8)
    batcher.finish(other, 9, error)
    assert [
        ("item_added", 1, 2, 7),
        ("flush_started", 3, 2, 7),
        ("tick", 4),
        ("item_added", 5, 1, 5),
        ("flush_started", 6, 1, 5),
        ("flush_done", 8, 2, 5, None),
        ("flush_done", 9, 1, 3, error),
    ] == vars(batcher.policy)["heard"]


def test_time_never_runs_backwards_for_the_policy() -> None:
    """An event that is told with an earlier time than the last is told with the last."""
    batcher = batcher_of(ScriptedPolicy(Flush()))
    accept(batcher, 1, now=10)
    batch = seal(batcher, 9)
    accept(batcher, 2, now=8)
    batcher.tick(7)
    batcher.finish(batch, 6)
    times = [facts[1] for facts in vars(batcher.policy)["heard"]]
    assert [10, 10, 10, 10, 10] == times
    assert (10, 10) == (batch.started, batcher.now)
    assert ("flush_done", 10, 1, 0, None) == vars(batcher.policy)["heard"][-1]
    assert not batcher.failed


def test_duplicates_count_for_the_burst_alone() -> None:
    """A duplicate lengthens the burst, but the policy does not hear of it."""
    batcher = batcher_of(ScriptedPolicy(), dedupe_key=lambda item: item % 2)
    batcher.buffer.append(1)
    batcher.buffer.append(3)
    assert (2, 1, 1) == (batcher.burst, batcher.buffer.duplicates, len(batcher.buffer))
    batcher.tell_arrivals(0)
    batcher.buffer.append(5)
    assert 1 == batcher.burst
    batcher.tell_arrivals(1)
    assert 0 == batcher.burst
    assert [("item_added", 0, 1, 0)] == vars(batcher.policy)["heard"]


def test_the_policy_that_runs_is_a_copy() -> None:
    """The policy that was given is a template and hears nothing."""
    policy = ScriptedPolicy()
    batcher = batcher_of(policy, 2)
    accept(batcher, 1)
    assert policy is not batcher.policy
    assert ([], QueueState()) == (policy.heard, policy.queue)
    assert 2 == batcher.policy.queue.max_in_flight


# What became of every item.


def test_a_flush_that_returned_is_delivered() -> None:
    """Delivered items are counted, and are let go by whoever has told of them."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1, 2)
    batch = seal(batcher)
    batcher.finish(batch, 1)
    assert (2, [], []) == (batcher.delivered, batcher.undelivered, batcher.in_doubt)
    batch.forget()
    assert [] == batch.items
    assert batcher.finished
    assert batcher.outcome() is None


def test_a_flush_that_raised_ends_the_queue() -> None:
    """Its items are in doubt, what waits is undelivered, and nothing is cut any more."""
    batcher = batcher_of(NaturalPolicy(2))
    accept(batcher, 1, 2, 3)
    error = Refusal("lost")
    batcher.finish(seal(batcher), 1, error)
    outcome = outcome_of(batcher)
    assert FlushFailed is type(outcome)
    message = "a flush of 2 items failed: Refusal('lost') (1 undelivered, 2 in doubt)"
    assert message == str(outcome)
    assert error is outcome.__cause__
    assert ([3], [1, 2]) == (batcher.undelivered, batcher.in_doubt)
    assert batcher.failed
    assert batcher.due(pressed=True) is None


def test_what_was_dropped_is_counted_apart() -> None:
    """Of a batch without an error all is delivered, but for what was dropped."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1, 2, 3)
    batch = seal(batcher)
    batch.dropped, batch.lost = {1: Refusal("bad")}, []
    batcher.finish(batch, 1)
    assert (2, 1, []) == (batcher.delivered, batcher.dropped, batcher.in_doubt)
    assert batcher.outcome() is None


def test_a_batch_may_be_lost_in_part() -> None:
    """Only the positions that are lost are in doubt; the others were delivered or dropped."""
    batcher = batcher_of(NaturalPolicy(5))
    accept(batcher, *range(10, 17))
    batch = seal(batcher)
    batch.dropped, batch.lost = {2: Refusal("bad")}, [1, 4]
    batcher.finish(batch, 1, Refusal("lost"))
    assert ([11, 14], [15, 16]) == (batcher.in_doubt, batcher.undelivered)
    assert (2, 1) == (batcher.delivered, batcher.dropped)
    assert 1 == batcher.first_lost
    assert "a flush of 5 items failed: " in str(outcome_of(batcher))


def test_the_first_lost_is_exact() -> None:
    """It is the number of the very item, whichever of several partial losses comes first."""
    batcher = batcher_of(NaturalPolicy(3), 3)
    accept(batcher, *range(10))
    batches = [seal(batcher) for _ in range(3)]
    firsts = []
    for batch, lost in zip(reversed(batches), ([2], [0, 2], [1]), strict=True):
        batch.lost = lost
        batcher.finish(batch, 1, Refusal("lost"))
        firsts.append(batcher.first_lost)
    assert [8, 3, 1] == firsts
    assert ([1, 3, 5, 8], [9]) == (batcher.in_doubt, batcher.undelivered)


def test_a_flush_that_lost_nothing_after_all_is_no_loss() -> None:
    """If every position has ended well, an interrupted flush leaves nothing in doubt."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1, 2)
    batch = seal(batcher)
    batcher.stop("too late")
    batch.interrupted, batch.lost = True, []
    batcher.finish(batch, 1, asyncio.CancelledError())
    assert (2, [], math.inf) == (batcher.delivered, batcher.in_doubt, batcher.first_lost)
    assert batcher.outcome() is None


def test_the_losses_of_a_batch_are_known_once_it_has_ended() -> None:
    """Whoever finishes a batch finds all of its positions lost if nobody said which."""
    batcher = batcher_of(NaturalPolicy(2), 2)
    accept(batcher, 1, 2, 3, 4)
    one, other = seal(batcher), seal(batcher, handed=False)
    batcher.finish(one, 1, Refusal("lost"))
    batcher.finish(other, 1)
    assert ([0, 1], [0, 1]) == (list(one.lost or ()), list(other.lost or ()))
    assert ([1, 2], [3, 4]) == (batcher.in_doubt, batcher.undelivered)


def test_a_batch_lets_go() -> None:
    """What leads to the items and the exceptions is gone for all who share it."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1, 2, 3)
    batch = seal(batcher)
    batch.error = Refusal("lost")
    held: list[Any] = [batch.items, {0: batch.error}, {1: batch.error}]
    _, batch.dropped, batch.failed = held
    batch.forget()
    assert [[], {}, {}] == held == [batch.items, batch.dropped, batch.failed]
    assert batch.error is None


def test_flushes_are_counted_by_reason() -> None:
    """Every batch that has ended counts, whatever became of it."""
    batcher = batcher_of(NaturalPolicy(1), 2)
    accept(batcher, 1, 2, 3)
    assert {} == batcher.flushes
    batcher.finish(seal(batcher), 1)
    one = seal(batcher)
    batcher.draining = True
    other = seal(batcher)
    batcher.finish(other, 2, Refusal("lost"))
    assert {"natural": 1, "drain": 1} == batcher.flushes
    batcher.finish(one, 3)
    assert {"natural": 2, "drain": 1} == batcher.flushes


def test_a_batch_knows_how_long_it_took_and_what_it_left_behind() -> None:
    """The seconds are set at the end; what is behind is counted at the cut."""
    batcher = batcher_of(NaturalPolicy(2))
    accept(batcher, 1, 2, 3, 4, 5)
    batch = seal(batcher, 1)
    assert (0, 3) == (batch.seconds, batch.behind)
    accept(batcher, 6, now=2)
    batcher.finish(batch, 4)
    assert (3, 3) == (batch.seconds, batch.behind)


def test_the_outcome_begins_with_the_label() -> None:
    """A batcher that has a label shows it in what ends it, and in what refuses an item."""
    batcher = batcher_of(NaturalPolicy(max_weight=1), label="events: ", weigh=lambda _: 1)
    accept(batcher, 1)
    batcher.finish(seal(batcher), 1, Refusal("lost"))
    assert str(outcome_of(batcher)).startswith("events: a flush of 1 items failed: ")
    batcher = batcher_of(NaturalPolicy(max_weight=1), label="events: ", weigh=lambda item: item)
    accept(batcher, 1)
    with pytest.raises(ItemTooLarge, match=r"^events: the item weighs 2, more than max_weight=1"):
        batcher.buffer.measure(2)
    batcher.stop("too late")
    assert "events: too late (1 undelivered, 0 in doubt)" == str(outcome_of(batcher))


def test_running_flushes_are_delivered_after_a_failure() -> None:
    """A flush that runs while another fails may still deliver, and the policy hears of it."""
    batcher = batcher_of(NaturalPolicy(1), 2)
    accept(batcher, 1, 2, 3)
    one, other = seal(batcher), seal(batcher)
    batcher.finish(one, 1, Refusal("lost"))
    finished = [batcher.finished]
    batcher.finish(other, 2)
    assert [False, True] == [*finished, batcher.finished]
    assert (1, [3], [1]) == (batcher.delivered, batcher.undelivered, batcher.in_doubt)
    assert 0 == batcher.policy.queue.in_flight


def test_a_batch_that_was_never_handed_over_is_undelivered() -> None:
    """It comes first in line, before what had not been cut."""
    batcher = batcher_of(NaturalPolicy(1), 3)
    accept(batcher, 1, 2, 3, 4)
    one, other, third = seal(batcher), seal(batcher), seal(batcher, handed=False)
    batcher.stop("too late")
    assert [4] == batcher.undelivered
    batcher.finish(third, 1, Refusal("cancelled"))
    batcher.finish(other, 1, Refusal("lost"))
    batcher.finish(one, 1, Refusal("lost"))
    assert ([3, 4], [1, 2]) == (batcher.undelivered, batcher.in_doubt)
    assert 0 == batcher.first_lost


def test_a_batch_that_a_stop_overtook_is_undelivered() -> None:
    """A batch that was cut before the stop, and not handed over after it, ends without an error."""
    batcher = batcher_of(NaturalPolicy(1))
    accept(batcher, 1, 2)
    batch = seal(batcher, handed=False)
    batcher.stop("too late")
    batcher.finish(batch, 1)
    assert (0, [1, 2], []) == (batcher.delivered, batcher.undelivered, batcher.in_doubt)
    assert ShutdownTimeout is type(outcome_of(batcher))


def test_items_that_the_policy_has_not_heard_of_are_undelivered_too() -> None:
    """A stop takes all that waits, and the policy never hears of the rest."""
    batcher = batcher_of(ScriptedPolicy())
    accept(batcher, 1)
    batcher.buffer.append(2)
    batcher.stop("too late")
    batcher.tell_arrivals(1)
    assert [1, 2] == batcher.undelivered
    assert [("item_added", 0, 1, 0)] == vars(batcher.policy)["heard"]


def test_nothing_lost_is_at_infinity() -> None:
    """As long as nothing is lost there is no first lost item."""
    assert math.inf == batcher_of(NaturalPolicy()).first_lost


def test_the_first_reason_to_stop_is_kept() -> None:
    """Nothing is cut after a stop; a second one takes what has come, and keeps the reason."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    batcher.stop("too late")
    batcher.buffer.append(2)
    assert batcher.due(pressed=True) is None
    batcher.stop("much too late")
    assert "too late" == batcher.stopped
    outcome = outcome_of(batcher)
    assert ShutdownTimeout is type(outcome)
    assert "too late (2 undelivered, 0 in doubt)" == str(outcome)
    assert outcome.__cause__ is None


def test_a_stop_that_loses_nothing_is_no_timeout() -> None:
    """Nothing left: no ShutdownTimeout."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    batch = seal(batcher)
    batcher.stop("too late")
    batch.interrupted = True
    batcher.finish(batch, 1)
    assert "too late" == batcher.stopped
    assert (1, None, False) == (batcher.delivered, batcher.outcome(), batcher.failed)
    assert math.inf == batcher.first_lost


def test_what_an_interrupted_flush_raises_belongs_to_the_timeout() -> None:
    """It is no failure but the cause of the ShutdownTimeout; the first one counts."""
    batcher = batcher_of(NaturalPolicy(1), 3)
    accept(batcher, 1, 2, 3)
    batches = [seal(batcher, handed=False), seal(batcher), seal(batcher)]
    batcher.stop("too late")
    errors = [asyncio.CancelledError(), TimeoutError(), Refusal("lost")]
    for batch, error in zip(batches, errors, strict=True):
        batch.interrupted = True
        batcher.finish(batch, 1, error)
    assert ([1], [2, 3]) == (batcher.undelivered, batcher.in_doubt)
    outcome = outcome_of(batcher)
    assert ShutdownTimeout is type(outcome)
    assert errors[1] is outcome.__cause__


def test_a_failure_wins_over_a_timeout() -> None:
    """A flush that failed by itself is the outcome, also after a stop, and then for good."""
    batcher = batcher_of(NaturalPolicy(1), 2)
    accept(batcher, 1, 2, 3)
    one, other = seal(batcher), seal(batcher)
    batcher.stop("too late")
    one.interrupted = True
    batcher.finish(one, 1, asyncio.CancelledError())
    batcher.finish(other, 1, Refusal("lost"))
    assert FlushFailed is type(outcome_of(batcher))
    assert "too late" == batcher.stopped


def test_the_first_failure_is_the_outcome() -> None:
    """What fails later changes the lists alone."""
    batcher = batcher_of(NaturalPolicy(1), 2)
    accept(batcher, 1, 2)
    one, other = seal(batcher), seal(batcher)
    first = Refusal("first")
    batcher.finish(other, 1, first)
    batcher.finish(one, 1, Refusal("second"))
    assert first is outcome_of(batcher).__cause__
    assert [1, 2] == outcome_of(batcher).in_doubt


def test_everyone_gets_an_exception_of_their_own() -> None:
    """Each outcome is a new object with the batcher's own lists."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    batcher.finish(seal(batcher), 1, Refusal("lost"))
    one, other = outcome_of(batcher), outcome_of(batcher)
    assert one is not other
    assert batcher.undelivered is one.undelivered
    assert batcher.in_doubt is one.in_doubt


# Policies that misbehave.

MESSAGES = {
    "raises": r"raised Refusal\('not today'\) in {}",
    "answers nonsense": "answered {} with 'flush': a decision is a Flush or a Wait",
    "is silent": "answered {} with None: ",
    "is deaf": r"answered {} with Wait\(until=inf\): it counts . pending and . in flight, not . "
    r"and .; an override returns super\(\)'s answer",
}

CASES = {
    # event: how many of its kind go well before, then what is delivered and what is not
    "item_added": (1, 3, [3]),
    "flush_started": (0, 0, [0, 1, 2]),
    "flush_done": (0, 3, [3]),
    "tick": (0, 3, [3]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("event", CASES)
def test_a_policy_that_misbehaves_ends_the_queue(event: str, fault: str) -> None:
    """A policy that raises, answers nonsense or forgets super() is a PolicyError; nothing is lost.

    A tick has no facts that could be missed: it is found out by its answer alone.
    """
    after, delivered, undelivered = CASES[event]
    batcher = batcher_of(FaultyPolicy(fault, event, after), 2)
    accept(batcher, 0, 1, 2)
    due = batcher.due()
    batch = None if due is None else batcher.seal(due, 0)
    if batch is not None:
        batch.handed = True
        accept(batcher, 3, now=1)
        batcher.tick(11)
        batcher.finish(batch, 12)
    if (event, fault) == ("tick", "is deaf"):
        assert not batcher.failed
        return
    outcome = outcome_of(batcher)
    assert PolicyError is type(outcome)
    assert re.match(f"the policy FaultyPolicy {MESSAGES[fault].format(event)}", str(outcome))
    assert (fault == "raises") == isinstance(outcome.__cause__, Refusal)
    assert (delivered, undelivered, []) == (
        batcher.delivered,
        batcher.undelivered,
        batcher.in_doubt,
    )
    assert batcher.finished


@pytest.mark.parametrize(
    ("decision", "flaw"),
    [
        (None, "a decision is a Flush or a Wait"),
        (Wait(5), "until must be a time after 5"),
        (Wait(cast("float", "6")), "until must be a time after 5"),
        (Flush(up_to=0), "up_to must be None or an int of at least 1"),
        (Flush(cast("str", 7)), "reason must be a str"),
    ],
)
def test_nonsense_is_shown(decision: object, flaw: str) -> None:
    """An answer that is no decision is shown, and what is wrong with it."""
    batcher = batcher_of(ScriptedPolicy(decision))
    accept(batcher, 1, now=5)
    message = f"the policy ScriptedPolicy answered item_added with {decision!r}: {flaw}"
    assert f"{message} (1 undelivered, 0 in doubt)" == str(outcome_of(batcher))


class Unspeakable(Exception):
    """What cannot be shown."""

    def __repr__(self) -> str:
        raise Refusal("no repr")


def test_what_cannot_be_shown_is_no_harm() -> None:
    """An answer or an exception whose repr raises ends the queue as any other does."""
    batcher = batcher_of(ScriptedPolicy(Unspeakable()))
    accept(batcher, 1)
    assert "answered item_added with <tests." in str(outcome_of(batcher))
    batcher = batcher_of(FaultyPolicy("raises", "item_added", error=Unspeakable()))
    accept(batcher, 1)
    assert "raised <tests." in str(outcome_of(batcher))
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    batcher.finish(seal(batcher), 1, Unspeakable())
    assert "a flush of 1 items failed: <tests." in str(outcome_of(batcher))
    assert [1] == batcher.in_doubt


def test_a_policy_that_counts_twice_is_found_out() -> None:
    """An override that tells super() twice is a PolicyError at that very event."""

    class Twice(NaturalPolicy):
        def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
            super().item_added(now, count, weight)
            return super().item_added(now, count, weight)

    batcher = batcher_of(Twice())
    accept(batcher, 1)
    assert "it counts 2 pending and 0 in flight, not 1 and 0" in str(outcome_of(batcher))


def test_a_failed_policy_hears_nothing_more() -> None:
    """A policy that has failed is left alone while the running flushes end."""
    batcher = batcher_of(FaultyPolicy("raises", "item_added", 1), 2)
    accept(batcher, 0, 1, 2)
    batch = seal(batcher, 1)
    accept(batcher, 3, now=2)
    queue = batcher.policy.queue
    before = copy.deepcopy(queue)
    batcher.tick(3)
    batcher.finish(batch, 4)
    assert before == queue


def test_a_policy_error_stays_the_outcome() -> None:
    """A flush that fails after the policy has failed changes the lists alone."""
    batcher = batcher_of(FaultyPolicy("raises", "item_added", 1))
    accept(batcher, 0, 1, 2)
    batch = seal(batcher)
    accept(batcher, 3)
    batcher.finish(batch, 1, Refusal("lost"))
    assert PolicyError is type(outcome_of(batcher))
    assert ([3], [0, 1, 2]) == (batcher.undelivered, batcher.in_doubt)


def test_a_failed_flush_stays_the_outcome() -> None:
    """A policy that fails when it hears of a failure is not to blame for the end."""
    batcher = batcher_of(FaultyPolicy("raises", "flush_done"))
    accept(batcher, 0, 1, 2)
    batcher.finish(seal(batcher), 1, Refusal("lost"))
    assert FlushFailed is type(outcome_of(batcher))


@pytest.mark.parametrize("event", CASES)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=type)
def test_an_exit_in_a_policy_goes_on(error: BaseException, event: str) -> None:
    """KeyboardInterrupt and SystemExit are raised on, and nothing is lost for it."""
    batcher = batcher_of(FaultyPolicy("raises", event, error=error))
    with pytest.raises(type(error)) as caught:
        accept(batcher, 0, 1, 2)
        batcher.tick(1)
        batcher.finish(seal(batcher, 1), 2)
    assert PolicyError is type(outcome_of(batcher))
    assert caught.value is outcome_of(batcher).__cause__
    assert 3 == batcher.delivered + len(batcher.undelivered)
    assert batcher.finished


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=type)
def test_any_other_error_of_a_policy_does_not_go_on(error: BaseException) -> None:
    """A policy cannot cancel who tells it of an event."""
    batcher = batcher_of(FaultyPolicy("raises", "item_added", error=error))
    accept(batcher, 0)
    assert type(error) is type(outcome_of(batcher).__cause__)


# What it is made of.


@pytest.mark.parametrize(
    ("slots", "error", "message"),
    [
        (0, ValueError, "max_in_flight must be at least 1, not 0"),
        (True, TypeError, "max_in_flight must be an int, not True"),
        (2.0, TypeError, r"max_in_flight must be an int, not 2\.0"),
    ],
)
def test_slots_are_a_count(slots: Any, error: type[Exception], message: str) -> None:
    """A wrong max_in_flight is refused and shown."""
    with pytest.raises(error, match=f"^{message}$"):
        Batcher(NaturalPolicy(), max_in_flight=slots)


def test_one_flush_runs_at_a_time_by_default() -> None:
    """Without max_in_flight there is one slot."""
    batcher: Batcher[int] = Batcher(NaturalPolicy())
    assert 1 == batcher.policy.queue.max_in_flight


def test_wrong_parts_are_refused() -> None:
    """What is no policy, and a policy with wrong caps or without the weigh it needs, is refused."""
    policy = NaturalPolicy()
    policy.max_records = 0
    with pytest.raises(TypeError, match="policy must be a FlushPolicy, not 'natural'"):
        Batcher(cast("FlushPolicy", "natural"))
    with pytest.raises(ValueError, match="max_records must be at least 1, not 0"):
        Batcher(policy)
    with pytest.raises(TypeError, match="max_weight=5 needs weigh"):
        Batcher(NaturalPolicy(max_weight=5))


def test_caps_are_read_once() -> None:
    """A policy that changes its caps later does not change what a batch may hold."""
    batcher = batcher_of(NaturalPolicy(2))
    batcher.policy.max_records = 9
    accept(batcher, 1, 2, 3)
    assert [1, 2] == seal(batcher).items


def test_a_flush_runs_from_its_cut_to_its_return() -> None:
    """None runs not, nor one that has returned, nor one that has ended."""
    batcher = batcher_of(NaturalPolicy())
    accept(batcher, 1)
    batch = seal(batcher)
    assert [True, False] == [batcher.runs(batch), batcher.runs(None)]
    batch.returned = True
    assert not batcher.runs(batch)
    batch.returned = False
    batcher.finish(batch, 1)
    assert not batcher.runs(batch)
