"""Fairness: others run, too, even if a producer never suspends by itself.

Arrivals are announced to the policy in *bursts*. The first item after a pass opens a burst, and the
time of this item is kept. After 512 items a producer gives way, so that others run, and a pass
begins the next burst. If a producer waits for the end of its item, others run during this wait. So
such an item does not use up the burst: it raises the limit of the burst by one.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.waitlist import WaitList

T = TypeVar("T")

BURST = 512
"""The number of items that may come before others must run: about 0.1 ms of the event loop."""


class Fairness(Generic[T]):
    """The bursts in which items arrive at a queue.

    Attributes:
        waitlist: The line of producers that wait for room. The owner of a producer is the flush in
            which it runs, or None.
        opened: The time of the first item of the open burst; None while no burst is open.
        on_burst_closed: The function to call when the next item must open a new burst.
    """

    def __init__(self, batcher: Batcher[T], burst: float = BURST) -> None:
        self.waitlist: WaitList[Batch[T] | None] = WaitList()
        self.opened: float | None = None
        self.on_burst_closed: Callable[[], None] = lambda: None
        self._batcher = batcher
        self._usual_limit = self._limit = burst

    @property
    def must_give_way(self) -> bool:
        """Whether a producer must let others run before its item comes in.

        This is so when the burst has reached its limit. It is also so for the first item of a queue
        that has not started, so that a task of run() that was just made can begin.
        """
        if self._batcher.burst_size >= self._limit:
            return True
        return not self._batcher.started and self._batcher.buffer.next_number == 0

    def open_burst(self, now: float) -> None:
        """Open a burst: its first item comes at ``now``."""
        self.opened = now

    def prolong_burst(self) -> None:
        """Allow one more item in this burst, because a producer waits and so lets others run."""
        self._limit += 1

    def tell_burst(self) -> None:
        """Announce the arrivals of the burst to the policy; it must come before other events.

        The burst stays open while producers that were given room have not run yet. So their items
        count as arrived when the burst was opened, not when these producers run.
        """
        if self.opened is None:
            return
        opened, self._limit = self.opened, self._usual_limit
        if not self.waitlist.reserved:
            self.opened = None
            self.on_burst_closed()
        self._batcher.announce(opened)
