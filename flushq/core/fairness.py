"""Fairness: a producer that never suspends by itself lets others run all the same.

Arrivals are told to the policy in *bursts*: the first item after a pass opens a burst and notes the
time. After 512 items a producer gives way, so that others run, and a pass begins the next burst. An
item whose producer is about to wait for its end makes the burst longer by one, since others run
then.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.waitlist import WaitList

T = TypeVar("T")

BURST = 512
"""How many items may come before others run: a tenth of a millisecond of the loop's time."""


class Fairness(Generic[T]):
    """The bursts of a queue.

    Attributes:
        waitlist: The producers in line for room, each with the flush that it is a part of.
        opened: When the burst was opened; None while it is not.
        on_burst_closed: Is called when the next item has to open a burst.
    """

    def __init__(self, batcher: Batcher[T], burst: float = BURST) -> None:
        self.waitlist: WaitList[Batch[T] | None] = WaitList()
        self.opened: float | None = None
        self.on_burst_closed: Callable[[], None] = lambda: None
        self._batcher = batcher
        self._usual_limit = self._limit = burst

    @property
    def must_give_way(self) -> bool:
        """Whether others are to run first.

        The burst is too long; or this is the first item of a queue that has not started, and a
        task of run() that was just made is to begin.
        """
        if self._batcher.burst_size >= self._limit:
            return True
        return not self._batcher.started and self._batcher.buffer.next_number == 0

    def open_burst(self, now: float) -> None:
        """The first item of a burst comes."""
        self.opened = now

    def prolong_burst(self) -> None:
        """An item came in whose producer lets others run by itself."""
        self._limit += 1

    def tell_burst(self) -> None:
        """Announce the arrivals, if there are any: before any other event, as they came first.

        The burst stays open for producers that were given room and have not run yet: what they
        bring has been here from the moment that they had room.
        """
        if self.opened is None:
            return
        opened, self._limit = self.opened, self._usual_limit
        if not self.waitlist.reserved:
            self.opened = None
            self.on_burst_closed()
        self._batcher.announce(opened)
