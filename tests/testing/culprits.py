"""Policies that break one law each, and no other."""

import itertools
import math
import time
from typing import Any, ClassVar, cast

import attrs

from flushq.policy import Decision, Flush, FlushPolicy, Wait


@attrs.define
class Eager(FlushPolicy):
    """Says Flush after a start, although nothing may be pending and no slot free."""

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Answer what decide says, whether it may be asked or not."""
        super().flush_started(now, count, weight)
        return self.decide(now)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush("eager")


@attrs.define
class Counting(FlushPolicy):
    """Counts in decide how often it is asked."""

    asked: int = 0

    def decide(self, now: float) -> Decision:
        """Count, and flush."""
        self.asked += 1
        return Flush()


class Postponing(FlushPolicy):
    """Settles in decide, once for each batch, when that is due."""

    due: float | None = None

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Forget it."""
        self.due = None
        return super().flush_started(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush two seconds after it was asked first."""
        if self.due is None:
            self.due = now + 2
        return Flush() if self.due <= now else Wait(self.due)


@attrs.define
class Settling(Postponing):
    """The same, in an attribute that was there before."""

    due: float | None = None


class Remembering(FlushPolicy):
    """Remembers from decide when it was asked first, and from then on."""

    first: float

    def decide(self, now: float) -> Decision:
        """Remember, and flush."""
        if not hasattr(self, "first"):
            self.first = now
        return Flush()


class Diary:
    """A plain object, which equals nothing but itself."""

    def __init__(self) -> None:
        self.entries = 0


class Writing(FlushPolicy):
    """Writes in decide into what it holds."""

    def __init__(self) -> None:
        self.diary = Diary()

    def decide(self, now: float) -> Decision:
        """Write, and flush."""
        self.diary.entries += 1
        return Flush()


@attrs.define
class Punching(FlushPolicy):
    """Looks at the clock in decide, and makes nothing of it."""

    def decide(self, now: float) -> Decision:
        """Look, and flush."""
        time.monotonic()
        return Flush()


@attrs.define
class Contrary(FlushPolicy):
    """Answers an arrival with something else than decide."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Put it off."""
        decision = super().item_added(now, count, weight)
        return Wait(now + 1) if isinstance(decision, Flush) else decision

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.define
class Moody(FlushPolicy):
    """Raises when it is asked twice."""

    asked: float = -math.inf

    def decide(self, now: float) -> Decision:
        """Flush, the first time."""
        if self.asked == now:
            raise RuntimeError("asked already")
        self.asked = now
        return Flush()


@attrs.define
class Belated(FlushPolicy):
    """Waits until a time that has come."""

    def decide(self, now: float) -> Decision:
        """Wait until now."""
        return Wait(now)


@attrs.define
class Broken(FlushPolicy):
    """Breaks its promise: it says two seconds and waits three."""

    def decide(self, now: float) -> Decision:
        """Flush after three seconds."""
        oldest = self.queue.oldest
        return Flush() if oldest + 3 <= now else Wait(oldest + (2 if now < oldest + 2 else 3))


@attrs.define
class Stranding(FlushPolicy):
    """Lets a single item wait for ever."""

    def decide(self, now: float) -> Decision:
        """Flush two."""
        return Flush() if self.queue.pending >= 2 else Wait()


@attrs.define
class Tiring(FlushPolicy):
    """Lets the fourth batch wait for ever."""

    flushes: int = 0

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Count it."""
        self.flushes += 1
        return super().flush_started(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush, but not for a fourth time."""
        return Wait() if self.flushes == 3 else Flush()


@attrs.define
class Sweeping(FlushPolicy):
    """Takes it that a flush leaves nothing behind."""

    dirty: bool = False

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """There is something to flush."""
        self.dirty = True
        return super().item_added(now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """There is nothing left."""
        self.dirty = False
        return super().flush_started(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush at once what has come."""
        return Flush() if self.dirty else Wait()


@attrs.define
class Numbering(FlushPolicy):
    """Numbers the flushes of all queues together."""

    numbers: ClassVar[Any] = itertools.count()
    number: int = 0

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Take the next number."""
        self.number = next(self.numbers)
        return super().flush_started(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush, and say the number."""
        return Flush(f"flush {self.number}")


@attrs.define
class Hasty(FlushPolicy):
    """Takes each event for one item."""

    arrivals: int = 0

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Count the event."""
        self.arrivals += 1
        return super().item_added(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush after every other arrival."""
        due = self.queue.oldest + 5
        return Flush() if self.arrivals % 2 == 0 or due <= now else Wait(due)


@attrs.define
class Punctual(FlushPolicy):
    """Flushes at the hours of its clock."""

    def decide(self, now: float) -> Decision:
        """Flush when the hour has struck since the oldest item came."""
        hour = (self.queue.oldest // 3 + 1) * 3
        return Flush() if hour <= now else Wait(hour)


@attrs.define
class Growing(FlushPolicy):
    """Raises its cap after a flush."""

    max_records: int | None = 2

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Allow more."""
        self.max_records = 10
        return super().flush_started(now, count, weight)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class Capless(FlushPolicy):
    """Has a cap that is none."""

    max_records = 0

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.define
class Raising(FlushPolicy):
    """Raises when three items wait."""

    def decide(self, now: float) -> Decision:
        """Flush fewer."""
        if self.queue.pending >= 3:
            raise ArithmeticError("three")
        return Flush()


@attrs.define
class Wordy(FlushPolicy):
    """Says flush."""

    def decide(self, now: float) -> Decision:
        """Say it."""
        return cast("Decision", "flush")


@attrs.define
class Deaf(FlushPolicy):
    """Does not tell the base class of a flush that has ended."""

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Forget it."""
        return Wait()

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.define
class Weightless(FlushPolicy):
    """Does not tell the base class what the items weigh."""

    max_weight: float | None = 5

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Leave out the weight."""
        return super().item_added(now, count)

    def decide(self, now: float) -> Decision:
        """Flush when full, or after two seconds."""
        due = self.queue.oldest + 2
        return Flush() if self.full or due <= now else Wait(due)


@attrs.define
class Lightening(Weightless):
    """Does not tell the base class of the weight that has left."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Tell it all."""
        return FlushPolicy.item_added(self, now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Leave out the weight."""
        return super().flush_started(now, count)


@attrs.define
class Rounding(FlushPolicy):
    """Tells the base class of full seconds."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Leave out what is behind the point."""
        return super().item_added(now // 1, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Leave it out here, too."""
        return super().flush_started(now // 1, count, weight)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Leave it out here, too."""
        return super().flush_done(now // 1, count, seconds, error)

    def tick(self, now: float) -> Decision:
        """Leave it out here, too."""
        return super().tick(now // 1)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


CULPRITS: list[tuple[str, type[FlushPolicy]]] = [
    ("silent", Eager),
    ("pure", Counting),
    ("pure", Postponing),
    ("pure", Settling),
    ("pure", Remembering),
    ("pure", Writing),
    ("pure", Punching),
    ("pure", Contrary),
    ("ahead", Belated),
    ("kept", Broken),
    ("idle", Stranding),
    ("idle", Tiring),
    ("idle", Sweeping),
    ("repeatable", Numbering),
    ("bursts", Hasty),
    ("shift", Punctual),
    ("caps", Growing),
]
"""A law, and who breaks it."""

UNSOUND: list[tuple[str, type[FlushPolicy]]] = [
    ("caps", Capless),
    ("pure", Moody),
    ("sound", Raising),
    ("sound", Wordy),
    ("sound", Deaf),
    ("sound", Weightless),
    ("sound", Lightening),
    ("sound", Rounding),
]
"""Those with which no queue could go on."""
