"""The runner: the moment at which it calls flush_fn, and a loop that creates no tasks."""

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

from flushq import FlushFailed, FlushQueue, NaturalPolicy, ShutdownTimeout
from tests.contract.hostile import FACTORIES, error_of, lazy
from tests.contract.support import Sink, failing, now, run_interrupted, settle, steps


def test_an_interrupt_of_the_task_factory_leaves_the_loop() -> None:
    """A KeyboardInterrupt of the task factory ends the queue, and the batch is undelivered."""
    sink = Sink[int]()
    queue = FlushQueue(sink, NaturalPolicy())

    def factory(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    async def session() -> BaseException | None:
        running = asyncio.ensure_future(error_of(queue.run()))
        await settle()
        await queue.enqueue(1)
        asyncio.get_running_loop().set_task_factory(factory)
        await settle()
        return await running

    error = run_interrupted(session, KeyboardInterrupt)
    assert FlushFailed is type(error)
    assert isinstance(error.__cause__, KeyboardInterrupt)
    assert ([], [1], []) == (sink.batches, queue.undelivered, queue.in_doubt)


# The call of flush_fn: in the pass itself, if tasks can start at once and there is no factory.

CAN_BEGIN_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
async def test_how_soon_an_answer_comes(factory: Any) -> None:
    """Tasks that start at once save three iterations of the loop: 3 instead of 6."""
    async with FlushQueue(Sink[int](), NaturalPolicy()) as queue:
        await settle()
        waiting = asyncio.ensure_future(queue.deliver(1))
        asyncio.get_running_loop().set_task_factory(factory)
        iterations = 0
        while not waiting.done():
            await steps(1)
            iterations += 1
    assert (3 if CAN_BEGIN_AT_ONCE and factory is not lazy else 6) == iterations


@pytest.mark.parametrize("slots", [1, 3])
async def test_a_sink_that_never_suspends_lets_others_run(slots: int) -> None:
    """A pass starts at most max_in_flight flushes, however many items wait."""
    seen: list[int] = []
    sink = Sink[int]()
    async with FlushQueue(sink, NaturalPolicy(1), max_in_flight=slots) as queue:
        await settle()
        for item in range(12):
            queue.enqueue_nowait(item)
        while queue.pending:
            seen.append(len(sink.batches))
            await steps(1)
    assert slots == max(later - earlier for earlier, later in pairwise(seen))


async def test_a_sink_that_feeds_its_own_queue_lets_others_run() -> None:
    """Items that flush_fn enqueues are flushed in a later pass, even if slots are free."""
    seen: list[int] = []

    async def sink(batch: list[int]) -> None:
        if batch[0] < 10:
            queue.enqueue_nowait(batch[0] + 1)
        seen[-1] += 1

    async with FlushQueue(sink, NaturalPolicy(), max_in_flight=1000) as queue:
        queue.enqueue_nowait(0)
        while sum(seen) <= 10:
            seen.append(0)
            await steps(1)
    assert 1 == max(seen)


async def test_a_limit_that_passes_before_flush_fn_suspends() -> None:
    """A flush that has just begun is cancelled at the limit, too: the end does not wait for it."""
    loop, outside = asyncio.get_running_loop(), contextvars.copy_context()
    closing: list[asyncio.Task[Any]] = []

    async def sink(_: list[int]) -> None:
        close = error_of(queue.aclose())
        closing.append(asyncio.Task(close, loop=loop, context=outside, **CAN_BEGIN_AT_ONCE))
        await asyncio.sleep(1000)

    async with failing(
        FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=0), ShutdownTimeout
    ) as queue:
        await queue.enqueue(1)
        await settle()
        assert ([1], 0) == (queue.in_doubt, now())
    await asyncio.gather(*closing)


async def test_an_error_of_a_flush_in_the_step_in_which_the_limit_passes() -> None:
    """From the limit on the flush counts as cancelled, so its exception is not a failure."""
    outside = contextvars.copy_context()
    closing: list[Coroutine[Any, Any, None]] = []

    async def sink(_: list[int]) -> None:
        closing.append(queue.aclose())
        outside.run(closing[0].send, None)
        raise ValueError("too late")

    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=0)
    async with failing(queue, ShutdownTimeout):
        await queue.enqueue(1)
        await settle()
    closing[0].close()
    assert ("closed", [1]) == (queue.state, queue.in_doubt)
