"""The heap finds the partition with the least number, and keeps few outdated entries."""

import math

from hypothesis import given
from hypothesis import strategies as st

from flushq.core.partition import Partition
from flushq.core.partition_heap import PartitionHeap


def partitions_of(count: int) -> list[Partition[int]]:
    """Return ``count`` partitions, whose keys are their numbers."""
    return [Partition(number, has_keys=False, has_weights=False) for number in range(count)]


@given(
    changes=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 2.0, 3.0, math.inf]))),
    popped=st.sets(st.integers(0, 30)),
)
def test_the_first_is_that_with_the_least_number(
    changes: list[tuple[int, float]], popped: set[int]
) -> None:
    """``first`` is the partition with the least number, after any changes, pops and pushes."""
    partitions = partitions_of(4)
    heap = PartitionHeap[int](lambda partition: partition.alarm, partitions)
    for at, (number, alarm) in enumerate(changes):
        partitions[number].alarm = alarm
        heap.push(partitions[number])
        first, least = heap.first, min(each.alarm for each in partitions)
        assert least == (math.inf if first is None else first.alarm)
        if at in popped and first is not None:
            heap.pop()
            heap.push(first)


def test_what_is_not_true_any_more_is_left_out_when_it_is_more_than_half() -> None:
    """If more than half of the entries are outdated, a push keeps only the current ones."""
    partitions = partitions_of(100)
    heap = PartitionHeap[int](lambda partition: partition.alarm, partitions)
    for change in range(2 * 100 + 64):
        partition = partitions[change % 100]
        partition.alarm = float(37 * (change % 100) % 100)
        heap.push(partition)
    assert 264 == len(heap._entries)  # noqa: SLF001 - the entries are private
    heap.push(partitions[64])
    assert 100 == len(heap._entries)  # noqa: SLF001 - the entries are private
    found = []
    while (first := heap.first) is not None:
        found.append(first.alarm)
        first.alarm = math.inf
    assert [float(number) for number in range(100)] == found


def test_it_is_trimmed_when_partitions_are_gone() -> None:
    """``trim`` removes outdated entries when partitions are removed."""
    partitions = partitions_of(1000)
    heap = PartitionHeap[int](lambda partition: partition.alarm, partitions)
    for partition in partitions:
        partition.alarm = 1.0
        heap.push(partition)
    while partitions:
        partitions.pop(0).alarm = math.inf
        heap.trim()
        assert len(heap._entries) <= 2 * len(partitions) + 64  # noqa: SLF001 - the entries are private


def test_a_heap_that_is_cleared_knows_none() -> None:
    """A heap that is cleared has no first partition."""
    (partition,) = partitions_of(1)
    heap = PartitionHeap[int](lambda _: 1.0, [partition])
    heap.push(partition)
    heap.clear()
    assert heap.first is None
