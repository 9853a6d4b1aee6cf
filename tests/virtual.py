"""An event loop with virtual time: tests that wait for hours end at once, and times are exact.

Time starts at 0.0 and does not move while a callback is ready. When no callback is ready, the clock
jumps to exactly the time of the next timer, however far away it is. If there is no timer either,
nothing can happen any more: the loop raises `Deadlock` at once instead of waiting for ever.

Only callbacks and timers move such a loop. A test that waits for a thread, a socket or a
subprocess runs on the standard loop (`tests.conftest` tells how).
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

Args = TypeVarTuple("Args")
Result = TypeVar("Result")


class Deadlock(AssertionError):
    """Raised when every task waits, and no callback or timer is left to wake one of them."""


class _NeverWaiting(selectors.DefaultSelector):
    """A selector that calls ``idle`` instead of waiting."""

    def __init__(self, idle: Callable[[], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._idle()
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A standard loop with virtual time."""

    # Attributes of the base class: a heap of timers, and how early a timer may fire.
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float

    def __init__(self) -> None:
        super().__init__(_NeverWaiting(self._go_on))
        self._idlers: list[asyncio.Future[None]] = []
        self._set_time(0.0)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def elapse(self, seconds: float) -> None:
        """Let time pass within the running callback, as if it computed for ``seconds``."""
        self._set_time(self._now + seconds)

    def idle(self) -> asyncio.Future[None]:
        """Return a future that is done when no callback is ready, before time moves on."""
        future = self.create_future()
        self._idlers.append(future)
        return future

    def _set_time(self, now: float) -> None:
        self._now = now
        # The base class runs the timers before now + resolution: those at now, and no later ones.
        self._clock_resolution = math.ulp(now)

    def _go_on(self) -> None:
        """Wake the tasks that wait for an idle moment, or else jump to the next timer."""
        idlers = [future for future in self._idlers if not future.done()]
        self._idlers.clear()
        due = self._scheduled[0].when() if self._scheduled else math.inf
        if idlers:
            for future in idlers:
                future.set_result(None)
        elif due < math.inf:
            self._set_time(due)
        else:
            raise Deadlock(self._describe_deadlock())

    def _describe_deadlock(self) -> str:
        tasks = "".join(f"\n  {task}" for task in asyncio.all_tasks(self))
        return f"at {self._now} s no callback is ready and no timer is set; these wait:{tasks}"


def run(main: Callable[[*Args], Coroutine[Any, Any, Result]], *args: *Args) -> Result:
    """Run a coroutine function on a virtual loop of its own and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(*args))


def virtual_loop() -> VirtualLoop:
    """Return the running loop, which must be a virtual one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), f"{loop} is not a virtual loop"
    return loop


def now() -> float:
    """Return the virtual time in seconds."""
    return virtual_loop().time()


async def idle() -> None:
    """Wait until nothing else can happen at this moment; time does not move on."""
    await virtual_loop().idle()
