"""A batch that was taken from the queue: the progress of its flush, and how its items ended.

The Batcher makes a batch and counts its items. The driver reports what happens to the batch, with
one method for each step::

    call(items)               flush_fn is about to be called with these items of the batch
    returned()                flush_fn has returned from its first call
    interrupt()               the queue has cancelled the flush
    fail(error)               the flush is over, and all items of the batch are lost
    end_after_failure(...)    flush_fn has raised at least once, and now the flush is over

Each item has a *position* in its batch (0, 1, …). It also has a *number* in the queue: its
sequence number in order of acceptance.
"""

from collections.abc import Hashable, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flushq.core.running_policy import RunningPolicy
from flushq.outcomes import FlushReport

T = TypeVar("T")

_NOTHING: Any = MappingProxyType({})  # a dict that stays empty


class Batch(Generic[T]):
    """The items of one flush, and the state of this flush.

    Attributes:
        items: The items, oldest first. flush_fn gets a copy of this list, and may change the copy.
        count: The number of items.
        weight: The total weight of the items.
        weights: The weight of each item; empty or zeros if the queue does not weigh its items.
        reason: The reason of the flush.
        first: The sequence number of the first item.
        oldest: The arrival time of the oldest item.
        started: The time at which the batch was taken.
        left_pending: How many items still waited in the queue after the batch was taken.
        policy: The RunningPolicy that is told of the flush.
        partition: The key of the partition, or None in a queue without partitions.
        attempts: How many calls of flush_fn for this batch have begun.
        over: Whether the flush is over, with or without success.
        interrupted: Whether the queue has cancelled the flush.
        error: The exception that ended the flush, or None.
        seconds: The duration of the flush in seconds; 0 until the flush has ended.
        dropped: The exception of each dropped item, by position.
        failed: The exception of each item whose failure ends the queue, by position.
        lost: The positions of the items that were neither delivered nor dropped. None means all
            items if there is an ``error``, and no items otherwise.
        ended_early: The positions of the items that were delivered or dropped while the flush still
            ran, and have already been counted.
        dropped_early: The number of dropped items in ``ended_early``.
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

    # What the driver reports.

    def call(self, items: Sequence[T]) -> list[T]:
        """Count one more call of flush_fn, and return a copy of ``items`` for this call."""
        self.attempts += 1
        return list(items)

    def returned(self) -> None:
        """Record that flush_fn has returned from its first call: all items are delivered."""
        self.over = True

    def interrupt(self) -> None:
        """Record that the queue has cancelled the flush. An error that ends it is no failure."""
        self.interrupted = True

    def fail(self, error: BaseException) -> None:
        """Record that the flush is over because of ``error``, and that all items are lost.

        Either flush_fn was not called, or its first call was abandoned before it ended.
        """
        self.error, self.over = error, True

    def end_after_failure(
        self,
        error: BaseException | None,
        dropped: dict[int, BaseException],
        failed: dict[int, BaseException],
        lost: Sequence[int],
    ) -> None:
        """Record the result of a flush in which flush_fn has raised.

        An ``error`` is a failure that ends the queue, unless the queue has cancelled the flush.
        """
        self.error, self.dropped, self.failed, self.lost = error, dropped, failed, lost
        self.over = True

    # Questions about the batch.

    @property
    def called(self) -> bool:
        """Whether flush_fn was called with this batch."""
        return self.attempts > 0

    @property
    def numbers(self) -> Sequence[int]:
        """The sequence numbers of the items; consecutive numbers in a queue without partitions."""
        return self._numbers or range(self.first, self.first + self.count)

    @property
    def unended(self) -> int:
        """How many items have not ended. Valid only while the flush runs."""
        return self.count - len(self.ended_early)

    @property
    def first_unended(self) -> int:
        """The lowest sequence number of an item that has not ended.

        This number is valid only while the flush runs.
        """
        ended = self.ended_early
        return next(number for at, number in enumerate(self.numbers) if at not in ended)

    def report(self) -> FlushReport:
        """Return the report of the flush. The flush must have ended."""
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

    def release(self) -> None:
        """Release the items and the exceptions (their tracebacks refer back to the batch)."""
        self.items.clear()
        self.error = None
        if self.dropped:
            self.dropped.clear()
        if self.failed:
            self.failed.clear()
