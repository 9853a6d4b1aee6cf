"""P2: a partition exists while its items wait or run, and has its own copy of the policy."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from flushq import FlushQueue, IntervalPolicy, PolicyError
from tests.contract.hostile import Second, left_behind
from tests.contract.partitions import Costly, Shared, Watched, by_letter, letters
from tests.contract.support import HeldSink, Sink, enqueue_all, failing, settle


@pytest.mark.parametrize(("most", "limit"), [(1, 1), (2, 2), (None, 3)])
async def test_the_policy_of_each_partition_has_facts_of_its_own(
    most: int | None, limit: int
) -> None:
    """A policy knows the items of its partition, their age and weight, and its limit of flushes."""
    facts = Shared()

    class Facts(Watched):
        def on_event(self, event: str, now: float) -> None:
            facts.append(self.queue)

    options: dict[str, Any] = {"max_in_flight": 3, "max_in_flight_per_partition": most}
    queue = by_letter(Sink[str](), Facts(), weigh=len, **options)
    async with queue:
        for item in ("a1", "b12", "a123"):
            await queue.enqueue(item)
            await settle()
            await asyncio.sleep(0.25)
        first, second = facts[0], facts[1]
        assert (2, 6, 0.0, limit) == (
            first.pending,
            first.weight,
            first.oldest,
            first.max_in_flight,
        )
        assert (1, 3, 0.25) == (second.pending, second.weight, second.oldest)


async def test_a_policy_ticks_while_others_hold_every_slot() -> None:
    """A partition that becomes due while no slot is free has its place in line from then on."""
    sink = HeldSink[str]()
    async with by_letter(sink, IntervalPolicy(1.0, 2)) as queue:
        await enqueue_all(queue, ["x1", "x2"])
        await queue.enqueue("b1")
        await asyncio.sleep(1.5)
        await enqueue_all(queue, ["c1", "c2"])
        await asyncio.sleep(1.5)
        sink.open()
        await settle()
        assert "xbc" == letters(sink.batches)


@pytest.mark.parametrize(("most", "asked"), [(1, []), (2, [(1, 1.5, 1)])])
async def test_a_policy_is_asked_while_its_own_partition_may_start_another_flush(
    most: int, asked: list[Any]
) -> None:
    """The policy of a partition at its limit is not asked and has no ticks."""
    sink, policy = HeldSink[str](), Watched()
    options = {"max_in_flight": 3, "max_in_flight_per_partition": most}
    async with by_letter(sink, policy, **options) as queue:
        await queue.enqueue("a1")
        await asyncio.sleep(1.5)
        policy.told.clear()
        policy.asked.clear()
        await queue.enqueue("a2")
        await asyncio.sleep(0.5)
        assert ([("item_added", 1.5)], asked) == (policy.told, policy.asked)
        assert 1 + len(asked) == len(left_behind())  # the flush that runs, and a timer if asked
        await asyncio.sleep(2.0)
        assert 1 + len(asked) == sink.running
        sink.open()


async def test_one_timer_serves_all() -> None:
    """All partitions share one timer, and each flush starts at its own time."""
    sink = Sink[str]()
    async with by_letter(sink, IntervalPolicy(1.0)) as queue:
        for item in "abcdefgh":
            await queue.enqueue(item)
            await asyncio.sleep(0.0625)
            assert 1 == len(left_behind())
        await asyncio.sleep(2.0)
    assert [1.0 + 0.0625 * number for number in range(8)] == sink.started


async def test_a_partition_is_gone_when_nothing_of_it_waits_or_runs() -> None:
    """stats().partitions counts a partition until the flush of its last items has ended."""
    sink = HeldSink[str]()
    async with by_letter(sink, IntervalPolicy(1.0), max_in_flight=2) as queue:
        assert 0 == queue.stats().partitions
        await enqueue_all(queue, ["a1", "b1", "c1"])
        assert 3 == queue.stats().partitions
        await asyncio.sleep(2.0)
        assert (2, 3) == (sink.running, queue.stats().partitions)
        sink.open()
        await settle()
        assert 0 == queue.stats().partitions
        assert [] == left_behind()


async def test_a_partition_that_is_gone_leaves_neither_a_copy_nor_a_key() -> None:
    """When a partition is removed, its key and its copy of the policy are freed."""
    left: weakref.WeakSet[Any] = weakref.WeakSet()

    class Copy(Second):
        def on_event(self, event: str, now: float) -> None:
            left.add(self)

    class Key:
        def __init__(self) -> None:
            left.add(self)

    options: dict[str, Any] = {"partition_key": lambda _: Key(), "max_in_flight": 2}
    async with FlushQueue(Sink[int](), Copy(), **options) as queue:
        await enqueue_all(queue, range(9))
        await settle()
        assert 18 == len(left)
        await asyncio.sleep(2.0)
        gc.collect()
        assert [] == [*left]


async def test_what_a_policy_has_learnt_goes_with_its_partition() -> None:
    """A copy is told all events while its partition exists; a later partition has a new copy."""
    counts = Shared()
    copies: weakref.WeakSet[Any] = weakref.WeakSet()

    class Learning(Watched):
        def on_event(self, event: str, now: float) -> None:
            copies.add(self)
            self.known = [*getattr(self, "known", []), event]
            if event == "item_added":
                counts.append(len(self.known))

    sink = HeldSink[str]()
    async with by_letter(sink, Learning()) as queue:
        await queue.enqueue("a1")
        await asyncio.sleep(1.5)
        await queue.enqueue("a2")  # the first flush runs
        await asyncio.sleep(1.5)
        sink.open()
        await settle()
        await queue.flush()
        await queue.enqueue("a3")
        await settle()
        assert [1, 4, 1] == counts
        gc.collect()
        assert 1 == len(copies)


async def test_a_policy_that_cannot_be_copied_when_its_item_arrives() -> None:
    """A failed copy ends the queue with PolicyError; waiting items are undelivered."""
    sink = HeldSink[str]()
    queue = by_letter(sink, Costly(3))  # one for the queue, one for a, one for b
    async with failing(queue, PolicyError):
        await enqueue_all(queue, ["a1", "b1", "a2"])
        await settle()
        await enqueue_all(queue, ["b2", "c1", "a3", "d1"])
        await settle()
        assert ("failed", 1) == (queue.state, queue.stats().partitions)
        sink.open()
    assert (["b1", "a2", "b2", "c1", "a3", "d1"], []) == (queue.undelivered, queue.in_doubt)
    assert ([["a1"]], 0) == (sink.delivered, queue.stats().partitions)
    with pytest.raises(PolicyError, match=r"Costly raised .*no memory.* when it was copied"):
        await queue.aclose()
