"""The workers: the threads that call flush_fn. A queue makes them when needed, and keeps them.

A queue never has more than ``max_in_flight`` workers. A worker rests until it gets a flush, and
rests again when the flush has ended. If several workers rest, a flush goes to the worker that began
to rest last. If no worker rests, a new worker is made.

Two steps are done without the lock of the queue: running a flush, and starting a thread. All other
steps are done with the lock held. (The start of a thread waits for the new thread, and a finalizer
in the new thread may ask for the lock.)
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

import attrs

from flushq.threads import primitives
from flushq.threads.calls import RunningFlush
from flushq.threads.primitives import WakeUp

T = TypeVar("T")


@attrs.define(eq=False)
class Worker(Generic[T]):
    """A thread that calls flush_fn.

    Attributes:
        flush: The flush that the worker must run next. If it is None when the worker wakes up, the
            worker ends.
        wake_up: The wake-up that the worker waits for.
        thread: The thread; None until it runs.
    """

    flush: RunningFlush[T] | None = None
    wake_up: WakeUp = attrs.field(factory=WakeUp)
    thread: Any = None


class Workers(Generic[T]):
    """The workers of a queue.

    Args:
        name: The prefix of the thread names.
        work: A function that runs a flush, and then calls :meth:`rest` with the worker.
    """

    def __init__(self, name: str, work: Callable[[RunningFlush[T], Worker[T]], object]) -> None:
        self._name = name
        self._work = work
        self._numbers = count()
        self._thread_ids: set[int] = set()
        self._new: deque[Worker[T]] = deque()
        self._resting: list[Worker[T]] = []
        self._ended: list[Worker[T]] | None = None

    @property
    def is_caller(self) -> bool:
        """Whether the calling thread is a worker of the queue."""
        return primitives.this_thread() in self._thread_ids

    def give(self, flush: RunningFlush[T]) -> None:
        """Give a flush to a worker. The caller must call start_new() after releasing the lock."""
        if self._resting:
            self._wake(self._resting.pop(), flush)
        else:
            self._new.append(Worker(flush))

    def start_new(self) -> list[RunningFlush[T]]:
        """Start the new workers; return the flushes of workers whose thread could not be started.

        The lock must not be held, since a start waits for the new thread.
        """
        without_thread = []
        while self._new:
            worker = self._new.popleft()
            flush: Any = worker.flush
            try:
                name = f"{self._name} worker {next(self._numbers)}"
                worker.wake_up.send()
                primitives.start_thread(partial(self._run, worker), name)
            except RuntimeError:
                without_thread.append(flush)
        return without_thread

    def rest(self, worker: Worker[T]) -> None:
        """Let a worker rest until the next flush, or end it if end_resting() was called."""
        if self._ended is None:
            self._resting.append(worker)
        else:
            self.end(worker)

    def end_resting(self) -> None:
        """End all workers that rest; a worker that is busy ends after its flush."""
        if self._ended is None:
            self._ended, self._resting = self._resting, []
            for worker in self._ended:
                self.end(worker)

    def end(self, worker: Worker[T]) -> None:
        """Wake a worker without a flush: then the worker ends."""
        self._wake(worker, None)

    def join(self) -> None:
        """Wait for the end of the workers that were resting when end_resting() was called.

        The lock must not be held.
        """
        for worker in self._ended or ():
            worker.thread.join()

    def _wake(self, worker: Worker[T], flush: RunningFlush[T] | None) -> None:
        worker.flush = flush
        worker.wake_up.send()

    def _run(self, worker: Worker[T]) -> None:
        worker.thread = primitives.current_thread()
        self._thread_ids.add(primitives.this_thread())
        try:
            while self._do_next(worker):
                pass
        finally:
            self._thread_ids.discard(primitives.this_thread())

    def _do_next(self, worker: Worker[T]) -> bool:
        worker.wake_up.wait()
        flush, worker.flush = worker.flush, None
        if flush is not None:
            self._work(flush, worker)
        return flush is not None
