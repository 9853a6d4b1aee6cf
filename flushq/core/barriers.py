"""flush(): a barrier is a number, and every item below it must have ended.

A barrier makes all due that was accepted before it. The items that have ended are those below the
first item of the oldest running batch that has not, so it is complete as soon as that number has
reached it; what comes later is not waited for, even in the same batch.
"""

from typing import Generic, TypeVar

from flushq.core.batcher import Batcher
from flushq.core.waiter import Waiter, wake

T = TypeVar("T")


class Barriers(Generic[T]):
    """Callers of flush().

    Attributes:
        marks: Those who wait, each with the number below which every item must have ended.
    """

    __slots__ = ("_batcher", "marks")

    def __init__(self, batcher: Batcher[T]) -> None:
        self.marks: dict[Waiter, int] = {}
        self._batcher = batcher

    def raise_barrier(self) -> int | None:
        """Make due what was accepted by now; return the mark. None: all of it has ended."""
        mark = self._batcher.barrier()
        return None if self._batcher.settled >= mark else mark

    def join(self, waiter: Waiter, mark: int) -> None:
        """Complete the waiter when every item below ``mark`` has ended."""
        self.marks[waiter] = mark

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        self.marks.pop(waiter, None)

    def answer(self) -> None:
        """Complete the waiters whose mark is reached; marks never decrease."""
        settled = self._batcher.settled
        for waiter, mark in self.marks.items():
            if mark > settled:
                return
            wake(waiter)
