"""The threads that call flush_fn: made at first need, kept, and never more than flushes may run.

A worker rests until it is given a flush, and rests again when that has ended. The one that has
rested for the shortest time is taken first; one is made if none rests. All of it is done with the
lock of the queue held, but for the work, and for the start of a thread: while it is waited for, a
finalizer may run in the new thread and ask for the lock.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

import attrs

from flushq.threads import primitives
from flushq.threads.calls import Flight
from flushq.threads.primitives import Bell

T = TypeVar("T")


@attrs.define(eq=False)
class Worker(Generic[T]):
    """A thread.

    Attributes:
        flight: What it is to do next; None, when it is woken: to end.
        bell: Wakes it.
        thread: The thread, to be joined; it is known as soon as it runs.
    """

    flight: Flight[T] | None = None
    bell: Bell = attrs.field(factory=Bell)
    thread: Any = None


class Workers(Generic[T]):
    """The workers of a queue.

    Args:
        name: What their names begin with.
        work: Does a flush, then calls :meth:`rest` with the worker.
    """

    def __init__(self, name: str, work: Callable[[Flight[T], Worker[T]], object]) -> None:
        self._name = name
        self._work = work
        self._numbers = count()
        self._thread_ids: set[int] = set()
        self._new: deque[Worker[T]] = deque()
        self._resting: list[Worker[T]] = []
        self._leaving: list[Worker[T]] | None = None

    @property
    def is_caller(self) -> bool:
        """Whether the caller is one of them."""
        return primitives.this_thread() in self._thread_ids

    def give(self, flight: Flight[T]) -> None:
        """Have a flush done; start_new() is to be called, once the lock is free."""
        if self._resting:
            self._wake(self._resting.pop(), flight)
        else:
            self._new.append(Worker(flight))

    def start_new(self) -> list[Flight[T]]:
        """Start the workers that are needed, without the lock, since a start waits for its thread.

        The flushes are returned that nobody can do, for no thread can be started.
        """
        stranded = []
        while self._new:
            worker = self._new.popleft()
            flight: Any = worker.flight
            try:
                name = f"{self._name} worker {next(self._numbers)}"
                worker.bell.ring()
                primitives.start_thread(partial(self._run, worker), name)
            except RuntimeError:
                stranded.append(flight)
        return stranded

    def rest(self, worker: Worker[T]) -> None:
        """A worker has nothing to do; the next flush may be given to it."""
        if self._leaving is None:
            self._resting.append(worker)
        else:
            self.send_home(worker)

    def dismiss(self) -> None:
        """Have all that rest end, and the others when they would rest."""
        if self._leaving is None:
            self._leaving, self._resting = self._resting, []
            for worker in self._leaving:
                self.send_home(worker)

    def send_home(self, worker: Worker[T]) -> None:
        """Have a worker end."""
        self._wake(worker, None)

    def join(self) -> None:
        """Wait, without the lock, for the threads of those that rested when they were dismissed."""
        for worker in self._leaving or ():
            worker.thread.join()

    def _wake(self, worker: Worker[T], flight: Flight[T] | None) -> None:
        worker.flight = flight
        worker.bell.ring()

    def _run(self, worker: Worker[T]) -> None:
        worker.thread = primitives.current_thread()
        self._thread_ids.add(primitives.this_thread())
        try:
            while self._do_next(worker):
                pass
        finally:
            self._thread_ids.discard(primitives.this_thread())

    def _do_next(self, worker: Worker[T]) -> bool:
        worker.bell.wait()
        flight, worker.flight = worker.flight, None
        if flight is not None:
            self._work(flight, worker)
        return flight is not None
