"""Points 1, 2, 10, 11, 12 where the callers are anyio's task groups.

A cancelled scope of anyio cancels what waits in it again and again, in every iteration of the loop,
until it has left the scope. To the owner of a queue that is one cancellation: the queue shields its
wait for the drain from then on. The sweeps over every loop step are in the other files:
how="scope".
"""

import asyncio
import math
import sys
import types
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from anyio.lowlevel import cancel_shielded_checkpoint

from flushq import FlushFailed, FlushQueue, NaturalPolicy, QueueClosed, ShutdownTimeout
from tests.contract.hostile import StubbornSink, error_of, left_behind
from tests.contract.support import (
    HeldSink,
    Sink,
    assert_all_accounted_for,
    enqueue_all,
    now,
    patient,
    settle,
)


async def run_queue(queue: FlushQueue[int], *, task_status: TaskStatus[None]) -> None:
    """Run a queue as a child of a task group that waits for its start."""
    task_status.started()
    await queue.run()


async def test_move_on_after_around_an_enqueue_that_waits() -> None:
    """Who gives up waiting for room has its item refused; those behind it are served."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(1.0) as scope:
                group.start_soon(enqueue_all, queue, [3])
                await queue.enqueue(2)
            assert scope.cancelled_caught
            assert 1.0 == now()
            sink.open()
    assert [0, 1, 3] == sink.items


async def test_an_enqueue_that_finds_room_is_no_checkpoint() -> None:
    """In a scope that is cancelled already an item is accepted, since it need not wait."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient()) as queue:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await queue.enqueue(1)
            await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert 1 == queue.pending
    assert [[1]] == sink.delivered


async def test_a_cancelled_group_of_producers_leaves_the_queue_to_the_others() -> None:
    """Producers of a cancelled group, blocked or not yet begun, have nothing more accepted."""
    sink = HeldSink[int]()
    accepted: list[int] = []

    async def producer(first: int) -> None:
        for item in range(first, first + 5):
            await queue.enqueue(item)
            accepted.append(item)

    async with FlushQueue(sink, NaturalPolicy(2), max_queue_size=3) as queue:
        async with anyio.create_task_group() as group:
            for first in range(0, 100, 10):
                group.start_soon(producer, first)
            await settle()
            group.start_soon(producer, 100)
            group.cancel_scope.cancel()
        sink.open()
        await producer(200)
    assert sorted(accepted) == sorted(sink.items)
    assert [*range(200, 205)] == accepted[-5:]


async def test_move_on_after_around_flush() -> None:
    """Only the waiting ends: the flush goes on."""
    sink = Sink[int](2.0)
    async with FlushQueue(sink, patient()) as queue:
        await queue.enqueue(1)
        with anyio.move_on_after(1.0) as scope:
            await queue.flush()
        assert scope.cancelled_caught
        assert 1.0 == now()
    assert [[1]] == sink.delivered
    assert 2.0 == now()


async def test_a_cancelled_scope_around_the_block_drains() -> None:
    """However often the scope cancels its task, that is one cancellation: all is delivered."""
    sink = Sink[int](2.0)
    with anyio.move_on_after(1.0) as scope:
        async with FlushQueue(sink, NaturalPolicy(1)) as queue:
            await enqueue_all(queue, range(3))
            await anyio.sleep(100.0)
    assert scope.cancelled_caught
    assert 6.0 == now()
    assert [[0], [1], [2]] == sink.delivered
    assert [] == left_behind()


async def test_max_shutdown_wait_bounds_the_drain_in_a_cancelled_scope() -> None:
    """At the limit the running flush is cancelled, and what is left is listed."""
    sink = Sink[int](2.0)
    with anyio.move_on_after(1.0) as scope:
        async with FlushQueue(sink, NaturalPolicy(1), max_shutdown_wait=2.0) as queue:
            await enqueue_all(queue, range(3))
            await anyio.sleep(100.0)
    assert scope.cancelled_caught
    assert 3.0 == now()
    assert ([[0]], [1], [2]) == (sink.delivered, queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_a_cancellation_of_asyncio_passes_the_shield() -> None:
    """The second cancellation of an owner aborts its drain, whatever scope the first came from."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, NaturalPolicy(1))

    async def own() -> None:
        with anyio.move_on_after(1.0):
            async with queue:
                await enqueue_all(queue, range(3))
                await anyio.sleep(100.0)

    owner = asyncio.create_task(own())
    await asyncio.sleep(2.5)
    owner.cancel()
    assert [asyncio.CancelledError] == list(
        map(type, await asyncio.gather(owner, return_exceptions=True))
    )
    assert 2.5 == now()
    assert ([[0]], [1], [2]) == (sink.delivered, queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_a_shielded_aclose_in_a_cancelled_block_drains() -> None:
    """A body that closes within a shield has everything delivered, and the scope still ends it."""
    sink = Sink[int](2.0)
    with anyio.move_on_after(1.0) as scope:
        async with FlushQueue(sink, NaturalPolicy(1)) as queue:
            try:
                await enqueue_all(queue, range(3))
                await anyio.sleep(100.0)
            finally:
                with anyio.CancelScope(shield=True):
                    await queue.aclose()
    assert scope.cancelled_caught
    assert [[0], [1], [2]] == sink.delivered
    assert 6.0 == now()
    assert [] == left_behind()


async def test_a_shielded_block_knows_nothing_of_the_cancellation() -> None:
    """A block within a shield runs and drains to its end in a scope that is cancelled."""
    sink = Sink[int](2.0)
    with anyio.CancelScope() as scope:
        scope.cancel()
        with anyio.CancelScope(shield=True):
            async with FlushQueue(sink, NaturalPolicy(1), max_queue_size=1) as queue:
                await enqueue_all(queue, range(3))
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert [[0], [1], [2]] == sink.delivered


async def test_a_block_that_begins_in_a_cancelled_scope() -> None:
    """Entering it does not wait, so items are accepted; leaving it does: they are undelivered."""
    sink = Sink[int]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with FlushQueue(sink, patient()) as queue:
            await enqueue_all(queue, range(3))
    assert scope.cancelled_caught
    assert_all_accounted_for(range(3), queue, sink)
    assert [] == left_behind()


async def test_a_sink_is_cancelled_once_by_a_scope_that_aborts_the_drain() -> None:
    """A scope whose first cancellation comes in the drain aborts it, and does so once."""
    sink = StubbornSink[int](5.0)
    with anyio.move_on_after(1.0) as scope:
        async with FlushQueue(sink, NaturalPolicy(1)) as queue:
            await enqueue_all(queue, range(3))
    assert scope.cancelled_caught
    assert ([[0]], [1, 2], []) == (sink.delivered, queue.undelivered, queue.in_doubt)
    assert [1.0] == sink.cancelled
    assert 6.0 == now()
    assert [] == left_behind()


async def test_run_in_a_task_group_with_producers() -> None:
    """Everything is delivered when the producers have ended and the queue is closed."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, NaturalPolicy(4), max_queue_size=2, max_in_flight=2)
    async with anyio.create_task_group() as group:
        await group.start(run_queue, queue)
        async with anyio.create_task_group() as producers:
            for first in range(0, 40, 10):
                producers.start_soon(enqueue_all, queue, range(first, first + 10))
        await queue.aclose()
    assert [*range(40)] == sorted(sink.items)
    assert 0 == queue.pending
    assert [] == left_behind()


async def test_a_cancelled_group_around_run_and_its_producers() -> None:
    """The group ends when the queue has drained; all that was accepted is delivered."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, NaturalPolicy(4), max_queue_size=2, max_in_flight=2)
    accepted: list[int] = []

    async def producer(first: int) -> None:
        for item in range(first, first + 100):
            await queue.enqueue(item)
            accepted.append(item)

    async with anyio.create_task_group() as group:
        await group.start(run_queue, queue)
        for first in range(0, 400, 100):
            group.start_soon(producer, first)
        await anyio.sleep(2.5)
        group.cancel_scope.cancel()
    assert 4.0 == now()
    assert sorted(accepted) == sorted(sink.items)
    assert [] == left_behind()


async def test_a_failing_sink_ends_the_group_of_run() -> None:
    """FlushFailed comes out of the group, that of blocked producers too; every item is listed."""
    mistake = ValueError("of the sink")
    sink = Sink[int](1.0, errors={1: mistake})
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
    accepted: list[int] = []

    async def producer() -> None:
        for item in range(10):
            await queue.enqueue(item)
            accepted.append(item)

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(run_queue, queue)
            group.start_soon(producer)
    failures = [error for error in caught.value.exceptions if isinstance(error, FlushFailed)]
    assert len(caught.value.exceptions) == len(failures)
    assert all(mistake is failure.__cause__ for failure in failures)
    assert_all_accounted_for(accepted, queue, sink)


@pytest.mark.parametrize("owned", [False, True], ids=["alone", "owned"])
async def test_move_on_after_around_aclose(*, owned: bool) -> None:
    """The drain is cut short, unless an owner waits for it: then it goes on, to the end."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, NaturalPolicy(1))
    await enqueue_all(queue, range(3))
    async with anyio.create_task_group() as group:
        if owned:
            await group.start(run_queue, queue)
        with anyio.move_on_after(1.0) as scope:
            await queue.aclose()
        assert scope.cancelled_caught
        assert 1.0 == now()
    assert ([[0], [1], [2]] if owned else []) == sink.delivered
    assert_all_accounted_for(range(3), queue, sink)
    assert [] == left_behind()


async def test_fail_after_around_the_block() -> None:
    """The TimeoutError is that of the scope; what was left is listed."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, NaturalPolicy(1))
    with pytest.raises(TimeoutError) as caught:
        with anyio.fail_after(3.0):
            async with queue:
                await enqueue_all(queue, range(3))
    assert TimeoutError is type(caught.value)
    assert 3.0 == now()
    assert ([[0]], [1], [2]) == (sink.delivered, queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_the_limit_of_the_queue_comes_before_that_of_the_scope() -> None:
    """ShutdownTimeout goes out of a scope that was not cancelled."""
    with pytest.raises(ShutdownTimeout) as caught:
        with anyio.fail_after(3.0):
            async with FlushQueue(Sink[int](2.0), patient(), max_shutdown_wait=1.0) as queue:
                await queue.enqueue(1)
    assert [1] == caught.value.in_doubt
    assert 1.0 == now()


async def test_a_group_in_the_block_that_fails() -> None:
    """The group has ended when the queue is left, so it drains; the group's error goes on."""
    sink = Sink[int](2.0)
    mistake = ValueError("of a child")

    async def fail() -> None:
        await anyio.sleep(1.0)
        raise mistake

    with pytest.raises(ExceptionGroup) as caught:
        async with FlushQueue(sink, NaturalPolicy(1)) as queue, anyio.create_task_group() as group:
            group.start_soon(fail)
            await enqueue_all(queue, range(3))
            await anyio.sleep(math.inf)
    assert (mistake,) == caught.value.exceptions
    assert [[0], [1], [2]] == sink.delivered


async def test_a_group_around_the_block_that_fails() -> None:
    """The group cancels the block, which drains; the group's error alone goes on."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, NaturalPolicy(1))
    mistake = ValueError("of a child")

    async def fail() -> None:
        await anyio.sleep(1.0)
        raise mistake

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group, queue:
            group.start_soon(fail)
            await enqueue_all(queue, range(3))
            await anyio.sleep(math.inf)
    assert (mistake,) == caught.value.exceptions
    assert [[0], [1], [2]] == sink.delivered


async def test_a_closed_queue_refuses_the_producers_of_a_group() -> None:
    """Blocked producers in a group get QueueClosed, each its own."""
    sink = Sink[int](1.0)
    refused: list[int] = []

    async def producer(item: int) -> None:
        try:
            await queue.enqueue(item)
        except QueueClosed:
            refused.append(item)

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1)
    async with anyio.create_task_group() as group, queue:
        for item in range(5):
            group.start_soon(producer, item)
        await settle()
    assert [*range(5)] == sorted([*sink.items, *refused])
    assert 3 == len(refused)


async def test_a_sink_of_anyio() -> None:
    """flush_fn may use groups, scopes and shields of anyio, whoever started the queue."""
    written: list[Any] = []

    async def write(item: int) -> None:
        await anyio.sleep(1.0)
        written.append(item)

    async def sink(batch: list[int]) -> None:
        async with anyio.create_task_group() as group:
            for item in batch:
                group.start_soon(write, item)
        with anyio.move_on_after(1.0) as scope:
            await anyio.sleep(5.0)
        assert scope.cancelled_caught

    async with anyio.create_task_group() as group:
        queue = FlushQueue(sink, NaturalPolicy(2))
        await group.start(run_queue, queue)
        await enqueue_all(queue, range(4))
        await queue.flush()
        assert [0, 1, 2, 3] == written
        assert 4.0 == now()
        await queue.aclose()


async def test_the_shield_of_a_sink_is_none_against_the_limit() -> None:
    """The queue cancels the task of a flush itself: anyio's shields are for anyio's scopes."""
    cleaned: list[float] = []

    async def sink(_: list[int]) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.sleep(5.0)
            finally:
                await cancel_shielded_checkpoint()
                cleaned.append(now())

    with pytest.raises(ShutdownTimeout):
        async with FlushQueue(sink, patient(), max_shutdown_wait=1.0) as queue:
            await queue.enqueue(1)
    assert [1.0] == cleaned
    assert [1] == queue.in_doubt


async def test_a_stubborn_sink_beyond_the_limit_of_a_shielded_drain() -> None:
    """A sink that ignores the one cancellation at the limit is waited for, within a shield too."""
    sink = StubbornSink[int](5.0)
    with anyio.CancelScope() as scope:
        scope.cancel()
        with anyio.CancelScope(shield=True):
            async with FlushQueue(sink, patient(), max_shutdown_wait=1.0) as queue:
                await queue.enqueue(1)
    assert [[1]] == sink.delivered
    assert [1.0] == sink.cancelled
    assert 6.0 == now()


@pytest.mark.parametrize("shield", [False, True])
async def test_a_limit_around_a_later_close_holds(*, shield: bool) -> None:
    """A task that was cancelled before may close a queue within a limit of its own."""
    sink = Sink[int](9.0)
    queue = FlushQueue(sink, patient())
    await queue.__aenter__()
    limits: list[bool] = []

    async def service() -> None:
        try:
            await queue.enqueue(1)
            await asyncio.sleep(math.inf)
        finally:
            with anyio.move_on_after(0.5, shield=shield) as limit:
                await queue.aclose()
            limits.append(limit.cancelled_caught)

    task = asyncio.create_task(service())
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    assert ([True], 1.5, [1]) == (limits, now(), queue.in_doubt)


async def test_a_limit_around_a_later_block_holds() -> None:
    """The same of a block that is entered in the cleanup of a cancelled scope."""
    sink = Sink[int](9.0)
    with anyio.move_on_after(1.0):
        try:
            await anyio.sleep(math.inf)
        finally:
            with anyio.move_on_after(0.5, shield=True) as limit:
                async with FlushQueue(sink, patient()) as queue:
                    await queue.enqueue(1)
    assert (True, 1.5, [1]) == (limit.cancelled_caught, now(), queue.in_doubt)


@pytest.mark.parametrize("loaded", [None, types.ModuleType("anyio")])
async def test_anyio_need_not_be_loaded(
    loaded: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled owner drains where anyio is not loaded, or is being imported."""
    monkeypatch.setitem(sys.modules, "anyio", loaded)
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, patient())
    running = asyncio.create_task(queue.run())
    await queue.enqueue(1)
    running.cancel()
    assert asyncio.CancelledError is type(await error_of(running))
    assert [[1]] == sink.delivered


async def test_a_run_that_another_task_closes() -> None:
    """A coroutine that waits within the shield may be closed from anywhere."""
    queue = FlushQueue(HeldSink[int](), patient(1))
    running = queue.run()
    running.send(None)
    await queue.enqueue(1)
    await settle()
    running.throw(asyncio.CancelledError())
    await asyncio.create_task(close(running))
    assert "closing" in repr(queue)
    with pytest.raises(ShutdownTimeout):
        await cut_short(queue)


async def close(coroutine: Coroutine[Any, Any, object]) -> None:
    """Close a coroutine."""
    coroutine.close()


async def cut_short(queue: FlushQueue[int]) -> None:
    """Close a queue, and have no patience."""
    closing = asyncio.create_task(queue.aclose())
    await settle()
    queue._core.ending.owned = False  # noqa: SLF001 - the owner was closed
    closing.cancel()
    with suppress(asyncio.CancelledError):
        await closing
    await queue.aclose()
