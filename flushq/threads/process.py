"""What happens to a process: it ends, or it forks.

One hook of each kind serves all queues, and holds none of them: a queue that is gone has nothing
registered. At the end of the interpreter (or of a worker of multiprocessing) every open queue is
drained. In the child of a fork every queue is made new, and what is left of the parent's is told to
do nothing; this costs the parent nothing, and a fork needs to wait for no lock.
"""

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Protocol, TypeVar
from weakref import WeakMethod, WeakValueDictionary

T = TypeVar("T")

EXIT_SECONDS = 10.0
"""How long a queue without max_shutdown_wait may take to drain when the interpreter ends."""


class _Runner(Protocol):
    @property
    def is_open(self) -> bool:
        """Whether there is something to be done at the end."""
        ...  # pragma: no cover - a protocol has no code

    def close(self, unlimited: float) -> None:
        """Begin to drain."""

    def end_with_interpreter(self, unlimited: float) -> None:
        """Drain, and tell what is left."""

    def orphan(self) -> None:
        """Do nothing any more: the process is a child that was forked."""


_runners: WeakValueDictionary[int, _Runner] = WeakValueDictionary()
_renewals: dict[int, WeakMethod[Callable[[], None]]] = {}
_is_expected = "--multiprocessing-fork" in sys.orig_argv
"""Whether the end will be noticed. A process that was spawned ends as any other: with atexit."""


def watch_runner(runner: _Runner) -> None:
    """Drain it at the end of the process."""
    _runners[id(runner)] = runner


def watch_queue(renew: Callable[[], None]) -> None:
    """Call this method of a queue in the child of a fork."""
    key = id(renew.__self__)  # type: ignore[attr-defined]  # it is a method
    _renewals[key] = WeakMethod(renew, lambda _: _renewals.pop(key, None))


def expect_end() -> None:
    """A queue is in use: in a worker of multiprocessing, see to it that its end is noticed.

    A worker forgets what its parent has registered, and some versions of Python end it without
    atexit.
    """
    global _is_expected  # noqa: PLW0603 - a fact about the process
    if _is_expected:
        return
    _is_expected = True
    process: Any = sys.modules.get("multiprocessing.process")
    util: Any = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, drain, exitpriority=100)  # before its queues and pipes are closed


def drain() -> None:
    """Drain all queues that are open, side by side, and each whatever hits another."""
    runners = [runner for runner in _alive(_runners.valuerefs()) if runner.is_open]
    with ExitStack() as steps:
        for runner in runners:
            steps.callback(runner.end_with_interpreter, EXIT_SECONDS)
        for runner in runners:
            steps.callback(runner.close, EXIT_SECONDS)


def _start_anew() -> None:
    """The process is a child that was forked."""
    global _is_expected  # noqa: PLW0603 - a fact about the process
    _is_expected = False
    runners = _alive(_runners.valuerefs())
    _runners.clear()
    for runner in runners:
        runner.orphan()
    for renew in _alive(list(_renewals.values())):
        renew()


def _alive(references: Sequence[Callable[[], T | None]]) -> list[T]:
    """What is not gone; the list was made in one step, since other threads may add to it."""
    return [thing for reference in references if (thing := reference()) is not None]


atexit.register(drain)
if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(after_in_child=_start_anew)
