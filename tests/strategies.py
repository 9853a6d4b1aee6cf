"""Policies and Hypothesis strategies that several test files share.

A history has one unit, and its times, durations and weights are small multiples of it. The unit is
an int, a float that is a power of two, or a Fraction: sums are exact, and ties are frequent.
"""

from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from typing import Any, cast

import attrs
from hypothesis import strategies as st

from flushq.outcomes import Drop, Fail, Retry, Split, Verdict
from flushq.policies import AlarmPolicy, BudgetPolicy, IntervalPolicy, NaturalPolicy, PausePolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait

UNITS: st.SearchStrategy[Any] = st.sampled_from([1, 0.125, Fraction(1, 3)])
SLOTS = st.integers(1, 3)
GAPS = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 8])
WEIGHTS = st.integers(0, 4)
"""In units; every ``max_weight`` that is drawn is at least as much."""


class Echoing(FlushPolicy):
    """Let items gather for about as long as one flush takes."""

    gain: float
    seconds: float

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Learn how long a flush takes."""
        self.seconds += self.gain * (seconds - self.seconds)
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush when the oldest item has waited that long, or when full."""
        due = self.queue.oldest + self.seconds
        return Flush("echo") if self.full or due <= now else Wait(due)


@attrs.define
class EchoPolicy(Echoing):
    """A class of attrs."""

    gain: float = 0.2
    seconds: float = attrs.field(default=0.0, init=False)


class PlainEchoPolicy(Echoing):
    """A class without attrs, which calls no super().__init__(); with caps."""

    def __init__(
        self,
        gain: float = 0.2,
        max_records: int | None = None,
        max_weight: float | None = None,
    ) -> None:
        self.gain = gain
        self.seconds = 0.0
        self.max_records = max_records
        self.max_weight = max_weight


@attrs.frozen
class FrozenEchoPolicy(FlushPolicy):
    """A frozen class, which learns into a list that it holds."""

    gain: float = 0.2
    learnt: list[float] = attrs.field(factory=lambda: [0.0], init=False)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Learn how long a flush takes."""
        self.learnt.append(self.learnt[-1] + self.gain * (seconds - self.learnt[-1]))
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush when the oldest item has waited that long."""
        due = self.queue.oldest + self.learnt[-1]
        return Flush("echo") if due <= now else Wait(due)


@attrs.define
class PiecemealPolicy(FlushPolicy):
    """Flush ``up_to`` items once ``enough`` wait; fewer wait for ever."""

    enough: int
    up_to: int
    max_records: int | None = None
    max_weight: float | None = None

    def decide(self, now: float) -> Decision:
        """Flush a part of what waits, if it is enough."""
        return Flush("piece", self.up_to) if self.queue.pending >= self.enough else Wait()


class HookedPolicy(FlushPolicy):
    """A policy all of whose events are overrides that go through ``on_event``."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Hear of an arrival."""
        return self.on_event("item_added", super().item_added, now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Hear of a start."""
        return self.on_event("flush_started", super().flush_started, now, count, weight)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Hear of an end."""
        return self.on_event("flush_done", super().flush_done, now, count, seconds, error)

    def tick(self, now: float) -> Decision:
        """Hear of the time."""
        return self.on_event("tick", super().tick, now)

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Answer an event, normally with ``tell(*facts)``."""
        raise NotImplementedError


class Refusal(Exception):
    """What a policy or a flush raises in a test."""


FAULTS = ["raises", "answers nonsense", "answers nothing", "forgets super()"]


class FaultyPolicy(HookedPolicy):
    """Flushes a batch of three, or what waits for long; misbehaves in one way at one event.

    The faults: it raises; it answers nonsense after all; it forgets to call super() and answers
    nothing; it forgets to call super() and answers a decision.
    """

    def __init__(
        self, fault: str, event: str, after: int = 0, error: BaseException | None = None
    ) -> None:
        self.fault = fault
        self.event = event
        self.after = after
        self.error = error
        self.broken = False

    def decide(self, now: float) -> Decision:
        """Flush three items, or what has waited for ten seconds."""
        due = self.queue.oldest + 10
        return Flush("three") if self.queue.pending >= 3 or due <= now else Wait(due)

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Do what an override should, or misbehave when the time for it has come."""
        self.after -= event == self.event
        if event != self.event or self.after >= 0:
            return tell(*facts)
        self.broken = True
        if self.fault == "raises":
            raise self.error or Refusal("not today")
        if self.fault == "answers nonsense":
            tell(*facts)
            return cast("Decision", "flush")
        return Wait() if self.fault == "forgets super()" else cast("Decision", None)


def policies(unit: Any) -> st.SearchStrategy[FlushPolicy]:
    """Policies of every kind, whose times and weights are multiples of ``unit``."""
    caps: dict[str, st.SearchStrategy[Any]] = {
        "max_records": st.none() | st.integers(1, 6),
        "max_weight": st.none() | st.integers(4, 12).map(lambda weight: weight * unit),
    }
    seconds = st.integers(1, 8).map(lambda wait: wait * unit)
    return st.one_of(
        st.builds(IntervalPolicy, seconds, **caps),
        st.builds(NaturalPolicy, **caps),
        st.builds(BudgetPolicy, seconds, **caps),
        st.builds(AlarmPolicy, seconds, st.sampled_from([1, 0.5]), **caps),
        st.builds(PausePolicy, st.none() | seconds, **caps),
        st.builds(EchoPolicy),
        st.builds(PlainEchoPolicy, st.sampled_from([0.2, 1.0]), **caps),
        st.builds(FrozenEchoPolicy),
        st.builds(PiecemealPolicy, st.integers(1, 4), st.integers(1, 4), **caps),
    )


def arrivals(unit: Any, *, max_size: int = 20) -> st.SearchStrategy[list[Any]]:
    """Times at which items arrive, not decreasing; several may arrive at one time."""
    return st.lists(GAPS, max_size=max_size).map(
        lambda gaps: [steps * unit for steps in accumulate(gaps)]
    )


@st.composite
def workloads(
    draw: st.DrawFn, *, max_size: int = 20, least_weight: int = 0
) -> tuple[Any, list[Any], list[Any]]:
    """A unit, the times of some arrivals, and as many weights."""
    unit = draw(UNITS)
    times = draw(arrivals(unit, max_size=max_size))
    weight = st.integers(least_weight, 4).map(lambda weight: weight * unit)
    weights = draw(st.lists(weight, min_size=len(times), max_size=len(times)))
    return unit, times, weights


@st.composite
def flush_fails(draw: st.DrawFn, unit: Any) -> Callable[[int, int], Verdict | None]:
    """The verdict on each attempt, by the number of its items; None is one that succeeds.

    Pauses are multiples of ``unit``. What was tried three times is dropped and not tried again.
    """
    retries = st.integers(0, 8).map(lambda pause: Retry(pause * unit))
    ends = st.sampled_from([None, None, Split(), Drop(), Fail()])
    verdicts = draw(st.lists(ends | retries, min_size=2, max_size=5))

    def fails(attempt: int, size: int) -> Verdict | None:
        verdict = verdicts[(3 * attempt + size) % len(verdicts)]
        return Drop() if attempt > 2 and isinstance(verdict, Retry) else verdict

    return fails
