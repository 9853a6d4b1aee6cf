"""Fairness: other tasks of the event loop run even if a producer never suspends by itself.

A *burst* is a group of items that arrive between two passes of the queue (flushq.core.core). The
first of these items opens the burst, and the queue keeps the time of this item. In the next pass
the policy is told of the whole burst at once. After 512 items in a burst a producer *gives way*: it
lets other tasks run before its item comes in. Meanwhile a pass ends the burst.

If a producer waits until its item has ended (``deliver``), other tasks run during this wait. So
the item of this producer raises the limit of the burst by one.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.waitlist import WaitList

T = TypeVar("T")

BURST = 512
"""How many items may come before other tasks must run. (512 items take about 0.1 ms.)"""


class Fairness(Generic[T]):
    """The bursts in which items arrive at a queue.

    Attributes:
        waitlist: The line of producers that wait for room. It keeps an *owner* for each producer:
            the batch whose flush the producer is part of, or None.
        opened: The time of the first item of the open burst; None while no burst is open.
        on_burst_closed: The function to call when a burst was closed. It makes the next item open
            a new burst.
    """

    def __init__(self, batcher: Batcher[T], burst: float = BURST) -> None:
        self.waitlist: WaitList[Batch[T] | None] = WaitList()
        self.opened: float | None = None
        self.on_burst_closed: Callable[[], None] = lambda: None
        self._batcher = batcher
        self._usual_limit = self._limit = burst

    @property
    def must_give_way(self) -> bool:
        """Whether a producer must let other tasks run before its item comes in.

        This is true if the burst has reached its limit. It is also true for the first item of a
        queue that has not started: a task for run() that the user has just made can begin first.
        """
        if self._batcher.burst_size >= self._limit:
            return True
        return not self._batcher.started and self._batcher.buffer.next_number == 0

    def open_burst(self, now: float) -> None:
        """Open a burst: its first item arrives at ``now``."""
        self.opened = now

    def prolong_burst(self) -> None:
        """Allow one more item in this burst, because a producer waits until its item has ended."""
        self._limit += 1

    def tell_burst(self) -> None:
        """Tell the policy of the items of the open burst, before it is told of other events.

        The burst stays open while producers that were given room have not run yet. So the items of
        these producers get the time when the burst was opened, not a later time.
        """
        if self.opened is None:
            return
        opened, self._limit = self.opened, self._usual_limit
        if not self.waitlist.reserved:
            self.opened = None
            self.on_burst_closed()
        self._batcher.announce(opened)
