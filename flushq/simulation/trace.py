"""The result of a simulation: a Trace with flushes, displacements and events. All are frozen."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import starmap
from typing import overload

import attrs

from flushq.policy import Decision


@attrs.frozen
class SimulatedFlush:
    """One flush of a trace.

    Attributes:
        started: The time at which the flush started, in seconds.
        ended: The time at which the flush ended, in seconds.
        size: The number of items in the flush.
        reason: The reason why the flush was started.
        oldest: The time at which the oldest item of the flush was accepted, in seconds.
        attempts: The number of calls of flush_fn.
        dropped: How many items of the flush were dropped.
        in_doubt: How many items of the flush were lost because the queue failed.
        partition: The key of the partition; None without partitions.
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
        """How many items of the flush were delivered."""
        return self.size - self.dropped - self.in_doubt


@attrs.frozen
class Displacement:
    """The displacement of one item by a full queue.

    Attributes:
        now: The time at which the item was displaced, in seconds.
        item: The index of the item in the arrivals, from 0.
    """

    now: float
    item: int


@attrs.frozen
class Event:
    """One event that the policy was told of, and the decision that the policy returned.

    With partitions, each partition has a copy of the policy. A copy is told only of the events of
    its partition.

    Attributes:
        now: The time of the event, in seconds.
        name: ``item_added``, ``flush_started``, ``flush_done`` or ``tick``.
        count: The number of items that came, or that are in the flush; 0 for a tick.
        weight: The total weight of the items; 0 for flush_done and tick.
        decision: The decision that the policy returned.
        partition: The key of the partition; None without partitions.
    """

    now: float
    name: str
    count: int
    weight: float
    decision: Decision
    partition: Hashable = None


Facts = tuple[float, str, int, float, Decision, Hashable]
"""The fields of an Event."""


@attrs.frozen(eq=False, repr=False)
class Events(Sequence[Event]):
    """A sequence of events; each :class:`Event` is created only when it is read."""

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
    """The record of one simulation.

    Each item that arrives is in the end delivered, dropped, displaced, lost, stranded or refused. A
    lost item is in doubt (its flush failed) or undelivered.

    Attributes:
        flushes: All flushes, in the order of their starts.
        events: All events that the policy was told of, with the decisions of the policy.
        stranded: The number of items that still wait at the end, with no flush scheduled.
        undelivered: The number of items that waited when a failure ended the queue.
        refused: The number of items that were not accepted because the queue closed or failed
            before they arrived, or before there was room.
        blocked: The number of producers that waited in line for room.
        displacements: All displacements, in the order of their times.
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
        """The number of items that were delivered."""
        return sum(flush.delivered for flush in self.flushes)

    @property
    def dropped(self) -> int:
        """The number of items that were dropped."""
        return sum(flush.dropped for flush in self.flushes)

    @property
    def displaced(self) -> int:
        """The number of items that were displaced."""
        return len(self.displacements)

    @property
    def lost(self) -> int:
        """The number of items that were lost by a failure: in doubt or undelivered."""
        return self.undelivered + sum(flush.in_doubt for flush in self.flushes)
