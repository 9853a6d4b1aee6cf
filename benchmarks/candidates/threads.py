"""Producers in threads: with flushq.threads, and with a hand-written loop over a queue.Queue."""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from time import monotonic, process_time
from typing import Any

from benchmarks.candidates.partitions import INTERVAL, ROOM, TENANT, items_of
from benchmarks.candidates.scenarios import TIGHT
from flushq import IntervalPolicy, NaturalPolicy
from flushq.threads import FlushQueue

CALLERS = 64
CALLS = 50
STOP = object()

Enqueue = Callable[[object], object]


class Count:
    """A sink that does nothing but count."""

    def __init__(self) -> None:
        self.items = 0

    def deliver(self, batch: list[object]) -> None:
        """Count the items of a batch."""
        self.items += len(batch)

    def check(self, expected: int) -> None:
        """Raise AssertionError if items were lost."""
        if self.items != expected:
            raise AssertionError(f"{self.items} items were delivered, not {expected}")


def at_once(number: int, work: Callable[[], object]) -> None:
    """Run ``work`` in ``number`` threads at the same time, and wait until all have ended."""
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def produce(enqueue: Enqueue, items: Iterable[object]) -> None:
    """Enqueue the items one after the other."""
    for item in items:
        enqueue(item)


async def _own(producers: int) -> float:
    """Measure batches that end at 500 items or after two seconds; return seconds per item."""
    sink = Count()
    with FlushQueue(sink.deliver, IntervalPolicy(2.0, 500)) as own:
        began = process_time()
        at_once(producers, partial(produce, own.enqueue, TIGHT[: len(TIGHT) // producers]))
    seconds = process_time() - began
    sink.check(len(TIGHT))
    return seconds / len(TIGHT)


async def _by_hand(producers: int) -> float:
    """Measure the work of _own() with a queue.Queue; return seconds per item."""
    sink = Count()
    items: queue.Queue[object] = queue.Queue(10_000)
    consumer = threading.Thread(target=consume_for_two_seconds, args=(items, sink.deliver))
    began = process_time()
    consumer.start()
    at_once(producers, partial(produce, items.put, TIGHT[: len(TIGHT) // producers]))
    items.put(STOP)
    consumer.join()
    seconds = process_time() - began
    sink.check(len(TIGHT))
    return seconds / len(TIGHT)


def consume_for_two_seconds(
    items: "queue.Queue[object]", sink: Callable[[list[object]], object]
) -> None:
    """Hand batches to ``sink`` until STOP comes; they end at 500 items or after two seconds."""
    item = None
    while item is not STOP:
        item = items.get()
        batch = []
        due = monotonic() + 2.0
        while item is not STOP:
            batch.append(item)
            if len(batch) == 500:
                break
            try:
                item = items.get(timeout=max(0.0, due - monotonic()))
            except queue.Empty:
                break
        if batch:
            sink(batch)


async def _of_tenants(tenants: int, options: Mapping[str, Any]) -> float:
    """Measure a producer of items of many tenants, with the drain; return seconds per item."""
    sink, items = Count(), items_of(tenants, len(TIGHT))
    with FlushQueue(sink.deliver, INTERVAL, max_queue_size=ROOM, **options) as own:
        began = process_time()
        at_once(1, partial(produce, own.enqueue, items))
    seconds = process_time() - began
    sink.check(len(TIGHT))
    return seconds / len(TIGHT)


own_1 = partial(_own, 1)
own_8 = partial(_own, 8)
by_hand_1 = partial(_by_hand, 1)
by_hand_8 = partial(_by_hand, 8)
no_partitions = partial(_of_tenants, 1, {})
partitions_1 = partial(_of_tenants, 1, {"partition_key": TENANT})
partitions_1_000 = partial(_of_tenants, 1_000, {"partition_key": TENANT})


async def own_deliver() -> float:
    """Measure 64 threads that wait for the end of each of their items; return seconds per item."""
    sink = Count()
    with FlushQueue(sink.deliver, NaturalPolicy(max_records=500)) as own:
        seconds = _call(own.deliver)
    sink.check(CALLERS * CALLS)
    return seconds


async def by_hand_deliver() -> float:
    """Measure the work of own_deliver() with a future for each item; return seconds per item."""
    sink = Count()
    items: queue.Queue[Future[object] | None] = queue.Queue(10_000)

    def deliver(_: object) -> None:
        future: Future[object] = Future()
        items.put(future)
        future.result()

    consumer = threading.Thread(target=consume_what_is_there, args=(items, sink.deliver))
    consumer.start()
    seconds = _call(deliver)
    items.put(None)
    consumer.join()
    sink.check(CALLERS * CALLS)
    return seconds


def consume_what_is_there(
    items: "queue.Queue[Future[object] | None]", sink: Callable[[list[object]], object]
) -> None:
    """Take the waiting futures in batches, and complete them, until None comes."""
    while (first := items.get()) is not None:
        batch: list[Future[object]] = [first]
        while len(batch) < min(500, 1 + items.qsize()) and (more := items.get()) is not None:
            batch.append(more)
        sink(list(batch))
        for future in batch:
            future.set_result(None)


def _call(deliver: Callable[[object], object]) -> float:
    began = process_time()
    at_once(CALLERS, partial(produce, deliver, TIGHT[:CALLS]))
    return (process_time() - began) / (CALLERS * CALLS)
