"""What batchers that people use got wrong, one scenario each: ours does not.

The first part are failures of flushq 0.2.2, the package of this name that came before; the second
were seen elsewhere, each docstring saying where.
"""

import asyncio
from typing import Any

import pytest

from flushq import (
    FlushFailed,
    FlushQueue,
    IntervalPolicy,
    ItemTooLarge,
    NaturalPolicy,
    QueueFull,
    ShutdownTimeout,
)
from tests.contract.hostile import Second, error_of, left_behind
from tests.contract.support import (
    HeldSink,
    Interruption,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    now,
    patient,
    produce,
    settle,
    sweep,
)

# Seen in flushq 0.2.2.


async def test_leaving_while_a_flush_runs() -> None:
    """Leaving `async with` waits for the flush that runs, and its batch is delivered."""
    sink = Sink[int](2.0)
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(1.0)
    assert [[1]] == sink.delivered


async def test_a_first_batch_that_fails_with_more_in_the_queue() -> None:
    """If the first batch fails it is in doubt, the 15 items behind it are undelivered, at once."""
    sink = Sink[int](1.0, errors={0: OSError()})
    queue = FlushQueue(sink, patient(5))
    running = asyncio.create_task(error_of(queue.run()))
    await enqueue_all(queue, range(20))
    error = await running
    assert isinstance(error, FlushFailed)
    assert list(range(5)) == error.in_doubt
    assert list(range(5, 20)) == error.undelivered
    assert 1.0 == now()


@pytest.mark.parametrize("limit", [0, 1.5])
async def test_the_limit_drops_nothing_in_silence(limit: float) -> None:
    """At max_shutdown_wait what is left is in a ShutdownTimeout, and 0 is not `no limit`."""
    queue = FlushQueue(Sink[int](1.0), patient(10), max_shutdown_wait=limit)
    with pytest.raises(ShutdownTimeout) as caught:
        async with queue:
            await enqueue_all(queue, range(35))
    left = caught.value.in_doubt + caught.value.undelivered
    assert list(range(0 if limit == 0 else 10, 35)) == left
    assert limit == now()


async def test_a_timeout_error_of_the_sink_in_the_drain() -> None:
    """A TimeoutError of flush_fn during the drain is a FlushFailed, and is not swallowed."""
    queue = FlushQueue(Sink[int](errors={0: TimeoutError()}), patient(), max_shutdown_wait=9.0)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
    assert [1] == caught.value.in_doubt


async def test_the_drain_keeps_the_caps() -> None:
    """95 items that are left at exit go out in batches of max_records=10 at most."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(60.0, 10)) as queue:
        await enqueue_all(queue, range(95))
    assert [10] * 9 + [5] == sink.sizes


@pytest.mark.parametrize("around", ["run", "exit"])
async def test_a_timeout_around_it_is_no_success(around: str) -> None:
    """With asyncio.timeout around run() or the exit, TimeoutError comes out of the block."""
    queue = FlushQueue(Sink[int](5.0), NaturalPolicy())
    reached: list[str] = []

    async def use() -> None:
        async with queue:
            await queue.enqueue(1)

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(2.0):
            await (queue.run() if around == "run" else use())
            reached.append("the code after it")
    assert TimeoutError is type(caught.value)
    assert [] == reached
    assert 2.0 == now()


async def test_age_counts_from_acceptance() -> None:
    """Max wait 1 s, a flush of 3 s, one item left over: it goes the moment that flush has ended."""
    sink = Sink[int](3.0)
    async with FlushQueue(sink, IntervalPolicy(1.0, 2)) as queue:
        await enqueue_all(queue, range(3))
        await asyncio.sleep(10.0)
    assert [0.0, 3.0] == sink.started


async def test_a_producer_cancelled_as_room_appears() -> None:
    """An enqueue on a full queue cancelled 0, 1, 2, ... steps after room appears is clear-cut."""

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with FlushQueue(sink, NaturalPolicy(1), max_queue_size=1) as queue:
            await queue.enqueue(0)
            await settle()
            await queue.enqueue(1)
            sink.open()
            returned = await interrupted(queue.enqueue(2))
        assert ([0, 1, 2] if returned else [0, 1]) == sink.items

    assert 2 <= await sweep(scenario)


async def test_the_time_trigger_fires_in_virtual_time() -> None:
    """On a loop whose time is virtual the interval ends at its virtual time."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(3600.0)) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(7200.0)
        assert [3600.0] == sink.started


async def test_a_sink_that_enqueues_to_its_full_queue() -> None:
    """A flush that enqueues where only itself could make room gets QueueFull: no deadlock."""
    errors: list[BaseException | None] = []
    go_on = asyncio.Event()

    async def sink(batch: list[int]) -> None:
        await go_on.wait()
        if batch == [0]:
            errors.append(await error_of(queue.enqueue(9)))

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        go_on.set()
    assert [QueueFull] == [type(error) for error in errors]


async def test_duplicates_do_not_use_up_a_batch() -> None:
    """Keys 0,0,0,0,0,1,1,2,3,4 with max_records=5 make one batch of five."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(5), dedupe_key=lambda item: item) as queue:
        await enqueue_all(queue, [0, 0, 0, 0, 0, 1, 1, 2, 3, 4])
        await settle()
        assert [[0, 1, 2, 3, 4]] == sink.batches


async def test_no_timer_for_each_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tight producer under an IntervalPolicy sets one timer a batch at most, not one an item."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    timers: list[float] = []

    def counting(when: float, *args: Any, **context: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **context)

    monkeypatch.setattr(loop, "call_at", counting)
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0, 1000)) as queue:
        await enqueue_all(queue, range(10_000))
        await settle()
    assert [1000] * 10 == sink.sizes
    assert 10 >= len(timers)


# Seen elsewhere.


async def test_a_cancelled_caller_does_not_hang_the_others() -> None:
    """One of several that wait for the same batch is cancelled (async-batcher 0.2.2)."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy()) as queue:
        await queue.enqueue(1)
        waiting = [asyncio.create_task(queue.flush()) for _ in range(3)]
        await settle()
        waiting[1].cancel()
        sink.let_go()
        await settle()
        assert [False, True, False] == [task.cancelled() for task in waiting]
        assert all(task.done() for task in waiting)


async def test_a_batch_that_fills_while_the_sink_is_busy() -> None:
    """It goes the moment the slot is free, not with the timer (beque, localstack, ray PR 42705)."""
    sink = Sink[int](5.0)
    async with FlushQueue(sink, IntervalPolicy(100.0, 2)) as queue:
        await enqueue_all(queue, range(2))
        await asyncio.sleep(1.0)
        await enqueue_all(queue, range(2, 4))
        await asyncio.sleep(20.0)
        assert [0.0, 5.0] == sink.started


@pytest.mark.not_in("uvloop", reason="its callbacks cannot be seen")
async def test_an_idle_queue_does_nothing() -> None:
    """An idle queue has neither callback nor timer: it burns no core (beque)."""
    queue = FlushQueue(Sink[int](), IntervalPolicy(1.0))
    async with queue:
        await settle()
        loop: Any = asyncio.get_running_loop()
        assert [] == list(loop._ready)  # noqa: SLF001 - asyncio has no public list of callbacks
        assert [] == left_behind()


async def test_a_flush_started_by_the_timer_runs_to_its_end() -> None:
    """The timer's flush is not cancelled by anything about the timer (kugelpos #180)."""
    sink = Sink[int](10.0)
    async with FlushQueue(sink, IntervalPolicy(1.0, 2)) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(5.0)
        await enqueue_all(queue, range(2, 5))
        await asyncio.sleep(20.0)
    assert [[1], [2, 3], [4]] == sink.delivered


async def test_items_that_come_during_a_flush_stay() -> None:
    """What is enqueued while a flush runs is not cleared with what it sent (litellm #28907)."""
    sink = Sink[int](2.0)
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        for item in range(10):
            await queue.enqueue(item)
            await asyncio.sleep(0.5)
    assert list(range(10)) == [item for batch in sink.delivered for item in batch]


async def test_an_old_timer_does_not_close_the_next_batch() -> None:
    """A batch that filled leaves no timer to cut the next one short (flink, akka.net #7879)."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(10.0, 2)) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(8.0)
        await queue.enqueue(2)
        await asyncio.sleep(1.0)
        await queue.enqueue(3)
        await asyncio.sleep(20.0)
    assert [[1, 2], [3]] == sink.batches
    assert [8.0, 19.0] == sink.started


async def test_no_batch_is_empty() -> None:
    """Timers, flush() and the close call the sink with no empty batch (RxJS, influxdb #80)."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0, 1)) as queue:
        await queue.flush()
        await queue.enqueue(1)
        await queue.flush()
        await asyncio.sleep(5.0)
        await queue.flush()
    await queue.aclose()
    assert [[1]] == sink.batches


async def test_the_interval_is_an_age_and_no_debounce() -> None:
    """A steady trickle does not put the flush off (jasperfx PR 533, elasticsearch-py, bytewax)."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(0.25)) as queue:
        for item in range(100):
            await queue.enqueue(item)
            await asyncio.sleep(0.1875)
    assert [0.25, 0.625, 1.0] == sink.started[:3]
    assert 2 == max(sink.sizes)


async def test_the_interval_counts_from_arrival() -> None:
    """An item that waited for a slot has not begun to age with it (torchserve #2478)."""
    sink = Sink[int](2.0)
    async with FlushQueue(sink, IntervalPolicy(3.0)) as queue:
        await queue.enqueue(0)
        await asyncio.sleep(4.0)
        await queue.enqueue(1)
        await asyncio.sleep(10.0)
    assert [3.0, 7.0] == sink.started


async def test_an_item_that_is_too_large_is_refused() -> None:
    """An item above max_weight raises at once, and hangs nobody (otel-collector #12893)."""
    sink = Sink[str]()
    async with FlushQueue(sink, IntervalPolicy(1.0, max_weight=5), weigh=len) as queue:
        await queue.enqueue("four")
        with pytest.raises(ItemTooLarge):
            await queue.enqueue("too large")
        await queue.enqueue("five!")
    assert [["four"], ["five!"]] == sink.delivered


async def test_flush_flushes() -> None:
    """A flush() is no empty gesture: what was accepted is delivered (influxdb 1.50)."""
    sink = Sink[int](1.0)
    async with FlushQueue(sink, patient()) as queue:
        await enqueue_all(queue, range(3))
        await queue.flush()
        assert [[0, 1, 2]] == sink.delivered
        assert 1.0 == now()


async def test_flush_does_not_report_success_after_a_loss() -> None:
    """A flush() whose items were lost raises, during and after (OpenTelemetry force_flush)."""
    queue = FlushQueue(Sink[int](1.0, errors={0: OSError()}), patient())
    with pytest.raises(FlushFailed):
        async with queue:
            await queue.enqueue(1)
            with pytest.raises(FlushFailed):
                await queue.flush()
            with pytest.raises(FlushFailed):
                await queue.flush()


async def test_each_waiter_gets_an_exception_of_its_own() -> None:
    """One exception object is not raised in many tasks (aiokafka #246: tracebacks grow)."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, NaturalPolicy())
    running = asyncio.create_task(error_of(queue.run()))
    await queue.enqueue(1)
    waiting = [asyncio.create_task(error_of(queue.flush())) for _ in range(10)]
    await settle()
    sink.fail(OSError())
    errors = [*await asyncio.gather(*waiting), await running]
    assert 11 == len({id(error) for error in errors})
    depths = set()
    for error in errors:
        traceback, depth = error.__traceback__ if error else None, 0
        while traceback is not None:
            traceback, depth = traceback.tb_next, depth + 1
        depths.add(depth)
    assert 4 > max(depths)


async def test_a_failed_batch_is_not_sent_again() -> None:
    """What a failed flush may have sent is in doubt, and not sent twice (otel contrib 50279)."""
    sent: list[int] = []

    async def sink(batch: list[int]) -> None:
        for item in batch:
            if item == 3:
                raise OSError
            sent.append(item)

    queue = FlushQueue(sink, patient(5))
    with pytest.raises(FlushFailed):
        async with queue:
            await enqueue_all(queue, range(10))
            await asyncio.sleep(10.0)
    assert [0, 1, 2] == sent
    assert [0, 1, 2, 3, 4] == queue.in_doubt
    assert [5, 6, 7, 8, 9] == queue.undelivered


async def test_callbacks_of_the_user_do_not_kill_the_queue() -> None:
    """A key or weight function that raises harms its own item alone (ray #66140)."""
    sink = Sink[int]()
    queue = FlushQueue(
        sink, patient(), dedupe_key=lambda item: 1 // item, weigh=lambda item: 1 / (item - 1)
    )
    async with queue:
        errors = [await error_of(queue.enqueue(item)) for item in (0, 1, 2, 0, 1, -3)]
    assert [True, True, False, True, True, True] == [error is not None for error in errors]
    assert [[2]] == sink.delivered


async def test_backpressure_and_timers_together() -> None:
    """Timers, caps, slots and a full queue at once lose nothing (Reactor #994 and eight more)."""
    sink = Sink[int](0.75)
    queue = FlushQueue(sink, IntervalPolicy(0.5, 7), max_queue_size=3, max_in_flight=2)
    async with queue:
        producers = [produce(queue, *range(start, start + 100)) for start in range(0, 500, 100)]
        await asyncio.sleep(5.0)
        producers[2].cancel()
        await asyncio.wait(producers)
    counted = [item for item in sink.items if not 200 <= item < 300]
    assert sorted([*range(200), *range(300, 500)]) == sorted(counted)
    part = [item for item in sink.items if 200 <= item < 300]
    assert list(range(200, 200 + len(part))) == part
    assert 2 == sink.most_running
    assert_all_accounted_for(sink.items, queue, sink)


async def test_a_policy_is_shared_by_none() -> None:
    """One policy object given to two queues leads two lives, and stays as it was."""
    policy = Second()
    first, second = Sink[int](), Sink[int]()
    async with FlushQueue(first, policy) as one, FlushQueue(second, policy) as other:
        await one.enqueue(1)
        await asyncio.sleep(0.5)
        await other.enqueue(2)
        await asyncio.sleep(5.0)
    assert [1.0] == first.started
    assert [1.5] == second.started
    assert 0 == policy.queue.pending
    assert [] == policy.told
    assert one.policy is not other.policy
