"""The hooks for the end of a process and for a fork.

All queues share one hook of each kind. The hooks hold only weak references, so a queue that is
deleted leaves nothing behind. At interpreter shutdown, and when a worker process of multiprocessing
ends, every open queue is drained. In the child of a fork, every queue gets a new core and a new
runner, and its old runner stops all work. The hooks do nothing in the parent of a fork, and a fork
waits for no lock.
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
"""The most seconds that a drain may take at interpreter shutdown, if max_shutdown_wait is None."""


class _Runner(Protocol):
    @property
    def is_open(self) -> bool:
        """Whether the queue must be drained at interpreter shutdown."""
        ...  # pragma: no cover - a protocol has no code

    def close(self, default_wait: float) -> None:
        """Begin a drain of at most ``max_shutdown_wait`` seconds (if None: ``default_wait``)."""

    def end_with_interpreter(self, default_wait: float) -> None:
        """Drain and end the queue, and log what was lost."""

    def stop_in_child(self) -> None:
        """Stop all work, because this process is the child of a fork."""


_runners: WeakValueDictionary[int, _Runner] = WeakValueDictionary()
_renewals: dict[int, WeakMethod[Callable[[], None]]] = {}
_will_drain = "--multiprocessing-fork" in sys.orig_argv
"""Whether it is certain that drain() will be called at the end of this process.

At first this is true only in a process that multiprocessing has spawned, because atexit calls
drain() there.
"""


def drain_at_end(runner: _Runner) -> None:
    """Register a runner: its queue will be drained at the end of the process."""
    _runners[id(runner)] = runner


def renew_in_child(renew: Callable[[], None]) -> None:
    """Register ``renew``, a method of a queue: it will be called in the child of each fork."""
    key = id(renew.__self__)  # type: ignore[attr-defined]  # it is a method
    _renewals[key] = WeakMethod(renew, lambda _: _renewals.pop(key, None))


def ensure_drain_at_end() -> None:
    """Ensure that drain() is called when the process ends, also in a process of multiprocessing.

    Each queue calls this function whenever it asks for a pass, so before it accepts its first item.
    A process of multiprocessing does not call the exit functions that its parent has registered.
    In some versions of Python it does not even call those that it has registered itself with
    atexit.
    """
    global _will_drain  # noqa: PLW0603 - a fact about the process
    if _will_drain:
        return
    _will_drain = True
    process: Any = sys.modules.get("multiprocessing.process")
    util: Any = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, drain, exitpriority=100)  # before multiprocessing closes its pipes


def drain() -> None:
    """Drain all open queues at the same time; if a drain raises, drain the other queues anyway."""
    runners = [runner for runner in _alive(_runners.valuerefs()) if runner.is_open]
    with ExitStack() as steps:
        for runner in runners:
            steps.callback(runner.end_with_interpreter, EXIT_SECONDS)
        for runner in runners:
            steps.callback(runner.close, EXIT_SECONDS)


def _renew_all() -> None:
    """Give every queue a new core and a new runner, in the child of a fork."""
    global _will_drain  # noqa: PLW0603 - a fact about the process
    _will_drain = False
    runners = _alive(_runners.valuerefs())
    _runners.clear()
    for runner in runners:
        runner.stop_in_child()
    for renew in _alive(list(_renewals.values())):
        renew()


def _alive(references: Sequence[Callable[[], T | None]]) -> list[T]:
    """Return the objects that the weak references refer to, if they still exist.

    ``references`` must be a copy that was made in one step: other threads may change the original.
    """
    return [thing for reference in references if (thing := reference()) is not None]


atexit.register(drain)
if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(after_in_child=_renew_all)
