"""A stream of batches, without its driver: what is handed over, and what is left when it is left.

A stream is a queue that reads a source. Its flush function hands the batch to the consumer, and
returns when the consumer asks for the next one. The queue is held (flushq.core.starts) unless the
consumer asks, so a batch is cut at the last moment, and all that has been read by then joins it.

Both drivers have a stream, with a reader (a task or a thread) that enqueues what the source yields.
What they do the same way is here: the steps of the consumer, of the flush and of the reader. The
driver holds the lock of the queue meanwhile, if there is one.
"""

from typing import Any, Generic, TypeVar

from flushq.arguments import shown
from flushq.core.core import Core
from flushq.core.waiter import Waiter, wake

T = TypeVar("T")


class Handover(Generic[T]):
    """The place where batches are handed over, from the flush that offers one to the consumer.

    Args:
        core: That of the queue, which is held from now on.
        label: What a message calls the stream.

    Attributes:
        undelivered: Items that were read and not yielded, in the order of the source.
        in_doubt: The items of the batch that the consumer had in hand.
        unread: The item that was read and that the queue has not accepted (yet).
        left: Whether the block of the stream was left.
        late: What the source raised when it was stopped.
    """

    def __init__(self, core: Core[T], label: str) -> None:
        core.starts.hold()
        self.undelivered: list[T] = []
        self.in_doubt: list[T] = []
        self.unread: list[T] = []
        self.left = False
        self.late: BaseException | None = None
        self._core = core
        self._label = label
        self._ask: Waiter | None = None
        self._flush: Waiter | None = None
        self._offered: list[T] | None = None
        self._in_hand = self._acknowledged = 0
        self._error: BaseException | None = None

    # The consumer.

    def join(self, waiter: Waiter) -> None:
        """The consumer asks: the batch in hand was delivered, and the next one may be cut.

        Raises:
            RuntimeError: The block was not entered, or was left; or another consumer asks.
        """
        self.check_inside()
        if self._ask is not None:
            raise RuntimeError(f"{self._label} is asked for a batch by two consumers at a time")
        self._ask = waiter
        self._acknowledge()
        self._core.starts.release()
        self._core.ending.join(waiter, is_owner=False)
        if self._offered is not None or self._core.ending.ended:
            wake(waiter)

    def leave(self, waiter: Waiter) -> None:
        """The consumer goes on, with a batch or without."""
        if self._ask is waiter:
            self._ask = None
            self._core.starts.hold()
            self._core.ending.leave(waiter)

    def take(self) -> list[T] | None:
        """The batch that is offered; from now on it is in hand. None: there will be no more.

        Raises:
            PolicyError: The queue has failed.
            RuntimeError: The block was left.
            BaseException: What the source raised, once.
        """
        self.check_inside()
        batch, self._offered = self._offered, None
        if batch is not None:
            self._in_hand = len(batch)
            return batch
        self._raise_failure()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def check_inside(self) -> None:
        """Raise RuntimeError unless the block was entered and has not been left."""
        if self.left or not self._core.batcher.started:
            raise RuntimeError(f"{self._label} is used outside of its block")

    def _acknowledge(self) -> None:
        if self._in_hand:
            self._acknowledged += self._in_hand
            self._in_hand = 0
            self.let_flush_end()

    def _raise_failure(self) -> None:
        error = self._core.ending.outcome()
        if error is not None:
            self.list_losses()
            error.undelivered, error.in_doubt = self.undelivered, self.in_doubt
            raise error

    # The flush.

    def offer(self, batch: list[T], waiter: Waiter) -> None:
        """A flush offers its batch; it is told when it may return."""
        self._offered, self._flush = batch, waiter
        if self._ask is not None:
            wake(self._ask)

    def let_flush_end(self) -> None:
        """Let the flush return, if one runs."""
        if self._flush is not None:
            wake(self._flush)

    # The reader.

    def fail(self, error: BaseException) -> None:
        """The source has raised, or the queue has refused the item that was read."""
        if not self.left:
            self._error = error
        elif not self.unread:
            self.late = error

    # The end.

    def list_losses(self) -> None:
        """List what was lost by now."""
        losses, delivered = self._core.batcher.losses, self._core.batcher.delivered
        cut_short = losses.in_doubt.items
        if self._acknowledged > delivered:  # its flush was about to say so
            cut_short = []
        in_doubt, not_yielded = (cut_short, []) if self._in_hand else ([], cut_short)
        self.in_doubt[:] = in_doubt
        self.undelivered[:] = [*not_yielded, *losses.undelivered.items, *self.unread]


class StreamView(Generic[T]):
    """The part of a stream that only looks. A driver's stream inherits it."""

    _source: Any
    _core: Core[T]
    _handover: Handover[T]

    @property
    def undelivered(self) -> list[T]:
        """Items that were read and not yielded, in the order of the source.

        Always the same list; complete once the block was left.
        """
        return self._handover.undelivered

    @property
    def in_doubt(self) -> list[T]:
        """Items of the batch that was in hand when the block was left.

        Always the same list; empty if the consumer had asked for another batch since.
        """
        return self._handover.in_doubt

    def __repr__(self) -> str:
        return f"<BatchStream{self._core.name} of {shown(self._source)}>"
