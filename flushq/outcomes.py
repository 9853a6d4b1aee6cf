"""The outcomes of a flush (failure, verdict on the failure, report), and the counts of a queue."""

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

_MOST_DOUBLINGS = 1023  # a float cannot hold 2.0 ** 1024


@attrs.frozen
class Failure(Generic[T]):
    """The argument of the failure handler: it tells how a call of ``flush_fn`` has failed.

    Attributes:
        items: The items that failed, oldest first; the handler may change this list.
        error: The exception that ``flush_fn`` raised.
        errors: The exceptions of the items, in the same order as ``items``. None if ``error`` is
            not a PartialFailure.
        attempt: How many times ``flush_fn`` was called with these items: 1, 2, … After a Split, the
            calls with each half are counted from 1.
        reason: The reason of the flush: see :class:`FlushReport`.
        seconds: The time since the flush started, in seconds.
        partition: The key of the items' partition; None if the queue has no partitions.
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
    """The verdict to end the queue: the failed items are in doubt, and no flush starts any more."""


@attrs.frozen
class Drop:
    """The verdict to drop the failed items; flushq does not save them.

    A handler that must save the items writes dead letters before it returns this verdict. The items
    are counted as dropped, and the queue continues.
    """


@attrs.frozen
class Retry:
    """The verdict to call ``flush_fn`` again with the failed items, after a pause.

    After the pause, the call also waits until the throttle allows it.

    Args:
        after: The length of the pause, in seconds.
        hold: Whether all other calls of ``flush_fn`` in this queue must wait for the end of the
            pause, too. This is right, for example, if an API has answered with Retry-After. Calls
            that already run are not affected. If there are several such pauses, the other calls
            wait for the end of all of them.

    Raises:
        TypeError, ValueError: ``after`` is not a finite number of at least 0, or ``hold`` is not a
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
        """Return a Retry with a pause that doubles with each attempt, from ``first`` to ``most``.

        After attempt n the pause is min(most, first * 2 ** (n - 1)) seconds: a truncated
        exponential backoff. With ``jitter=random.random`` the pause is a random part of this time.
        Then many processes do not all retry at the same moment. This is the "full jitter" of
        M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

        Args:
            attempt: How many times ``flush_fn`` was called with these items: ``failure.attempt``.
            first: The pause after the first attempt, in seconds.
            most: The longest pause, in seconds.
            jitter: A function without arguments. It is called once, and returns the factor by
                which the pause is multiplied, a number from 0 to 1. None: the factor is 1, so the
                same attempt always has the same pause.

        Raises:
            TypeError: ``attempt`` is not an int, ``first``, ``most`` or the result of ``jitter`` is
                not a real number, or ``jitter`` is not a plain function.
            ValueError: ``attempt`` is below 1, ``first`` is not above 0, ``most`` is below
                ``first``, ``first`` or ``most`` is not finite, or ``jitter`` returned a number that
                is not from 0 to 1.
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
    """The verdict to call ``flush_fn`` with the first half of the failed items, then with the rest.

    Each half has its own count of attempts. If only one item has failed, a Split is the same as a
    :class:`Fail`.
    """


Verdict = Fail | Drop | Retry | Split
"""The answer of a failure handler. The handler may also return a class: Retry means Retry()."""

FAIL = Fail()


def as_verdict(answer: object) -> object:
    """Return the answer of a failure handler; if it is a verdict class, return an instance."""
    return next((kind() for kind in (Fail, Drop, Retry, Split) if answer is kind), answer)


@attrs.frozen
class FlushReport:
    """The report of one flush that has ended.

    Attributes:
        reason: The reason that the policy gave for the flush, or, if the policy did not cause the
            flush, "flush" (a call of ``flush()``), "drain" (the queue was being closed) or
            "pressure" (the queue lacked room).
        count: The number of items in the batch.
        weight: The total weight of the items in the batch.
        waited: How long the oldest item of the batch had waited when the flush started, in seconds.
        started: The time at which the flush started, by the clock of the driver, in seconds.
        seconds: The duration of the flush, in seconds, including the pauses between attempts.
        attempts: The number of calls of ``flush_fn``; 0 if the queue ended before the first call.
        error: The exception that tells why some items were not delivered: the exception of
            ``flush_fn`` or of the handler, the exception of the last dropped item, or a
            CancelledError if the flush was cut short. None if all items were delivered.
        delivered: The number of items that were delivered.
        dropped: The number of items that the failure handler dropped.
        pending: The number of items, of all partitions, that still waited after the flush had
            taken its batch.
        partition: The key of the items' partition; None if the queue has no partitions.
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
    """The account of a queue: its counts at one moment.

    At every moment ``accepted`` is the sum of duplicates, delivered, dropped, displaced,
    undelivered, in_doubt, pending and in_flight.

    Attributes:
        accepted: The number of items that were accepted, including duplicates.
        duplicates: The number of items that came while an item with the same key waited.
        delivered: The number of items that were delivered.
        dropped: The number of items that the failure handler dropped.
        undelivered: The number of lost items that ``flush_fn`` was never called with.
        in_doubt: The number of lost items that ``flush_fn`` was called with.
        pending: The number of items that wait.
        in_flight: The number of items in running flushes. (The ``in_flight`` of a QueueState is
            the number of flushes.)
        waiting: The number of producers that wait for room.
        flushes: The number of flushes that have ended, for each reason.
        oldest_age: The age of the oldest item that waits, in seconds; 0 if no item waits.
        partitions: The number of partitions that exist; 0 if the queue has no ``partition_key``.
        displaced: The number of items that were displaced because the queue was full.
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
