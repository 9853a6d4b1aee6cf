"""What the runner makes of a loop that refuses what it is asked for."""

import asyncio
from typing import Any

from flushq import FlushFailed, FlushQueue, NaturalPolicy
from tests.contract.hostile import error_of
from tests.contract.support import Sink, run_interrupted, settle


def test_an_interrupt_of_the_task_factory_is_raised_on() -> None:
    """KeyboardInterrupt leaves the loop; the queue ends, and the batch is undelivered."""
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
