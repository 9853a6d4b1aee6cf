"""Rules of partitions, each broken in one way: the sessions must find each of them."""

import math
from collections.abc import Hashable
from typing import Any

from flushq.core.batch import Batch
from flushq.core.batcher import PRESSURE, Batcher
from flushq.core.core import Core
from flushq.core.partition import Partition
from flushq.core.partitioned_batcher import PartitionedBatcher
from flushq.core.partitioned_buffer import PartitionedBuffer
from flushq.core.running_policy import RunningPolicy
from flushq.policy import Flush

# ruff: noqa: SLF001 - the broken members are private

AnyBatcher = PartitionedBatcher[Any]
AnyPartition = Partition[Any]

START_FLUSH = PartitionedBatcher.start_flush
UPDATE_OR_REMOVE = PartitionedBatcher._update_or_remove
PLACE = PartitionedBatcher._place
MOVE = PartitionedBatcher._move
DUE = PartitionedBatcher.due
MEASURE = PartitionedBuffer.measure


# The line.


def _stay_first(batcher: AnyBatcher, due: Flush, now: float) -> Batch[Any] | None:
    partition: Any = batcher._chosen
    batch = START_FLUSH(batcher, due, now)
    if partition in batcher.line:
        batcher.line.move_to_end(partition, last=False)
    return batch


def _come_first(batcher: AnyBatcher, partition: AnyPartition, *, is_in_line: bool) -> None:
    MOVE(batcher, partition, is_in_line=is_in_line)
    if is_in_line:
        batcher.line.move_to_end(partition, last=False)


def _last_in_line(batcher: AnyBatcher, *, pressed: bool = False) -> Flush | None:
    due = DUE(batcher, pressed=pressed)
    if not batcher.line or due is None:
        return due
    batcher._chosen = next(reversed(batcher.line))
    return batcher._reason_of(batcher._chosen)


def _line_up_again(batcher: AnyBatcher, partition: AnyPartition) -> None:
    """Move a partition to the end of the line at every event."""
    PLACE(batcher, partition)
    if partition in batcher.line:
        batcher.line.move_to_end(partition)


def _never_leave(batcher: AnyBatcher, partition: AnyPartition) -> None:
    """Keep a partition in line when its policy no longer answers a Flush."""
    was_in_line, policy = partition.is_in_line, partition.policy
    PLACE(batcher, partition)
    if was_in_line and not partition.is_in_line and policy is not None and policy.may_flush:
        MOVE(batcher, partition, is_in_line=True)


def _end_without_a_place(batcher: AnyBatcher, batch: Batch[Any], now: float) -> None:
    partition = batcher._partition_of.pop(batch)
    partition.running -= 1
    Batcher.end_flush(batcher, batch, now)
    if not (partition.numbers or partition.running):
        UPDATE_OR_REMOVE(batcher, partition)


# Pressure.


def _pressure_first(batcher: AnyBatcher, *, pressed: bool = False) -> Flush | None:
    due = DUE(batcher, pressed=pressed)
    oldest = batcher._oldest_below_limit() if pressed and due is not None else None
    if oldest is None:
        return due
    batcher._chosen = oldest
    return PRESSURE


def _newest_below_limit(batcher: AnyBatcher) -> AnyPartition | None:
    told = [each for each in batcher._items.partitions.values() if each.first < math.inf]
    below = [each for each in told if each.running < batcher._limit]
    return max(below, key=lambda partition: partition.first, default=None)


# The state of partitions.


class _Anywhere(tuple[Hashable, Hashable]):
    """The partition and the key of an item; two of them are equal if their keys are equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and bool(self[1] == other[1])

    def __hash__(self) -> int:
        return hash(self[1])


def _measure_anywhere(buffer: PartitionedBuffer[Any], item: Any) -> tuple[Any, float]:
    keys, weight = MEASURE(buffer, item)
    return _Anywhere(keys), weight


def _take_all_unsorted(buffer: PartitionedBuffer[Any]) -> tuple[list[int], list[Any]]:
    numbers: list[int] = []
    items: list[Any] = []
    for partition in buffer.partitions.values():
        taken = buffer._take(partition, len(partition.numbers))
        numbers += taken[0]
        items += taken[1]
    return numbers, items


def _tick_one(core: Core[Any]) -> None:
    """Tell only one partition the time."""
    now, core.timer_fired = core.timer_fired, -math.inf
    OBSERVE(core)
    if core.batcher.wake_at <= now:
        core.batcher.tick(now)


OBSERVE = Core.observe


def _wake_beside_a_slot(batcher: AnyBatcher) -> float:
    return WAKE_AT.__get__(batcher) if Batcher.has_free_slot.__get__(batcher) else math.inf


WAKE_AT: Any = PartitionedBatcher.wake_at


def _open_with_the_template(batcher: AnyBatcher, partition: AnyPartition) -> RunningPolicy:
    batcher._resting[partition] = None
    partition.policy = batcher.policy
    return batcher.policy


def _settled_by_the_first(batcher: AnyBatcher) -> int:
    return next((batch.first_unended for batch in batcher.running), batcher._first_waiting)


def _keep_telling(batcher: AnyBatcher, what: str, cause: BaseException | None) -> None:
    Batcher._fail_policy(batcher, what, cause)


PARTITION_SABOTAGES: dict[str, tuple[type, str, object]] = {
    # The line.
    "the line of partitions is last in, first out": (PartitionedBatcher, "due", _last_in_line),
    "a new partition goes to the head of the line": (PartitionedBatcher, "_move", _come_first),
    "a partition that has flushed stays at the head": (
        PartitionedBatcher,
        "start_flush",
        _stay_first,
    ),
    "a partition in line moves to its end at each event": (
        PartitionedBatcher,
        "_place",
        _line_up_again,
    ),
    "a partition that is no longer due stays in line": (
        PartitionedBatcher,
        "_place",
        _never_leave,
    ),
    "a partition below its limit again gets no place": (
        PartitionedBatcher,
        "end_flush",
        _end_without_a_place,
    ),
    "the limit of a partition is ignored": (
        RunningPolicy,
        "may_flush",
        property(lambda self: self.pending > 0),
    ),
    "barriers put no partition in line": (PartitionedBatcher, "barrier", Batcher.barrier),
    "the drain puts no partition in line": (PartitionedBatcher, "drain", Batcher.drain),
    # Pressure.
    "pressure comes before due partitions": (PartitionedBatcher, "due", _pressure_first),
    "pressure flushes the newest": (
        PartitionedBatcher,
        "_oldest_below_limit",
        _newest_below_limit,
    ),
    "a deadlock of full partitions is never found": (
        PartitionedBatcher,
        "has_free_slot",
        Batcher.has_free_slot,
    ),
    # The state of partitions.
    "partitions are never removed": (PartitionedBuffer, "close", lambda *_: None),
    "partitions are removed while a flush runs": (
        Partition,
        "running",
        property(lambda _: 0, lambda *_: None),
    ),
    "timers of partitions are forgotten": (
        PartitionedBatcher,
        "wake_at",
        property(lambda _: math.inf),
    ),
    "one partition alone is told the time": (Core, "observe", _tick_one),
    "no policy is asked while no slot is free": (
        PartitionedBatcher,
        "wake_at",
        property(_wake_beside_a_slot),
    ),
    "all partitions share one policy": (PartitionedBatcher, "_open", _open_with_the_template),
    "copies of a failed policy are still told events": (
        PartitionedBatcher,
        "_fail_policy",
        _keep_telling,
    ),
    "duplicates are found across partitions": (
        PartitionedBuffer,
        "measure",
        _measure_anywhere,
    ),
    "losses of partitions are not sorted": (
        PartitionedBuffer,
        "take_all",
        _take_all_unsorted,
    ),
    "the age of the oldest item is lost": (
        PartitionedBatcher,
        "oldest",
        property(lambda _: math.inf),
    ),
    "the numbers of a batch are a range": (
        Batch,
        "numbers",
        property(lambda self: range(self.first, self.first + self.count)),
    ),
    "barriers wait for one flush alone": (
        PartitionedBatcher,
        "settled",
        property(_settled_by_the_first),
    ),
}
"""The class and the name of each broken member, and its replacement."""
