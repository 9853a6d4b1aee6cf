"""P1: a batch has items of one partition; `partition_key` is called once, by the producer."""

import asyncio
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from flushq import FlushQueue, NaturalPolicy
from tests.contract.hostile import error_of
from tests.contract.partitions import Unequal, by_letter, told
from tests.contract.support import HeldSink, Sink, enqueue_all, patient, produce, settle, steps

ITEMS = ["a1", "b1", "a2", "c1", "b2", "a3"]


@pytest.mark.parametrize(
    ("max_records", "expected"),
    [
        (None, [["a1", "a2", "a3"], ["b1", "b2"], ["c1"]]),
        (2, [["a1", "a2"], ["a3"], ["b1", "b2"], ["c1"]]),
    ],
)
async def test_a_batch_holds_items_of_one_partition_in_order_of_acceptance(
    max_records: int | None, expected: list[list[str]]
) -> None:
    """Each partition is batched within the caps like a queue of its own."""
    sink = Sink[str]()
    async with by_letter(sink, patient(max_records)) as queue:
        await enqueue_all(queue, ITEMS)
    assert expected == sorted(sink.batches)


async def test_equal_keys_are_one_partition_and_none_is_a_key() -> None:
    """Keys are compared like those of a dict; None is an ordinary key."""
    sink = Sink[Any]()
    async with FlushQueue(sink, patient(), partition_key=told) as queue:
        await enqueue_all(queue, [1, None, 1.0, None, True, (), ()])
        assert 3 == queue.stats().partitions
    assert [[1, 1.0, True], [None, None], [(), ()]] == sink.batches


MEASURES: list[Any] = [
    {},
    {"dedupe_key": lambda item: item[1:]},
    {"weigh": len},
    {"dedupe_key": lambda item: item[1:], "weigh": len},
]
"""Other functions of the item: they change the path by which items come in."""

MEASURED = pytest.mark.parametrize("measures", MEASURES, ids="/".join)


@MEASURED
async def test_it_is_called_once_for_an_item_as_enqueue_is_called(measures: Any) -> None:
    """partition_key is called once for each call, with or without a wait, and for duplicates."""
    calls: list[str] = []

    def partition_key(item: str) -> str:
        calls.append(item)
        return item[0]

    sink = HeldSink[str]()
    options = {"partition_key": partition_key, "max_queue_size": 7, **measures}
    async with FlushQueue(sink, patient(), **options) as queue:
        await enqueue_all(queue, ["a1", "a2"])
        queue.enqueue_nowait("b1")
        await queue.submit("b2")
        queue.submit_nowait("a3")
        delivering = asyncio.create_task(queue.deliver("a4"))
        await settle()
        await queue.enqueue("a4")
        waiting = [produce(queue, item) for item in ("c1", "c2")]
        await settle()
        sink.open()
        await asyncio.gather(*waiting, delivering)
    assert ["a1", "a2", "b1", "b2", "a3", "a4", "a4", "c1", "c2"] == calls


async def test_it_is_called_once_for_an_item_whose_producer_lets_others_run() -> None:
    """partition_key is called once, even for items whose producer pauses."""
    calls: list[int] = []

    def partition_key(item: int) -> int:
        calls.append(item)
        return item % 3

    async with FlushQueue(Sink[int](), NaturalPolicy(), partition_key=partition_key) as queue:
        await enqueue_all(queue, range(1200))
    assert list(range(1200)) == calls


# Wrong keys.


def fail() -> Any:
    """Raise ZeroDivisionError."""
    raise ZeroDivisionError("not this item")


async def coroutine() -> int:
    """Return a number, but only when awaited."""
    return 1


BAD = [
    (fail, ZeroDivisionError, "not this item"),
    (coroutine, TypeError, "partition_key must not be async: it returned <coroutine"),
    ((1, []), TypeError, r"the partition of an item must be hashable, not \(1, \[\]\)"),
    (Unequal(), ZeroDivisionError, "cannot compare"),
]


async def nowait(queue: FlushQueue[Any], item: Any) -> None:
    """Call enqueue_nowait where a coroutine is expected."""
    queue.enqueue_nowait(item)


CALLS: list[Callable[[FlushQueue[Any], Any], Any]] = [
    lambda queue, item: queue.enqueue(item),
    nowait,
    lambda queue, item: queue.submit(item),
    lambda queue, item: queue.deliver(item),
]


@pytest.mark.parametrize(("item", "kind", "message"), BAD)
@pytest.mark.parametrize("measures", [{}, {"weigh": lambda _: 1}])
async def test_what_is_not_a_key_is_the_producers_error(
    item: Any, kind: type[Exception], message: str, measures: Any
) -> None:
    """Each call raises the error of the key; the item is not accepted, and nothing changes."""
    sink = Sink[Any]()
    first = Unequal()
    async with FlushQueue(sink, patient(), partition_key=told, **measures) as queue:
        await queue.enqueue(first)
        for call, pause in product(CALLS, [0, 20]):
            await steps(pause)  # with credit, and without
            with pytest.raises(kind, match=message):
                await call(queue, item)
        stats = queue.stats()
        assert (1, 1, 1) == (stats.accepted, stats.pending, stats.partitions)
        await queue.enqueue(2)
    assert [[first], [2]] == sink.batches


async def test_a_key_that_fails_when_its_turn_comes_gives_its_room_back() -> None:
    """If the key of a producer that gets room cannot be compared, the next one gets the room."""
    sink = HeldSink[Any]()
    async with FlushQueue(sink, NaturalPolicy(), partition_key=told, max_queue_size=2) as queue:
        await queue.enqueue(0)
        await settle()
        await enqueue_all(queue, [first := Unequal(), 2])
        waiting = [asyncio.create_task(error_of(queue.enqueue(each))) for each in (Unequal(), 3)]
        await settle()
        sink.let_go()
        errors = await asyncio.gather(*waiting)
        sink.open()
    assert [ZeroDivisionError, type(None)] == list(map(type, errors))
    assert [[0], [first], [2], [3]] == sink.batches
