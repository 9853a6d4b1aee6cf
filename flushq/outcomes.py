"""What can become of a batch: how it failed, what is to be done then, and what is told of it.

Plain values, and one machine without a loop: the :class:`Parts` of a batch that failed.

Theory of operation. A batch is handed over as a whole, and nothing here is needed if ``flush_fn``
returns. If it raises, the parts of the batch are kept on a stack, the one to hand over on top; at
first there is one, all of it. What was raised becomes a :class:`Failure`, the handler answers with
a verdict, and the verdict is done to the part on top: it goes (dropped, failed), stays (to be
handed over again) or is replaced by its halves. If ``flush_fn`` returns then, it goes as well. So
the parts are handed over in order, one after the other, and the batch keeps its slot: whoever looks
from outside sees one long flush.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Generic, TypeVar

import attrs

from flushq.errors import PartialFailure, check_finite

T = TypeVar("T")


@attrs.frozen
class Failure(Generic[T]):
    """What the failure handler is asked about.

    Attributes:
        items: The items that failed, in order; a list of the handler's own.
        error: What ``flush_fn`` raised.
        errors: The exception of each of the items, if that was a PartialFailure; else None.
        attempt: How many times these items have been handed over together: 1, 2, …
        reason: Why the batch was flushed.
        seconds: How long ago the flush started.
    """

    items: list[T]
    error: BaseException
    errors: list[BaseException] | None
    attempt: int
    reason: str
    seconds: float


@attrs.frozen
class Fail:
    """End the queue: what failed is in doubt, and no flush starts any more."""


@attrs.frozen
class Drop:
    """Count what failed as dropped, and go on; a dead letter is written by the handler itself."""


def _check_after(retry: "Retry", attribute: "attrs.Attribute[float]", value: float) -> None:
    check_finite(attribute.name, value, least=0)


@attrs.frozen
class Retry:
    """Hand what failed over again, after so many seconds.

    Raises:
        TypeError, ValueError: ``after`` is not a finite number of at least 0.
    """

    after: float = attrs.field(default=0.0, validator=_check_after)


@attrs.frozen
class Split:
    """Hand what failed over in two halves, one after the other, each with attempts of its own.

    Of one item alone: as :class:`Fail`.
    """


Verdict = Fail | Drop | Retry | Split

FAIL = Fail()


@attrs.frozen
class _Part(Generic[T]):
    items: Sequence[T]
    positions: Sequence[int]
    attempt: int = 1
    pause: float | None = None


class Parts(Generic[T]):
    """What becomes of a batch that was handed over and failed.

    Args:
        items: The items of the batch.
        reason: Why it was flushed.

    Attributes:
        dropped: The positions that were dropped, and the exception of each.
        failed: The positions of which a failure ends the queue, and the exception of each.
    """

    _errors: Mapping[int, BaseException]

    def __init__(self, items: Sequence[T], reason: str) -> None:
        self.dropped: dict[int, BaseException] = {}
        self.failed: dict[int, BaseException] = {}
        self._reason = reason
        self._parts = [_Part(items, range(len(items)))]

    @property
    def open(self) -> bool:
        """Whether there is a part to hand over."""
        return bool(self._parts)

    @property
    def pause(self) -> float | None:
        """Seconds to wait before it is handed over; None: this is the first time."""
        return self._parts[-1].pause

    @property
    def lost(self) -> Sequence[int]:
        """The positions that are neither delivered nor dropped, in order."""
        return sorted(chain(self.failed, *(part.positions for part in self._parts)))

    def items(self) -> list[T]:
        """The items of the part: a list to give away."""
        return list(self._parts[-1].items)

    def returned(self) -> None:
        """``flush_fn`` returned: the part is delivered."""
        self._parts.pop()

    def raised(self, error: BaseException, seconds: float) -> Failure[T]:
        """``flush_fn`` raised: after a PartialFailure, the rest of the part is delivered.

        Raises:
            ValueError: The PartialFailure is none of this part, which has failed as a whole.
        """
        errors = None
        if isinstance(error, PartialFailure):
            self._errors = self._narrow(error)
            errors = list(self._errors.values())
        else:
            self._errors = dict.fromkeys(self._parts[-1].positions, error)
        attempt = self._parts[-1].attempt
        return Failure(self.items(), error, errors, attempt, self._reason, seconds)

    def judge(self, verdict: Verdict) -> None:
        """Do what the verdict says to the part that failed."""
        part = self._parts.pop()
        errors, self._errors = self._errors, {}
        match verdict:
            case Retry(after):
                self._parts.append(attrs.evolve(part, attempt=part.attempt + 1, pause=float(after)))
            case Split() if len(part.items) > 1:
                half = (len(part.items) + 1) // 2
                self._parts.append(_Part(part.items[half:], part.positions[half:], pause=0.0))
                self._parts.append(_Part(part.items[:half], part.positions[:half], pause=0.0))
            case Drop():
                self.dropped.update(errors)
            case _:
                self.failed.update(errors)

    def _narrow(self, error: PartialFailure) -> Mapping[int, BaseException]:
        """Make the part those that failed, and return the exception of each position."""
        part = self._parts[-1]
        flaw = error.flaw(len(part.positions))
        if flaw is not None:
            refusal = ValueError(f"flush_fn raised a PartialFailure that makes no sense: {flaw}")
            self.failed.update(dict.fromkeys(part.positions, refusal))
            self._parts.pop()
            raise refusal from error
        indices = sorted(error.errors)
        items = [part.items[index] for index in indices]
        errors = {part.positions[index]: error.errors[index] for index in indices}
        self._parts[-1] = attrs.evolve(part, items=items, positions=list(errors))
        return errors


@attrs.frozen
class FlushReport:
    """What became of a flush.

    Attributes:
        reason: Why it started.
        count: How many items it had.
        weight: What they weighed together.
        waited: How long the oldest of them had waited when it started, in seconds.
        started: When it started, by the loop's clock, in seconds.
        seconds: How long it took, pauses between attempts included.
        attempts: How many times ``flush_fn`` was called for it; 0 if the queue ended before.
        error: Why not all was delivered: what the last item was dropped for, or what ended the
            queue. None if all was.
        delivered: How many items were delivered.
        dropped: How many the failure handler dropped.
        pending: How many items it left behind in the queue when it started.
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


@attrs.frozen
class QueueStats:
    """The account of a queue at one moment.

    At every moment ``accepted`` is the sum of duplicates, delivered, dropped, undelivered,
    in_doubt, pending and in_flight.

    Attributes:
        accepted: How many items were accepted, duplicates included.
        duplicates: How many of them were duplicates.
        delivered: How many were delivered.
        dropped: How many the failure handler dropped.
        undelivered: How many were lost, and ``flush_fn`` was never called with them.
        in_doubt: How many were lost after it was called with them.
        pending: How many wait.
        in_flight: How many are in flushes that run.
        waiting: How many producers wait for room.
        flushes: How many flushes have ended, by reason.
        oldest_age: How long the oldest item that waits has done so, in seconds; 0 if none does.
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
