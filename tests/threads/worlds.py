"""Scenarios that run with both drivers: a test of their common behaviour is written once.

A scenario is a coroutine function whose argument is a *world*. With asyncio, it runs as a task of a
virtual loop. With threads, it runs in a thread of a stage. There a call blocks instead of
suspending, so one `send` runs a coroutine to its end.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Protocol

import flushq
import flushq.threads
from flushq import FlushPolicy
from flushq.threads import primitives
from tests.threads.stage import Stage, play
from tests.virtual import VirtualLoop

Scenario = Callable[["World"], Coroutine[Any, Any, None]]
Sink = Callable[[list[Any]], Awaitable[object]]


class World(Protocol):
    """The interface of a driver for a scenario."""

    def queue(self, sink: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """Return a queue; its calls must be awaited, and ``close`` ends it."""

    def batched(self, load: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """Return a Batched."""

    def batches(self, source: AsyncIterator[Any], policy: FlushPolicy, **options: Any) -> Any:
        """Return a stream of batches."""

    def go(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Start a coroutine concurrently; return an object that can be awaited, like a task."""

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""

    def now(self) -> float:
        """Return the virtual time."""


class AioWorld:
    """The world of asyncio."""

    def queue(self, sink: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """Return a queue that has ``start`` and ``close``."""
        return _Started(flushq.FlushQueue(sink, policy, **options))

    def batched(self, load: Any, policy: FlushPolicy, **options: Any) -> Any:
        """Return a Batched."""
        return flushq.Batched(load, policy, **options)

    def batches(self, source: AsyncIterator[Any], policy: FlushPolicy, **options: Any) -> Any:
        """Return a stream of batches."""
        return flushq.batches(source, policy, **options)

    def go(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Start a task."""
        return asyncio.ensure_future(call)

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        await asyncio.sleep(seconds)

    def now(self) -> float:
        """Return the time of the loop."""
        return asyncio.get_running_loop().time()


class _Started:
    """An asyncio queue with the method names of the queue for threads."""

    def __init__(self, queue: flushq.FlushQueue[Any]) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def start(self) -> None:
        """Run the queue until it is closed."""
        self._running = asyncio.ensure_future(self._queue.run())
        self._running.add_done_callback(lambda task: task.exception())
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Close the queue."""
        await self._queue.aclose()

    async def submit(self, item: Any) -> Any:
        """Return a receipt that has ``result``."""
        return _Receipt(await self._queue.submit(item))


class _Receipt:
    def __init__(self, receipt: Any) -> None:
        self._receipt = receipt

    @property
    def item(self) -> Any:
        """The item that waits now, or that a batch took."""
        return self._receipt.item

    async def result(self) -> None:
        """Await the receipt."""
        await self._receipt


class ThreadsWorld:
    """The world of threads."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def queue(self, sink: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """Return a queue whose methods can be awaited."""
        handler = options.pop("on_failure", None)
        if handler is not None:
            options["on_failure"] = lambda failure: drive(_awaited(handler(failure)))
        queue: Any = flushq.threads.FlushQueue(lambda items: drive(sink(items)), policy, **options)
        return _Awaited(queue)

    def batched(self, load: Any, policy: FlushPolicy, **options: Any) -> Any:
        """Return a Batched that can be awaited."""
        return _AwaitedBatched(flushq.threads.Batched(lambda k: drive(load(k)), policy, **options))

    def batches(self, source: AsyncIterator[Any], policy: FlushPolicy, **options: Any) -> Any:
        """Return a stream that can be awaited; its source is turned into a plain iterator."""
        return _AwaitedStream(flushq.threads.batches(_Driven(source), policy, **options))

    def go(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Start a thread."""
        return _Thread(self._stage, call)

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        self._stage.sleep(seconds)

    def now(self) -> float:
        """Return the time of the stage."""
        return primitives.clock()


BLOCKING = {"enqueue", "flush", "start", "close", "deliver"}


class _Awaited:
    """A queue for threads whose calls can be awaited."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._queue, name)
        return _awaitable(call) if name in BLOCKING else call

    async def submit(self, item: Any) -> Any:
        """Return a receipt that can be awaited."""
        return _Awaited2(self._queue.submit(item))


class _Awaited2:
    def __init__(self, receipt: Any) -> None:
        self._receipt = receipt

    @property
    def item(self) -> Any:
        """The item that waits now, or that a batch took."""
        return self._receipt.item

    async def result(self) -> None:
        """Call ``result`` of the receipt."""
        self._receipt.result()


class _AwaitedBatched:
    def __init__(self, batched: Any) -> None:
        self._batched = batched

    async def __aenter__(self) -> Any:
        return _awaitable(self._batched.__enter__())

    async def __aexit__(self, *details: object) -> None:
        self._batched.__exit__(*details)


class _AwaitedStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Any:
        self._stream.__enter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        self._stream.__exit__(*details)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        for batch in self._stream:
            return batch
        raise StopAsyncIteration


class _Driven:
    """A plain iterator over an async iterator that never suspends."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = source
        if hasattr(source, "aclose"):
            self.close = lambda: drive(source.aclose())

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return drive(self._source.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class _Thread:
    def __init__(self, stage: Stage, call: Coroutine[Any, Any, Any]) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._task = stage.spawn(lambda: self._run(call))

    def _run(self, call: Coroutine[Any, Any, Any]) -> None:
        try:
            self._result = drive(call)
        except Exception as error:
            self._error = error

    def done(self) -> bool:
        """Return whether the thread has ended."""
        return self._task.is_over

    def __await__(self) -> Any:
        self._task.join()
        if self._error is not None:
            raise self._error
        yield from ()
        return self._result


def _awaitable(call: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def awaitable(*args: Any, **options: Any) -> Any:
        return call(*args, **options)

    return awaitable


async def _awaited(result: Any) -> Any:
    return await result if hasattr(result, "__await__") else result


def drive(call: Any) -> Any:
    """Run a coroutine that never suspends, and return its result."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine has suspended")


def run_aio(scenario: Scenario) -> None:
    """Run a scenario in the world of asyncio."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario(AioWorld()))


def run_threads(scenario: Scenario, seed: int = 0, preempt: float = 0.0) -> None:
    """Run a scenario in the world of threads."""
    play(lambda stage: drive(scenario(ThreadsWorld(stage))), seed, preempt=preempt)
