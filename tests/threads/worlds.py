"""One scenario for both drivers: what means the same is written once.

A scenario is a coroutine function of a *world*. In the world of asyncio it is a task on a virtual
loop. In that of threads it is a thread on a stage: there a call blocks where it would suspend, so
its coroutines never do, and one `send` runs each to its end.
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
    """What a scenario knows of its driver."""

    def queue(self, sink: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """A queue; its calls are awaited, and it is left by ``close``."""

    def batched(self, load: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """A Batched."""

    def batches(self, source: AsyncIterator[Any], policy: FlushPolicy, **options: Any) -> Any:
        """A stream of batches."""

    def go(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run something beside; what is returned can be awaited, as a task."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def now(self) -> float:
        """The time."""


class AioWorld:
    """asyncio."""

    def queue(self, sink: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """The queue itself, started by ``start``."""
        return _Started(flushq.FlushQueue(sink, policy, **options))

    def batched(self, load: Any, policy: FlushPolicy, **options: Any) -> Any:
        """The Batched itself."""
        return flushq.Batched(load, policy, **options)

    def batches(self, source: AsyncIterator[Any], policy: FlushPolicy, **options: Any) -> Any:
        """The stream itself."""
        return flushq.batches(source, policy, **options)

    def go(self, call: Coroutine[Any, Any, Any]) -> Any:
        """A task."""
        return asyncio.ensure_future(call)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def now(self) -> float:
        """The loop's."""
        return asyncio.get_running_loop().time()


class _Started:
    """An asyncio queue under the names of the other."""

    def __init__(self, queue: flushq.FlushQueue[Any]) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def start(self) -> None:
        """Run it, until somebody closes it."""
        self._running = asyncio.ensure_future(self._queue.run())
        self._running.add_done_callback(lambda task: task.exception())
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Close it."""
        await self._queue.aclose()

    async def submit(self, item: Any) -> Any:
        """Return a receipt that is asked by ``result``."""
        return _Receipt(await self._queue.submit(item))


class _Receipt:
    def __init__(self, receipt: Any) -> None:
        self._receipt = receipt

    @property
    def item(self) -> Any:
        """What waits by now, or was cut."""
        return self._receipt.item

    async def result(self) -> None:
        """Await it."""
        await self._receipt


class ThreadsWorld:
    """Threads."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def queue(self, sink: Sink, policy: FlushPolicy, **options: Any) -> Any:
        """A queue whose methods are awaited."""
        handler = options.pop("on_failure", None)
        if handler is not None:
            options["on_failure"] = lambda failure: drive(_awaited(handler(failure)))
        queue: Any = flushq.threads.FlushQueue(lambda items: drive(sink(items)), policy, **options)
        return _Awaited(queue)

    def batched(self, load: Any, policy: FlushPolicy, **options: Any) -> Any:
        """A Batched that is awaited."""
        return _AwaitedBatched(flushq.threads.Batched(lambda k: drive(load(k)), policy, **options))

    def batches(self, source: AsyncIterator[Any], policy: FlushPolicy, **options: Any) -> Any:
        """A stream that is awaited, of a source that is not."""
        return _AwaitedStream(flushq.threads.batches(_Driven(source), policy, **options))

    def go(self, call: Coroutine[Any, Any, Any]) -> Any:
        """A thread."""
        return _Thread(self._stage, call)

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._stage.sleep(seconds)

    def now(self) -> float:
        """The stage's."""
        return primitives.clock()


BLOCKING = {"enqueue", "flush", "start", "close", "deliver"}


class _Awaited:
    """A queue for threads, whose calls can be awaited."""

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
        """What waits by now, or was cut."""
        return self._receipt.item

    async def result(self) -> None:
        """Ask it."""
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
    """The plain iterator of an async one that never suspends."""

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
        """Whether it has ended."""
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
    raise AssertionError("it has suspended")


def run_aio(scenario: Scenario) -> None:
    """Run a scenario in the world of asyncio."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario(AioWorld()))


def run_threads(scenario: Scenario, seed: int = 0, preempt: float = 0.0) -> None:
    """Run a scenario in the world of threads."""
    play(lambda stage: drive(scenario(ThreadsWorld(stage))), seed, preempt=preempt)
