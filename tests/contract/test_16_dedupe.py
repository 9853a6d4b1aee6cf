"""Point 16: an item whose key already waits is accepted, counted and discarded."""

import asyncio
from collections.abc import Hashable
from typing import Any

import pytest

from flushq import FlushFailed, FlushQueue, IntervalPolicy, NaturalPolicy, QueueClosed
from tests.contract.support import HeldSink, Sink, enqueue_all, now, patient, produce, settle

Pair = tuple[Any, str]


def key_of(item: Pair) -> Hashable:
    """Return the first element, which is the key."""
    key: Hashable = item[0]
    return key


async def test_the_first_stays() -> None:
    """Of items with equal keys the first one is delivered, and the others count as duplicates."""
    sink = Sink[Pair]()
    async with FlushQueue(sink, patient(), dedupe_key=key_of) as queue:
        await enqueue_all(queue, [(1, "a"), (2, "b"), (1.0, "c"), (2, "d"), (True, "e")])
        stats = queue.stats()
        assert (5, 3, 2) == (stats.accepted, stats.duplicates, stats.pending)
    assert [[(1, "a"), (2, "b")]] == sink.delivered
    assert [] == queue.undelivered == queue.in_doubt


class Row:
    """A row of a table, which cannot be hashed after it is deleted (number None)."""

    def __init__(self, number: int | None) -> None:
        self.number = number

    def __hash__(self) -> int:
        """Return the number, or raise TypeError without one."""
        if self.number is None:
            raise TypeError("a deleted row cannot be hashed")
        return self.number

    def __eq__(self, other: object) -> bool:
        """Compare the numbers."""
        return isinstance(other, Row) and self.number == other.number


@pytest.mark.parametrize("deleted", [[0], [0, 1], [0, 5]])
async def test_a_key_that_cannot_be_hashed_any_more_costs_no_other_item(deleted: list[int]) -> None:
    """If a key can no longer be hashed, its batch still frees the other keys, and no more."""
    sink = Sink[Row]()
    rows = [Row(number) for number in range(6)]
    async with FlushQueue(sink, patient(4), dedupe_key=lambda row: row) as queue:
        await enqueue_all(queue, rows[:2])
        for number in deleted:
            rows[number].number = None if number < 2 else number
        await enqueue_all(queue, rows[2:])
        await settle()
        rows[5].number = None if 5 in deleted else 5
        receipts = [await queue.submit(row) for row in (Row(3), Row(4), Row(6))]
        assert [False, True, False] == [receipt.item is rows[4] for receipt in receipts]
    assert [rows[:4], [*rows[4:], receipts[0].item, receipts[2].item]] == sink.delivered


async def test_a_key_that_could_not_be_hashed_when_its_item_left_is_free() -> None:
    """If such a key can be hashed again later, an item with this key is not a duplicate."""
    sink, row = HeldSink[Row](), Row(0)
    async with FlushQueue(sink, NaturalPolicy(1), dedupe_key=lambda row: row) as queue:
        await enqueue_all(queue, [row, Row(1)])
        row.number = None
        await settle()
        row.number = 0
        await queue.enqueue(Row(0))
        assert (0, 2) == (queue.stats().duplicates, queue.pending)
        sink.open()


class Incomparable(int):
    """A number that raises when it is compared."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        raise TypeError("it cannot be compared")


async def test_a_key_that_cannot_be_compared_any_more_costs_no_other_item() -> None:
    """If a key can no longer be compared, a waiting key with the same hash stays taken."""
    sink, row = HeldSink[Row](), Row(0)
    async with FlushQueue(sink, NaturalPolicy(1), dedupe_key=lambda row: row) as queue:
        await enqueue_all(queue, [row, Row(1)])
        row.number = Incomparable(1)
        await settle()
        await queue.enqueue(Row(1))
        assert (1, 1) == (queue.stats().duplicates, queue.pending)
        sink.open()


async def test_duplicates_do_not_use_up_the_batch() -> None:
    """A batch is full when it has max_records different items; duplicates do not count."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(5), dedupe_key=lambda item: item) as queue:
        await enqueue_all(queue, [0, 0, 0, 0, 0, 1, 1, 2, 3])
        await settle()
        assert [] == sink.batches
        await queue.enqueue(4)
        await settle()
        assert [[0, 1, 2, 3, 4]] == sink.batches


async def test_a_duplicate_needs_no_room() -> None:
    """A full queue accepts a duplicate of a waiting item, before producers in line."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(), dedupe_key=lambda item: item, max_queue_size=2)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await enqueue_all(queue, [1, 2])
        waiting = produce(queue, 3)
        await settle()
        await queue.enqueue(1)
        queue.enqueue_nowait(2)
        assert 2 == queue.pending
        assert not waiting.done()
        sink.open()
        await waiting
    assert [[0], [1, 2], [3]] == sink.delivered


async def test_a_duplicate_moves_no_clock() -> None:
    """A duplicate changes no age, and the policy is not told of it."""
    sink = Sink[Pair]()
    async with FlushQueue(sink, IntervalPolicy(3.0), dedupe_key=key_of) as queue:
        await queue.enqueue((1, "first"))
        for _ in range(5):
            await asyncio.sleep(0.5)
            await queue.enqueue((1, "again"))
        await settle()
        assert (2.5, 1) == (queue.stats().oldest_age, queue.policy.queue.pending)
        await asyncio.sleep(10.0)
    assert [3.0] == sink.started


async def test_a_duplicate_opens_no_burst() -> None:
    """An item that follows a duplicate in the same iteration counts from its own arrival."""
    sink = Sink[Pair]()
    async with FlushQueue(sink, IntervalPolicy(3.0), dedupe_key=key_of) as queue:
        await queue.enqueue((1, "first"))
        await asyncio.sleep(1.0)
        await queue.enqueue((1, "again"))
        await queue.flush()
        await queue.enqueue((2, "other"))
        await asyncio.sleep(10.0)
    assert [1.0, 4.0] == sink.started


async def test_a_batch_frees_its_own_keys_when_it_is_cut() -> None:
    """The keys of items in flight are free, and those of items that still wait are taken."""
    sink = HeldSink[Pair]()
    async with FlushQueue(sink, NaturalPolicy(2), dedupe_key=key_of) as queue:
        await enqueue_all(queue, [(key, "old") for key in range(4)])
        await settle()
        await enqueue_all(queue, [(key, "new") for key in range(4)])
        assert 4 == queue.pending
        sink.open()
    expected = [(0, "old"), (1, "old"), (2, "old"), (3, "old"), (0, "new"), (1, "new")]
    assert expected == sink.items


async def test_key_and_weight_are_computed_once_and_at_the_call() -> None:
    """Key and weight are computed once, when enqueue is called, even if the producer waits."""
    calls: list[tuple[str, int]] = []

    def dedupe_key(item: int) -> int:
        calls.append(("key", item))
        return item

    def weigh(item: int) -> int:
        calls.append(("weight", item))
        return 1

    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), dedupe_key=dedupe_key, weigh=weigh, max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = [produce(queue, item) for item in (2, 3)]
        await settle()
        expected = [(what, item) for item in range(4) for what in ("key", "weight")]
        assert expected == calls
        await queue.enqueue(1)
        sink.open()
        await asyncio.gather(*waiting)
    assert [*expected, ("key", 1), ("weight", 1)] == calls


async def test_a_duplicate_in_line_passes_its_room_on() -> None:
    """Whether the item of a waiting producer is a duplicate is decided when it gets room."""
    sink = HeldSink[Pair]()
    queue = FlushQueue(sink, patient(), dedupe_key=key_of, max_queue_size=3)
    async with queue:
        await enqueue_all(queue, [(key, "in flight") for key in range(3)])
        barrier = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, [(key, "waits") for key in range(10, 13)])
        items = [(20, "a"), (20, "b"), (20, "c"), (21, "d"), (22, "e")]
        waiting = [produce(queue, item) for item in items]
        await settle()
        sink.let_go()
        await settle()
        await asyncio.gather(*waiting)
        assert 3 == queue.pending
        sink.open()
        await barrier
    assert [(20, "a"), (21, "d"), (22, "e")] == sink.items[-3:]


async def test_a_closing_queue_takes_no_duplicates_either() -> None:
    """A duplicate of an item that waits is refused by a closing queue like any other item."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy(1), dedupe_key=lambda item: item)
    async with queue:
        await enqueue_all(queue, [0, 1])
        await settle()
        closing = asyncio.create_task(queue.aclose())
        await settle()
        with pytest.raises(QueueClosed):
            await queue.enqueue(1)
        with pytest.raises(QueueClosed):
            queue.enqueue_nowait(1)
        sink.open()
        await closing


async def test_duplicates_are_in_no_list() -> None:
    """After a loss the lists have the first items, and no duplicates."""
    sink = Sink[Pair](1.0, errors={0: OSError()})
    queue = FlushQueue(sink, NaturalPolicy(1), dedupe_key=key_of)
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, [(1, "a"), (1, "b"), (2, "c"), (2, "d")])
    assert ([(1, "a")], [(2, "c")]) == (queue.in_doubt, queue.undelivered)


async def test_flush_after_a_duplicate_waits_for_the_first() -> None:
    """A barrier after a duplicate returns when the item that stayed is delivered."""
    sink = Sink[Pair](2.0)
    async with FlushQueue(sink, patient(), dedupe_key=key_of) as queue:
        await queue.enqueue((1, "first"))
        await asyncio.sleep(1.0)
        await queue.enqueue((1, "again"))
        await queue.flush()
        assert [[(1, "first")]] == sink.delivered
        assert 3.0 == now()
