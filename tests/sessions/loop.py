"""The virtual loop, with hooks for idle moments and for cancellations."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.virtual import VirtualLoop

T = TypeVar("T")

EARLY = 2.0**-20
"""How many seconds too early a loop with early timers fires them."""

MOST_ITERATIONS = 20_000


class Livelock(AssertionError):
    """The loop iterates without end, although no time passes."""


class SessionTask(asyncio.Task[T]):
    """A task that calls ``on_cancel`` when it is being cancelled."""

    on_cancel: Callable[[asyncio.Task[Any]], None] = staticmethod(lambda task: None)

    def cancel(self, msg: Any = None) -> bool:
        """Call ``on_cancel``, and cancel the task."""
        if not self.done():
            self.on_cancel(self)
        return super().cancel(msg)


class SessionLoop(VirtualLoop):
    """A virtual loop that counts its iterations and stops when nothing can happen any more.

    Attributes:
        on_idle: A function to call whenever no callback is ready, before the time moves on.
        on_cancel: A function to call with each task that is being cancelled.
        iteration: The number of iterations until now.
    """

    def __init__(self, *, fires_early: bool = False) -> None:
        self._early = EARLY if fires_early else 0.0
        super().__init__()
        self.on_idle: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[asyncio.Task[Any]], None] = lambda task: None
        self.iteration = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._make_task)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        """Make a task, and add it to the list of tasks."""
        task = SessionTask(coro, loop=loop, **options)
        task.on_cancel = self.on_cancel
        self._tasks.append(task)
        return task

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are set, the earliest first."""
        timers = [timer for timer in self._scheduled if not timer.cancelled()]
        return sorted(timers, key=asyncio.TimerHandle.when)

    def timers_of(self, owner: object) -> list[float]:
        """Return the times of the timers that call a method of this object."""
        return [each.when() for each in self.timers if _owner(each) is owner]

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]

    # Nothing outside ever wakes this loop, so it needs no pipe: that makes it cheap to create.

    def _make_self_pipe(self) -> None: ...

    def _close_self_pipe(self) -> None: ...

    def _go_on(self) -> None:
        self.on_idle()
        if self._scheduled:
            super()._go_on()
            self._now -= self._early
            self._clock_resolution += 2 * self._early
        else:
            self.stop()

    def _run_once(self) -> None:
        self.iteration += 1
        if self.iteration > MOST_ITERATIONS:
            raise Livelock(f"{self.iteration} iterations, at {self.time()} s")
        super()._run_once()  # type: ignore[misc]  # the stub of the base class lacks it


def _owner(timer: asyncio.TimerHandle) -> object:
    callback = timer._callback  # type: ignore[attr-defined]  # noqa: SLF001 - the stub lacks it
    return getattr(callback, "__self__", None)
