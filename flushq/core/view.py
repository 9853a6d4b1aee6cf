"""What can be seen of a queue, whatever drives it."""

from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from flushq.core.core import Core
from flushq.outcomes import QueueStats
from flushq.policy import FlushPolicy

T = TypeVar("T")


class QueueView(Generic[T]):
    """The part of a queue that only looks. A driver's queue inherits it, and gives it a clock."""

    __slots__ = ("_clock", "_core")

    _core: Core[T]
    _clock: Callable[[], float]

    @property
    def policy(self) -> FlushPolicy:
        """The running copy of the policy; with partitions, a copy that is told nothing."""
        return self._core.batcher.policy.copy

    @property
    def pending(self) -> int:
        """How many items wait; those in flight are not counted."""
        return len(self._core.buffer)

    @property
    def undelivered(self) -> list[T]:
        """Accepted items that flush_fn was never called with, in order of acceptance.

        Always the same list; complete once the queue has ended.
        """
        return self._core.batcher.losses.undelivered.items

    @property
    def in_doubt(self) -> list[T]:
        """Items of flushes that raised or were interrupted, in order of acceptance.

        Always the same list; complete once the queue has ended.
        """
        return self._core.batcher.losses.in_doubt.items

    @property
    def state(self) -> str:
        """How far the queue has come: "new", "running", "closing", "closed" or "failed"."""
        return self._core.ending.state

    def stats(self) -> QueueStats:
        """The account of this moment, which adds up."""
        batcher, buffer = self._core.batcher, self._core.buffer
        return QueueStats(
            accepted=batcher.accepted,
            duplicates=buffer.duplicates,
            delivered=batcher.delivered,
            dropped=batcher.dropped,
            undelivered=batcher.losses.undelivered.count,
            in_doubt=batcher.losses.in_doubt.count,
            pending=len(buffer),
            in_flight=batcher.in_flight,
            waiting=len(self._core.admission.waitlist),
            flushes=dict(batcher.flushes),
            oldest_age=self._oldest_age() if self.pending else 0.0,
            partitions=batcher.partitions,
            displaced=batcher.displaced,
        )

    def _oldest_age(self) -> float:
        oldest, opened = self._core.batcher.oldest, self._core.admission.opened
        return max(0.0, self._clock() - (oldest if opened is None else min(oldest, opened)))

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: the end of the copy would be the end of the queue."""
        raise TypeError(f"{self!r} cannot be copied or pickled")

    def __repr__(self) -> str:
        return repr(self._core)
