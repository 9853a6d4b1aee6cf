"""Point 2, at any moment: a finalizer or a signal handler enqueues, or the stack is full.

CPython runs finalizers and signal handlers where a function begins or a call returns. The tests
enqueue an item at the 1st, 2nd, 3rd, ... of these moments inside the library.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType

import pytest

import flushq
from flushq import Drop, Dropped, FlushqError, FlushQueue, IntervalPolicy, NaturalPolicy
from tests.contract.hostile import error_of
from tests.contract.support import Sink, assert_all_accounted_for, settle
from tests.virtual import run

LIBRARY = str(Path(flushq.__file__).parent)

LATE = 1000


class Moment:
    """A profiler that calls a function once, at the moment of this number inside the library."""

    def __init__(self, number: int, call: Callable[[], object]) -> None:
        self.came = False
        self._left = number
        self._call = call

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Count a moment, and call the function at the right one; Python calls this."""
        if event == "c_call" or not frame.f_code.co_filename.startswith(LIBRARY):
            return
        self._left -= 1
        if self._left == -1:
            self.came = True
            sys.setprofile(None)  # takes effect at the next call on Python 3.11
            self._call()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the moments of a block."""
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)


async def use(queue: FlushQueue[int], accepted: list[int]) -> None:
    """Enqueue, flush and close, and note the accepted items."""
    with suppress(FlushqError):
        async with queue:
            for item in range(3):
                await queue.enqueue(item)
                accepted.append(item)
                if item == 1:
                    await settle()
            await queue.flush()


def enqueued_at(number: int, make: Callable[[Sink[int]], FlushQueue[int]], sink: Sink[int]) -> bool:
    """Use a queue, enqueue an item at a moment, and check; return whether the moment came."""
    accepted: list[int] = []
    queue = make(sink)

    def enqueue_late() -> None:
        with suppress(FlushqError, RuntimeError):  # RuntimeError: no loop runs at this moment
            queue.enqueue_nowait(LATE)
            accepted.append(LATE)

    moment = Moment(number, enqueue_late)

    async def scenario() -> None:
        with moment.watching():
            await use(queue, accepted)

    run(scenario)
    stats = queue.stats()
    assert_all_accounted_for(accepted, queue, sink)
    assert (len(accepted), 0, 0) == (stats.accepted, stats.pending, stats.in_flight)
    return moment.came


def capped(sink: Sink[int]) -> FlushQueue[int]:
    """Return a queue whose batches are full before they are old."""
    return FlushQueue(sink, IntervalPolicy(1.0, 2), max_queue_size=2)


def measured(sink: Sink[int]) -> FlushQueue[int]:
    """Return a queue with keys and weights."""
    policy = NaturalPolicy(3, max_weight=2)
    return FlushQueue(sink, policy, dedupe_key=lambda item: item, weigh=lambda _: 1)


def limited(sink: Sink[int]) -> FlushQueue[int]:
    """Return a queue that starts no flush once it closes."""
    return FlushQueue(sink, IntervalPolicy(9.0, 2), max_in_flight=2, max_shutdown_wait=0)


@pytest.mark.parametrize(
    ("make", "fails"), [(capped, False), (capped, True), (measured, False), (limited, True)]
)
def test_an_item_enqueued_at_any_moment_is_not_lost(
    make: Callable[[Sink[int]], FlushQueue[int]],
    caplog: pytest.LogCaptureFixture,
    *,
    fails: bool,
) -> None:
    """An item that a finalizer enqueues is refused, delivered or listed, and nothing hangs."""
    caplog.set_level(logging.CRITICAL, "flushq")  # formatting every failure takes minutes
    came = 0
    for number in count():
        errors = {0: OSError("down")} if fails else {}
        if not enqueued_at(number, make, Sink[int](0.5, errors)):
            break
        came += 1
    assert came > 300
    caplog.clear()  # of the failures


async def deliver(queue: FlushQueue[int]) -> None:
    """Deliver an item."""
    await queue.deliver(0)


async def submit(queue: FlushQueue[int]) -> None:
    """Submit an item, and await its receipt."""
    await (await queue.submit(0))


@pytest.mark.parametrize("way", [deliver, submit])
def test_a_caller_is_told_of_its_own_item_alone(
    way: Callable[[FlushQueue[int]], Awaitable[None]],
) -> None:
    """A caller is told that its item was dropped, even if a finalizer enqueues another one."""

    async def sink(batch: list[int]) -> None:
        if 0 in batch:
            raise OSError("down")

    async def told_at(number: int) -> tuple[bool, BaseException | None]:
        async with FlushQueue(sink, NaturalPolicy(1), on_failure=lambda _: Drop()) as queue:
            moment = Moment(number, lambda: queue.enqueue_nowait(LATE))
            with moment.watching():
                told = await error_of(way(queue))
        return moment.came, told

    for number in count():
        came, told = run(partial(told_at, number))
        assert isinstance(told, Dropped)
        assert 0 == told.item
        if not came:
            break
    assert number > 100


# A full stack.


def depth() -> int:
    """Return the number of frames on the stack."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no public function
    frames = 0
    while frame is not None:
        frame = frame.f_back
        frames += 1
    return frames


@contextmanager
def frames_left(room: int) -> Iterator[None]:
    """Leave room for this many frames in a block."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth() + room)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("make", [capped, measured])
async def test_an_item_that_finds_the_stack_full_is_not_accepted(
    make: Callable[[Sink[int]], FlushQueue[int]],
) -> None:
    """An enqueue that raises RecursionError accepts nothing, and the queue works afterwards."""
    sink = Sink[int]()
    accepted: list[int] = []
    async with make(sink) as queue:
        for room in range(1, 30):
            try:
                with frames_left(room):
                    queue.enqueue_nowait(room)
            except RecursionError:
                continue
            accepted.append(room)
            await settle()
            await queue.flush()
    assert len(accepted) > 10
    assert 29 in accepted
    assert_all_accounted_for(accepted, queue, sink)
