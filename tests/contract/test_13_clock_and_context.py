"""Point 13: the clock is the loop's, and flush_fn runs in the context of the queue's start."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

import pytest

from flushq import (
    Decision,
    Flush,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    ShutdownTimeout,
    Wait,
)
from tests.contract.hostile import EVENTS, Answering, EarlyLoop, Second, UnsteadyLoop, left_behind
from tests.contract.support import Sink, enqueue_all, now, settle
from tests.virtual import VirtualLoop

place = contextvars.ContextVar("place", default="nowhere")

# The clock.


async def test_no_other_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the clock of the loop is read, from the first item to the limit."""
    sink = Sink[int](2.0)
    queue = FlushQueue(sink, IntervalPolicy(1.0), max_shutdown_wait=10.0)
    for clock in ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns"):
        monkeypatch.setattr(time, clock, lambda: pytest.fail("a clock of the time module was read"))
    async with queue:
        await queue.enqueue(1)
        await asyncio.sleep(5.0)
        await queue.enqueue(2)
    monkeypatch.undo()
    assert [1.0, 5.0] == sink.started


@pytest.mark.not_in("solipsism", "looptime", "uvloop", reason="moves the virtual clock itself")
async def test_a_timer_that_is_late_tells_the_loops_time() -> None:
    """If the loop is blocked past the due time, the tick and the flush have the later time."""
    sink = Sink[int]()
    async with FlushQueue(sink, Second()) as queue:
        await queue.enqueue(1)
        await settle()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.elapse(5.0)
        await settle()
        assert isinstance(queue.policy, Second)
        assert ("tick", 5.0) == queue.policy.told[1]
    assert [5.0] == sink.started


async def session(sink: Sink[int], slept: float) -> Second:
    """Flush one item three times, and return the policy with its events."""
    async with FlushQueue(sink, Second(), max_shutdown_wait=10.0) as queue:
        for item in range(3):
            await queue.enqueue(item)
            await asyncio.sleep(slept)
    assert isinstance(queue.policy, Second)
    return queue.policy


@pytest.mark.parametrize("loop", [VirtualLoop, EarlyLoop, UnsteadyLoop])
def test_the_times_that_a_policy_is_told_never_decrease(loop: Callable[[], VirtualLoop]) -> None:
    """The policy's times never decrease, even if timers are early or the clock steps back."""
    sink = Sink[int](0.5)
    with asyncio.Runner(loop_factory=loop) as runner:
        policy = runner.run(session(sink, 4.0))
    times = [time for _, time in policy.told]
    assert sorted(times) == times
    assert [[0], [1], [2]] == sink.delivered


def test_on_an_early_loop_a_timer_tells_its_own_time() -> None:
    """A timer that fires early causes one tick, with the time that the policy asked for."""
    sink = Sink[int]()
    with asyncio.Runner(loop_factory=EarlyLoop) as runner:
        policy = runner.run(session(sink, 4.0))
    assert [
        ("item_added", 0.0), ("tick", 1.0), ("flush_started", 1.0), ("flush_done", 1.0),
    ] == policy.told[:4]  # fmt: skip
    assert 0.75 == sink.started[0]
    assert 3 == sum(event == "tick" for event, _ in policy.told)


async def test_on_a_punctual_loop_each_event_tells_the_loops_time() -> None:
    """On a loop with exact timers each event has the time at which it happens."""
    policy = await session(Sink[int](0.5), 4.0)
    assert [
        ("item_added", 0.0), ("tick", 1.0), ("flush_started", 1.0), ("flush_done", 1.5),
        ("item_added", 4.0), ("tick", 5.0), ("flush_started", 5.0), ("flush_done", 5.5),
        ("item_added", 8.0), ("tick", 9.0), ("flush_started", 9.0), ("flush_done", 9.5),
    ] == policy.told  # fmt: skip


def test_the_limit_on_an_early_loop() -> None:
    """A limit that fires early cuts the drain short once, and the queue ends."""

    async def use() -> None:
        with pytest.raises(ShutdownTimeout) as caught:
            async with FlushQueue(
                Sink[int](100.0), NaturalPolicy(), max_shutdown_wait=2.0
            ) as queue:
                await queue.enqueue(1)
        assert (1.75, [1]) == (now(), caught.value.in_doubt)
        assert [] == left_behind()

    with asyncio.Runner(loop_factory=EarlyLoop) as runner:
        runner.run(use())


THIRD = pytest.param(
    Fraction(1, 3),
    marks=pytest.mark.not_in("looptime", reason="that clock has microseconds only"),
)


@pytest.mark.parametrize("step", [1.0, 1, THIRD], ids=["float", "int", "fraction"])
async def test_a_broken_promise_is_armed_again(step: float) -> None:
    """If a tick is answered with another Wait, a timer is set for its time."""
    asked: list[float] = []

    def postpone(now: float) -> Decision:
        asked.append(now)
        return Flush("at last") if len(asked) == 5 else Wait(now + step)

    sink = Sink[int]()
    async with FlushQueue(sink, Answering(postpone)) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(10.0)
    assert [pytest.approx(float(count * step)) for count in range(5)] == asked
    assert asked[4:] == sink.started


@pytest.mark.not_in("uvloop", reason="its callbacks cannot be seen")
async def test_an_idle_queue_has_nothing_on_the_loop() -> None:
    """A queue that waits for items has no task, no timer and no callback, so the loop may sleep."""
    async with FlushQueue(Sink[int](1.0), IntervalPolicy(1.0)) as queue:
        loop: Any = asyncio.get_running_loop()
        for _ in range(2):
            await asyncio.sleep(5.0)
            await settle()
            assert [] == [*left_behind(), *loop._ready]  # noqa: SLF001 - asyncio has no public list
            await queue.enqueue(1)


# The context.

Recorded = list[str]


def recorder(seen: Recorded) -> Callable[[list[Any]], Awaitable[None]]:
    """Return a flush function that notes the value of ``place``, and then sets another one."""

    async def sink(batch: list[Any]) -> None:
        seen.append(place.get())
        place.set("in the sink")
        await asyncio.sleep(0)

    return sink


def at(name: str, operation: Any) -> asyncio.Task[Any]:
    """Start a coroutine as a task in a context with this ``place``."""
    context = contextvars.copy_context()
    context.run(place.set, name)
    return asyncio.create_task(operation, context=context)


@pytest.mark.parametrize("owner", ["run", "async with", "aclose"])
async def test_flush_fn_runs_in_the_context_of_the_start(owner: str) -> None:
    """flush_fn sees the context in which the queue was started, not that of any other caller."""
    seen: Recorded = []
    queue = FlushQueue(recorder(seen), NaturalPolicy(1))

    async def enter_and_leave() -> None:
        async with queue:
            await asyncio.sleep(1.0)

    await at("producer", enqueue_all(queue, range(2)))  # the first call: it binds the queue
    await settle()
    if owner == "run":
        running = at("owner", queue.run())
        await asyncio.sleep(1.0)
        await at("closer", queue.aclose())
        await running
    elif owner == "async with":
        await at("owner", enter_and_leave())
    else:
        await at("owner", queue.aclose())
    assert ["owner", "owner"] == seen


async def test_no_flush_runs_in_the_context_of_what_caused_it() -> None:
    """A flush for any reason has the context of the start: an item, a timer, a drain and others."""
    seen: Recorded = []
    queue = FlushQueue(recorder(seen), IntervalPolicy(1.0, 2), max_queue_size=4)
    await at("owner", queue.__aenter__())
    await at("producer", enqueue_all(queue, range(9)))
    await settle()
    assert 4 == len(seen)  # full and under pressure
    await at("flusher", queue.flush())
    await at("producer", queue.enqueue(9))
    await asyncio.sleep(1.5)
    assert 6 == len(seen)  # by the timer
    await at("producer", queue.enqueue(10))
    await at("closer", queue.aclose())
    assert ["owner"] * 7 == seen


async def test_what_is_set_later_no_flush_sees() -> None:
    """A value that flush_fn, on_report or the owner sets after the start is seen by no flush."""
    seen: Recorded = []
    place.set("start")
    async with FlushQueue(
        recorder(seen), NaturalPolicy(1), max_in_flight=2, on_report=lambda _: place.set("report")
    ) as queue:
        place.set("later")
        await enqueue_all(queue, range(9))
    assert ["start"] * 9 == seen
    assert "later" == place.get()


async def test_the_policy_is_told_everything_in_the_context_of_the_queue() -> None:
    """No event is told in the context of the producer that caused it."""
    seen: dict[str, str] = {}

    class Curious(Second):
        def on_event(self, event: str, now: float) -> None:
            super().on_event(event, now)
            seen[event] = place.get()

    place.set("owner")
    async with FlushQueue(Sink[int](1.0), Curious()) as queue:
        place.set("producer")
        await queue.enqueue(1)
        await asyncio.sleep(3.0)
    assert dict.fromkeys(EVENTS, "owner") == seen
