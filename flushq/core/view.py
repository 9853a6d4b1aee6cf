"""The part of a queue that only reads the queue's state: the same for all drivers."""

from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from flushq.core.core import Core
from flushq.outcomes import QueueStats
from flushq.policy import FlushPolicy

T = TypeVar("T")


class QueueView(Generic[T]):
    """The base class of all queues: the part that only reads the state of the queue."""

    __slots__ = ("_clock", "_core")

    _core: Core[T]
    _clock: Callable[[], float]

    @property
    def policy(self) -> FlushPolicy:
        """The queue's copy of the policy; in a queue with partitions, it is told of no events.

        Without partitions, the queue runs this copy. With partitions, the copy is only a template:
        each partition runs a copy of its own.
        """
        return self._core.batcher.policy.copy

    @property
    def pending(self) -> int:
        """The number of items that wait. Items in flight are not counted."""
        return len(self._core.buffer)

    @property
    def undelivered(self) -> list[T]:
        """The lost items that flush_fn was never called with, in order of acceptance.

        This is always the same list. It is complete once the queue has ended.
        """
        return self._core.batcher.losses.undelivered.items

    @property
    def in_doubt(self) -> list[T]:
        """The lost items that flush_fn was called with, in order of acceptance.

        ``flush_fn`` raised or was interrupted, so these items may have been stored. This is always
        the same list. It is complete once the queue has ended.
        """
        return self._core.batcher.losses.in_doubt.items

    @property
    def state(self) -> str:
        """The state of the queue: "new", "running", "closing", "closed" or "failed"."""
        return self._core.ending.state

    def stats(self) -> QueueStats:
        """Return the counts at this moment; ``accepted`` is the sum of the other item counts."""
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
        """Raise TypeError: a copy would share the core, so closing the copy would close both."""
        raise TypeError(f"{self!r} cannot be copied or pickled")

    def __repr__(self) -> str:
        return repr(self._core)
