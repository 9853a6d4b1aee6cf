"""Helpers of the scenarios: sinks that record or wait, sweeps and steps of the loop.

A scenario is a coroutine function that makes its own queue. :func:`sweep` runs it again and again,
each time with an *interruption*, which stops one operation at loop step 0, 1, 2, ... The sweep ends
when the operation is over before that step::

    async def scenario(interrupted: Interruption) -> None:
        sink = HeldSink[int]()
        async with FlushQueue(sink, IntervalPolicy(1.0), max_queue_size=1) as queue:
            await queue.enqueue(0)
            accepted = await interrupted(queue.enqueue(1))
            sink.open()
        assert ([0, 1] if accepted else [0]) == sink.items

    assert 3 <= await sweep(scenario)

All helpers also work on a real loop; only :func:`settle` is exact on the virtual loop alone.
"""

import asyncio
import math
import types
from collections import Counter, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any, Generic, Literal, TypeVar

import anyio
import attrs
import pytest

from flushq import Drop, Failure, FlushFailed, FlushQueue, IntervalPolicy, QueueEnded, Verdict
from tests.virtual import VirtualLoop

T = TypeVar("T")

How = Literal["cancel", "close", "timeout", "wait_for", "scope"]

HOWS: list[How] = ["cancel", "close", "timeout", "wait_for", "scope"]

MOST_STEPS = 200


# Time.


def now() -> float:
    """Return the time of the running loop, in seconds."""
    return asyncio.get_running_loop().time()


async def steps(count: int) -> None:
    """Let the loop make ``count`` iterations."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition is true; virtual time does not move."""
    for _ in range(MOST_STEPS):
        if condition():
            return
        await steps(1)
    raise AssertionError(f"the condition is still false after {MOST_STEPS} steps")


async def settle() -> None:
    """Wait until nothing else happens at this moment (on a real loop: for 50 iterations)."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        await loop.idle()
    else:
        await steps(50)


# Sinks and queues.


@attrs.define(eq=False)
class Sink(Generic[T]):
    """A flush function that records its calls.

    Attributes:
        seconds: The seconds that a call takes; with 0 it never suspends.
        errors: The exceptions that calls raise at their end, by the number of the call, from 0.
        batches: The batch of each call, in order of the calls.
        started: The time at which each call began.
        delivered: The batches of the calls that returned, in the order in which they returned.
        running: How many calls run.
        most_running: The largest number of calls that ran at the same time.
    """

    seconds: float = 0.0
    errors: Mapping[int, BaseException] = attrs.field(factory=dict)
    batches: list[list[T]] = attrs.field(factory=list, init=False)
    started: list[float] = attrs.field(factory=list, init=False)
    delivered: list[list[T]] = attrs.field(factory=list, init=False)
    running: int = attrs.field(default=0, init=False)
    most_running: int = attrs.field(default=0, init=False)

    async def __call__(self, batch: list[T]) -> None:
        """Take a batch."""
        number = len(self.batches)
        self.batches.append(list(batch))
        self.started.append(now())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.work(batch)
            if number in self.errors:
                raise self.errors[number]
        finally:
            self.running -= 1
        self.delivered.append(self.batches[number])

    async def work(self, batch: list[T]) -> None:
        """Take the time of a call; subclasses may override this."""
        if self.seconds:
            await asyncio.sleep(self.seconds)

    @property
    def items(self) -> list[T]:
        """All items that were handed over, in order."""
        return [item for batch in self.batches for item in batch]

    @property
    def sizes(self) -> list[int]:
        """The size of each batch."""
        return [len(batch) for batch in self.batches]


@attrs.define(eq=False)
class HeldSink(Sink[T]):
    """A sink whose calls wait until they are released, or until the sink is opened for good."""

    _held: deque[asyncio.Future[None]] = attrs.field(factory=deque, init=False)
    _is_open: bool = attrs.field(default=False, init=False)

    async def work(self, batch: list[T]) -> None:
        """Wait until the call is released."""
        if self._is_open:
            return
        held = asyncio.get_running_loop().create_future()
        self._held.append(held)
        try:
            await held
        finally:
            if held in self._held:
                self._held.remove(held)

    @property
    def held(self) -> int:
        """The number of calls that wait to be released."""
        return len(self._held)

    def let_go(self) -> None:
        """Let the oldest call that runs return."""
        self._held.popleft().set_result(None)

    def let_go_last(self) -> None:
        """Let the youngest call that runs return."""
        self._held.pop().set_result(None)

    def fail(self, error: BaseException) -> None:
        """Let the oldest call that runs raise."""
        self._held.popleft().set_exception(error)

    def fail_last(self, error: BaseException) -> None:
        """Let the youngest call that runs raise."""
        self._held.pop().set_exception(error)

    def open(self) -> None:
        """Let all calls return, later ones too."""
        self._is_open = True
        while self._held:
            self.let_go()


@attrs.define(eq=False)
class Handler(Generic[T]):
    """A failure handler that records its calls.

    Attributes:
        verdicts: The answers, one after the other; after the last one it answers Drop.
        failures: The failures that the handler was asked about.
        asked: The time of each call.
    """

    verdicts: Sequence[Verdict] = ()
    failures: list[Failure[T]] = attrs.field(factory=list, init=False)
    asked: list[float] = attrs.field(factory=list, init=False)

    def __call__(self, failure: Failure[T]) -> Verdict:
        """Record the failure, and answer."""
        number = len(self.failures)
        self.failures.append(failure)
        self.asked.append(now())
        return self.verdicts[number] if number < len(self.verdicts) else Drop()

    async def later(self, failure: Failure[T]) -> Verdict:
        """Answer after a second."""
        await asyncio.sleep(1.0)
        return self(failure)

    async def soon(self, failure: Failure[T]) -> Verdict:
        """Answer in the next iteration of the loop."""
        await asyncio.sleep(0)
        return self(failure)

    @property
    def items(self) -> list[list[T]]:
        """The items of each failure."""
        return [failure.items for failure in self.failures]


def run_interrupted(session: Callable[[], Coroutine[Any, Any, T]], kind: type[BaseException]) -> T:
    """Run a session until the loop raises an exception of this kind, and then to its end."""
    loop = VirtualLoop()
    try:
        main = loop.create_task(session())
        with pytest.raises(kind):
            loop.run_until_complete(main)
        return loop.run_until_complete(main)
    finally:
        loop.close()


@asynccontextmanager
async def failing(
    queue: FlushQueue[T], kind: type[QueueEnded] = FlushFailed
) -> AsyncIterator[FlushQueue[T]]:
    """Run a queue whose end raises an error of this kind; an error of the body is passed on."""
    await queue.__aenter__()
    yield queue
    with pytest.raises(kind):
        await queue.__aexit__(None, None, None)


def patient(max_records: int | None = None) -> IntervalPolicy:
    """Return a policy that flushes full batches only."""
    return IntervalPolicy(math.inf, max_records)


# Producers.


async def enqueue_all(queue: FlushQueue[T], items: Iterable[T]) -> None:
    """Enqueue items one after the other; the producer does not suspend by itself."""
    for item in items:
        await queue.enqueue(item)


def produce(queue: FlushQueue[T], *items: T) -> asyncio.Task[None]:
    """Start a producer of these items as a task."""
    return asyncio.create_task(enqueue_all(queue, items))


def assert_all_accounted_for(accepted: Iterable[T], queue: FlushQueue[T], sink: Sink[T]) -> None:
    """Assert that each accepted item (hashable, without dedupe) is in exactly one place."""
    delivered = [item for batch in sink.delivered for item in batch]
    assert Counter(accepted) == Counter([*delivered, *queue.undelivered, *queue.in_doubt])


# Sweeps.


@attrs.define(eq=False)
class Interruption:
    """Runs one operation and interrupts it after ``step`` iterations of the loop.

    Attributes:
        step: The number of iterations, counted from the moment at which the task is made.
        how: The way to interrupt. "cancel": the task is cancelled. "close": the coroutine is
            closed where it waits (GeneratorExit). "timeout": it runs in an asyncio.timeout, which
            expires. "wait_for": it runs in asyncio.wait_for, and the task is cancelled. "scope":
            it runs in a scope of anyio, which cancels it at every await from then on.
        too_late: Whether the operation was over before this step.
    """

    step: int
    how: How
    too_late: bool = attrs.field(default=False, init=False)
    _returned: bool = attrs.field(default=False, init=False)
    _limit: asyncio.Timeout | None = attrs.field(default=None, init=False)
    _scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)

    async def __call__(self, operation: Coroutine[Any, Any, object]) -> bool:
        """Run and interrupt the operation; return whether it returned. Call this only once.

        An exception that the operation itself raises is raised.
        """
        task = asyncio.create_task(self._watch(operation))
        await steps(self.step)
        self.too_late = task.done()
        if self.how == "close":
            operation.close()
            task.cancel()
        elif self.how == "scope":
            self._scope.cancel()
        elif self._limit is not None and not task.done():
            self._limit.reschedule(now())
        else:
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert not self._returned
        except TimeoutError as error:
            if type(error) is not TimeoutError:  # a ShutdownTimeout is the operation's own
                raise
            assert not self._returned
        finally:
            operation.close()  # for a task that was cancelled before it awaited the operation
        return self._returned

    async def _watch(self, operation: Coroutine[Any, Any, object]) -> None:
        if self.how == "close":
            await _by_hand(operation)
        elif self.how == "wait_for":
            await asyncio.wait_for(operation, 1e9)
        elif self.how == "timeout":
            async with asyncio.timeout(None) as self._limit:
                await operation
        elif self.how == "scope":
            with self._scope:
                await operation
            if self._scope.cancelled_caught:
                return
        else:
            await operation
        self._returned = True


Scenario = Callable[[Interruption], Awaitable[None]]


async def sweep(scenario: Scenario, how: How = "cancel") -> int:
    """Run a scenario once for each loop step at which its operation can be interrupted.

    In the last run the interruption comes too late. Return the number of runs before that.
    """
    for step in range(MOST_STEPS):
        interruption = Interruption(step, how)
        await scenario(interruption)
        if interruption.too_late:
            return step
    raise AssertionError(f"the operation is not over after {MOST_STEPS} steps")


@types.coroutine
def _by_hand(operation: Coroutine[Any, Any, object]) -> Generator[Any, None, None]:
    """Await an operation so that it can be closed while it waits."""
    while True:
        try:
            waited_for = operation.send(None)
        except StopIteration:
            return
        yield waited_for
