"""The keeper of a queue: the thread that makes a round when it is woken or a round is due.

A *round* is a pass (flushq.core.core), and then the work that needs no lock: threads are started,
and reports and log records are handed out. The queue starts the keeper when it first needs one. If
no thread can be started, as at interpreter shutdown, a caller that waits for the queue makes the
rounds itself, until its wait is over.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from flushq.threads import primitives
from flushq.threads.primitives import Waiter, WakeUp

R = TypeVar("R")


class Locked(Protocol):
    """A function that holds the lock of the queue while it calls another function."""

    def __call__(self, step: Callable[..., R], *args: Any) -> R:
        """Call ``step(*args)`` with the lock held, and return the result."""
        ...  # pragma: no cover - a protocol has no code


class Keeper:
    """The keeper of a queue: the one thread that makes the rounds of this queue.

    Args:
        name: The name of the thread.
        locked: A function that holds the lock while it calls another function.
        make_round: A function that makes a round, and returns whether this was the last round. It
            is called without the lock.

    Attributes:
        alarm: The time of the next round, if nothing wakes the keeper before that time. Each round
            sets this time anew.
    """

    def __init__(self, name: str, locked: Locked, make_round: Callable[[], bool]) -> None:
        self.alarm = math.inf
        self._name = name
        self._locked = locked
        self._make_round = make_round
        self._wake_up = WakeUp()
        self._reservation: object = None
        self._thread_id: int | None = None
        self._thread: Any = None

    @property
    def is_there(self) -> bool:
        """Whether a thread is the keeper, or is about to become the keeper."""
        return self._reservation is not None

    @property
    def is_caller(self) -> bool:
        """Whether the calling thread is the keeper."""
        return self._thread_id == primitives.this_thread()

    def wake(self) -> None:
        """Let the keeper make a round soon, if there is a keeper. This takes no lock."""
        self._wake_up.send()

    def start(self) -> None:
        """Start the keeper if there is none and a thread can start. The lock must not be held."""
        reservation = object()
        try:
            if self._locked(self._reserve, reservation):
                work = partial(self._make_rounds_in_thread, reservation)
                self._thread = primitives.start_thread(work, self._name)
        except RuntimeError:
            self._release(reservation)
        except BaseException:  # an interrupt: the thread may have begun or not
            self._locked(self._release_unless_begun, reservation)
            raise

    def make_rounds_if_needed(self, waiter: Waiter, until: float) -> None:
        """Start the keeper or, if that is impossible, make the rounds in the calling thread.

        These rounds end when the waiter is completed, when the time ``until`` has come, or when the
        queue has ended.
        """
        self.start()
        reservation = object()
        try:
            if self._locked(self._reserve, reservation):
                self._make_rounds(reservation, None, waiter, until)
        finally:  # else an interrupt before the rounds would leave the reservation
            self._release(reservation)

    def wait(self, waiter: Waiter) -> None:
        """Wait until a round completes the waiter; if the caller is the keeper, make the rounds."""
        if not self.is_caller:
            waiter.wait()
            return
        while not (self._make_round() or waiter.done()):
            self._wake_up.wait(self.alarm)

    def join(self) -> None:
        """Wait until the thread of the keeper has ended, if there is one."""
        if self._thread is not None:
            self._thread.join()

    def _reserve(self, reservation: object) -> bool:
        if self._reservation is None:
            self._reservation = reservation
        return self._reservation is reservation

    def _make_rounds_in_thread(self, reservation: object) -> None:
        self._make_rounds(reservation, primitives.current_thread())

    def _make_rounds(
        self,
        reservation: object,
        thread: Any,
        waiter: Waiter | None = None,
        until: float = math.inf,
    ) -> None:
        try:
            if not self._locked(self._begin, reservation, thread):
                return
            while not (self._make_round() or (waiter is not None and waiter.done())):
                if until <= primitives.clock():
                    return
                self._wake_up.wait(min(self.alarm, until))
        finally:
            self._locked(self._release, reservation)

    def _begin(self, reservation: object, thread: Any) -> bool:
        """Make the calling thread the keeper, and return True.

        ``reservation`` is the claim of this thread to become the keeper. If it was released
        meanwhile, change nothing, and return False.
        """
        if self._reservation is not reservation:
            return False
        self._thread, self._thread_id = thread, primitives.this_thread()
        return True

    def _release_unless_begun(self, reservation: object) -> None:
        """Release the reservation if its thread has not begun; otherwise the thread releases it."""
        if self._thread_id is None:
            self._release(reservation)

    def _release(self, reservation: object) -> None:
        if self._reservation is reservation:
            self._reservation = self._thread_id = None
