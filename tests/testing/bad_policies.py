"""Policies that break one law each, and no other."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import attrs

from flushq.policy import Decision, Flush, FlushPolicy, Wait


class Flushing(FlushPolicy):
    """A policy that flushes at once. It breaks no law; bad policies are made from it."""

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class Unasked(Flushing):
    """A policy that may answer Flush to flush_started, even if nothing waits or no slot is free."""

    def flush_started(self, now: float, *facts: Any) -> Decision:
        """Return the answer of decide, even if decide must not be called."""
        super().flush_started(now, *facts)
        return self.decide(now)


@attrs.define
class Settling(FlushPolicy):
    """A policy that sets the time of the next flush in decide, once for each batch."""

    due: float | None = None

    def flush_started(self, now: float, *facts: Any) -> Decision:
        """Forget the time of this flush."""
        self.due = None
        return super().flush_started(now, *facts)

    def decide(self, now: float) -> Decision:
        """Flush two seconds after decide was first called."""
        if self.due is None:
            self.due = now + 2
        return Flush() if self.due <= now else Wait(self.due)


class Diary:
    """A plain object, which is equal only to itself."""

    entries = 0


class Writing(FlushPolicy):
    """A policy that changes, in decide, an object that it holds."""

    def __init__(self) -> None:
        self.diary = Diary()

    def decide(self, now: float) -> Decision:
        """Change the object, and flush."""
        self.diary.entries += 1
        return Flush()


class Contrary(Flushing):
    """A policy that answers an arrival differently than decide."""

    def item_added(self, now: float, *facts: Any) -> Decision:
        """Answer with a wait where decide answers Flush."""
        decision = super().item_added(now, *facts)
        return Wait(now + 1) if isinstance(decision, Flush) else decision


def deciding(name: str, decide: object, **members: object) -> type[FlushPolicy]:
    """Return a policy class with this decide function and other members."""
    return type(name, (FlushPolicy,), {"decide": decide, "__module__": __name__, **members})


def telling(event: str, do: Callable[[Any], object]) -> Callable[..., Decision]:
    """Return an event method that calls a function with the policy, and then the base class."""

    def tell(self: FlushPolicy, now: float, *facts: Any) -> Decision:
        do(self)
        decision: Decision = getattr(FlushPolicy, event)(self, now, *facts)
        return decision

    return tell


def rounding(event: str) -> Callable[..., Decision]:
    """Return an event method that passes whole seconds to the base class."""
    return lambda self, now, *facts: getattr(FlushPolicy, event)(self, now // 1, *facts)


def remember(policy: Any, now: float) -> Decision:
    """Store the time of the first call in a new attribute, and flush."""
    if not hasattr(policy, "first"):
        policy.first = now
    return Flush()


def flush_when_first_asked(policy: Any, now: float) -> Decision:
    """Raise if decide is called twice at one time, else flush."""
    if getattr(policy, "asked", -1.0) == now:
        raise RuntimeError("asked already")
    policy.asked = now
    return Flush()


def keep_half_a_promise(policy: FlushPolicy, now: float) -> Decision:
    """Announce a flush after two seconds, and flush after three."""
    oldest = policy.queue.oldest
    return Flush() if oldest + 3 <= now else Wait(oldest + (2 if now < oldest + 2 else 3))


def flush_at_the_hour(policy: FlushPolicy, now: float) -> Decision:
    """Flush at the first multiple of three seconds after the arrival of the oldest item."""
    hour = (policy.queue.oldest // 3 + 1) * 3
    return Flush() if hour <= now else Wait(hour)


def flush_after_every_other(policy: Any, now: float) -> Decision:
    """Flush after every second event, as if each had one item, or after five seconds."""
    due = policy.queue.oldest + 5
    return Flush() if policy.arrivals % 2 == 0 or due <= now else Wait(due)


def flush_when_full(policy: FlushPolicy, now: float) -> Decision:
    """Flush when the batch is full, or after two seconds."""
    due = policy.queue.oldest + 2
    return Flush() if policy.full or due <= now else Wait(due)


def flush_unless(condition: bool, error: str) -> Decision:  # noqa: FBT001 - it is the fact
    """Flush, or raise if the condition is true."""
    if condition:
        raise ArithmeticError(error)
    return Flush()


Remembering = deciding("Remembering", remember)
RaisingOnRepeat = deciding("RaisingOnRepeat", flush_when_first_asked)
LookingAtTheClock = deciding("LookingAtTheClock", lambda _, now: time.monotonic() and Flush())
Late = deciding("Late", lambda _, now: Wait(now))
Unreliable = deciding("Unreliable", keep_half_a_promise)
Stranding = deciding("Stranding", lambda self, _: Flush() if self.queue.pending >= 2 else Wait())
Punctual = deciding("Punctual", flush_at_the_hour)
Raising = deciding("Raising", lambda self, _: flush_unless(self.queue.pending >= 3, "three"))
RaisingInFlight = deciding(
    "RaisingInFlight", lambda self, _: flush_unless(self.queue.in_flight == 2, "two")
)
AnsweringText = deciding("AnsweringText", lambda _, now: "flush")

NUMBERS = itertools.count()
Numbering = deciding(
    "Numbering",
    lambda self, _: Flush(f"flush {self.number}"),
    number=0,
    flush_started=telling("flush_started", lambda self: setattr(self, "number", next(NUMBERS))),
)
CountingEvents = deciding(
    "CountingEvents",
    flush_after_every_other,
    arrivals=0,
    item_added=telling("item_added", lambda self: setattr(self, "arrivals", self.arrivals + 1)),
)
Growing = deciding(
    "Growing",
    Flushing.decide,
    max_records=2,
    flush_started=telling("flush_started", lambda self: setattr(self, "max_records", 10)),
)
Capless = deciding("Capless", Flushing.decide, max_records=0)
NotCounting = deciding("NotCounting", Flushing.decide, flush_done=lambda self, *event: Wait())
Weightless = deciding(
    "Weightless",
    flush_when_full,
    max_weight=5,
    item_added=lambda self, now, count, weight: FlushPolicy.item_added(self, now, count),
)
EVENTS = ("item_added", "flush_started", "flush_done", "tick")
Rounding = deciding("Rounding", Flushing.decide, **{event: rounding(event) for event in EVENTS})

BAD: list[tuple[str, type[FlushPolicy]]] = [
    ("silent", Unasked),
    ("pure", Settling),
    ("pure", Remembering),
    ("pure", Writing),
    ("pure", LookingAtTheClock),
    ("pure", Contrary),
    ("ahead", Late),
    ("kept", Unreliable),
    ("idle", Stranding),
    ("repeatable", Numbering),
    ("bursts", CountingEvents),
    ("shift", Punctual),
    ("caps", Growing),
]
"""Pairs of a law and a policy that breaks it."""

UNSOUND: list[tuple[str, type[FlushPolicy]]] = [
    ("caps", Capless),
    ("pure", RaisingOnRepeat),
    ("sound", Raising),
    ("sound", RaisingInFlight),
    ("sound", AnsweringText),
    ("sound", NotCounting),
    ("sound", Weightless),
    ("sound", Rounding),
]
"""Pairs of a law and a policy that breaks it so that no queue could work with the policy."""
