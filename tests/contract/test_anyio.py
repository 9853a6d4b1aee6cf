"""Point 11 with a cancelled scope of anyio.

A cancelled scope of anyio cancels a task in every iteration of the loop, until the task has left
the scope. For the owner of a queue this counts as one cancellation: the queue shields its wait for
the drain from the others. The sweeps over every loop step are in the files of the points, with
how="scope".
"""

import asyncio
import math
import sys
import types
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from flushq import FlushQueue, NaturalPolicy
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


@pytest.mark.parametrize(("limit", "ended"), [(None, 6.0), (2.0, 3.0)])
async def test_a_cancelled_scope_around_the_block_drains(limit: float | None, ended: float) -> None:
    """A scope counts as one cancellation, so the queue drains within its own limit."""
    sink = Sink[int](2.0)
    with anyio.move_on_after(1.0) as scope:
        async with FlushQueue(sink, NaturalPolicy(1), max_shutdown_wait=limit) as queue:
            await enqueue_all(queue, range(3))
            await anyio.sleep(100.0)
    assert scope.cancelled_caught
    assert ended == now()
    assert ([[0], [1], [2]] if limit is None else [[0]]) == sink.delivered
    assert ([] if limit is None else [1, 2]) == queue.in_doubt + queue.undelivered
    assert [] == left_behind()


async def test_a_cancellation_of_asyncio_passes_the_shield() -> None:
    """After a cancelled scope, a cancellation of the task aborts the drain."""
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
    assert asyncio.CancelledError is type(await error_of(owner))
    assert 2.5 == now()
    assert ([[0]], [1], [2]) == (sink.delivered, queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_a_block_that_begins_in_a_cancelled_scope() -> None:
    """A block that begins in a cancelled scope accepts items; each of them has one place."""
    sink = Sink[int]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with FlushQueue(sink, patient()) as queue:
            await enqueue_all(queue, range(3))
    assert scope.cancelled_caught
    assert_all_accounted_for(range(3), queue, sink)
    assert [] == left_behind()


async def test_a_sink_is_cancelled_once_by_a_scope_that_aborts_the_drain() -> None:
    """A scope that is cancelled in the drain aborts it, and cancels the running flush once."""
    sink = StubbornSink[int](5.0)
    with anyio.move_on_after(1.0) as scope:
        async with FlushQueue(sink, NaturalPolicy(1)) as queue:
            await enqueue_all(queue, range(3))
    assert scope.cancelled_caught
    assert ([[0]], [1, 2], []) == (sink.delivered, queue.undelivered, queue.in_doubt)
    assert [1.0] == sink.cancelled
    assert 6.0 == now()
    assert [] == left_behind()


@pytest.mark.parametrize("shield", [False, True])
async def test_a_limit_around_a_later_close_holds(*, shield: bool) -> None:
    """A task that was cancelled may close a queue within a time limit."""
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


@pytest.mark.parametrize("loaded", [None, types.ModuleType("anyio")])
async def test_anyio_need_not_be_loaded(
    loaded: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled owner drains even if anyio is not loaded, or is being imported."""
    monkeypatch.setitem(sys.modules, "anyio", loaded)
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, patient())
    running = asyncio.create_task(queue.run())
    await queue.enqueue(1)
    running.cancel()
    assert asyncio.CancelledError is type(await error_of(running))
    assert [[1]] == sink.delivered


async def test_a_run_that_another_task_closes() -> None:
    """A coroutine that waits within the shield may be closed by another task."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient(1))
    running = queue.run()
    running.send(None)
    await queue.enqueue(1)
    await settle()
    running.throw(asyncio.CancelledError())
    await asyncio.create_task(close(running))
    assert "closing" == queue.state
    sink.open()
    await queue.aclose()
    assert [[1]] == sink.delivered


async def close(coroutine: Coroutine[Any, Any, object]) -> None:
    """Close a coroutine."""
    coroutine.close()
