"""A *stage*: threads that run one at a time, in a chosen order, and in virtual time.

`play(body, order)` runs a function with `flushq.threads.primitives` replaced. Whenever a thread
acquires or releases a lock, waits, or starts another thread, an *order* chooses the thread that
runs next. If no thread can run, the time advances until one can; if none ever can, `play` raises
`Hang`. With `preempt`, threads may also be switched wherever CPython may (`tests.threads.steps`).
"""

import gc
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Protocol
from unittest import mock

from flushq.threads import primitives
from tests.threads.steps import CAN_TRACE_THREADS, Tracer

MOST_TURNS = 20_000
STACK = 2**19
"""The size of a thread's stack, in bytes; small, as there are many threads."""


@contextmanager
def no_collector() -> Iterator[None]:
    """Disable the garbage collector: a thread preempted in it would block it for all threads."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Hang(Exception):
    """No thread can run any more, or the threads run forever."""


class Order(Protocol):
    """A rule that chooses the thread that runs next."""

    def choose(self, count: int, current: int | None) -> int:
        """Return the index of one of ``count`` threads; ``current`` is the running one's."""

    def preempts(self) -> bool:
        """Return whether the running thread is preempted between two steps."""


class RandomOrder:
    """A random order, which depends on a seed alone."""

    def __init__(self, seed: int, preempt: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._preempt = preempt

    def choose(self, count: int, current: int | None) -> int:
        """Return a random thread; the running one is at least as likely as all others together."""
        if current is not None and self._random.random() < 0.5:
            return current
        return self._random.randrange(count)

    def preempts(self) -> bool:
        """Return True at random, with the given probability."""
        return self._random.random() < self._preempt


class _Choices:
    """An order with given first choices; after them the running thread continues if it can."""

    def __init__(self, begin: list[int], budget: int) -> None:
        self.made: list[tuple[int, int, bool]] = []
        self._begin = begin
        self._budget = budget

    def choose(self, count: int, current: int | None) -> int:
        """Return the given choice; after these the running thread, or else the first one."""
        at = len(self.made)
        usual = 0 if current is None else current
        choice = self._begin[at] if at < len(self._begin) else usual
        costs = current is not None and choice != current
        self._budget -= costs
        may_differ = current is None or self._budget > 0
        self.made.append((choice, count, may_differ))
        return choice

    def preempts(self) -> bool:
        """Return False: with preemption there would be too many orders."""
        return False

    def others(self, begun: int) -> Iterator[list[int]]:
        """Yield the first choices of the orders that share this one's first ``begun`` choices."""
        for at in range(begun, len(self.made)):
            choice, count, may_differ = self.made[at]
            if may_differ:
                before = [made[0] for made in self.made[:at]]
                yield from ([*before, other] for other in range(count) if other != choice)


def all_orders(most_preemptions: int) -> Iterator[Order]:
    """Yield every order with at most so many switches away from a thread that could continue."""
    begins: list[list[int]] = [[]]
    while begins:
        begin = begins.pop()
        order = _Choices(begin, most_preemptions)
        yield order
        begins.extend(order.others(len(begin)))


class Task:
    """A thread on the stage."""

    def __init__(self, stage: "Stage", work: Callable[[], object], name: str) -> None:
        self.name = name
        self.is_over = False
        self.error: BaseException | None = None
        self.ready: Callable[[], bool] | None = None
        self.until = inf
        self.interrupt: BaseException | None = None
        self.turn = threading.Semaphore(0)
        self._stage = stage
        self._work = work
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        self.turn.acquire()
        if self._stage.tracer is not None:
            sys.settrace(self._stage.tracer.trace)
        try:
            self._work()
        except BaseException as error:  # raised by Stage.run
            self.error = error
        finally:
            sys.settrace(None)
            self.is_over = True
            self._stage.go_on(None)

    def can_run(self, now: float) -> bool:
        """Return whether the thread could run at this time."""
        if self.is_over:
            return False
        is_woken = self.ready is None or self.ready() or self.interrupt is not None
        return is_woken or self.until <= now

    def join(self) -> None:
        """Wait for the end of the thread, like Thread.join."""
        self._stage.wait(lambda: self.is_over, inf)


class Stage:
    """A replacement for Python's threads.

    Attributes:
        now: The time.
        tasks: All threads that were started.
        can_start: Whether more threads can be started.
        wakeups: The number of times that a thread continued after a wait, by its name.
    """

    def __init__(self, order: Order, *, preempt: bool = False) -> None:
        self.now = 1000.0
        self.tasks: list[Task] = []
        self.can_start = True
        self.wakeups: dict[str, int] = {}
        self.tracer = Tracer(self._between_steps) if preempt else None
        self._order = order
        self._turns = 0
        self._over = threading.Event()
        self._hang: Hang | None = None

    # For the functions that a stage runs.

    def spawn(self, work: Callable[[], object], name: str = "thread") -> Task:
        """Start a thread."""
        task = Task(self, work, name)
        self.tasks.append(task)
        usual = threading.stack_size(STACK)
        task.thread.start()
        threading.stack_size(usual)
        return task

    def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        self.wait(lambda: False, self.now + seconds)

    # The replacements of primitives.

    def start_thread(self, work: Callable[[], object], name: str) -> Task:
        """Start a thread, or raise RuntimeError if none can be started."""
        if not self.can_start:
            raise RuntimeError("can't create new thread at interpreter shutdown")
        return self.spawn(work, name)

    def wait(self, ready: Callable[[], bool], until: float) -> None:
        """Let other threads run until ``ready`` is true, or until this time."""
        task = self._current()
        if task is None:
            return
        task.ready, task.until = ready, until
        self.go_on(task)
        task.ready, task.until = None, inf
        self.wakeups[task.name] = self.wakeups.get(task.name, 0) + 1
        if task.interrupt is not None:
            interrupt, task.interrupt = task.interrupt, None
            raise interrupt

    def pause(self) -> None:
        """Let the order choose the next thread."""
        task = self._current()
        if task is not None:
            self.go_on(task)

    def _between_steps(self) -> None:
        if self._order.preempts():
            self.pause()

    def _current(self) -> Task | None:
        me = threading.current_thread()
        return next((task for task in self.tasks if task.thread is me), None)

    # Turns.

    def go_on(self, task: Task | None) -> None:
        """Run the thread that the order chooses; return when the given one is chosen again."""
        following = self._choose(task)
        if following is None:
            self._over.set()
        elif following is task:
            return
        else:
            following.turn.release()
        if task is not None:
            task.turn.acquire()

    def _choose(self, task: Task | None) -> Task | None:
        self._turns += 1
        able = self._able()
        if not able or self._turns > MOST_TURNS:
            if any(not each.is_over for each in self.tasks) or self._turns > MOST_TURNS:
                self._hang = Hang([each.name for each in self.tasks if not each.is_over])
            return None
        current = able.index(task) if task in able else None
        return able[self._order.choose(len(able), current) if len(able) > 1 else 0]

    def _able(self) -> list[Task]:
        able = [task for task in self.tasks if task.can_run(self.now)]
        if not able:
            then = min((task.until for task in self.tasks if not task.is_over), default=inf)
            if then < inf:
                self.now = max(self.now, then)
                able = [task for task in self.tasks if task.can_run(self.now)]
        return able

    def run(self, body: Callable[["Stage"], object]) -> None:
        """Run a function, and all threads that it starts, to the end."""
        replaced: dict[str, Any] = {
            "Lock": lambda: FakeLock(self),
            "RLock": lambda: FakeRLock(self),
            "clock": lambda: self.now,
            "start_thread": self.start_thread,
            "current_thread": self._current,
        }
        with mock.patch.multiple(primitives, **replaced), no_collector():
            first = self.spawn(lambda: body(self), "main")
            first.turn.release()
            assert self._over.wait(60), "a thread waits for something that is not on the stage"
        for task in self.tasks:
            if task.error is not None:
                raise task.error
        if self._hang is not None:
            raise self._hang


class FakeLock:
    """A lock of the stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._is_held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - like threading.Lock
        """Acquire the lock."""
        self._stage.pause()
        if self._is_held:
            until = inf if timeout < 0 else self._stage.now + timeout
            self._stage.wait(lambda: not self._is_held, until)
        if self._is_held:
            return False
        self._is_held = True
        return True

    def release(self) -> None:
        """Release the lock."""
        if not self._is_held:
            raise RuntimeError("release unlocked lock")
        self._is_held = False
        self._stage.pause()


class FakeRLock:
    """A reentrant lock of the stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._owner: int | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - like threading.Lock
        """Acquire the lock."""
        me = threading.get_ident()
        if self._owner != me:
            self._stage.pause()
            if self._owner is not None:
                self._stage.wait(lambda: self._owner is None, inf)
            self._owner = me
        self._count += 1
        return True

    def release(self) -> None:
        """Release the lock."""
        assert self._owner == threading.get_ident()
        self._count -= 1
        if not self._count:
            self._owner = None
            self._stage.pause()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def play(body: Callable[[Stage], object], order: Order | int = 0, *, preempt: float = 0.0) -> Stage:
    """Run a function on a new stage; a number is the seed of a random order."""
    chosen = RandomOrder(order, preempt) if isinstance(order, int) else order
    stage = Stage(chosen, preempt=preempt > 0 and CAN_TRACE_THREADS)
    stage.run(body)
    return stage
