"""The facts that a policy uses to decide: the waiting items, their age, the running flushes.

Theory of operation. A queue tells its policy of one burst after the other. A burst is a group of
items that arrived at the same time. A policy needs to know how many items wait and when the oldest
of them arrived. So :class:`QueueState` keeps a (time, count) pair for each burst with items that
still wait. The pairs are in order of arrival. Bursts with the same time share one pair. So n
arrivals at one time lead to the same state, whether the policy is told of them one by one or all
together. A policy whose decisions depend only on the state decides the same in both cases. A flush
takes the oldest items first, and may take a part of a burst. So the time of the first pair is
always the arrival time of the oldest waiting item (``oldest``). The pairs are in a list, because a
short list needs about a tenth of the memory of a short deque, and a queue with partitions has many
states: one for each partition.
"""

import math

import attrs

from flushq.arguments import check_count


@attrs.define
class QueueState:
    """The facts that a policy uses to decide: FlushPolicy updates them, its subclasses read them.

    If a state is told of an event that cannot have happened, it raises an exception and does not
    change. (A FlushPolicy does the same.) The ``note_`` methods, such as ``note_item_added``, check
    nothing: only a queue calls these methods, and only for events that have happened.

    Attributes:
        pending: The number of items that wait.
        weight: The total weight of the items that wait; 0 if the queue does not weigh its items.
        oldest: The time at which the oldest pending item arrived; inf if nothing is pending.
        in_flight: The number of flushes that run.
        max_in_flight: The most flushes that may run at a time.
    """

    max_in_flight: int = 1
    pending: int = attrs.field(default=0, init=False)
    weight: float = attrs.field(default=0, init=False)
    oldest: float = attrs.field(default=math.inf, init=False)
    in_flight: int = attrs.field(default=0, init=False)
    _now: float = attrs.field(default=-math.inf, init=False)
    _bursts: list[tuple[float, int]] = attrs.field(factory=list, init=False)

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> None:
        """Record the arrival of ``count`` items with the total weight ``weight``."""
        self._check(now, count, weight)
        self.note_item_added(now, count, weight)

    def note_item_added(self, now: float, count: int, weight: float) -> None:
        """Do the same as :meth:`item_added`, without checks."""
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
        """Record that a flush has taken the ``count`` oldest items, of total weight ``weight``."""
        self._check(now, count, weight)
        if count > self.pending:
            raise ValueError(
                f"cannot start a flush of {count} items: only {self.pending} are pending"
            )
        if self.in_flight >= self.max_in_flight:
            raise ValueError(
                f"cannot start a flush: {self.in_flight} of {self.max_in_flight} slots are taken"
            )
        self.note_flush_started(now, count, weight)

    def note_flush_started(self, now: float, count: int, weight: float) -> None:
        """Do the same as :meth:`flush_started`, without checks."""
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
        """Record that a flush of ``count`` items has ended, with or without an ``error``."""
        self._check(now, count, seconds)
        if self.in_flight == 0:
            raise ValueError(f"cannot end a flush of {count} items: no flush is in flight")
        self.note_flush_done(now)

    def note_flush_done(self, now: float, *_: object) -> None:
        """Do the same as :meth:`flush_done`, without checks."""
        self._now = now
        self.in_flight -= 1

    def tick(self, now: float) -> None:
        """Record that the time is ``now``."""
        self._check(now)
        self.note_tick(now)

    def note_tick(self, now: float) -> None:
        """Do the same as :meth:`tick`, without checks."""
        self._now = now

    # A policy is not told of displaced or merged items: the next two methods correct the facts.

    def displaced(self, count: int, weight: float) -> None:
        """Remove the ``count`` oldest items, of total weight ``weight``: they were displaced."""
        self.note_flush_started(self._now, count, weight)
        self.in_flight -= 1  # because no flush has started

    def reweighed(self, change: float) -> None:
        """Add ``change``, which may be negative, to the weight: a merge changed a waiting item."""
        self.weight = max(self.weight + change, 0)

    @property
    def arrivals(self) -> tuple[tuple[float, int], ...]:
        """The arrivals of the pending items: (time, count) pairs, oldest first; all times differ.

        Each access makes a new tuple, which takes time in proportion to its length. So a policy
        should not read ``arrivals`` at each event. It should itself keep the sums that it needs,
        and read ``arrivals`` only after a flush has started and has not taken all items.
        """
        return tuple(self._bursts)

    def _take(self, count: int) -> None:
        """Remove the ``count`` oldest items from the bursts; at least one item must stay there."""
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
            raise ValueError(f"weight and seconds must be finite and at least 0, not {amount!r}")
