"""Whose turn it is, as the model has it: which partitions are due, and whose policy hears next."""

import copy
import math
from collections import deque
from collections.abc import Iterable

import attrs

from flushq import Flush, Wait
from tests.core_sessions.flights import Cause, Entry, Flight
from tests.core_sessions.partitions import COPIED, PolicyEvent, Partition
from tests.core_sessions.room import Room
from tests.core_sessions.starts import Starts


@attrs.define(eq=False, kw_only=True)
class Turns(Room):
    """The partitions, and the copies of the policy.

    Attributes:
        heard: What the copies of the policy were heard to hear and answer, to be compared and used
            up.
        complaints: What they heard that they must not, with the point of the contract.
        copies: The numbers of those that were heard.
        partitions: Those that exist; without keys there is one, for good.
        due: Those of them that are due and below their limit, the first in line first; those that
            came at one moment stand together.
        running: The flushes that have not ended.
        mark: How many items are due since somebody waits for their end.
        started, closing, stopped: How far the queue has come.
        starts: When calls may start.
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
        """Those of its items that wait and that its policy was told of."""
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
        """Whether it is to stand in line."""
        told = self._told(partition)
        if not told or not self._is_below_limit(partition):
            return False
        must = self.closing or told[0].number < self.mark
        return must or isinstance(partition.decision, Flush)

    def _line_up(self) -> None:
        """A moment is over: who is not due any more leaves the line, others come to its end."""
        self.partitions = [each for each in self.partitions if self._exists(each)]
        due = [each for each in self.partitions if self._is_due(each)]
        line = [[each for each in group if each in due] for group in self.due]
        come = [each for each in due if not any(each in group for group in line)]
        self.due = [group for group in (*line, come) if group]

    def _next_to_flush(self) -> Partition | None:
        """The first in line; only if nobody is, under pressure, that of the oldest item."""
        if self.due:
            return self._next_to_tell(self.due[0])
        if not self.is_pressed:
            return None
        told = (entry.partition for entry in self.waiting if entry.since is not None)
        return next(filter(self._is_below_limit, told), None)

    def _reason_of(self, partition: Partition) -> tuple[str, int | None]:
        """Why it flushes, and how many items at most."""
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
        """Whether there is a slot, and something waits that may have it."""
        waiting = any(self._is_below_limit(entry.partition) for entry in self.waiting)
        return waiting and len(self.running) < self.limits.max_in_flight

    @property
    def _may_press(self) -> bool:
        """Whether a flush may start for those who wait for room."""
        return self._may_start and self.starts.may_start

    # What policies hear.

    @property
    def wake_at(self) -> float:
        """When a policy is to be asked again."""
        return min(map(self._wake_at, self.partitions), default=math.inf)

    def _wake_at(self, partition: Partition) -> float:
        """While it may start another flush, its policy is asked, whoever has the slots."""
        decision = partition.decision
        if not isinstance(decision, Wait) or not self.started or self.stopped:
            return math.inf
        may_flush = self._is_below_limit(partition) and self._told(partition)
        return decision.until if may_flush else math.inf

    def _next_to_tell(self, partitions: Iterable[Partition]) -> Partition:
        """Of those that may hear next, in any order, the one that was heard to do so.

        A new copy belongs to a partition that has none, which is the first of those.
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
