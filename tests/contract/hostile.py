"""Helpers of the hostile scenarios: ways to call, bad policies and clocks, leftover tasks.

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
    """Await an operation in this task."""
    await operation


async def gathered(operation: Operation) -> None:
    """Await an operation through gather, which makes a task."""
    await asyncio.gather(operation)


async def timed(operation: Operation) -> None:
    """Await an operation through wait_for: in a new task up to Python 3.11, else in this one."""
    await asyncio.wait_for(operation, 1e9)


async def as_task(operation: Operation) -> None:
    """Await an operation as a task."""
    await asyncio.create_task(operation)


WAYS: list[Way] = [directly, gathered, timed, as_task]


async def error_of(operation: Awaitable[object]) -> BaseException | None:
    """Await an operation, and return the exception that it raised, or None."""
    try:
        await operation
    except BaseException as error:
        return error
    return None


# Objects that have no repr, and a logger that raises.


class Unprintable(Exception):
    """An exception, or an answer, without a repr."""

    def __repr__(self) -> str:
        """Raise AttributeError."""
        raise AttributeError("there is no repr")

    __str__ = __repr__


@contextmanager
def failing_logger() -> Iterator[None]:
    """Make every call of the logger "flushq" raise."""

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
        """Let the loop run three iterations."""
        await steps(3)


@attrs.define(eq=False)
class StubbornSink(Sink[T]):
    """A sink whose calls take ``seconds``, and start again after each cancellation they ignore.

    Attributes:
        ignores: How many cancellations a call ignores.
        cancelled: The times of all cancellations.
    """

    ignores: int = 1
    cancelled: list[float] = attrs.field(factory=list, init=False)

    async def work(self, batch: list[T]) -> None:
        """Sleep, and ignore that many cancellations."""
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
    """A policy that flushes what is a second old; one flush causes all four events.

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
        """Note an event, before the base class is told."""
        self.told.append((event, now))

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Note the event, and answer."""
        self.on_event("item_added", now)
        return super().item_added(now, count, weight)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Note the event, and answer."""
        self.on_event("flush_started", now)
        return super().flush_started(now, count, weight)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Note the event, and answer."""
        self.on_event("flush_done", now)
        return super().flush_done(now, count, seconds, error)

    def tick(self, now: float) -> Decision:
        """Note the event, and answer."""
        self.on_event("tick", now)
        return super().tick(now)


class Broken(Second):
    """A policy that raises in one kind of event, from its nth time on."""

    def __init__(self, event: str, kind: type[BaseException], nth: int = 1) -> None:
        super().__init__()
        self.event = event
        self.kind = kind
        self.left = nth

    def on_event(self, event: str, now: float) -> None:
        """Note the event, and raise if it is the broken one."""
        super().on_event(event, now)
        self.left -= event == self.event
        if event == self.event and self.left <= 0:
            raise self.kind(f"broken in {event}")


class Answering(NaturalPolicy):
    """A policy that answers with the result of ``make``."""

    def __init__(self, make: Callable[[float], Any]) -> None:
        super().__init__()
        self.make = make

    def decide(self, now: float) -> Decision:
        """Return the result of ``make``."""
        answer: Decision = self.make(now)
        return answer


# Loops.


def lazy(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task that begins in the next iteration of the loop; for the queue's tasks, too."""
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
        """Set a timer a quarter of a second too early."""
        return super().call_at(when - 0.25, callback, *args, context=context)


class UnsteadyLoop(VirtualLoop):
    """A loop whose clock is a millisecond late at every third reading."""

    _looks = 0

    def time(self) -> float:
        """Return the time, or a millisecond less."""
        self._looks += 1
        return super().time() - (0.001 if self._looks % 3 == 0 else 0.0)


@contextmanager
def own_loop() -> Iterator[VirtualLoop]:
    """Yield a virtual loop that an exception may stop and that can run again."""
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        loop.close()


def left_behind() -> list[object]:
    """Return the tasks of the loop, without the current one, and its timers."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    loop: Any = asyncio.get_running_loop()
    timers = loop._scheduled  # noqa: SLF001 - asyncio has no public list of timers
    return [*tasks, *(timer for timer in timers if not timer.cancelled())]
