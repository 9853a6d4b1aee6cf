"""The barriers of flush(): a call of flush() waits until every item below a number has ended.

This number, the *mark* of the barrier, is the number of the next item to come when flush() is
called. flush() makes all items below the mark due. ``Batcher.settled`` is the number below which
every item has ended; the barrier is complete when this number is not less than the mark. So items
that come after the call are not waited for, even if they are in the same batch.
"""

from typing import Generic, TypeVar

from flushq.core.batcher import Batcher
from flushq.core.waiter import Waiter, wake

T = TypeVar("T")


class Barriers(Generic[T]):
    """The callers of flush() that wait.

    Attributes:
        marks: The waiter of each caller, with the number below which every item must have ended.
    """

    __slots__ = ("_batcher", "marks")

    def __init__(self, batcher: Batcher[T]) -> None:
        self.marks: dict[Waiter, int] = {}
        self._batcher = batcher

    def set_barrier(self) -> int | None:
        """Make all waiting items due; return the mark, or None if every item has already ended."""
        mark = self._batcher.barrier()
        return None if self._batcher.settled >= mark else mark

    def join(self, waiter: Waiter, mark: int) -> None:
        """Register a waiter, which is completed when every item below ``mark`` has ended."""
        self.marks[waiter] = mark

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter, whether or not it was completed."""
        self.marks.pop(waiter, None)

    def answer(self) -> None:
        """Complete the waiters whose mark is reached.

        The first waiter whose mark is not reached ends the search: later marks are never lower.
        """
        settled = self._batcher.settled
        for waiter, mark in self.marks.items():
            if mark > settled:
                return
            wake(waiter)
