"""The thread that keeps the time of a queue: it makes a round when it is woken, or when one is due.

The queue starts this thread when it first needs it. Where no thread can be started, as at the end
of the interpreter, a caller that waits for the queue makes the rounds until it has been told.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from flushq.threads import primitives
from flushq.threads.primitives import Bell, Waiter

R = TypeVar("R")


class Locked(Protocol):
    """Does a step with the lock of the queue held."""

    def __call__(self, step: Callable[..., R], *args: Any) -> R:
        """Return what it returns."""
        ...  # pragma: no cover - a protocol has no code


class Keeper:
    """The keeper.

    Args:
        name: That of the thread.
        locked: Does a step with the lock held.
        make_round: Returns whether it was the last round; the lock is not held.

    Attributes:
        alarm: When the next round is due, if nobody wakes it before; set in the round.
    """

    def __init__(self, name: str, locked: Locked, make_round: Callable[[], bool]) -> None:
        self.alarm = math.inf
        self._name = name
        self._locked = locked
        self._make_round = make_round
        self._bell = Bell()
        self._post: object = None
        self._thread_id: int | None = None
        self._thread: Any = None

    @property
    def is_there(self) -> bool:
        """Whether some thread is the keeper."""
        return self._post is not None

    @property
    def is_caller(self) -> bool:
        """Whether the caller is the keeper."""
        return self._thread_id == primitives.this_thread()

    def wake(self) -> None:
        """Have a round soon, if there is a keeper. It takes no lock."""
        self._bell.ring()

    def start(self) -> None:
        """Start the thread, without the lock, if there is none and one can be started."""
        post = object()
        try:
            if self._locked(self._take, post):
                work = partial(self._keep_in_thread, post)
                self._thread = primitives.start_thread(work, self._name)
        except RuntimeError:
            self._leave(post)
        except BaseException:  # an interrupt: nobody knows whether the thread has begun
            self._locked(self._withdraw, post)
            raise

    def keep(self, waiter: Waiter, until: float) -> None:
        """Start the thread; if none can be, make the rounds here until the caller is told."""
        self.start()
        post = object()
        try:
            if self._locked(self._take, post):
                self._keep(post, None, waiter, until)
        finally:  # an interrupt may have come before the rounds
            self._leave(post)

    def wait(self, waiter: Waiter) -> None:
        """Wait to be told by a round; the keeper itself makes rounds until it is."""
        if not self.is_caller:
            waiter.wait()
            return
        while not (self._make_round() or waiter.done()):
            self._bell.wait(self.alarm)

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None:
            self._thread.join()

    def _take(self, post: object) -> bool:
        if self._post is None:
            self._post = post
        return self._post is post

    def _keep_in_thread(self, post: object) -> None:
        self._keep(post, primitives.current_thread())

    def _keep(
        self,
        post: object,
        thread: Any,
        waiter: Waiter | None = None,
        until: float = math.inf,
    ) -> None:
        try:
            if not self._locked(self._begin, post, thread):
                return
            while not (self._make_round() or (waiter is not None and waiter.done())):
                if until <= primitives.clock():
                    return
                self._bell.wait(min(self.alarm, until))
        finally:
            self._locked(self._leave, post)

    def _begin(self, post: object, thread: Any) -> bool:
        """The caller is the keeper, in a thread of its own, unless the post was withdrawn."""
        if self._post is not post:
            return False
        self._thread, self._thread_id = thread, primitives.this_thread()
        return True

    def _withdraw(self, post: object) -> None:
        """A thread that has not begun is not to be the keeper; one that has begun is."""
        if self._thread_id is None:
            self._leave(post)

    def _leave(self, post: object) -> None:
        if self._post is post:
            self._post = self._thread_id = None
