"""Policies that break one law each, and no other."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import attrs

from flushq.policy import Decision, Flush, FlushPolicy, Wait


class Flushing(FlushPolicy):
    """Flushes at once. This is a good policy, from which bad ones are made."""

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class Unasked(Flushing):
    """Says Flush after a start, although nothing may be pending and no slot free."""

    def flush_started(self, now: float, *facts: Any) -> Decision:
        """Answer what decide says, whether it may be asked or not."""
        super().flush_started(now, *facts)
        return self.decide(now)


@attrs.define
class Settling(FlushPolicy):
    """Settles in decide when a batch is due, once for each batch."""

    due: float | None = None

    def flush_started(self, now: float, *facts: Any) -> Decision:
        """Forget when it was due."""
        self.due = None
        return super().flush_started(now, *facts)

    def decide(self, now: float) -> Decision:
        """Flush two seconds after it was asked first."""
        if self.due is None:
            self.due = now + 2
        return Flush() if self.due <= now else Wait(self.due)


class Diary:
    """A plain object, which equals nothing but itself."""

    entries = 0


class Writing(FlushPolicy):
    """Writes in decide into an object that it holds."""

    def __init__(self) -> None:
        self.diary = Diary()

    def decide(self, now: float) -> Decision:
        """Write, and flush."""
        self.diary.entries += 1
        return Flush()


class Contrary(Flushing):
    """Answers an arrival with something else than decide."""

    def item_added(self, now: float, *facts: Any) -> Decision:
        """Put it off."""
        decision = super().item_added(now, *facts)
        return Wait(now + 1) if isinstance(decision, Flush) else decision


def deciding(name: str, decide: object, **members: object) -> type[FlushPolicy]:
    """Make a policy that decides by a function, and has other members."""
    return type(name, (FlushPolicy,), {"decide": decide, "__module__": __name__, **members})


def telling(event: str, do: Callable[[Any], object]) -> Callable[..., Decision]:
    """Make an event that does something to the policy, and tells the base class."""

    def tell(self: FlushPolicy, now: float, *facts: Any) -> Decision:
        do(self)
        decision: Decision = getattr(FlushPolicy, event)(self, now, *facts)
        return decision

    return tell


def rounding(event: str) -> Callable[..., Decision]:
    """Make an event that tells the base class full seconds."""
    return lambda self, now, *facts: getattr(FlushPolicy, event)(self, now // 1, *facts)


def remember(policy: Any, now: float) -> Decision:
    """Remember, in a new attribute, when it was asked first."""
    if not hasattr(policy, "first"):
        policy.first = now
    return Flush()


def flush_when_first_asked(policy: Any, now: float) -> Decision:
    """Raise when it is asked twice at one time."""
    if getattr(policy, "asked", -1.0) == now:
        raise RuntimeError("asked already")
    policy.asked = now
    return Flush()


def keep_half_a_promise(policy: FlushPolicy, now: float) -> Decision:
    """Say two seconds and wait three."""
    oldest = policy.queue.oldest
    return Flush() if oldest + 3 <= now else Wait(oldest + (2 if now < oldest + 2 else 3))


def flush_at_the_hour(policy: FlushPolicy, now: float) -> Decision:
    """Flush when the hour has struck since the oldest item came."""
    hour = (policy.queue.oldest // 3 + 1) * 3
    return Flush() if hour <= now else Wait(hour)


def flush_after_every_other(policy: Any, now: float) -> Decision:
    """Take each event for one item, and flush after every other, or after five seconds."""
    due = policy.queue.oldest + 5
    return Flush() if policy.arrivals % 2 == 0 or due <= now else Wait(due)


def flush_when_full(policy: FlushPolicy, now: float) -> Decision:
    """Flush when full, or after two seconds."""
    due = policy.queue.oldest + 2
    return Flush() if policy.full or due <= now else Wait(due)


def flush_unless(condition: bool, error: str) -> Decision:  # noqa: FBT001 - it is the fact
    """Flush, or raise."""
    if condition:
        raise ArithmeticError(error)
    return Flush()


Remembering = deciding("Remembering", remember)
Moody = deciding("Moody", flush_when_first_asked)
LookingAtTheClock = deciding("LookingAtTheClock", lambda _, now: time.monotonic() and Flush())
Late = deciding("Late", lambda _, now: Wait(now))
Unreliable = deciding("Unreliable", keep_half_a_promise)
Stranding = deciding("Stranding", lambda self, _: Flush() if self.queue.pending >= 2 else Wait())
Punctual = deciding("Punctual", flush_at_the_hour)
Raising = deciding("Raising", lambda self, _: flush_unless(self.queue.pending >= 3, "three"))
Confused = deciding("Confused", lambda self, _: flush_unless(self.queue.in_flight == 2, "two"))
Wordy = deciding("Wordy", lambda _, now: "flush")

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
Deaf = deciding("Deaf", Flushing.decide, flush_done=lambda self, *event: Wait())
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
"""The law that each of them breaks."""

UNSOUND: list[tuple[str, type[FlushPolicy]]] = [
    ("caps", Capless),
    ("pure", Moody),
    ("sound", Raising),
    ("sound", Confused),
    ("sound", Wordy),
    ("sound", Deaf),
    ("sound", Weightless),
    ("sound", Rounding),
]
"""Those with which no queue could go on."""
