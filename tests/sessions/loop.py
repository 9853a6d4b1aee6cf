"""The virtual loop, with a hook for the moments at which nothing can happen."""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from tests.virtual import VirtualLoop

T = TypeVar("T")
Args = TypeVarTuple("Args")

EARLY = 2.0**-20
"""By how much a loop with early timers fires them before their time."""

MOST_ITERATIONS = 20_000


class Livelock(AssertionError):
    """The loop turns and turns, and nothing comes of it."""


class SessionLoop(VirtualLoop):
    """A virtual loop that counts its iterations and stops when nothing can happen any more.

    ``on_idle`` is called whenever no callback is ready, before time moves on.
    """

    def __init__(self, on_idle: Callable[[], None], *, fires_early: bool = False) -> None:
        self._early = EARLY if fires_early else 0.0
        super().__init__()
        self.iteration = 0
        self.woke_at = 0.0
        self._owned: list[tuple[object, asyncio.TimerHandle]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._on_idle = on_idle

    # Kept by the base class: the callbacks that are ready.
    _ready: deque[asyncio.Handle]

    def run_until_quiet(self) -> None:
        """Run until there is neither a callback nor a timer."""
        self.run_forever()

    @property
    def next_timer(self) -> float:
        """When the next timer is due; inf if there is none. To be asked at an idle moment."""
        return self._scheduled[0].when() if self._scheduled else math.inf

    def timers_of(self, owner: object) -> int:
        """How many timers are set that call a method of this object."""
        now, self._owned = self.time(), [t for t in self._owned if not t[1].cancelled()]
        late = now + 2 * EARLY
        return sum(each is owner and timer.when() > late for each, timer in self._owned)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer, and know whose it is."""
        timer = super().call_at(when, callback, *args, context=context)
        self._owned.append((getattr(callback, "__self__", None), timer))
        return timer

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are set, the next first."""
        timers = [timer for timer in self._scheduled if not timer.cancelled()]
        return sorted(timers, key=asyncio.TimerHandle.when)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]

    def create_task(self, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
        """Make a task, and know it."""
        task: asyncio.Task[T] = super().create_task(coro, **options)
        self._tasks.append(task)
        return task

    # By hand, callback by callback, for who sets the scene between them.

    @property
    def is_idle(self) -> bool:
        """Whether no callback is ready."""
        return not self._ready

    def step(self) -> None:
        """Run the callback that is ready for the longest time; tell if it was the last."""
        self._count_iteration()
        handle = self._ready.popleft()
        if not handle.cancelled():
            handle._run()  # noqa: SLF001 - this is what a loop does
        self._wake_due()  # a timer that was set for now, or for a time that has passed
        if not self._ready:
            self._on_idle()

    def advance(self) -> None:
        """Let time pass to the next timer, and make ready whatever is due then."""
        self._set_time(self.timers[0].when())
        self.woke_at = self.time()
        self._wake_due()

    def _wake_due(self) -> None:
        while self._scheduled and self._scheduled[0].when() <= self.time():
            timer = heapq.heappop(self._scheduled)
            if not timer.cancelled():
                self._ready.append(timer)

    # Nothing outside ever wakes this loop, so it needs no pipe: that makes it cheap to create.

    def _make_self_pipe(self) -> None: ...

    def _close_self_pipe(self) -> None: ...

    def _go_on(self) -> None:
        self._on_idle()
        if self._scheduled:
            super()._go_on()
            self._now -= self._early
            self.woke_at = self._now
            self._clock_resolution += 2 * self._early
        else:
            self.stop()

    def _run_once(self) -> None:
        self._count_iteration()
        super()._run_once()  # type: ignore[misc]  # the base class has it, its stub has not

    def _count_iteration(self) -> None:
        self.iteration += 1
        if self.iteration > MOST_ITERATIONS:
            raise Livelock(f"{self.iteration} iterations, at {self.time()} s")
