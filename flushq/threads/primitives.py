"""What the driver takes of Python's threads: locks, a clock, and the start of a thread.

Nothing else of the driver locks, waits, tells the time or starts a thread. Each name is looked up
here whenever it is used, so a test can put others in their place, and run threads one step at a
time, in virtual time.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from flushq.arguments import as_float, check_number

Lock = threading.Lock
RLock = threading.RLock
clock = time.monotonic
this_thread = threading.get_ident
current_thread = threading.current_thread


def start_thread(work: Callable[[], object], name: str) -> threading.Thread:
    """Start a daemon thread.

    Raises:
        RuntimeError: None can be started, as at the end of the interpreter.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def check_timeout(timeout: float | None) -> None:
    """Refuse what is not a number of seconds to wait, or None."""
    if timeout is not None:
        check_number("timeout", timeout, least=0)


def end_of(timeout: float | None) -> float:
    """When a wait of so many seconds from now is over; None: never."""
    return math.inf if timeout is None else clock() + as_float(timeout)


def _acquire(lock: Any, until: float) -> bool:
    if until == math.inf:
        acquired: bool = lock.acquire()
    else:
        acquired = lock.acquire(timeout=min(max(0.0, until - clock()), threading.TIMEOUT_MAX))
    return acquired


class Bell:
    """Wakes the one thread that waits for it; rung early, it is heard later, once.

    To ring it twice is to ring it once. CPython switches threads and looks for signals only after a
    call, at the start of a function and at a jump back, so none comes between the question and the
    answer in :meth:`ring`, which therefore needs no lock: a finalizer may ring.
    """

    __slots__ = ("_lock", "_rung")

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()
        self._rung = False

    def ring(self) -> None:
        """Wake the thread."""
        if not self._rung:
            self._rung = True
            self._lock.release()

    def wait(self, until: float = math.inf) -> bool:
        """Wait to be woken, until then at the latest; return whether it was."""
        heard = _acquire(self._lock, until)
        if heard:
            self._rung = False  # whatever was rung for since is found by who has woken
        return heard


class Waiter:
    """A caller that waits in a thread, as flushq.core.waiter knows one."""

    __slots__ = ("_answer", "_done", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()
        self._answer: Any = None
        self._done = False

    def done(self) -> bool:
        """Whether it was completed."""
        return self._done

    def result(self) -> Any:
        """With what it was completed."""
        return self._answer

    def set_result(self, result: Any, /) -> None:
        """Complete it."""
        self._answer, self._done = result, True
        self._lock.release()

    def wait(self, until: float = math.inf) -> None:
        """Wait until it is completed, or until then."""
        _acquire(self._lock, until)
