"""The heap knows the partition with the least number, and keeps few that it does not need."""

import math

from hypothesis import given
from hypothesis import strategies as st

from flushq.core.partition import Partition
from flushq.core.partition_heap import PartitionHeap


def partitions_of(count: int) -> list[Partition[int]]:
    """So many partitions, by number."""
    return [Partition(number, has_keys=False, has_weights=False) for number in range(count)]


@given(
    changes=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 2.0, 3.0, math.inf]))),
    popped=st.sets(st.integers(0, 30)),
)
def test_the_first_is_that_with_the_least_number(
    changes: list[tuple[int, float]], popped: set[int]
) -> None:
    """However often their numbers change; one that was taken out is, until it is pushed again."""
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


def test_what_is_not_true_any_more_is_left_out() -> None:
    """Both when numbers change, and when partitions are gone, at most half of the entries stay."""
    partitions = partitions_of(500)
    heap = PartitionHeap[int](lambda partition: partition.alarm, partitions)
    for alarm in range(9, 2, -1):
        for partition in partitions:
            partition.alarm = float(alarm)
            heap.push(partition)
            assert len(heap._entries) <= 2 * 500 + 64  # noqa: SLF001 - what it keeps is not seen
    while partitions:
        partitions.pop().alarm = math.inf
        heap.trim()
        assert len(heap._entries) <= 2 * len(partitions) + 64  # noqa: SLF001 - the same
    assert heap.first is None


def test_trimming_loses_none() -> None:
    """Those that have the same number are all kept, each once."""
    partitions = partitions_of(100)
    heap = PartitionHeap[int](lambda partition: partition.alarm, partitions)
    for _ in range(5):
        for partition in partitions:
            partition.alarm = 1.0
            heap.push(partition)
    found = set()
    while (first := heap.first) is not None:
        found.add(first.key)
        first.alarm = math.inf
    assert set(range(100)) == found
