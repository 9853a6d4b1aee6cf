"""The worlds in which users run a queue: other loops, other clocks, other task factories.

    FLUSHQ_WORLD=debug python -m pytest -n 0 tests/contract

runs the scenarios in one world; `tests/test_worlds.py` runs them in each. The worlds:

* eager: tasks begin at once (virtual time).
* debug: asyncio's debug mode (virtual time).
* solipsism, looptime: the virtual clocks of two other libraries for tests.
* uvloop: a real loop without a virtual clock. Its clock is stopped, so that no timer fires on a
  slow machine, and only scenarios that need no timer run there.
* probe: lists these scenarios in the file FLUSHQ_TIMELESS: those that pass on a virtual loop whose
  clock never moves and does not start at 0.

A world leaves out the tests that do not run on its loop and those marked
`not_in(worlds, reason=...)`; uvloop also leaves out those that the probe did not list. The last
lines of a run count them.
"""

import asyncio
import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any, ClassVar, TypeVarTuple

import pytest

from tests.virtual import VirtualLoop

Args = TypeVarTuple("Args")

NAME = os.environ.get("FLUSHQ_WORLD", "virtual")

_LATE = 1e6

left_out: Counter[str] = Counter()


class ProbeLoop(VirtualLoop):
    """A virtual loop; ``moved`` says whether the clock of the latest one has moved."""

    moved: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._set_time(1000.3)
        ProbeLoop.moved = False

    def _set_time(self, now: float) -> None:
        super()._set_time(now)
        ProbeLoop.moved = True


class DebugLoop(VirtualLoop):
    """A virtual loop that stays in debug mode, although a Runner sets it to its own mode."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(True)

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Stay in debug mode."""
        super().set_debug(True)


def eager() -> asyncio.AbstractEventLoop:
    """Make a virtual loop whose tasks begin at once (Python 3.12 or later)."""
    loop = VirtualLoop()
    factory: Any = vars(asyncio)["eager_task_factory"]
    loop.set_task_factory(factory)
    return loop


def solipsism() -> asyncio.AbstractEventLoop:
    """Make a loop of async-solipsism."""
    library = pytest.importorskip("async_solipsism")
    loop: asyncio.AbstractEventLoop = library.EventLoop()
    return loop


def looptime() -> asyncio.AbstractEventLoop:
    """Make a loop of looptime."""
    library = pytest.importorskip("looptime")
    loop: asyncio.AbstractEventLoop = library.make_event_loop_class(asyncio.SelectorEventLoop)()
    return loop


def stopped_uvloop() -> asyncio.AbstractEventLoop:
    """Make a loop of uvloop with a stopped clock."""
    library = pytest.importorskip("uvloop", reason="uvloop does not run on Windows")
    base: type[asyncio.AbstractEventLoop] = library.Loop

    class StoppedUvloop(base):  # type: ignore[valid-type,misc]  # a variable as base
        """A loop whose timers never fire, except those that are due at once."""

        def __init__(self) -> None:
            super().__init__()
            self._stopped_at: float = super().time()
            self._scheduled: list[asyncio.TimerHandle] = []  # like asyncio's own loops

        def time(self) -> float:
            """Return the time at which the loop was made."""
            return self._stopped_at

        def call_later(
            self,
            delay: float,
            callback: Callable[[*Args], object],
            *args: *Args,
            context: Context | None = None,
        ) -> asyncio.TimerHandle:
            """Set a timer that does not fire, unless it is due."""
            late = delay + _LATE if delay > 0 else delay
            timer: asyncio.TimerHandle = super().call_later(late, callback, *args, context=context)
            if delay > 0:
                self._scheduled.append(timer)
            return timer

    return StoppedUvloop()


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualLoop,
    "eager": eager,
    "debug": DebugLoop,
    "solipsism": solipsism,
    "looptime": looptime,
    "uvloop": stopped_uvloop,
    "probe": ProbeLoop,
}


def why_not(item: pytest.Item, timeless: set[str] | None) -> str | None:
    """Return why a test is left out of this world; None if it is not left out."""
    mark = item.get_closest_marker("asyncio")
    if not inspect.iscoroutinefunction(getattr(item, "obj", None)):
        return "has no loop, or makes its own"
    if mark is not None and "loop_factories" in mark.kwargs:
        return "names its loop"
    for other in item.iter_markers("not_in"):
        if NAME in other.args:
            return str(other.kwargs["reason"])
    if timeless is not None and item.nodeid not in timeless:
        return "needs a clock that moves or starts at 0"
    return None


def choose(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the tests that are left out of this world, and remove them from the list."""
    timeless = None
    if NAME == "uvloop":
        timeless = set(Path(os.environ["FLUSHQ_TIMELESS"]).read_text("utf-8").splitlines())
    reasons = [why_not(item, timeless) for item in items]
    left_out.update(reason for reason in reasons if reason)
    yield from (item for item, reason in zip(items, reasons, strict=True) if reason)
    items[:] = [item for item, reason in zip(items, reasons, strict=True) if not reason]


def note_timeless(report: pytest.TestReport) -> None:
    """Add a test to the list if it has passed and the clock has not moved."""
    if report.when == "call" and report.passed and not ProbeLoop.moved:
        with Path(os.environ["FLUSHQ_TIMELESS"]).open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")
