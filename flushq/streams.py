"""The part of a stream that needs no driver: the handover of batches, the lists of lost items.

A stream is a queue that gets its items from a source, an iterable. The flush function of this queue
hands each batch to the *consumer*, the code that iterates over the stream. The flush function
returns when the consumer asks for the next batch. While the consumer does not ask, the queue is
suspended: it takes no batch (see flushq.core.starts). So a batch is taken at the last moment, with
all items that were read by then.

Both drivers have a stream, with a reader (a task or a thread) that enqueues the items of the
source. The code that both drivers share is here: the steps of the consumer, of the flush and of the
reader. If the queue has a lock, the driver holds the lock during each step.
"""

from typing import Any, Generic, TypeVar

from flushq.arguments import shown
from flushq.core.core import Core
from flushq.core.waiter import Waiter, wake

T = TypeVar("T")


class Handover(Generic[T]):
    """The handover of batches: a flush offers its batch, and the consumer takes the batch.

    Args:
        core: The core of the queue. The queue is suspended from now on.
        label: The name of the stream in messages.

    Attributes:
        undelivered: The items that were read and not yielded, in the order of the source.
        in_doubt: The items of the batch that the consumer had in hand when it left the block.
        unaccepted: A list. If the queue has refused the item that was read last, or has not
            accepted it yet, the list holds this item. Otherwise the list is empty.
        left: Whether the consumer has left the block of the stream.
        late: The exception that the source raised while it was being stopped, or None.
    """

    def __init__(self, core: Core[T], label: str) -> None:
        core.starts.suspend()
        self.undelivered: list[T] = []
        self.in_doubt: list[T] = []
        self.unaccepted: list[T] = []
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
        """Ask for the next batch, and confirm that the batch in hand was delivered.

        The waiter is completed when a batch is offered, or when the queue has ended.

        Raises:
            RuntimeError: The consumer is outside of the block, or another consumer is asking.
        """
        self.check_inside()
        if self._ask is not None:
            raise RuntimeError(f"{self._label}: only one consumer at a time may ask for a batch")
        self._ask = waiter
        self._acknowledge()
        self._core.starts.resume()
        self._core.ending.join(waiter, is_owner=False)
        if self._offered is not None or self._core.ending.ended:
            wake(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Record that the consumer no longer waits for a batch, whether or not it got one."""
        if self._ask is waiter:
            self._ask = None
            self._core.starts.suspend()
            self._core.ending.leave(waiter)

    def take(self) -> list[T] | None:
        """Return the offered batch, or None after the last batch.

        From now on the consumer has the batch in hand.

        Raises:
            PolicyError: The policy or the throttle has failed.
            RuntimeError: The consumer is outside of the block.
            BaseException: The exception that the source raised, or that the queue raised when it
                refused an item. Only one call raises this exception.
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
            raise RuntimeError(f"{self._label} must be used inside its with block")

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
        """Offer a batch to the consumer; ``waiter`` is completed when the flush may end."""
        self._offered, self._flush = batch, waiter
        if self._ask is not None:
            wake(self._ask)

    def let_flush_end(self) -> None:
        """Let the running flush end, if a flush is running."""
        if self._flush is not None:
            wake(self._flush)

    # The reader.

    def fail(self, error: BaseException) -> None:
        """Record the exception of the source, or the one with which the queue refused an item."""
        if not self.left:
            self._error = error
        elif not self.unaccepted:
            self.late = error

    # The end.

    def list_losses(self) -> None:
        """Update the lists ``undelivered`` and ``in_doubt``."""
        losses, delivered = self._core.batcher.losses, self._core.batcher.delivered
        cut_short = losses.in_doubt.items
        if self._acknowledged > delivered:  # the consumer has confirmed this batch
            cut_short = []
        in_doubt, not_yielded = (cut_short, []) if self._in_hand else ([], cut_short)
        self.in_doubt[:] = in_doubt
        self.undelivered[:] = [*not_yielded, *losses.undelivered.items, *self.unaccepted]


class StreamView(Generic[T]):
    """The read-only properties of a stream; the stream class of each driver inherits them."""

    _source: Any
    _core: Core[T]
    _handover: Handover[T]

    @property
    def undelivered(self) -> list[T]:
        """The items that were read and not yielded, in the order of the source.

        This is always the same list; it is complete when the block has been left.
        """
        return self._handover.undelivered

    @property
    def in_doubt(self) -> list[T]:
        """The items of the batch that the consumer had in hand when it left the block.

        This is always the same list. It is empty if the consumer had no batch in hand: by asking
        for the next batch, the consumer confirms the one in hand.
        """
        return self._handover.in_doubt

    def __repr__(self) -> str:
        return f"<BatchStream{self._core.name} of {shown(self._source)}>"
