"""The part of partitions, P1 to P12, that both drivers share: each scenario runs with both.

The details that need no thread are in `tests/contract/test_p*.py`.
"""

from typing import Any

from flushq import (
    Drop,
    Dropped,
    Failure,
    FlushFailed,
    FlushReport,
    IntervalPolicy,
    ItemFailed,
    NaturalPolicy,
    PolicyError,
    QueueFull,
)
from tests.contract.partitions import Costly, letter_of, letters
from tests.threads.both import Scenarios
from tests.threads.test_contract import NEVER, Store, raised, started
from tests.threads.worlds import World

on_both = Scenarios()


def by_letter(world: World, sink: Any, policy: Any, **options: Any) -> Any:
    """Return a queue with a partition for each letter."""
    return world.queue(sink, policy, partition_key=letter_of, **options)


@on_both
async def each_call_asks_for_the_key_once(world: World) -> None:
    """partition_key is called once for each item, even if the caller waits; a bad key raises."""
    asked: list[Any] = []

    def partition_key(item: Any) -> Any:
        asked.append(item)
        return item[0]

    store = Store(world, 1)
    queue = world.queue(store, NaturalPolicy(1), partition_key=partition_key, max_queue_size=2)
    queue.enqueue_nowait("a1")
    await queue.submit("b1")
    await queue.start()
    for item in ("a2", "b2", "a3"):
        await queue.enqueue(item)
    await queue.deliver("a4")
    bad: tuple[list[int]] = ([],)
    for call in (queue.enqueue(bad), queue.submit(bad), queue.deliver(bad)):
        assert "not []" in str(await raised(call))
    await queue.close()
    assert ["a1", "b1", "a2", "b2", "a3", "a4", bad, bad, bad] == asked
    assert ["a1", "a2", "a3", "a4", "b1", "b2"] == sorted(store.items)


@on_both
async def each_partition_has_its_own_time_and_its_turn(world: World) -> None:
    """Flushes start when due, within both limits; a busy partition does not delay the others."""
    store = Store(world, 1)
    queue = await started(by_letter(world, store, IntervalPolicy(4.0, 2), max_in_flight=2))
    began = world.now()
    for number in range(9):
        await queue.enqueue(f"a{number}")
    await world.sleep(0.5)
    await queue.enqueue("b")
    await world.sleep(2)
    await queue.enqueue("c")
    await world.sleep(9)
    assert ("aaaaabc", 2) == ("".join(sorted(letters(store.batches))), store.most)
    times = [
        (batch[0], time - began) for batch, time in zip(store.batches, store.times, strict=True)
    ]
    expected = [("a0", 0), ("a2", 1), ("a4", 2), ("a6", 3), ("a8", 4), ("b", 4.5), ("c", 6.5)]
    assert expected == times
    assert 0 == queue.stats().partitions
    await queue.close()


@on_both
async def one_of_each_partition_runs(world: World) -> None:
    """By default a partition has one flush at a time; other partitions use the free slots."""
    store = Store(world, 1)
    queue = by_letter(world, store, NaturalPolicy(1), max_in_flight=3)
    await started(queue, "a1", "a2", "b1", "b2", "a3")
    await world.sleep(0.5)
    assert (2, 2, 2) == (store.running, queue.stats().partitions, store.most)
    await queue.close()
    assert ["a1", "a2", "a3"] == [item for item in store.items if item < "b"]
    assert 2 == store.most


@on_both
async def a_barrier_over_all_partitions(world: World) -> None:
    """flush() returns when the items of all partitions have ended."""
    store = Store(world, 2)
    queue = await started(by_letter(world, store, NEVER), "a1", "b1", "a2", "c1")
    began = world.now()
    await queue.flush()
    assert (began + 6, [["a1", "a2"], ["b1"], ["c1"]]) == (world.now(), sorted(store.batches))
    await queue.close()


@on_both
async def pressure_and_deadlock(world: World) -> None:
    """A full queue flushes a partition that may start; flush_fn gets QueueFull if none may."""
    refused: list[BaseException] = []
    batches: list[list[str]] = []

    async def sink(batch: list[str]) -> None:
        batches.append(batch)
        if batch == ["a1"]:
            await queue.enqueue("b1")
            await queue.enqueue("a2")
            refused.append(await raised(queue.enqueue("c1")))

    queue = by_letter(world, sink, NEVER, max_queue_size=1, max_in_flight=2)
    await started(queue, "a1")
    await queue.close()
    assert ([["a1"], ["b1"], ["a2"]], [QueueFull]) == (batches, list(map(type, refused)))


@on_both
async def reports_and_failures_name_their_partition(world: World) -> None:
    """A failure affects the receipts of its partition; it and each report name the partition."""
    reports: list[FlushReport] = []
    failures: list[Failure[Any]] = []

    def handler(failure: Failure[Any]) -> Drop:
        failures.append(failure)
        return Drop()

    store = Store(world, 1, OSError("no disk"))
    options: dict[str, Any] = {"on_report": reports.append, "on_failure": handler}
    queue = by_letter(world, store, NaturalPolicy(), dedupe_key=lambda item: item[1:], **options)
    receipts = [await queue.submit(item) for item in ("a1", "b1", "a2", "b1")]
    await queue.start()
    assert [Dropped, Dropped] == [type(await raised(receipts[at].result())) for at in (0, 2)]
    await receipts[1].result()
    await receipts[3].result()
    await queue.close()
    assert [("a", ["a1", "a2"])] == [(failure.partition, failure.items) for failure in failures]
    assert [("a", 2, 1), ("b", 1, 0)] == [
        (report.partition, report.count, report.pending) for report in reports
    ]


@on_both
async def a_failure_lists_all_partitions_in_order(world: World) -> None:
    """Lost items of all partitions are listed in order of acceptance."""
    store = Store(world, 1, OSError("no disk"))
    queue = await started(by_letter(world, store, NaturalPolicy(2)), "a1", "b1", "a2", "c1", "b2")
    error: Any = await raised(queue.close())
    assert (FlushFailed, ["a1", "a2"]) == (type(error), queue.in_doubt)
    assert (["b1", "c1", "b2"], 0) == (queue.undelivered, queue.stats().partitions)


@on_both
async def a_policy_that_cannot_be_copied(world: World) -> None:
    """A policy that cannot be copied ends the queue at the first item of a new partition."""
    store = Store(world)
    queue = await started(by_letter(world, store, Costly(2)), "a1")
    await world.sleep(1)
    await queue.enqueue("b1")
    error: Any = await raised(queue.close())
    assert (PolicyError, [["a1"]], ["b1"]) == (type(error), store.batches, error.undelivered)


@on_both
async def a_batched_by_partition(world: World) -> None:
    """Keys of one partition are loaded together, and fail together."""
    calls: list[list[str]] = []

    async def load(keys: list[str]) -> list[int]:
        calls.append(sorted(keys))
        if keys[0] < "b":
            raise OSError("no disk")
        return [int(key[1:]) for key in keys]

    async with world.batched(load, IntervalPolicy(1.0), partition_key=letter_of) as load_one:
        asking = [world.go(load_one(key)) for key in ("b1", "a1", "b2", "a2", "b1")]
        assert [1, 2, 1] == [await asking[at] for at in (0, 2, 4)]
        assert [ItemFailed] * 2 == [type(await raised(asking[at])) for at in (1, 3)]
    assert [["a1", "a2"], ["b1", "b2"]] == sorted(calls)


test_in_asyncio, test_in_threads, test_in_threads_that_lose_their_turn_anywhere = on_both.tests(
    preempted=50
)
