"""Policies and Hypothesis strategies that several test files share.

A history has one unit. Its times, durations and weights are small multiples of the unit, which is
an int, a float that is a power of two, or a Fraction: so sums are exact, and ties are frequent.
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
"""Weights in units; every ``max_weight`` that is drawn is at least as large."""


class Echoing(FlushPolicy):
    """A policy that lets items wait for about as long as one flush takes."""

    gain: float
    seconds: float

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Learn how long a flush takes."""
        self.seconds += self.gain * (seconds - self.seconds)
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush when the oldest item has waited that long, or when the batch is full."""
        due = self.queue.oldest + self.seconds
        return Flush("echo") if self.full or due <= now else Wait(due)


@attrs.define
class EchoPolicy(Echoing):
    """An echo policy as an attrs class."""

    gain: float = 0.2
    seconds: float = attrs.field(default=0.0, init=False)


class PlainEchoPolicy(Echoing):
    """An echo policy with caps, a class without attrs that does not call super().__init__()."""

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
    """An echo policy as a frozen class, which keeps the times that it learns in a list."""

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
    """A policy that flushes ``up_to`` items when ``enough`` wait; fewer wait for ever."""

    enough: int
    up_to: int
    max_records: int | None = None
    max_weight: float | None = None

    def decide(self, now: float) -> Decision:
        """Flush a part of the waiting items if enough wait."""
        return Flush("piece", self.up_to) if self.queue.pending >= self.enough else Wait()


class HookedPolicy(FlushPolicy):
    """A policy that overrides all events and passes each to ``on_event``."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Pass the arrival to ``on_event``."""
        return self.on_event("item_added", super().item_added, now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Pass the start to ``on_event``."""
        return self.on_event("flush_started", super().flush_started, now, count, weight)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Pass the end to ``on_event``."""
        return self.on_event("flush_done", super().flush_done, now, count, seconds, error)

    def tick(self, now: float) -> Decision:
        """Pass the time to ``on_event``."""
        return self.on_event("tick", super().tick, now)

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Answer an event, normally with ``tell(*facts)``."""
        raise NotImplementedError


class Refusal(Exception):
    """The exception that a policy or a flush raises in a test."""


FAULTS = ["raises", "answers nonsense", "answers nothing", "forgets super()"]


class FaultyPolicy(HookedPolicy):
    """A policy with one fault, from the ``after``-th ``event`` on; 0 is the first one.

    The fault is one of ``FAULTS``: it raises; it calls super() and answers nonsense; it answers
    nothing, without super(); it answers a decision without super(). Otherwise it flushes three
    items, or those that have waited for ten seconds.
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
        """Flush three items, or those that have waited for ten seconds."""
        due = self.queue.oldest + 10
        return Flush("three") if self.queue.pending >= 3 or due <= now else Wait(due)

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Answer like a right override, or show the fault when its event has come."""
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
    """Return a strategy of policies of every kind; times and weights are multiples of ``unit``."""
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
    """Return a strategy of arrival times, not decreasing; several items may arrive at one time."""
    return st.lists(GAPS, max_size=max_size).map(
        lambda gaps: [steps * unit for steps in accumulate(gaps)]
    )


@st.composite
def workloads(
    draw: st.DrawFn, *, max_size: int = 20, least_weight: int = 0
) -> tuple[Any, list[Any], list[Any]]:
    """Draw a unit, the times of some arrivals, and as many weights."""
    unit = draw(UNITS)
    times = draw(arrivals(unit, max_size=max_size))
    weight = st.integers(least_weight, 4).map(lambda weight: weight * unit)
    weights = draw(st.lists(weight, min_size=len(times), max_size=len(times)))
    return unit, times, weights


@st.composite
def flush_fails(draw: st.DrawFn, unit: Any) -> Callable[[int, int], Verdict | None]:
    """Draw a function of attempt and size that returns the verdict; None if the attempt succeeds.

    Pauses are multiples of ``unit``. From the third attempt on, Drop takes the place of Retry.
    """
    retries = st.integers(0, 8).map(lambda pause: Retry(pause * unit))
    ends = st.sampled_from([None, None, Split(), Drop(), Fail()])
    verdicts = draw(st.lists(ends | retries, min_size=2, max_size=5))

    def fails(attempt: int, size: int) -> Verdict | None:
        verdict = verdicts[(3 * attempt + size) % len(verdicts)]
        return Drop() if attempt > 2 and isinstance(verdict, Retry) else verdict

    return fails
