"""The facts that a policy decides by: what waits, since when, and what runs.

Theory of operation. A queue is told of its arrivals in bursts, and what a policy needs to know of
them is how many wait and when the oldest came. So :class:`QueueState` holds the bursts that are
still pending, as (time, count) pairs in order of arrival; two bursts of the same time are one. A
flush takes from the front, possibly a part of a burst, so ``oldest`` stays exact. They are in a
list, which takes a tenth of the memory of a deque: a queue with partitions has many states. It
follows that n arrivals at one time leave the same state behind whether they are told one by one or
at once, and a policy whose decisions depend on the state alone cannot tell the difference.
"""

import math

import attrs

from flushq.arguments import check_count


@attrs.define
class QueueState:
    """The facts that a policy decides by. The base class keeps them; a subclass only reads.

    An event that cannot have happened is refused, as of a FlushPolicy, and leaves the state as it
    was. ``note_item_added`` and the like check nothing: they are for a queue, which tells only what
    has happened.

    Attributes:
        pending: Items that wait.
        weight: Their weights, summed; 0 if the queue does not weigh its items.
        oldest: When the oldest pending item arrived; inf when nothing is pending.
        in_flight: Flushes that run.
        max_in_flight: Flushes that may run at a time.
    """

    max_in_flight: int = 1
    pending: int = attrs.field(default=0, init=False)
    weight: float = attrs.field(default=0, init=False)
    oldest: float = attrs.field(default=math.inf, init=False)
    in_flight: int = attrs.field(default=0, init=False)
    _now: float = attrs.field(default=-math.inf, init=False)
    _bursts: list[tuple[float, int]] = attrs.field(factory=list, init=False)

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> None:
        """``count`` items, of ``weight`` in all, have arrived."""
        self._check(now, count, weight)
        self.note_item_added(now, count, weight)

    def note_item_added(self, now: float, count: int, weight: float) -> None:
        """As :meth:`item_added`, unchecked."""
        bursts = self._bursts
        if not bursts:
            self.oldest = now
            bursts.append((now, count))
        elif bursts[-1][0] == now:
            bursts[-1] = (now, bursts[-1][1] + count)
        else:
            bursts.append((now, count))
        self._now = now
        self.pending += count
        self.weight += weight

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """``count`` of the oldest items, of ``weight`` in all, left the queue for a flush."""
        self._check(now, count, weight)
        if count > self.pending:
            raise ValueError(f"cannot start a flush of {count} items: {self.pending} are pending")
        if self.in_flight >= self.max_in_flight:
            raise ValueError(
                f"cannot start a flush: {self.in_flight} of {self.max_in_flight} are in flight"
            )
        self.note_flush_started(now, count, weight)

    def note_flush_started(self, now: float, count: int, weight: float) -> None:
        """As :meth:`flush_started`, unchecked."""
        self._now = now
        self.in_flight += 1
        self.pending -= count
        if self.pending:
            self._take(count)
            self.weight = max(self.weight - weight, 0)
        else:
            self._bursts.clear()
            self.oldest, self.weight = math.inf, 0

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> None:
        """A flush of ``count`` items has ended, after ``seconds``, with whatever ``error``."""
        self._check(now, count, seconds)
        if self.in_flight == 0:
            raise ValueError(f"cannot end a flush of {count} items: none is in flight")
        self.note_flush_done(now)

    def note_flush_done(self, now: float, *_: object) -> None:
        """As :meth:`flush_done`, unchecked."""
        self._now = now
        self.in_flight -= 1

    def tick(self, now: float) -> None:
        """Time has come to ``now``."""
        self._check(now)
        self.note_tick(now)

    def note_tick(self, now: float) -> None:
        """As :meth:`tick`, unchecked."""
        self._now = now

    # What a full queue does, and merging, are no events: the facts are corrected where they change.

    def displaced(self, count: int, weight: float) -> None:
        """``count`` of the oldest items, of ``weight`` in all, left the queue."""
        self.note_flush_started(self._now, count, weight)
        self.in_flight -= 1  # they left as for a flush, but for none

    def reweighed(self, change: float) -> None:
        """An item that waits weighs so much more, or less."""
        self.weight = max(self.weight + change, 0)

    @property
    def arrivals(self) -> tuple[tuple[float, int], ...]:
        """When the pending items arrived: (time, items) pairs, oldest first, no time twice.

        A new tuple at each call, which takes time in proportion to its length; a policy that is
        asked often keeps sums of its own, and needs this when a flush has left a part behind.
        """
        return tuple(self._bursts)

    def _take(self, count: int) -> None:
        """Take items from the front, but not all."""
        bursts, gone = self._bursts, 0
        while count >= bursts[gone][1]:
            count -= bursts[gone][1]
            gone += 1
        self.oldest, waiting = bursts[gone]
        bursts[: gone + 1] = [(self.oldest, waiting - count)]

    def _check(self, now: float, count: int = 1, amount: float = 0.0) -> None:
        if not -math.inf < now < math.inf:
            raise ValueError(f"now must be finite, not {now!r}")
        if now < self._now:
            raise ValueError(f"now must not go back from {self._now!r} to {now!r}")
        if type(count) is not int or count < 1:
            check_count("count", count)
        if not 0 <= amount < math.inf:
            raise ValueError(f"weight and seconds must be finite and not negative, not {amount!r}")
