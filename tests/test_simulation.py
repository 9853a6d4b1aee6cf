"""simulate() returns exactly what a policy does with a sequence of arrivals."""

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from operator import attrgetter
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.core.displacing import WhenFull
from flushq.errors import ItemTooLarge, PolicyError
from flushq.outcomes import Drop, Fail, Retry, Split, Verdict
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait, running_copy
from flushq.simulation import (
    MOST_BROKEN_PROMISES,
    Displacement,
    Event,
    FlushFails,
    SimulatedFlush,
    Trace,
    simulate,
)
from flushq.simulation.sink import MOST_ATTEMPTS
from tests.models import cap, exact, running_at, state_of
from tests.strategies import (
    SLOTS,
    FaultyPolicy,
    PiecemealPolicy,
    flush_fails,
    policies,
    workloads,
)

# Traces worked out by hand.

Events = list[tuple[Any, str, int, Any, Decision]]
Flushes = list[tuple[Any, Any, int, str, Any]]


def trace_of(flushes: Flushes, events: Events, stranded: int = 0) -> Trace:
    """Return a trace with these flushes and events."""
    return Trace(
        tuple(itertools.starmap(SimulatedFlush, flushes)),
        tuple(itertools.starmap(Event, events)),
        stranded,
    )


def test_interval_by_hand() -> None:
    """An arrival at the due time joins the batch; the due time counts from the oldest arrival."""
    trace = simulate(IntervalPolicy(10, 4), [0, 4, 10, 11, 12, 13, 40], 5)
    assert trace == trace_of(
        [(10, 15, 3, "age", 0), (21, 26, 3, "age", 11), (50, 55, 1, "age", 40)],
        [
            (0, "item_added", 1, 0, Wait(10)),
            (4, "item_added", 1, 0, Wait(10)),
            (10, "item_added", 1, 0, Flush("age")),
            (10, "flush_started", 3, 0, Wait()),
            (11, "item_added", 1, 0, Wait()),
            (12, "item_added", 1, 0, Wait()),
            (13, "item_added", 1, 0, Wait()),
            (15, "flush_done", 3, 0, Wait(21)),
            (21, "tick", 0, 0, Flush("age")),
            (21, "flush_started", 3, 0, Wait()),
            (26, "flush_done", 3, 0, Wait()),
            (40, "item_added", 1, 0, Wait(50)),
            (50, "tick", 0, 0, Flush("age")),
            (50, "flush_started", 1, 0, Wait()),
            (55, "flush_done", 1, 0, Wait()),
        ],
    )


def test_natural_on_two_slots_by_hand() -> None:
    """A free slot takes the waiting items; flushes that end at one time end in order."""
    arrivals = [0.0, 0.0, 0.0, 0.5, 0.5, 1.0]
    trace = simulate(NaturalPolicy(2), arrivals, lambda size: 0.25 + 0.5 * size, max_in_flight=2)
    natural = Flush("natural")
    assert trace == trace_of(
        [
            (0.0, 1.25, 2, "natural", 0.0),
            (0.0, 0.75, 1, "natural", 0.0),
            (0.75, 2.0, 2, "natural", 0.5),
            (1.25, 2.0, 1, "natural", 1.0),
        ],
        [
            (0.0, "item_added", 3, 0, natural),
            (0.0, "flush_started", 2, 0, natural),
            (0.0, "flush_started", 1, 0, Wait()),
            (0.5, "item_added", 2, 0, Wait()),
            (0.75, "flush_done", 1, 0, natural),
            (0.75, "flush_started", 2, 0, Wait()),
            (1.0, "item_added", 1, 0, Wait()),
            (1.25, "flush_done", 2, 0, natural),
            (1.25, "flush_started", 1, 0, Wait()),
            (2.0, "flush_done", 2, 0, Wait()),
            (2.0, "flush_done", 1, 0, Wait()),
        ],
    )


def test_what_happens_at_one_instant_by_hand() -> None:
    """At one instant a flush ends, then all items arrive in one event; no tick is needed."""
    trace = simulate(IntervalPolicy(4), [0, 5, 9, 9], 5)
    assert trace == trace_of(
        [(4, 9, 1, "age", 0), (9, 14, 3, "age", 5)],
        [
            (0, "item_added", 1, 0, Wait(4)),
            (4, "tick", 0, 0, Flush("age")),
            (4, "flush_started", 1, 0, Wait()),
            (5, "item_added", 1, 0, Wait()),
            (9, "flush_done", 1, 0, Flush("age")),
            (9, "item_added", 2, 0, Flush("age")),
            (9, "flush_started", 3, 0, Wait()),
            (14, "flush_done", 3, 0, Wait()),
        ],
    )


# A full queue, worked out by hand.


def test_a_full_queue_by_hand() -> None:
    """Without room a producer waits and the queue flushes; the age counts from the acceptance.

    The queue is full at 0, and at 5, when the slot is free again.
    """
    trace = simulate(IntervalPolicy(10), [0, 0, 0, 1, 2], 5, max_queue_size=2)
    expected = trace_of(
        [(0, 5, 2, "pressure", 0), (5, 10, 2, "pressure", 0), (15, 20, 1, "age", 5)],
        [
            (0, "item_added", 2, 0, Wait(10)),
            (0, "flush_started", 2, 0, Wait()),
            (0, "item_added", 1, 0, Wait()),
            (1, "item_added", 1, 0, Wait()),
            (5, "flush_done", 2, 0, Wait(10)),
            (5, "flush_started", 2, 0, Wait()),
            (5, "item_added", 1, 0, Wait()),
            (10, "flush_done", 2, 0, Wait(15)),
            (15, "tick", 0, 0, Flush("age")),
            (15, "flush_started", 1, 0, Wait()),
            (20, "flush_done", 1, 0, Wait()),
        ],
    )
    assert attrs.evolve(expected, blocked=2) == trace


def test_a_policy_that_raises_while_producers_wait() -> None:
    """The error does not list the items that were never accepted."""
    with pytest.raises(PolicyError) as caught:
        simulate(FaultyPolicy("raises", "flush_done"), [0] * 5, 1, max_queue_size=2)
    assert ([2, 3], []) == (caught.value.undelivered, caught.value.in_doubt)


# A drain, worked out by hand.


def test_a_drain_by_hand() -> None:
    """After the last arrival the remaining items are flushed as soon as a slot is free."""
    trace = simulate(IntervalPolicy(10, 2), [0, 1, 1], 5, drain=True)
    assert trace == trace_of(
        [(1, 6, 2, "full", 0), (6, 11, 1, "drain", 1)],
        [
            (0, "item_added", 1, 0, Wait(10)),
            (1, "item_added", 2, 0, Flush("full")),
            (1, "flush_started", 2, 0, Wait()),
            (6, "flush_done", 2, 0, Wait(11)),
            (6, "flush_started", 1, 0, Wait()),
            (11, "flush_done", 1, 0, Wait()),
        ],
    )


def test_what_happens_at_the_last_instant_comes_before_the_drain() -> None:
    """A flush that takes no time ends, and the policy decides again, before the queue closes."""
    policy = PiecemealPolicy(2, up_to=2)
    trace = simulate(policy, [0, 0, 0, 0, 0], 0, drain=True)
    assert ["piece", "piece", "drain"] == [flush.reason for flush in trace.flushes]


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_a_full_queue_displaces(when_full: WhenFull) -> None:
    """No producer waits in line; displaced items are neither delivered nor refused."""
    trace = simulate(
        NaturalPolicy(), [0, 0, 0, 1, 2, 3, 3], 5, max_queue_size=2, when_full=when_full
    )
    assert [2, 2] == [flush.size for flush in trace.flushes]
    facts = trace.displaced, trace.blocked, trace.refused, trace.stranded
    assert (3, 0, 0, 0) == facts
    gone = [(0, 0), (3, 3), (3, 4)] if when_full == "drop_oldest" else [(0, 2), (3, 5), (3, 6)]
    assert [*itertools.starmap(Displacement, gone)] == [*trace.displacements]
    oldest = 3 if when_full == "drop_oldest" else 1
    assert [(0, 0), (5, oldest)] == [(flush.started, flush.oldest) for flush in trace.flushes]
    told = [event.count for event in trace.events if event.name == "item_added"]
    assert ([2, 1, 1, 2] if when_full == "drop_oldest" else [2, 1, 1]) == told


def test_what_waits_has_a_weight() -> None:
    """Producers wait for room by weight; a light item does not overtake a heavy one."""
    trace = simulate(
        IntervalPolicy(100), [0, 1, 2, 3], 5, weights=[6, 7, 1, 2], max_queue_weight=10, drain=True
    )
    assert [(1, 1), (6, 3)] == [(flush.started, flush.size) for flush in trace.flushes]
    assert (1, 0) == (trace.blocked, trace.displaced)
    pressed = simulate(
        IntervalPolicy(9), [0, 0], 1, weights=[3, 8], max_queue_weight=10, when_full="drop_oldest"
    )
    assert (1, [0]) == (pressed.displaced, [flush.started for flush in pressed.flushes])


def test_who_is_in_line_when_the_queue_closes_is_refused() -> None:
    """Accepted items are flushed; producers that still wait in line are refused."""
    trace = simulate(IntervalPolicy(9), [0, 0, 0, 0], 5, max_queue_size=1, drain=True)
    assert (
        SimulatedFlush(0, 5, 1, "pressure", 0),
        SimulatedFlush(5, 10, 1, "drain", 0),
    ) == trace.flushes
    assert (2, 3, 0, 2) == (trace.refused, trace.blocked, trace.stranded, trace.delivered)


# Failures, worked out by hand.


def scripted(*verdicts: Verdict | None) -> tuple[FlushFails, list[tuple[int, int]]]:
    """Return a function that gives these verdicts in order, and a list of its arguments."""
    script, asked = iter(verdicts), list[tuple[int, int]]()

    def fails(attempt: int, size: int) -> Verdict | None:
        asked.append((attempt, size))
        return next(script)

    return fails, asked


def test_retry_split_and_drop_by_hand() -> None:
    """A flush keeps its slot until all its parts have ended; a call takes the time of its size."""
    fails, asked = scripted(Retry(2), Split(), None, Drop(), None)
    trace = simulate(NaturalPolicy(), [0, 0, 0, 5], lambda size: size, flush_fails=fails)
    assert [(1, 3), (2, 3), (1, 2), (1, 1), (1, 1)] == asked
    natural = Flush("natural")
    expected = trace_of(
        [(0, 11, 3, "natural", 0), (11, 12, 1, "natural", 5)],
        [
            (0, "item_added", 3, 0, natural),
            (0, "flush_started", 3, 0, Wait()),
            (5, "item_added", 1, 0, Wait()),
            (11, "flush_done", 3, 0, natural),
            (11, "flush_started", 1, 0, Wait()),
            (12, "flush_done", 1, 0, Wait()),
        ],
    )
    first = attrs.evolve(expected.flushes[0], attempts=4, dropped=1)
    assert attrs.evolve(expected, flushes=(first, expected.flushes[1])) == trace
    assert (3, 1, 0) == (trace.delivered, trace.dropped, trace.lost)


def test_a_failure_that_ends_the_queue_by_hand() -> None:
    """Running flushes end, waiting items are undelivered, and later producers are refused."""
    fails, asked = scripted(Fail(), None)
    trace = simulate(
        NaturalPolicy(1),
        [0, 1, 2, 3, 5, 9],
        5,
        max_in_flight=2,
        max_queue_size=1,
        flush_fails=fails,
    )
    assert [(1, 1), (1, 1)] == asked
    assert (
        SimulatedFlush(0, 5, 1, "natural", 0, in_doubt=1),
        SimulatedFlush(1, 6, 1, "natural", 1),
    ) == trace.flushes
    assert (1, 3, 1) == (trace.undelivered, trace.refused, trace.blocked)
    assert (1, 0, 2, 0) == (trace.delivered, trace.dropped, trace.lost, trace.stranded)
    assert ["flush_done", "flush_done"] == [each.name for each in trace.events[-2:]]


def test_pauses_are_exact() -> None:
    """A pause of a third of a second is exact."""
    fails, _ = scripted(Retry(exact(1, 3)), None)
    trace = simulate(NaturalPolicy(), [exact(1, 3)], exact(1, 3), flush_fails=fails)
    ended: Any = trace.flushes[0].ended
    assert (exact(4, 3), Fraction) == (ended, type(ended))


def test_a_policy_is_told_how_a_flush_failed() -> None:
    """A failure that ends the queue is told to the policy, like in a real queue."""
    told: list[BaseException | None] = []

    class NotingPolicy(NaturalPolicy):
        def flush_done(
            self, now: float, count: int, seconds: float, error: BaseException | None = None
        ) -> Decision:
            told.append(error)
            return super().flush_done(now, count, seconds, error)

    fails, _ = scripted(Drop(), Fail())
    simulate(NotingPolicy(), [0, 1], 1, flush_fails=fails)
    assert None is told[0]
    assert isinstance(told[1], RuntimeError)


def test_retries_without_end_are_refused() -> None:
    """Endless retries are a ValueError that shows the answer; a long series is allowed."""

    def stubborn(attempt: int, size: int) -> Verdict | None:
        return Retry() if attempt < MOST_ATTEMPTS else None

    trace = simulate(NaturalPolicy(), [0], 0, flush_fails=stubborn)
    assert MOST_ATTEMPTS == trace.flushes[0].attempts
    message = (
        r"flush_fails must not return Retry\(after=1, hold=False\) "
        rf"for {MOST_ATTEMPTS} calls with the same items"
    )
    with pytest.raises(ValueError, match=message):
        simulate(NaturalPolicy(), [0], 0, flush_fails=lambda attempt, size: Retry(1))


# Properties of all traces.

DURATIONS = st.sampled_from(
    [lambda _: 0, lambda _: 1, lambda _: 7, lambda size: 1 + size, lambda size: 9 // size]
)


@given(
    data=st.data(),
    workload=workloads(),
    steps=DURATIONS,
    slots=SLOTS,
)
def test_every_trace_keeps_the_contract(
    data: st.DataObject,
    workload: tuple[Any, list[Any], list[Any]],
    steps: Callable[[int], int],
    slots: int,
) -> None:
    """Caps, slots and order hold, every item is flushed once or stranded, and times are right."""
    unit, times, weights = workload
    policy = data.draw(policies(unit))
    before = state_of(policy)

    def seconds(size: int) -> Any:
        return steps(size) * unit

    trace = simulate(policy, times, seconds, max_in_flight=slots, weights=weights)
    assert before == state_of(policy)
    first = 0
    for flush in trace.flushes:
        end = first + flush.size
        assert 1 <= flush.size <= cap(policy.max_records)
        assert sum(weights[first:end]) <= cap(policy.max_weight)
        assert times[first] == flush.oldest
        assert times[end - 1] <= flush.started
        assert flush.started + seconds(flush.size) == flush.ended
        assert running_at(trace, flush.started) <= slots
        first = end
    assert len(times) == first + trace.stranded
    starts = [flush.started for flush in trace.flushes]
    assert sorted(starts) == starts


@given(
    data=st.data(),
    workload=workloads(),
    steps=DURATIONS,
    slots=SLOTS,
    max_queue_size=st.none() | st.integers(1, 5),
    drain=st.booleans(),
)
def test_every_trace_keeps_the_account(
    data: st.DataObject,
    workload: tuple[Any, list[Any], list[Any]],
    steps: Callable[[int], int],
    slots: int,
    max_queue_size: int | None,
    *,
    drain: bool,
) -> None:
    """With failures and small queues, too, each arrival ends in exactly one place."""
    unit, times, weights = workload
    trace = simulate(
        data.draw(policies(unit)),
        times,
        lambda size: steps(size) * unit,
        max_in_flight=slots,
        weights=weights,
        max_queue_size=max_queue_size,
        drain=drain,
        flush_fails=data.draw(st.none() | flush_fails(unit)),
    )
    ends = trace.delivered, trace.dropped, trace.lost, trace.stranded, trace.refused
    assert len(times) == sum(ends)
    assert 0 <= min(ends)
    assert not (drain and trace.stranded)
    assert not (trace.refused and not (drain or trace.lost))
    assert not (trace.blocked and max_queue_size is None)
    assert most_pending(trace) <= (max_queue_size or math.inf)
    first = 0
    for flush in trace.flushes:
        assert 0 <= flush.delivered
        assert times[first] <= flush.oldest <= flush.started <= flush.ended
        assert running_at(trace, flush.started) <= slots
        first += flush.size


def most_pending(trace: Trace) -> int:
    """Return the largest number of items that waited at one time."""
    changes = {"item_added": 1, "flush_started": -1}
    counts = (changes.get(each.name, 0) * each.count for each in trace.events)
    return max(itertools.accumulate(counts), default=0)


@given(data=st.data(), workload=workloads(), slots=SLOTS)
def test_events_are_what_the_policy_was_told(
    data: st.DataObject, workload: tuple[Any, list[Any], list[Any]], slots: int
) -> None:
    """A new copy that is told the same events answers the same; a tick comes when it was asked."""
    unit, times, weights = workload
    template = data.draw(policies(unit))
    trace = simulate(template, times, 3 * unit, max_in_flight=slots, weights=weights)
    policy = running_copy(template, slots)
    ended = sorted(trace.flushes, key=attrgetter("ended"))
    seconds = (flush.ended - flush.started for flush in ended)
    tell: dict[str, Callable[[Event], Decision]] = {
        "item_added": lambda event: policy.item_added(event.now, event.count, event.weight),
        "flush_started": lambda event: policy.flush_started(event.now, event.count, event.weight),
        "flush_done": lambda event: policy.flush_done(event.now, event.count, next(seconds)),
        "tick": lambda event: policy.tick(event.now),
    }
    last: Decision = Wait()
    for event in trace.events:
        if event.name == "tick":
            assert Wait(event.now) == last
            assert isinstance(event.decision, Flush)
        last = tell[event.name](event)
        assert event.decision == last
    told = [event.count for event in trace.events if event.name == "item_added"]
    started = [event.count for event in trace.events if event.name == "flush_started"]
    assert len(times) == sum(told)
    assert len(set(times)) == len(told)
    assert [flush.size for flush in trace.flushes] == started


# A trace is a value.


def test_events_are_like_a_tuple() -> None:
    """Events are indexed, compared, hashed and shown like a tuple of them."""
    told: Any = simulate(NaturalPolicy(), [0], 1).events
    expected = (
        Event(0, "item_added", 1, 0, Flush("natural")),
        Event(0, "flush_started", 1, 0, Wait()),
        Event(1, "flush_done", 1, 0, Wait()),
    )
    assert expected == tuple(told)
    assert (3, expected[1], expected[-1]) == (len(told), told[1], told[-1])
    assert (expected[1:2], expected[::-1]) == (told[1:2], told[::-1])
    with pytest.raises(IndexError):
        told[3]
    assert expected == told == expected
    assert told == simulate(NaturalPolicy(), [0.0], 1).events
    assert told != simulate(NaturalPolicy(), [0], 2).events
    assert told != list(expected)
    assert (hash(expected), repr(expected)) == (hash(told), repr(told))


def test_a_trace_is_a_frozen_value() -> None:
    """Traces compare by value and can be hashed, for all kinds of iterables of arrivals."""
    one = simulate(IntervalPolicy(2), iter([0, 1]), 1)
    other = simulate(IntervalPolicy(2.0), [0.0, 1.0], lambda _: 1)
    assert (one, hash(one)) == (other, hash(other))
    assert one != simulate(IntervalPolicy(2), [0], 1)
    for part, name in [(one, "flushes"), (one.flushes[0], "size"), (one.events[0], "now")]:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(part, name, 2)


# Bad arguments.


async def late(attempt: int, size: int) -> None:
    """Return None, but only when awaited."""


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"policy": "natural"}, TypeError, "policy must be a FlushPolicy, not 'natural'"),
        ({"arrivals": [1, 0]}, ValueError, "arrivals must not decrease: 0 comes after 1"),
        ({"arrivals": [0, math.nan]}, ValueError, "an arrival must be at least -inf, not nan"),
        ({"arrivals": [-math.inf]}, ValueError, "an arrival must be finite, not -inf"),
        ({"arrivals": [True]}, TypeError, "an arrival must be a real number, not True"),
        (
            {"arrivals": [], "flush_seconds": math.inf},
            ValueError,
            "flush_seconds must be .*, not inf",
        ),
        ({"flush_seconds": None}, TypeError, "flush_seconds must be a real number, not None"),
        ({"flush_seconds": lambda _: -2}, ValueError, "flush_seconds must be at least 0, not -2"),
        ({"flush_seconds": lambda _: 1 / 0}, ZeroDivisionError, "division by zero"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight must be at least 1, not 0"),
        ({"weights": [1]}, ValueError, "there must be 2 weights, one per arrival, but are 1"),
        ({"weights": [1, -1]}, ValueError, "the weight of an item must be at least 0, not -1"),
        ({"max_queue_size": 0}, ValueError, "max_queue_size must be at least 1, not 0"),
        ({"drain": None}, TypeError, "drain must be a bool, not None"),
        ({"flush_fails": 0.5}, TypeError, r"flush_fails must be callable, not 0\.5"),
        ({"flush_fails": late}, TypeError, "flush_fails must not be async: <function late .*>"),
        (
            {"flush_fails": lambda attempt, size: Drop},
            TypeError,
            "flush_fails must return None or a verdict, not <class .*Drop'>",
        ),
        ({"flush_fails": lambda attempt, size: 1 / 0}, ZeroDivisionError, "division by zero"),
        ({"policy": NaturalPolicy}, TypeError, r"policy must be .*, not its class"),
        (
            {"policy": NaturalPolicy(max_weight=2)},
            TypeError,
            "a policy with max_weight needs weights, one for each arrival: .*",
        ),
        (
            {"policy": NaturalPolicy(max_weight=5), "weights": [5, 5.5]},
            ItemTooLarge,
            r"the item weighs 5\.5, more than max_weight=5: 1",
        ),
    ],
)
def test_bad_arguments_are_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A bad value is refused and shown; an exception of a function is raised unchanged."""
    arguments = {"policy": NaturalPolicy(), "arrivals": [0, 0], "flush_seconds": 1, **change}
    with pytest.raises(error, match=f"^{message}$"):
        simulate(**arguments)


# Policies that misbehave.


@pytest.mark.parametrize("event", ["item_added", "flush_started", "flush_done", "tick"])
def test_a_policy_that_raises_ends_the_simulation(event: str) -> None:
    """A PolicyError names the policy and the event, and has the policy's exception as cause."""
    policy = FaultyPolicy("raises", event)
    message = rf"^the policy FaultyPolicy raised Refusal\('not today'\) in {event} "
    with pytest.raises(PolicyError, match=message) as caught:
        simulate(policy, [0], 1)
    assert "Refusal" == type(caught.value.__cause__).__name__
    assert [] == caught.value.in_doubt


def test_a_failure_comes_before_what_the_policy_does_then() -> None:
    """If a failure ends the queue, a policy that then raises does not change the outcome."""
    fails, _ = scripted(Fail())
    trace = simulate(FaultyPolicy("raises", "flush_done"), [0, 0, 0], 1, flush_fails=fails)
    assert (3, 0) == (trace.lost, trace.delivered)


@attrs.define
class PollingPolicy(FlushPolicy):
    """A policy that asks for a tick every second, and flushes when enough items wait."""

    enough: int

    def decide(self, now: float) -> Decision:
        """Flush when enough items wait."""
        return Flush() if self.queue.pending >= self.enough else Wait(now + 1)


@pytest.mark.parametrize(
    ("enough", "arrivals", "flush_seconds", "starts"),
    [(10, range(0, 120, 6), 1, [54, 114]), (2, [0, 0, 1, 15], 7, [0, 15])],
)
def test_a_policy_may_poll(
    enough: int,
    arrivals: Sequence[float],
    flush_seconds: int,
    starts: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An arrival or the end of a flush restarts the count of ticks in a row."""
    monkeypatch.setattr("flushq.simulation.driver.MOST_BROKEN_PROMISES", 10)
    trace = simulate(PollingPolicy(enough), arrivals, flush_seconds, max_in_flight=2)
    assert starts == [flush.started for flush in trace.flushes]


def test_a_policy_that_never_flushes_ends_the_simulation() -> None:
    """Too many ticks in a row without a Flush are a PolicyError; one fewer is allowed."""
    trace = simulate(PollingPolicy(2), [0, MOST_BROKEN_PROMISES + 1], 1)
    assert [MOST_BROKEN_PROMISES + 1] == [flush.started for flush in trace.flushes]
    assert MOST_BROKEN_PROMISES == sum(event.name == "tick" for event in trace.events)
    message = (
        f"the policy PollingPolicy returned Wait for {MOST_BROKEN_PROMISES + 1} ticks in a row"
    )
    with pytest.raises(PolicyError, match=message):
        simulate(PollingPolicy(2), [0, MOST_BROKEN_PROMISES + 2], 1)
