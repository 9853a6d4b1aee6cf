"""The primitives of the threads driver: locks, a clock, and the start of a thread.

The driver uses only these primitives to lock, wait, read the clock and start threads. It looks up
``Lock``, ``RLock``, ``clock`` and the functions for threads in this module whenever it needs them.
So a test can replace them, and run threads one step at a time, in virtual time.
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
        RuntimeError: No thread can be started, as at interpreter shutdown.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def check_timeout(timeout: float | None) -> None:
    """Raise TypeError or ValueError unless ``timeout`` is None or a number of at least 0."""
    if timeout is not None:
        check_number("timeout", timeout, least=0)


def end_of(timeout: float | None) -> float:
    """Return the time that is ``timeout`` seconds from now, or inf if ``timeout`` is None."""
    return math.inf if timeout is None else clock() + as_float(timeout)


def _acquire(lock: Any, until: float) -> bool:
    if until == math.inf:
        acquired: bool = lock.acquire()
    else:
        acquired = lock.acquire(timeout=min(max(0.0, until - clock()), threading.TIMEOUT_MAX))
    return acquired


class WakeUp:
    """A wake-up that any thread sends to the one thread that waits for it.

    If the wake-up is sent before the wait, the wait ends at once. Sending it twice before the
    thread wakes has the same effect as sending it once.

    CPython switches threads and checks for signals at three places only: after a call, at the start
    of a function, and at a backward jump. So no other code runs between the test and the assignment
    in :meth:`send`. These two steps need no lock, so a finalizer may call ``send``.
    """

    __slots__ = ("_is_sent", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()
        self._is_sent = False

    def send(self) -> None:
        """Wake the thread that waits now or, if no thread waits, the next thread that waits."""
        if not self._is_sent:
            self._is_sent = True
            self._lock.release()

    def wait(self, until: float = math.inf) -> bool:
        """Wait for the wake-up or the time ``until``; return whether the wake-up came."""
        is_received = _acquire(self._lock, until)
        if is_received:
            self._is_sent = False  # the thread looks at the events after this, so it misses none
        return is_received


class Waiter:
    """The waiter of a caller in a thread; flushq.core.waiter explains what a waiter is."""

    __slots__ = ("_answer", "_done", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()
        self._answer: Any = None
        self._done = False

    def done(self) -> bool:
        """Return whether the waiter was completed."""
        return self._done

    def result(self) -> Any:
        """Return the answer that completed the waiter, or None before that."""
        return self._answer

    def set_result(self, result: Any, /) -> None:
        """Complete the waiter with an answer, and wake its thread."""
        self._answer, self._done = result, True
        self._lock.release()

    def wait(self, until: float = math.inf) -> None:
        """Wait until the waiter is completed, or until the time ``until``."""
        _acquire(self._lock, until)
