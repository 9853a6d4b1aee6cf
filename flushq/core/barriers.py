"""The barriers of flush(): each caller waits for the end of all items accepted before its call.

The *mark* of a barrier is the sequence number of the first item that is accepted after the call of
flush(). flush() makes all items with lower numbers due. ``Batcher.settled`` is also a sequence
number: every item with a lower number has ended. The barrier is complete when ``settled`` has
reached the mark. So flush() does not wait for items that come after its call, even if they are in
the same batch as items that came before it.
"""

from typing import Generic, TypeVar

from flushq.core.batcher import Batcher
from flushq.core.waiter import Waiter, wake

T = TypeVar("T")


class Barriers(Generic[T]):
    """The callers that wait in flush().

    Attributes:
        marks: For the waiter of each caller, the mark of its barrier.
    """

    __slots__ = ("_batcher", "marks")

    def __init__(self, batcher: Batcher[T]) -> None:
        self.marks: dict[Waiter, int] = {}
        self._batcher = batcher

    def set_barrier(self) -> int | None:
        """Make all waiting items due; return the mark, or None if all items have already ended."""
        mark = self._batcher.barrier()
        return None if self._batcher.settled >= mark else mark

    def join(self, waiter: Waiter, mark: int) -> None:
        """Register a waiter; it is completed when ``settled`` has reached the ``mark``."""
        self.marks[waiter] = mark

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter, whether or not it was completed."""
        self.marks.pop(waiter, None)

    def answer(self) -> None:
        """Complete the waiters whose marks are reached.

        The marks never decrease in the order of the calls of flush(). So the search ends at the
        first mark that is not reached.
        """
        settled = self._batcher.settled
        for waiter, mark in self.marks.items():
            if mark > settled:
                return
            wake(waiter)
