"""A batch that left the queue: how far it has come, and what became of its items.

The Batcher makes it, the driver tells what happens to it, by one method for each step, and nobody
else writes it::

    call(items)       flush_fn is about to be called with these of its items
    returned()        flush_fn has returned
    interrupt()       the queue has cancelled the flush
    fail(error)       flush_fn could not be called with it
    conclude(...)     flush_fn raised, and all that came of that is over (flushq.core.attempts)

Its items have *positions*, 0, 1, …, within the batch, and numbers, in order of acceptance.
"""

from collections.abc import Hashable, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flushq.core.running_policy import RunningPolicy
from flushq.outcomes import FlushReport

T = TypeVar("T")

_NOTHING: Any = MappingProxyType({})  # a dict that stays empty


class Batch(Generic[T]):
    """A batch.

    Attributes:
        items: Its items, oldest first. flush_fn gets a copy, which it may change.
        count: How many there are.
        weight: What they weigh together.
        weights: What each of them weighs; empty if nobody asks.
        reason: Why it was taken.
        first: The number of its first item.
        oldest: When its oldest item arrived.
        started: When it was taken.
        left_pending: How many items it left behind in the queue.
        policy: What is told of its flush.
        partition: The key of its partition.
        attempts: How many times flush_fn was called for it.
        over: Whether flush_fn is done with it, whatever came of it.
        interrupted: Whether the queue itself has cancelled the flush.
        error: What flush_fn raised, or what kept the batch from it.
        seconds: How long it took, once it has ended.
        dropped: The positions of the items that were dropped, and why each.
        failed: The positions of those whose failure ends the queue, and why each.
        lost: The positions of all that were neither delivered nor dropped, once that is known.
            None: all if there is an error, none if not.
        ended_early: The positions that were delivered or dropped, and counted, while others are
            retried.
        dropped_early: How many of these were dropped.
    """

    __slots__ = (
        "_numbers",
        "attempts",
        "count",
        "dropped",
        "dropped_early",
        "ended_early",
        "error",
        "failed",
        "first",
        "interrupted",
        "items",
        "left_pending",
        "lost",
        "oldest",
        "over",
        "partition",
        "policy",
        "reason",
        "seconds",
        "started",
        "weight",
        "weights",
    )

    def __init__(
        self,
        items: list[T],
        count: int,
        weight: float,
        weights: Sequence[float],
        reason: str,
        first: int,
        oldest: float,
        started: float,
        left_pending: int,
        policy: RunningPolicy,
        partition: Hashable = None,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.items = items
        self.count = count
        self.weight = weight
        self.weights = weights
        self.reason = reason
        self.first = first
        self.oldest = oldest
        self.started = started
        self.left_pending = left_pending
        self.policy = policy
        self.partition = partition
        self._numbers = numbers
        self.attempts = 0
        self.over = self.interrupted = False
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.dropped: dict[int, BaseException] = _NOTHING
        self.failed: dict[int, BaseException] = _NOTHING
        self.lost: Sequence[int] | None = None
        self.ended_early: frozenset[int] = frozenset()
        self.dropped_early = 0

    # What the driver tells.

    def call(self, items: Sequence[T]) -> list[T]:
        """flush_fn is about to be called with these items: return the list that it is to own."""
        self.attempts += 1
        return list(items)

    def returned(self) -> None:
        """flush_fn has returned: all of it is delivered."""
        self.over = True

    def interrupt(self) -> None:
        """The queue has cancelled the flush: what it raises is not a failure of flush_fn."""
        self.interrupted = True

    def fail(self, error: BaseException) -> None:
        """flush_fn was never called with it, because of this."""
        self.error, self.over = error, True

    def conclude(
        self,
        error: BaseException | None,
        dropped: dict[int, BaseException],
        failed: dict[int, BaseException],
        lost: Sequence[int],
    ) -> None:
        """flush_fn had raised, and all that came of that is over; an error ends the queue."""
        self.error, self.dropped, self.failed, self.lost = error, dropped, failed, lost
        self.over = True

    # What can be asked.

    @property
    def called(self) -> bool:
        """Whether flush_fn has been called with it."""
        return self.attempts > 0

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of its items: those from the first on, unless they were told."""
        return self._numbers or range(self.first, self.first + self.count)

    @property
    def unended(self) -> int:
        """How many of its items have not ended, while it runs."""
        return self.count - len(self.ended_early)

    @property
    def first_unended(self) -> int:
        """The number of its first item that has not ended, while it runs."""
        ended = self.ended_early
        return next(number for at, number in enumerate(self.numbers) if at not in ended)

    def report(self) -> FlushReport:
        """What became of it, once it has ended."""
        dropped = list(self.dropped.values())
        return FlushReport(
            reason=self.reason,
            count=self.count,
            weight=self.weight,
            waited=self.started - self.oldest,
            started=self.started,
            seconds=self.seconds,
            attempts=self.attempts,
            error=dropped[-1] if dropped and self.error is None else self.error,
            delivered=self.count - len(dropped) - len(self.lost or ()),
            dropped=len(dropped),
            pending=self.left_pending,
            partition=self.partition,
        )

    def forget(self) -> None:
        """Let go of the items and of the exceptions, whose tracebacks lead back here."""
        self.items.clear()
        self.error = None
        if self.dropped:
            self.dropped.clear()
        if self.failed:
            self.failed.clear()
