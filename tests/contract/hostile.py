"""What the hostile scenarios share: ways to call, bad policies, bad clocks, what is left behind.

Ordinary sinks and sweeps are in :mod:`tests.contract.support`.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

import attrs

from flushq import Decision, Flush, FlushPolicy, NaturalPolicy, Wait
from tests.contract.support import Sink, now, steps
from tests.virtual import VirtualLoop

T = TypeVar("T")
Args = TypeVarTuple("Args")

# Ways to call.

Operation = Coroutine[Any, Any, object]
Way = Callable[[Operation], Awaitable[None]]


async def directly(operation: Operation) -> None:
    """Await it in this task."""
    await operation


async def gathered(operation: Operation) -> None:
    """Await it through gather: in a task of its own."""
    await asyncio.gather(operation)


async def timed(operation: Operation) -> None:
    """Await it through wait_for: in a task of its own up to Python 3.11, in this one later."""
    await asyncio.wait_for(operation, 1e9)


async def as_task(operation: Operation) -> None:
    """Await it as a task."""
    await asyncio.create_task(operation)


WAYS: list[Way] = [directly, gathered, timed, as_task]


async def error_of(operation: Awaitable[object]) -> BaseException | None:
    """Await something and return what it raised."""
    try:
        await operation
    except BaseException as error:
        return error
    return None


# What cannot be shown or logged.


class Unprintable(Exception):
    """An exception, or an answer, that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise AttributeError("there is no repr")

    __str__ = __repr__


@contextmanager
def failing_logger() -> Iterator[None]:
    """Have every record of the logger flushq raise where it is logged."""

    def fail(record: logging.LogRecord) -> bool:
        raise AttributeError(f"{record!r} has no request_id")

    logger = logging.getLogger("flushq")
    logger.addFilter(fail)
    try:
        yield
    finally:
        logger.removeFilter(fail)


# Sinks.


@attrs.define(eq=False)
class StepSink(Sink[T]):
    """A sink whose calls take three iterations of the loop, and no time."""

    async def work(self, batch: list[T]) -> None:
        """Let the loop run."""
        await steps(3)


@attrs.define(eq=False)
class StubbornSink(Sink[T]):
    """A sink whose calls take ``seconds``, and again so long for each cancellation they ignore.

    Attributes:
        ignores: How many cancellations a call ignores.
        cancelled: When it was cancelled.
    """

    ignores: int = 1
    cancelled: list[float] = attrs.field(factory=list, init=False)

    async def work(self, batch: list[T]) -> None:
        """Sleep, whatever comes, up to a point."""
        for left in reversed(range(self.ignores + 1)):
            try:
                await asyncio.sleep(self.seconds)
                return
            except asyncio.CancelledError:
                self.cancelled.append(now())
                if not left:
                    raise


# Policies.

EVENTS = ["item_added", "flush_started", "flush_done", "tick"]


class Second(FlushPolicy):
    """Flush what is a second old. In one flush all four events come to pass.

    Attributes:
        told: The name and the time of each event.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def decide(self, now: float) -> Decision:
        """Flush what is a second old."""
        due = self.queue.oldest + 1.0
        return Flush("age") if due <= now else Wait(due)

    def on_event(self, event: str, now: float) -> None:
        """Hear of an event, before the base class does."""
        self.told.append((event, now))

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Hear of it, and go on."""
        self.on_event("item_added", now)
        return super().item_added(now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Hear of it, and go on."""
        self.on_event("flush_started", now)
        return super().flush_started(now, count, weight)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Hear of it, and go on."""
        self.on_event("flush_done", now)
        return super().flush_done(now, count, seconds, error)

    def tick(self, now: float) -> Decision:
        """Hear of it, and go on."""
        self.on_event("tick", now)
        return super().tick(now)


class Broken(Second):
    """Raises in one of the events, from its nth time on."""

    def __init__(self, event: str, kind: type[BaseException], nth: int = 1) -> None:
        super().__init__()
        self.event = event
        self.kind = kind
        self.left = nth

    def on_event(self, event: str, now: float) -> None:
        """Raise, if it is that event."""
        super().on_event(event, now)
        self.left -= event == self.event
        if event == self.event and self.left <= 0:
            raise self.kind(f"broken in {event}")


class Answering(NaturalPolicy):
    """Answers whatever it was given."""

    def __init__(self, make: Callable[[float], Any]) -> None:
        super().__init__()
        self.make = make

    def decide(self, now: float) -> Decision:
        """Answer."""
        answer: Decision = self.make(now)
        return answer


# Loops.


def lazy(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make tasks that begin in the next iteration of the loop: those of the queue, too."""
    return asyncio.Task(coroutine, loop=loop, **options)


FACTORIES: dict[str, Any] = {"none": None, "lazy": lazy}
if sys.version_info >= (3, 12):
    FACTORIES["eager"] = asyncio.eager_task_factory


class EarlyLoop(VirtualLoop):
    """A loop whose timers fire a quarter of a second early."""

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer, for a little too early."""
        return super().call_at(when - 0.25, callback, *args, context=context)


class UnsteadyLoop(VirtualLoop):
    """A loop whose clock lags behind by a millisecond at every third look."""

    _looks = 0

    def time(self) -> float:
        """Return the time, more or less."""
        self._looks += 1
        return super().time() - (0.001 if self._looks % 3 == 0 else 0.0)


@contextmanager
def own_loop() -> Iterator[VirtualLoop]:
    """Give a virtual loop that may be stopped by an exception and run again."""
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        loop.close()


def left_behind() -> list[object]:
    """Return the tasks, beside the current one, and the timers that are on the loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    loop: Any = asyncio.get_running_loop()
    timers = loop._scheduled  # noqa: SLF001 - asyncio has no public list of timers
    return [*tasks, *(timer for timer in timers if not timer.cancelled())]
