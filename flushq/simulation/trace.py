"""What a simulation returns: a Trace, with its flushes, displacements and events. All frozen."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import starmap
from typing import overload

import attrs

from flushq.policy import Decision


@attrs.frozen
class SimulatedFlush:
    """One flush of a trace.

    Attributes:
        started: When it started, in seconds.
        ended: When it ended.
        size: How many items it took.
        reason: Why it was started.
        oldest: When the oldest of its items was accepted.
        attempts: How many times flush_fn was called for it.
        dropped: How many of its items were dropped.
        in_doubt: How many of its items were lost because the queue failed.
        partition: The key of its partition; None without partitions.
    """

    started: float
    ended: float
    size: int
    reason: str
    oldest: float
    attempts: int = 1
    dropped: int = 0
    in_doubt: int = 0
    partition: Hashable = None

    @property
    def delivered(self) -> int:
        """How many of its items were delivered."""
        return self.size - self.dropped - self.in_doubt


@attrs.frozen
class Displacement:
    """One item that was displaced, as the queue was full.

    Attributes:
        now: When, in seconds.
        item: Which of the arrivals it is, counted from 0.
    """

    now: float
    item: int


@attrs.frozen
class Event:
    """One event that the policy was told, and its answer.

    With partitions, each runs a copy of the policy, and is told what is of the partition.

    Attributes:
        now: When, in seconds.
        name: ``item_added``, ``flush_started``, ``flush_done`` or ``tick``.
        count: How many items it was about; 0 for a tick.
        weight: What they weigh together; 0 for flush_done and tick.
        decision: What the policy answered.
        partition: The key of the partition; None without partitions.
    """

    now: float
    name: str
    count: int
    weight: float
    decision: Decision
    partition: Hashable = None


Facts = tuple[float, str, int, float, Decision, Hashable]
"""What an Event is made of."""


@attrs.frozen(eq=False, repr=False)
class Events(Sequence[Event]):
    """A sequence of events; each object is created only when it is read."""

    _told: list[Facts]

    def __len__(self) -> int:
        return len(self._told)

    def __iter__(self) -> Iterator[Event]:
        return starmap(Event, self._told)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        if isinstance(index, slice):
            return tuple(starmap(Event, self._told[index]))
        return Event(*self._told[index])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Events):
            return self._told == other._told
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


@attrs.frozen
class Trace:
    """What a policy did with a sequence of arrivals.

    Each arrival is delivered, dropped, displaced, lost, stranded or refused. An item that is lost
    is in doubt (a flush failed with it) or undelivered.

    Attributes:
        flushes: Every flush, in the order in which they started.
        events: Every event that the policy was told, with its decision.
        stranded: How many items are left with nothing scheduled to flush them.
        undelivered: How many items waited when a failure ended the queue.
        refused: How many items were not accepted, because the queue had closed or failed before
            they came or before there was room.
        blocked: How many producers stood in line for room.
        displacements: Every item that was displaced, in the order in which they were.
    """

    flushes: tuple[SimulatedFlush, ...]
    events: Sequence[Event]
    stranded: int
    undelivered: int = 0
    refused: int = 0
    blocked: int = 0
    displacements: tuple[Displacement, ...] = ()

    @property
    def delivered(self) -> int:
        """How many items were delivered."""
        return sum(flush.delivered for flush in self.flushes)

    @property
    def dropped(self) -> int:
        """How many items were dropped."""
        return sum(flush.dropped for flush in self.flushes)

    @property
    def displaced(self) -> int:
        """How many items were displaced."""
        return len(self.displacements)

    @property
    def lost(self) -> int:
        """How many items were lost by a failure: in doubt or undelivered."""
        return self.undelivered + sum(flush.in_doubt for flush in self.flushes)
