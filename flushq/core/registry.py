"""Those who wait for a barrier or for the end of the queue.

A *registry* is what a driver hands a waiter to: ``join(waiter, ...)`` when its caller begins to
wait, ``leave(waiter)`` in the step in which the caller goes on, however it goes on. The line of
producers (flushq.core.waitlist) and the completion of an item (flushq.core.receipts) are others.
"""

from flushq.core.waiter import Waiter, wake


class Barriers:
    """Callers of flush(): each waits until all items below a number, its mark, have ended.

    Attributes:
        marks: Those who wait, with their marks.
    """

    def __init__(self) -> None:
        self.marks: dict[Waiter, int] = {}

    def join(self, waiter: Waiter, mark: int) -> None:
        """Complete the waiter when every item below ``mark`` has ended."""
        self.marks[waiter] = mark

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        del self.marks[waiter]

    def answer(self, settled: int) -> None:
        """Every item below ``settled`` has ended. Later barriers have higher marks."""
        for waiter, mark in self.marks.items():
            if mark > settled:
                return
            wake(waiter)


class Closers:
    """Callers that wait for the end.

    Attributes:
        owned: Whether an owner has waited: a caller that runs the queue.
    """

    def __init__(self) -> None:
        self.owned = False
        self._waiters: dict[Waiter, None] = {}

    def join(self, waiter: Waiter, is_owner: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        """Complete the waiter when the queue has ended."""
        self.owned |= is_owner
        self._waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        del self._waiters[waiter]

    def answer(self) -> None:
        """The queue has ended."""
        for waiter in self._waiters:
            wake(waiter)
