"""Policies that break one law each, and no other."""

import itertools
import time
from collections.abc import Callable
from typing import Any, ClassVar

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


@attrs.define
class Numbering(FlushPolicy):
    """Numbers the flushes of all queues together."""

    numbers: ClassVar[Any] = itertools.count()
    number: int = 0

    def flush_started(self, now: float, *facts: Any) -> Decision:
        """Take the next number."""
        self.number = next(self.numbers)
        return super().flush_started(now, *facts)

    def decide(self, now: float) -> Decision:
        """Flush, and say the number."""
        return Flush(f"flush {self.number}")


@attrs.define
class CountingEvents(FlushPolicy):
    """Takes each event for one item."""

    arrivals: int = 0

    def item_added(self, now: float, *facts: Any) -> Decision:
        """Count the event."""
        self.arrivals += 1
        return super().item_added(now, *facts)

    def decide(self, now: float) -> Decision:
        """Flush after every other arrival."""
        due = self.queue.oldest + 5
        return Flush() if self.arrivals % 2 == 0 or due <= now else Wait(due)


class Growing(Flushing):
    """Raises its cap after a flush."""

    max_records: int | None = 2

    def flush_started(self, now: float, *facts: Any) -> Decision:
        """Allow more."""
        self.max_records = 10
        return super().flush_started(now, *facts)


class Capless(Flushing):
    """Has a cap that allows nothing."""

    max_records = 0


class Deaf(Flushing):
    """Does not tell the base class of a flush that has ended."""

    def flush_done(self, now: float, *args: Any) -> Decision:
        """Leave it out."""
        return Wait()


@attrs.define
class Weightless(FlushPolicy):
    """Does not tell the base class what the items weigh."""

    max_weight: float | None = 5

    def item_added(self, now: float, *facts: Any) -> Decision:
        """Leave out the weight."""
        return super().item_added(now, facts[0])

    def decide(self, now: float) -> Decision:
        """Flush when full, or after two seconds."""
        due = self.queue.oldest + 2
        return Flush() if self.full or due <= now else Wait(due)


def rounding(name: str) -> Callable[..., Decision]:
    """Make what tells the base class of an event in full seconds."""

    def tell(self: FlushPolicy, now: float, *facts: Any) -> Decision:
        event = getattr(super(type(self), self), name)
        decision: Decision = event(now // 1, *facts)
        return decision

    return tell


EVENTS = ("item_added", "flush_started", "flush_done", "tick")
Rounding = type("Rounding", (Flushing,), {name: rounding(name) for name in EVENTS})


def deciding(name: str, decide: object) -> type[FlushPolicy]:
    """Make a policy that decides by a function."""
    return type(name, (FlushPolicy,), {"decide": decide, "__module__": __name__})


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
