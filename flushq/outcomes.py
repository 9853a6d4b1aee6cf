"""What can become of a batch: how it failed, what is to be done then, and what is told of it."""

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Self, TypeVar

import attrs

from flushq.arguments import (
    check_count,
    check_duration,
    check_finite,
    check_number,
    check_sync_callable,
)

T = TypeVar("T")

_MOST_DOUBLINGS = 1023  # more do not fit into a float


@attrs.frozen
class Failure(Generic[T]):
    """What the failure handler is asked about.

    Attributes:
        items: The items that failed, in order; a list of the handler's own.
        error: What ``flush_fn`` raised.
        errors: The exception of each of the items, if that was a PartialFailure; else None.
        attempt: How many times ``flush_fn`` was called with these items together: 1, 2, …
        reason: Why the batch was flushed.
        seconds: How long ago the flush started, in seconds.
        partition: The key of its partition; None without ``partition_key``.
    """

    items: list[T]
    error: BaseException
    errors: list[BaseException] | None
    attempt: int
    reason: str
    seconds: float
    partition: Hashable = None


@attrs.frozen
class Fail:
    """End the queue: what failed is in doubt, and no flush starts any more."""


@attrs.frozen
class Drop:
    """Count what failed as dropped, and go on; flushq saves nothing: first write a dead letter."""


@attrs.frozen
class Retry:
    """Hand what failed over again, after so many seconds, and when the throttle lets it.

    Args:
        after: Seconds to wait before.
        hold: Whether no other call of ``flush_fn`` starts before either, as when an API answers
            with Retry-After. Calls that run are left alone. The longest of several holds counts.

    Raises:
        TypeError, ValueError: ``after`` is not a finite number of at least 0, or ``hold`` not a
            bool.
    """

    after: float = 0.0
    hold: bool = False

    def __attrs_post_init__(self) -> None:
        check_finite("after", self.after, least=0)
        if not isinstance(self.hold, bool):
            raise TypeError(f"hold must be a bool, not {self.hold!r}")

    @classmethod
    def backoff(
        cls,
        attempt: int,
        first: float = 0.1,
        most: float = 30.0,
        *,
        jitter: Callable[[], float] | None = None,
    ) -> Self:
        """A Retry whose pause doubles with each attempt: first, 2 * first, 4 * first, … most.

        After attempt n the pause is min(most, first * 2 ** (n - 1)) seconds, a truncated
        exponential backoff. With ``jitter=random.random`` it is any part of that, so that many
        processes do not all come back at the same moment: the "full jitter" of M. Brooker,
        "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

        Args:
            attempt: How many times ``flush_fn`` was called with these items: ``failure.attempt``.
            first: The pause after the first attempt, in seconds.
            most: The longest pause, in seconds.
            jitter: Is called once, and returns which part of the pause to wait, from 0 to 1. None:
                all of it, so that the same attempt always has the same pause.

        Raises:
            TypeError: ``attempt`` is not an int, ``first`` or ``most`` not a real number, or
                ``jitter`` not a plain function.
            ValueError: ``attempt`` is below 1, ``first`` not above 0, ``most`` below ``first``, one
                of them not finite, or what ``jitter`` returned is not from 0 to 1.
        """
        check_count("attempt", attempt)
        check_duration("first", first)
        check_finite("most", most, least=first)
        check_sync_callable("jitter", jitter)
        doubled = first * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)
        return cls(min(most, doubled) * (1 if jitter is None else _part(jitter())))


def _part(part: float) -> float:
    check_number("the result of jitter", part, least=0)
    if part > 1:
        raise ValueError(f"the result of jitter must be at most 1, not {part!r}")
    return part


@attrs.frozen
class Split:
    """Hand what failed over in two halves, one after the other, each with attempts of its own.

    Of one item alone: as :class:`Fail`.
    """


Verdict = Fail | Drop | Retry | Split
"""What a failure handler answers; the class of a verdict means its instance."""

FAIL = Fail()


def as_verdict(answer: object) -> object:
    """The answer of a failure handler, where the class of a verdict means its instance."""
    return next((kind() for kind in (Fail, Drop, Retry, Split) if answer is kind), answer)


@attrs.frozen
class FlushReport:
    """What became of a flush.

    Attributes:
        reason: Why it started.
        count: How many items it had.
        weight: What they weighed together.
        waited: How long the oldest of them had waited when it started, in seconds.
        started: When it started, by the loop's clock, in seconds.
        seconds: How long it took, in seconds, pauses between attempts included.
        attempts: How many times ``flush_fn`` was called for it; 0 if the queue ended before.
        error: Why not all was delivered: what ``flush_fn`` or the handler raised, what the last
            item was dropped for, or a CancelledError if the flush was cut short. None if all was.
        delivered: How many items were delivered.
        dropped: How many the failure handler dropped.
        pending: How many items it left behind in the queue when it started.
        partition: The key of its partition; None without ``partition_key``.
    """

    reason: str
    count: int
    weight: float
    waited: float
    started: float
    seconds: float
    attempts: int
    error: BaseException | None
    delivered: int
    dropped: int
    pending: int
    partition: Hashable = None


@attrs.frozen
class QueueStats:
    """The account of a queue at one moment.

    At every moment ``accepted`` is the sum of duplicates, delivered, dropped, displaced,
    undelivered, in_doubt, pending and in_flight.

    Attributes:
        accepted: How many items were accepted, duplicates included.
        duplicates: How many of them were duplicates.
        delivered: How many were delivered.
        dropped: How many the failure handler dropped.
        undelivered: How many were lost, and ``flush_fn`` was never called with them.
        in_doubt: How many were lost after it was called with them.
        pending: How many wait.
        in_flight: How many are in flushes that run (of a policy's facts, the flushes).
        waiting: How many producers wait for room.
        flushes: How many flushes have ended, by reason.
        oldest_age: How long the oldest item that waits has done so, in seconds; 0 if none does.
        partitions: How many partitions exist; 0 without ``partition_key``.
        displaced: How many were displaced, as the queue was full.
    """

    accepted: int
    duplicates: int
    delivered: int
    dropped: int
    undelivered: int
    in_doubt: int
    pending: int
    in_flight: int
    waiting: int
    flushes: Mapping[str, int]
    oldest_age: float
    partitions: int = 0
    displaced: int = 0
