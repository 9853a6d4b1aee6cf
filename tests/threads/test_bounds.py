"""What a full queue does, B1 to B5, and merging, M1 to M4: each scenario runs with both drivers.

The details that need no thread are in `tests/contract/test_b_bounds.py` and `test_m_merging.py`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flushq import (
    Displaced,
    IntervalPolicy,
    ItemTooLarge,
    NaturalPolicy,
    QueueFull,
)
from tests.contract.partitions import letter_of
from tests.threads.both import Scenarios
from tests.threads.test_contract import NEVER, Store, raised, started
from tests.threads.worlds import World

on_both = Scenarios()

Sum = tuple[str, int]
"""A key, and a number; merging adds the numbers."""


async def nowait(queue: Any, item: Any) -> None:
    """Enqueue an item without waiting."""
    queue.enqueue_nowait(item)


def itself(item: int) -> int:
    """Return an item, a number, as its own weight."""
    return item


# Bounds.


@on_both
async def what_waits_has_a_weight(world: World) -> None:
    """The weight limits what waits, and a light item does not overtake a heavy one in the line."""
    store = Store(world, 1)
    queue = world.queue(store, NEVER, weigh=itself, max_queue_weight=10)
    await queue.enqueue(6)
    producers = []
    for item in (7, 1):
        producers.append(world.go(queue.enqueue(item)))
        await world.sleep(0.5)
    for item in (1, 4):
        assert isinstance(await raised(nowait(queue, item)), QueueFull)
    assert isinstance(await raised(queue.enqueue(11)), ItemTooLarge)
    assert 1 == queue.pending
    await queue.start()
    for producer in producers:
        await producer
    error = await raised(nowait(queue, 3))
    assert "2 items wait (max_queue_size=10000, max_queue_weight=10)" in str(error)
    queue.enqueue_nowait(2)
    await queue.close()
    assert [[6], [7, 1, 2]] == [store.batches[0], sorted(store.items[1:], key=[7, 1, 2].index)]


@on_both
async def the_oldest_are_displaced(world: World) -> None:
    """No call waits, no item is refused; displaced items are counted, and their receipts raise."""
    store = Store(world)
    queue = world.queue(store, NEVER, max_queue_size=3, when_full="drop_oldest", name="logs")
    first, second = await queue.submit(0), await queue.submit(1)
    for item in range(2, 6):
        await queue.enqueue(item)
    queue.enqueue_nowait(6)
    stats = queue.stats()
    assert (7, 4, 3, 0) == (stats.accepted, stats.displaced, stats.pending, stats.waiting)
    last = await queue.submit(7)
    for receipt, item in (first, 0), (second, 1):
        error = await raised(receipt.result())
        assert (Displaced, item) == (type(error), receipt.item)
        assert f"logs: {item} was displaced: the queue was full" == str(error)
    await queue.start()
    await last.result()
    await queue.close()
    assert ([[5, 6, 7]], [], []) == (store.batches, queue.undelivered, queue.in_doubt)


@on_both
async def the_newest_is_displaced(world: World) -> None:
    """The waiting items stay; an item without room is accepted, and is displaced at once."""
    store = Store(world)
    queue = world.queue(store, NEVER, max_queue_size=2, when_full="drop_newest")
    await queue.enqueue(0)
    await queue.enqueue(1)
    await queue.enqueue(2)
    queue.enqueue_nowait(3)
    receipt = await queue.submit(4)
    error = await raised(receipt.result())
    assert (Displaced, 4, 4) == (type(error), receipt.item, getattr(error, "item", None))
    stats = queue.stats()
    assert (5, 3, 2) == (stats.accepted, stats.displaced, stats.pending)
    await queue.start()
    await queue.close()
    assert [[0, 1]] == store.batches


@on_both
async def deliver_raises_for_an_item_that_is_displaced(world: World) -> None:
    """deliver() raises Displaced, whether its item waited or found no room."""
    for when_full in ("drop_oldest", "drop_newest"):
        store = Store(world, 5)
        queue = world.queue(store, NaturalPolicy(1), max_queue_size=1, when_full=when_full)
        await started(queue, "runs")
        await world.sleep(0.5)
        waiting = world.go(queue.deliver("waits"))
        await world.sleep(0.5)
        coming = world.go(queue.deliver("comes"))
        await world.sleep(0.5)
        displaced, other = (waiting, coming) if when_full == "drop_oldest" else (coming, waiting)
        assert displaced.done()
        assert isinstance(await raised(displaced), Displaced)
        await other
        await queue.close()
        assert 2 == len(store.items)


@on_both
async def a_barrier_does_not_wait_for_what_is_displaced(world: World) -> None:
    """flush() returns once its item is displaced; it does not wait for the item that came later."""
    store = Store(world, 2)
    queue = world.queue(store, NaturalPolicy(1), max_queue_size=1, when_full="drop_oldest")
    await started(queue, "runs")
    await world.sleep(1)
    await queue.enqueue("waits")
    barrier = world.go(queue.flush())
    await world.sleep(0.5)
    await queue.enqueue("comes")
    await world.sleep(1)
    assert barrier.done()
    await barrier
    await queue.close()
    assert [["runs"], ["comes"]] == store.batches


@on_both
async def a_full_queue_flushes_whatever_the_policy_thinks(world: World) -> None:
    """A queue flushes while it is full, and from a displacement until the next batch is taken."""
    for options, items in (
        ({"max_queue_size": 3}, (2, 3, 1)),
        ({"max_queue_weight": 6}, (2, 3, 1)),
        ({"max_queue_weight": 7}, (4, 1, 5)),
    ):
        for when_full in ("drop_oldest", "drop_newest"):
            store = Store(world)
            limits: dict[str, Any] = {"weigh": itself, "when_full": when_full, **options}
            queue = await started(world.queue(store, NEVER, **limits))
            for item in items[:2]:
                await queue.enqueue(item)
            await world.sleep(1)
            assert [] == store.batches
            await queue.enqueue(items[2])
            await world.sleep(1)
            assert (1, 0) == (len(store.batches), queue.pending)
            await queue.enqueue(1)
            await world.sleep(1)
            assert (1, 1) == (len(store.batches), queue.pending)
            await queue.close()


@on_both
async def displaced_items_are_logged(world: World) -> None:
    """The first displaced item logs a WARNING, and the first one 30 s after the last WARNING."""
    said = (
        "logs: the queue is full (max_queue_size=2) and displaces items: "
        "%d since the last record, %d in all"
    )
    for when_full in ("drop_oldest", "drop_newest"):
        store = Store(world, 1000)
        with records() as messages:
            queue = world.queue(store, NEVER, max_queue_size=2, when_full=when_full, name="logs")
            await started(queue, 1, 2)
            await world.sleep(1)
            await queue.enqueue(3)
            await queue.enqueue(4)
            for seconds in (0, 29.5, 0.25, 0.25, 29, 1, 100):
                await world.sleep(seconds)
                await queue.enqueue(5)
            await queue.close()
        assert [said % counts for counts in ((1, 1), (3, 4), (2, 6), (1, 7))] == messages


@contextmanager
def records() -> Iterator[list[str]]:
    """Yield the list of the messages that flushq logs, all of which must be WARNINGs."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(f"{record.getMessage()}")
            assert logging.WARNING == record.levelno

    handler, logger = Handler(), logging.getLogger("flushq")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


@on_both
async def the_oldest_of_all_partitions_is_displaced(world: World) -> None:
    """The oldest waiting item of all partitions is displaced, also for an item of another one."""
    store = Store(world)
    queue = world.queue(
        store, NEVER, partition_key=letter_of, max_queue_size=2, when_full="drop_oldest"
    )
    for item in ("a1", "b1", "b2", "c1"):
        await queue.enqueue(item)
    assert (2, 2) == (queue.stats().displaced, queue.stats().partitions)
    await queue.start()
    await queue.close()
    assert [["b2"], ["c1"]] == sorted(store.batches)


@on_both
async def requests_are_displaced(world: World) -> None:
    """The caller of a Batched gets Displaced, with the key."""
    calls: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        calls.append(list(keys))
        await world.sleep(2)
        return keys

    limits = {"max_queue_weight": 2, "weigh": itself, "when_full": "drop_newest"}
    async with world.batched(load, NaturalPolicy(), name="load", **limits) as load_one:
        asking = []
        for key in (2, 1, 0, 2):
            asking.append(world.go(load_one(key)))
            await world.sleep(0.25)
        error = await raised(asking[3])
        assert (Displaced, 2) == (type(error), getattr(error, "item", None))
        assert "load: 2 was displaced: the queue was full" == str(error)
        assert [2, 1, 0] == [await each for each in asking[:3]]
    assert [[2], [1, 0]] == calls


# Merging.


def key_of(item: Sum) -> str:
    """Return the key of a sum."""
    return item[0]


def number_in(item: Sum) -> int:
    """Return the number of a sum, which is its weight."""
    return item[1]


def add(waiting: Sum, new: Sum) -> Sum:
    """Return the waiting item with the number of the new one added."""
    return waiting[0], waiting[1] + new[1]


def summing(world: World, sink: Any, policy: Any, **options: Any) -> Any:
    """Return a queue that adds the numbers of a key, and weighs the sums."""
    rules = {"dedupe_key": key_of, "merge": add, "weigh": number_in}
    return world.queue(sink, policy, **{**rules, **options})


@on_both
async def one_item_for_all_that_wait_under_a_key(world: World) -> None:
    """A merged item keeps its place, counts as a duplicate, and shares a receipt with the first."""
    store = Store(world)
    queue = world.queue(store, NaturalPolicy(), dedupe_key=letter_of, merge=lambda old, new: new)
    first = await queue.submit("a1")
    await queue.enqueue("b1")
    await queue.enqueue("a2")
    last = await queue.submit("a3")
    assert ("a3", 2, 2) == (last.item, queue.stats().duplicates, queue.pending)
    await queue.start()
    await last.result()
    await queue.enqueue("a4")
    await queue.flush()
    await first.result()
    await queue.close()
    assert [["a3", "b1"], ["a4"]] == store.batches
    assert "a3" == last.item


@on_both
async def a_merged_item_keeps_its_age(world: World) -> None:
    """A merged item is due when the first item that was merged into it is due."""
    store = Store(world)
    queue = await started(summing(world, store, IntervalPolicy(4.0), weigh=None), ("a", 1))
    began = world.now()
    for _ in range(3):
        await world.sleep(1)
        await queue.enqueue(("a", 1))
    await world.sleep(5)
    await queue.close()
    assert ([[("a", 4)]], [began + 4]) == (store.batches, store.times)


@on_both
async def an_error_of_merge_is_raised_to_the_producer(world: World) -> None:
    """After an error of merge, the new item is not accepted, and the waiting item is unchanged."""
    store = Store(world)
    answers: dict[int, Any] = {1: ("b", 1), 2: ("a", "x"), 3: ("a", 9), 4: None}

    def merge(waiting: Sum, new: Sum) -> Any:
        if new[1] == 0:
            raise ZeroDivisionError(f"{waiting} and {new}")
        return answers.get(new[1], waiting)

    queue = summing(world, store, NaturalPolicy(max_weight=8), merge=merge)
    await queue.enqueue(("a", 5))
    errors = [await raised(queue.enqueue(("a", number))) for number in range(5)]
    kinds = [ZeroDivisionError, ValueError, TypeError, ItemTooLarge, TypeError]
    assert kinds == [type(error) for error in errors]
    assert "merge must keep the key 'a', not change it to 'b'" == str(errors[1])
    assert "the item weighs 9, more than max_weight=8: ('a', 9)" == str(errors[3])
    await queue.enqueue(("a", 5))
    assert (2, 1) == (queue.stats().accepted, queue.stats().duplicates)
    await queue.start()
    await queue.close()
    assert [[("a", 5)]] == store.batches


@on_both
async def the_new_weight_counts(world: World) -> None:
    """The caps and the policy use the new weight; the policy decides again after a merge."""
    store = Store(world)
    queue = summing(world, store, IntervalPolicy(float("inf"), max_weight=10))
    await started(queue, ("a", 4), ("b", 2))
    await world.sleep(1)
    assert [] == store.batches
    await queue.enqueue(("a", 3))
    await world.sleep(1)
    assert [] == store.batches
    await queue.enqueue(("b", 6))
    await world.sleep(1)
    assert ([[("a", 7)]], 1) == (store.batches, queue.pending)
    await queue.close()
    assert [("b", 8)] == store.batches[1]


@on_both
async def a_merged_item_waits_for_the_room_it_needs(world: World) -> None:
    """At its turn an item is merged if an item with its key still waits, or else it waits alone."""
    store = Store(world, 1)
    queue = summing(world, store, NaturalPolicy(1), max_queue_weight=10)
    await queue.enqueue(("b", 3))
    await queue.enqueue(("a", 6))
    await queue.enqueue(("a", 0))
    producers = [world.go(queue.enqueue(("a", 2)))]
    await world.sleep(0.5)
    producers.append(world.go(queue.enqueue(("a", 4))))
    await world.sleep(0.5)
    assert [False, False] == [producer.done() for producer in producers]
    assert isinstance(await raised(nowait(queue, ("c", 1))), QueueFull)
    await queue.start()
    for producer in producers:
        await producer
    await queue.close()
    assert [[("b", 3)], [("a", 8)], [("a", 4)]] == store.batches


@on_both
async def producers_that_got_too_little_room_keep_their_order(world: World) -> None:
    """A batch takes the items to merge with, so both producers need more room than they got."""
    store = Store(world, 1)
    rules: dict[str, Any] = {"merge": lambda _, new: new, "max_queue_weight": 8}
    queue = summing(world, store, NaturalPolicy(2), **rules)
    for item in (("a", 2), ("b", 4), ("x", 2)):
        await queue.enqueue(item)
    producers = []
    for item in (("a", 4), ("b", 7), ("c", 1)):
        producers.append(world.go(queue.enqueue(item)))
        await world.sleep(0.5)
    await queue.start()
    for producer in producers:
        await producer
    await queue.close()
    later = [item for item in store.items if item in (("a", 4), ("b", 7))]
    assert ([("a", 2), ("b", 4)], [("a", 4), ("b", 7)]) == (store.batches[0], later)


@on_both
async def a_merged_item_that_weighs_too_much_for_the_queue(world: World) -> None:
    """The new item is displaced, or displaces the oldest, even the one that it should join."""
    for when_full, items, expected in (
        ("drop_newest", ("a6", "b3", "a2"), ["a6", "b3"]),
        ("drop_oldest", ("b3", "a6", "a2"), ["a8"]),
        ("drop_oldest", ("a6", "b3", "a2"), ["b3", "a2"]),
        ("drop_oldest", ("a6", "b3", "a1"), ["a7", "b3"]),
    ):
        store = Store(world)
        queue = summing(world, store, NEVER, max_queue_weight=10, when_full=when_full)
        for item in items:
            await queue.enqueue((item[0], int(item[1:])))
        displaced = 0 if items[2] == "a1" else 1
        assert (displaced, 3) == (queue.stats().displaced, queue.stats().accepted)
        error = await raised(queue.enqueue((expected[0][0], 9)))
        assert isinstance(error, ItemTooLarge)
        await queue.start()
        await queue.close()
        assert [[(item[0], int(item[1:])) for item in expected]] == store.batches


@on_both
async def partitions_merge_each_for_itself(world: World) -> None:
    """Items with one key in two partitions are not merged; receipts and weights show the merge."""
    store = Store(world)
    queue = summing(
        world, store, IntervalPolicy(float("inf"), max_weight=9), dedupe_key=len,
        partition_key=key_of,
    )  # fmt: skip
    receipts = [await queue.submit((key, number)) for key, number in (("a", 1), ("b", 2), ("a", 3))]
    assert [("a", 4), ("b", 2), ("a", 4)] == [receipt.item for receipt in receipts]
    await queue.start()
    await world.sleep(1)
    await queue.enqueue(("b", 7))
    await world.sleep(1)
    assert ([[("b", 9)]], 1) == (store.batches, queue.pending)
    await queue.close()
    assert [("a", 4)] == store.batches[1]


test_in_asyncio, test_in_threads, test_in_threads_that_lose_their_turn_anywhere = on_both.tests(
    preempted=50
)
