"""P6 and P7: room, pressure, barriers, the drain and duplicates with partitions."""

import asyncio

import pytest

from flushq import FlushQueue, FlushReport, IntervalPolicy, NaturalPolicy, QueueFull
from tests.contract.hostile import error_of
from tests.contract.partitions import by_letter, letters
from tests.contract.support import HeldSink, enqueue_all, patient, produce, settle

# P6: room.


async def test_the_room_is_for_all_partitions_together() -> None:
    """A full queue has no room for a new partition either; items in flight do not count."""
    sink = HeldSink[str]()
    async with by_letter(sink, IntervalPolicy(1.0), max_queue_size=3) as queue:
        await enqueue_all(queue, ["a1", "b1", "a2"])
        for item in ("a3", "c1"):
            with pytest.raises(QueueFull, match=r"3 items wait.*max_queue_size=3"):
                queue.enqueue_nowait(item)
        await asyncio.sleep(1.0)
        await enqueue_all(queue, ["c1", "d1"])
        with pytest.raises(QueueFull):
            queue.enqueue_nowait("e1")
        sink.open()


async def test_pressure_flushes_the_partition_of_the_oldest_item_that_may_start_a_flush() -> None:
    """If a producer waits, the oldest partition that is below its limit flushes."""
    sink = HeldSink[str]()
    options = {"max_in_flight": 9, "max_queue_size": 4}
    async with by_letter(sink, patient(), **options) as queue:
        await enqueue_all(queue, ["b1", "a1", "c1", "c2"])
        await enqueue_all(queue, ["b2", "d1", "e1", "e2"])  # the first waits, the third, the fourth
        await settle()
        assert [["b1"], ["a1"], ["c1", "c2"]] == sink.batches
        sink.let_go()
        await settle()
        assert 3 == len(sink.batches)
        await enqueue_all(queue, ["f1", "f2"])
        assert [["b2"], ["d1"]] == sink.batches[3:]
        sink.open()
        await settle()
        assert {"pressure": 5} == queue.stats().flushes


async def test_pressure_comes_last() -> None:
    """A due partition goes before pressure, even if the oldest item is in another partition."""
    sink, reports = HeldSink[str](), list[FlushReport]()
    options = {"max_queue_size": 3, "on_report": reports.append}
    async with by_letter(sink, patient(2), **options) as queue:
        await enqueue_all(queue, ["x1", "x2"])
        await settle()
        await enqueue_all(queue, ["a1", "b1", "b2"])
        waiting = produce(queue, "c1")
        await settle()
        sink.let_go()
        await waiting
        sink.open()
        await settle()
        assert ["full", "full"] == [report.reason for report in reports]
        assert "xb" == letters(sink.batches)


@pytest.mark.parametrize(("item", "slots", "fits"), [("a2", 2, False), ("b2", 2, True)])
async def test_inside_flush_fn_where_no_partition_with_items_may_start_a_flush(
    item: str, slots: int, *, fits: bool
) -> None:
    """Inside flush_fn QueueFull is raised if no partition with waiting items may start a flush."""
    errors: list[BaseException | None] = []
    batches: list[list[str]] = []

    async def sink(batch: list[str]) -> None:
        batches.append(batch)
        if batch == ["a1"]:
            await queue.enqueue(item)
            errors.append(await error_of(queue.enqueue("c1")))

    queue = by_letter(sink, patient(), max_queue_size=1, max_in_flight=slots)
    async with queue:
        await queue.enqueue("a1")
    assert [type(None) if fits else QueueFull] == list(map(type, errors))
    assert [["a1"], [item], *([["c1"]] if fits else [])] == batches


async def test_inside_flush_fn_while_another_flush_may_make_room() -> None:
    """Inside flush_fn enqueue waits for room if another running flush can make room by its end."""
    held = HeldSink[str]()

    async def sink(batch: list[str]) -> None:
        if batch == ["a1"]:
            await queue.enqueue("b2")
            await queue.enqueue("a2")
        await held(batch)

    queue = by_letter(sink, patient(1), max_queue_size=1, max_in_flight=3)
    async with queue:
        await queue.enqueue("b1")
        await settle()
        await queue.enqueue("a1")
        await settle()
        assert ([["b1"]], 1) == (held.batches, queue.stats().waiting)
        held.open()
    assert [["b1"], ["b2"], ["a1"], ["a2"]] == held.batches  # a1 was passed on when a2 was accepted


# P7: barriers, drain, duplicates.


async def test_flush_makes_due_every_partition_that_has_items() -> None:
    """flush() returns when all items accepted before have ended; later items still wait."""
    sink, reports = HeldSink[str](), list[FlushReport]()
    options = {"max_in_flight": 2, "on_report": reports.append}
    async with by_letter(sink, patient(2), **options) as queue:
        await enqueue_all(queue, ["x1", "x2", "x3", "a1", "b1"])
        flushing = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, ["c1", "d1"])
        assert "xa" == letters(sink.batches)
        sink.let_go_last()
        await settle()
        sink.let_go_last()
        await settle()
        assert ("xab", [["a1"], ["b1"]]) == (letters(sink.batches), sink.delivered)
        sink.let_go()
        await settle()
        assert ("xabx", False) == (letters(sink.batches), flushing.done())
        sink.let_go()
        await flushing
        assert ["flush"] * 3 == [report.reason for report in reports if report.count == 1]
        assert 2 == queue.pending
        sink.open()


async def test_a_partition_that_flush_has_made_due_waits_for_its_turn() -> None:
    """flush() puts a partition behind those that were due before; it then keeps its place."""
    sink = HeldSink[str]()
    async with by_letter(sink, patient(2)) as queue:
        await enqueue_all(queue, ["x1", "x2", "a1"])
        await settle()
        await enqueue_all(queue, ["b1", "b2"])
        await settle()
        flushing = asyncio.create_task(queue.flush())
        await settle()
        await enqueue_all(queue, ["a2", "c1", "c2"])
        await settle()
        sink.open()
        await flushing
        await settle()
    assert [["x1", "x2"], ["b1", "b2"], ["a1", "a2"], ["c1", "c2"]] == sink.batches


async def test_the_drain_makes_every_partition_due() -> None:
    """The drain flushes all partitions, also those with items that flush_fn enqueues then."""
    batches: list[list[str]] = []
    reports: list[FlushReport] = []

    async def sink(batch: list[str]) -> None:
        batches.append(batch)
        if batch == ["b1"]:
            await enqueue_all(queue, ["a2", "c1"])

    queue = by_letter(sink, patient(), on_report=reports.append)
    async with queue:
        await enqueue_all(queue, ["a1", "b1"])
    assert [["a1"], ["b1"], ["a2"], ["c1"]] == batches
    assert ["drain"] * 4 == [report.reason for report in reports]


async def test_duplicates_are_compared_within_a_partition() -> None:
    """Duplicates are found within a partition only; a batch frees its own keys."""
    sink = HeldSink[str]()
    queue = FlushQueue(sink, patient(2), partition_key=lambda i: i[0], dedupe_key=lambda i: i[1])
    async with queue:
        await enqueue_all(queue, ["a1 first", "b1", "a1 second", "b1", "a2"])
        assert (2, 3) == (queue.stats().duplicates, queue.pending)
        await settle()
        await enqueue_all(queue, ["a1 third", "b1"])
        assert (3, 2) == (queue.stats().duplicates, queue.pending)
        sink.open()
    assert [["a1 first", "a2"], ["b1"], ["a1 third"]] == sink.batches


async def test_a_duplicate_needs_no_room_and_no_policy_is_told() -> None:
    """A duplicate is accepted before producers that wait for room in other partitions."""
    sink = HeldSink[str]()
    options = {"max_queue_size": 1, "dedupe_key": str}
    async with by_letter(sink, NaturalPolicy(), **options) as queue:
        await queue.enqueue("a1")
        await settle()
        await queue.enqueue("a2")
        waiting = produce(queue, "b1")
        await settle()
        await queue.enqueue("a2")
        queue.enqueue_nowait("a2")
        assert (2, 1, False) == (queue.stats().duplicates, queue.pending, waiting.done())
        sink.open()
        await waiting
    assert [["a1"], ["a2"], ["b1"]] == sink.batches
