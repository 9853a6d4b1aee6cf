"""P10, and P2 with many partitions: the cost of a partition, which leaves nothing behind.

`benchmarks` measures the microseconds of an item.
"""

import asyncio
import sys

import pytest

from flushq import FlushQueue, IntervalPolicy, NaturalPolicy
from tests.contract.hostile import left_behind
from tests.contract.partitions import Watched, by_letter
from tests.contract.support import Sink, enqueue_all, settle


async def test_a_burst_is_one_event_for_each_partition_in_it() -> None:
    """The policies of partitions without new items are told nothing."""
    policy = Watched()
    async with by_letter(Sink[str](), policy) as queue:
        await enqueue_all(queue, ["z1"])
        await settle()
        policy.asked.clear()
        await enqueue_all(queue, ["a1", "b1", "a2", "a3", "b2", "a4"])
        await settle()
        assert [(4, 0.0, 0), (2, 0.0, 0)] == policy.asked


@pytest.mark.parametrize("keys", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
async def test_keys_that_are_seen_once_leave_nothing_behind(keys: int) -> None:
    """Memory depends on the partitions that exist now, not on those that existed before."""
    count = 0

    async def sink(batch: list[int]) -> None:
        nonlocal count
        count += len(batch)

    used: list[int] = []
    queue = FlushQueue(sink, NaturalPolicy(), partition_key=lambda item: f"key {item}")
    async with queue:
        for first in range(0, keys, keys // 5):
            await enqueue_all(queue, range(first, first + keys // 5))
            await queue.flush()
            used.append(sys.getallocatedblocks())
        assert (keys, 0) == (count, queue.stats().partitions)
    assert max(used) < used[0] + 300


@pytest.mark.parametrize("keys", [1_000, pytest.param(100_000, marks=pytest.mark.long)])
async def test_many_open_partitions_share_one_timer(keys: int) -> None:
    """Each partition is flushed at its own time, and no partition is left."""
    sink = Sink[int]()
    policy = IntervalPolicy(2048.0)
    queue = FlushQueue(sink, policy, partition_key=lambda item: item, max_queue_size=keys)
    async with queue:
        for item in range(keys):
            await queue.enqueue(item)
            await asyncio.sleep(1 / 64)
        assert (keys, 1) == (queue.stats().partitions, len(left_behind()))
        await asyncio.sleep(2048.0)
        assert (0, []) == (queue.stats().partitions, left_behind())
    assert [2048.0 + item / 64 for item in range(keys)] == sink.started
    assert list(range(keys)) == sink.items
