"""The barriers of flush(): a barrier is a number, and every item below it must have ended.

A barrier makes all items due that were accepted before it. All items have ended whose number is
below the first unended number of the oldest running batch. So the barrier is complete as soon as
this number has reached it. Items that come later are not waited for, even in the same batch.
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
        """Make all items accepted so far due; return the mark, or None if all have ended."""
        mark = self._batcher.barrier()
        return None if self._batcher.settled >= mark else mark

    def join(self, waiter: Waiter, mark: int) -> None:
        """Register a waiter, which is completed when every item below ``mark`` has ended."""
        self.marks[waiter] = mark

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter, whether or not it was completed."""
        self.marks.pop(waiter, None)

    def answer(self) -> None:
        """Complete the waiters whose mark is reached; later callers never have lower marks."""
        settled = self._batcher.settled
        for waiter, mark in self.marks.items():
            if mark > settled:
                return
            wake(waiter)
