"""The order of partitions in the model: which are due, and which policy is told next."""

import copy
import math
from collections import deque
from collections.abc import Iterable

import attrs

from flushq import Flush, Wait
from tests.core_sessions.flights import Cause, Entry, Flight
from tests.core_sessions.partitions import COPIED, Partition, PolicyEvent
from tests.core_sessions.room import Room
from tests.core_sessions.starts import Starts


@attrs.define(eq=False, kw_only=True)
class Turns(Room):
    """The partitions, and the copies of the policy.

    Attributes:
        policy_events: The recorded events and answers of the copies of the policy. The model
            compares each with its own, and removes it.
        complaints: The wrong events, each with the point of the contract.
        copies: The numbers of the copies that have recorded an event.
        partitions: The partitions that exist; a queue without keys always has one.
        due: The partitions that are due and below their limit, in groups, the first in line first;
            those of one group became due at the same moment.
        running: The flushes that have not ended.
        mark: How many items are due because a barrier waits for them.
        started, closing, stopped: The state of the queue.
        starts: The rules for the start of calls.
    """

    policy_events: deque[PolicyEvent]
    now: float = 0.0
    complaints: list[tuple[int | str, str]] = attrs.field(factory=list)
    copies: set[int] = attrs.field(factory=set)
    partitions: list[Partition] = attrs.field(factory=list)
    due: list[list[Partition]] = attrs.field(factory=list)
    running: list[Flight] = attrs.field(factory=list)
    mark: int = 0
    started: bool = False
    closing: bool = False
    stopped: bool = False
    starts: Starts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.starts = Starts(copy.deepcopy(self.limits.throttle), lambda: self.now)

    def _told(self, partition: Partition) -> list[Entry]:
        """Return the waiting items of a partition that its policy was told of."""
        mine = (entry for entry in self.waiting if entry.partition is partition)
        return [entry for entry in mine if entry.since is not None]

    def _is_below_limit(self, partition: Partition) -> bool:
        running = [flight for flight in self.running if flight.partition == partition.key]
        return len(running) < self.limits.partition_slots

    def _exists(self, partition: Partition) -> bool:
        keys = [entry.item.partition for entry in self.waiting]
        keys += [flight.partition for flight in self.running]
        return partition.key in keys or not self.limits.partitioned

    def _is_due(self, partition: Partition) -> bool:
        """Return whether a partition must stand in line."""
        told = self._told(partition)
        if not told or not self._is_below_limit(partition):
            return False
        must = self.closing or told[0].number < self.mark
        return must or isinstance(partition.decision, Flush)

    def _line_up(self) -> None:
        """Remove partitions that are no longer due from the line, and add new ones at its end."""
        self.partitions = [each for each in self.partitions if self._exists(each)]
        due = [each for each in self.partitions if self._is_due(each)]
        line = [[each for each in group if each in due] for group in self.due]
        come = [each for each in due if not any(each in group for group in line)]
        self.due = [group for group in (*line, come) if group]

    def _next_to_flush(self) -> Partition | None:
        """Return the first partition in line, or under pressure, if none is, the oldest one."""
        if self.due:
            return self._next_to_tell(self.due[0])
        if not self.is_pressed:
            return None
        told = (entry.partition for entry in self.waiting if entry.since is not None)
        return next(filter(self._is_below_limit, told), None)

    def _reason_of(self, partition: Partition) -> tuple[str, int | None]:
        """Return the reason for a flush of a partition, and the most items that it may take."""
        if self.closing:
            return "drain", None
        if self._told(partition)[0].number < self.mark:
            return "flush", None
        decision = partition.decision
        if isinstance(decision, Flush):
            return decision.reason, decision.up_to
        return "pressure", None

    @property
    def _has_free_slot(self) -> bool:
        free = len(self.running) < self.limits.max_in_flight
        return free and self.started and not self.stopped

    @property
    def _may_start(self) -> bool:
        """Whether there is a free slot, and an item waits that may have it."""
        waiting = any(self._is_below_limit(entry.partition) for entry in self.waiting)
        return waiting and len(self.running) < self.limits.max_in_flight

    @property
    def _may_press(self) -> bool:
        """Whether a flush may start because producers wait for room."""
        return self._may_start and self.starts.may_start

    # The events of policies.

    @property
    def wake_at(self) -> float:
        """The time at which a policy must be asked again."""
        return min(map(self._wake_at, self.partitions), default=math.inf)

    def _wake_at(self, partition: Partition) -> float:
        """Return when its policy must be asked: below its limit only, even if no slot is free."""
        decision = partition.decision
        if not isinstance(decision, Wait) or not self.started or self.stopped:
            return math.inf
        may_flush = self._is_below_limit(partition) and self._told(partition)
        return decision.until if may_flush else math.inf

    def _next_to_tell(self, partitions: Iterable[Partition]) -> Partition:
        """Return the partition whose policy was told next, of those that may come in any order.

        A new copy belongs to the first partition that has no copy.
        """
        candidates = list(partitions)
        copy = self.policy_events[0].copy if self.policy_events else None
        known = [each for each in candidates if each.copy == copy]
        new = [each for each in candidates if each.copy is None]
        return (known or new or candidates)[0]

    def _check_event(
        self, recorded: PolicyEvent, partition: Partition, right: tuple[Cause, ...]
    ) -> None:
        if recorded.copy != partition.copy:
            text = f"policy {recorded.copy} was told {recorded.event}, not policy {partition.copy}"
            self.complaints.append(("P4", text))
        elif recorded.event[0] != COPIED and recorded.event != right:
            self.complaints.append((13, f"the policy was told {recorded.event}, not {right}"))
