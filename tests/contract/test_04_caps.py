"""Point 4: no batch is empty or exceeds a cap, for any reason to flush.

The tests of point 15 show that wrong caps and weights are refused.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from flushq import (
    Decision,
    Flush,
    FlushPolicy,
    FlushQueue,
    IntervalPolicy,
    ItemTooLarge,
    NaturalPolicy,
    QueueFull,
)
from tests.contract.support import HeldSink, Sink, enqueue_all, now, produce, settle


def weight_of(item: Any) -> Any:
    """Return the item, which is its own weight."""
    return item


async def test_the_drain_keeps_the_cap() -> None:
    """95 items at the end of the block leave in nine batches of 10 and one of 5."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(60.0, max_records=10), max_queue_size=95) as queue:
        for item in range(95):
            queue.enqueue_nowait(item)
    assert [10] * 9 + [5] == sink.sizes


async def test_both_caps_hold_under_every_reason_at_once() -> None:
    """Full, age, pressure, flush() and drain: no batch of 300 items exceeds either cap."""
    sink = Sink[int](seconds=0.25)
    policy = IntervalPolicy(0.5, max_records=4, max_weight=16)
    items = [item * 7 % 17 for item in range(300)]
    async with FlushQueue(
        sink, policy, weigh=weight_of, max_queue_size=6, max_in_flight=3
    ) as queue:
        for number, item in enumerate(items):
            await queue.enqueue(item)
            if number % 50 == 49:
                await queue.flush()
            elif number % 7 == 6:
                await asyncio.sleep(0.375)
    assert items == sink.items
    assert 1 <= min(sink.sizes)
    assert 4 >= max(sink.sizes)
    assert 16 >= max(map(sum, sink.batches))


@attrs.define
class Greedy(FlushPolicy):
    """A policy that always asks for a batch of up to ``up_to`` items, without regard to the cap."""

    up_to: int | None
    max_records: int | None = None

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush("greedy", self.up_to)


@pytest.mark.parametrize(
    ("up_to", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [3, 2]), (None, [3, 2])]
)
async def test_what_the_policy_asks_for_is_cut_to_the_cap(
    up_to: int | None, sizes: list[int]
) -> None:
    """A batch has at most as many items as the policy asked for and as the cap allows."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, Greedy(up_to, max_records=3)) as queue:
        await enqueue_all(queue, range(5))
        await asyncio.sleep(9.0)
        assert sizes == sink.sizes


async def test_no_reason_makes_an_empty_batch() -> None:
    """Neither flush(), nor a timer, nor the close of an empty queue calls flush_fn."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        await queue.flush()
        await asyncio.sleep(5.0)
        await queue.enqueue(0)
        await queue.flush()
        await asyncio.sleep(5.0)
        await asyncio.gather(queue.flush(), queue.flush())
    await queue.aclose()
    assert [[0]] == sink.batches


async def test_weights_fill_a_batch_up_to_the_cap_exactly() -> None:
    """A batch has as many of the oldest items as weigh at most max_weight together."""
    sink = Sink[int]()
    policy = NaturalPolicy(max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of) as queue:
        await enqueue_all(queue, [4, 6, 0, 1, 10, 0, 3, 3, 3, 3, 9, 2, 0])
    assert [[4, 6, 0], [1], [10, 0], [3, 3, 3], [3], [9], [2, 0]] == sink.batches


async def test_a_queue_that_fills_by_weight_flushes_at_once() -> None:
    """If the waiting items exceed max_weight, the queue flushes as soon as the item comes."""
    sink = Sink[int]()
    policy = IntervalPolicy(60.0, max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of) as queue:
        await enqueue_all(queue, [5, 4])
        await settle()
        assert [] == sink.batches
        await queue.enqueue(3)
        await settle()
        assert [[5, 4]] == sink.batches
        assert 0.0 == now()


async def test_an_item_above_the_cap_is_refused_to_its_producer() -> None:
    """ItemTooLarge shows both weights; the item is not accepted, and the queue works on."""
    sink = Sink[float]()
    async with FlushQueue(sink, NaturalPolicy(max_weight=10), weigh=weight_of) as queue:
        await queue.enqueue(10)
        with pytest.raises(ItemTooLarge, match=r"11.*10"):
            await queue.enqueue(11)
        with pytest.raises(ValueError, match=r"10\.5.*10"):
            queue.enqueue_nowait(10.5)
        await queue.enqueue(9)
    assert [10, 9] == sink.items


async def test_an_item_above_the_cap_does_not_wait_for_room() -> None:
    """A full queue refuses an item that is too large at once: the item would wait for ever."""
    sink = HeldSink[int]()
    policy = NaturalPolicy(max_records=1, max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of, max_queue_size=1) as queue:
        await queue.enqueue(1)
        await settle()
        await queue.enqueue(2)
        behind = produce(queue, 3)
        await settle()
        with pytest.raises(ItemTooLarge):
            await queue.enqueue(11)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(4)
        sink.open()
        await behind
    assert [1, 2, 3] == sink.items


@pytest.mark.parametrize("policy", [IntervalPolicy(1.0, max_weight=5), NaturalPolicy(None, 5.0)])
def test_a_weight_cap_without_weigh(policy: FlushPolicy) -> None:
    """max_weight without weigh is a TypeError at construction that names both."""
    with pytest.raises(TypeError, match=r"max_weight=5.* needs weigh"):
        FlushQueue(Sink[int](), policy)


class CappedAnewAtEachReading(FlushPolicy):
    """A policy that flushes at once, and whose cap is smaller each time that it is read."""

    caps: Iterator[int] = iter(())

    @property
    def max_records(self) -> int | None:  # type: ignore[override]  # this is what is tested
        """Return the next of the caps."""
        return next(self.caps)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


async def test_a_cap_is_read_just_once() -> None:
    """The cap is read only once: the cap that was checked is the one that limits batches."""
    CappedAnewAtEachReading.caps = iter([3, 2, 1])
    sink = Sink[int]()
    async with FlushQueue(sink, CappedAnewAtEachReading()) as queue:
        await enqueue_all(queue, range(7))
    assert [3, 3, 1] == sink.sizes
