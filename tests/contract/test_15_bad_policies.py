"""Point 15, second half: a policy that raises or answers nonsense ends the queue."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from flushq import (
    Decision,
    Flush,
    FlushPolicy,
    FlushQueue,
    NaturalPolicy,
    PolicyError,
    Wait,
)
from tests.contract.hostile import (
    EVENTS,
    Answering,
    Broken,
    Second,
    error_of,
    left_behind,
    own_loop,
)
from tests.contract.support import HeldSink, Sink, enqueue_all, now, produce, settle

ALL_EVENTS = pytest.mark.parametrize("event", EVENTS)

# A policy raises.


@ALL_EVENTS
@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError, GeneratorExit])
async def test_a_policy_that_raises_ends_the_queue(event: str, kind: type[BaseException]) -> None:
    """If a policy raises in any event, PolicyError has the cause, and the lists are complete."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, Broken(event, kind))
    with pytest.raises(PolicyError, match=rf"Broken.*{event}") as caught:
        async with queue:
            await enqueue_all(queue, range(3))
            await asyncio.sleep(10.0)
    assert kind is type(caught.value.__cause__)
    assert queue.undelivered is caught.value.undelivered
    assert queue.in_doubt is caught.value.in_doubt
    assert [] == queue.in_doubt
    delivered = event == "flush_done"
    assert ([0, 1, 2] if delivered else []) == sink.items
    assert ([] if delivered else [0, 1, 2]) == queue.undelivered
    assert [] == left_behind()


# A policy answers nonsense.

NONSENSE: dict[str, Callable[[float], Any]] = {
    "None": lambda now: None,
    "a class": lambda now: Flush,
    "until now": Wait,
    "until NaN": lambda now: Wait(math.nan),
    "until a str": lambda now: Wait("later"),  # type: ignore[arg-type]  # this is what is tested
    "up to 0": lambda now: Flush(up_to=0),
    "up to 1.5": lambda now: Flush(up_to=1.5),  # type: ignore[arg-type]  # this is what is tested
    "no reason": lambda now: Flush(None),  # type: ignore[arg-type]  # this is what is tested
}


@pytest.mark.parametrize("make", NONSENSE.values(), ids=NONSENSE)
async def test_a_wrong_answer_ends_the_queue(
    make: Callable[[float], Any],
) -> None:
    """An answer that is not a Decision, or has a wrong value, is a PolicyError that shows it."""
    await asyncio.sleep(5.0)
    sink = Sink[int]()
    queue = FlushQueue(sink, Answering(make))
    with pytest.raises(PolicyError) as caught:
        async with queue:
            await queue.enqueue(1)
            await asyncio.sleep(100.0)
    assert repr(make(5.0)) in str(caught.value)
    assert caught.value.__cause__ is None
    assert [] == sink.batches
    assert [1] == queue.undelivered


def forget(event: str) -> FlushPolicy:
    """Return a policy that answers one event without telling the base class."""

    def answer(self: Second, now: float, *facts: object) -> Decision:
        return Wait()

    answer.__name__ = event
    policy: FlushPolicy = type("Forgetful", (Second,), {event: answer})()
    return policy


@pytest.mark.parametrize("event", ["item_added", "flush_started", "flush_done"])
async def test_an_override_that_forgets_super_is_found_out(event: str) -> None:
    """An event that does not reach the base class is a PolicyError at this event."""
    queue = FlushQueue(Sink[int](1.0), forget(event))
    with pytest.raises(PolicyError, match=rf"Forgetful.*{event}.*super"):
        async with queue:
            await queue.enqueue(1)
            await queue.flush()
    assert {"item_added": 0.0, "flush_started": 0.0, "flush_done": 1.0}[event] == now()
    assert ([] if event == "flush_done" else [1]) == queue.undelivered


async def test_a_policy_that_loses_its_facts_is_found_out() -> None:
    """A policy that deletes its QueueState ends the queue with PolicyError."""

    class Losing(NaturalPolicy):
        def decide(self, now: float) -> Decision:
            del self.queue
            return Flush()

    queue = FlushQueue(Sink[int](), Losing())
    with pytest.raises(PolicyError) as caught:
        async with queue:
            await queue.enqueue(1)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert [1] == queue.undelivered


# Which callers get the error.


async def test_a_policy_error_reaches_everyone() -> None:
    """Waiting and later producers, flush(), run() and aclose() each get a new PolicyError."""
    sink = HeldSink[int]()
    queue = FlushQueue(
        sink, Broken("item_added", ZeroDivisionError, nth=3), max_queue_size=1, max_in_flight=2
    )
    running = asyncio.create_task(error_of(queue.run()))
    await queue.enqueue(0)
    barriers = [asyncio.create_task(error_of(queue.flush()))]
    await settle()
    await queue.enqueue(1)
    barriers.append(asyncio.create_task(error_of(queue.flush())))
    await settle()
    queue.enqueue_nowait(2)
    late = produce(queue, 3)
    await settle()
    assert [True, False] == [late.done(), running.done()]
    sink.open()
    errors = [
        late.exception(),
        await running,
        await error_of(queue.enqueue(4)),
        await error_of(queue.flush()),
        await error_of(queue.aclose()),
    ]
    assert [PolicyError] * 5 == [type(error) for error in errors]
    assert 5 == len({id(error) for error in errors})
    assert 1 == len({id(error.__cause__) for error in errors if error})
    assert [None, None] == [await barrier for barrier in barriers]
    assert [[0], [1]] == sink.delivered
    assert [2] == queue.undelivered


# Interrupts in a policy.


@ALL_EVENTS
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_policy_is_raised_on(event: str, kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit of a policy are raised by the loop, and the queue ends.

    A producer whose next step was due in the interrupted iteration is refused.
    """
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, Broken(event, kind))

    async def session() -> list[BaseException | None]:
        running = asyncio.ensure_future(error_of(queue.run()))
        await asyncio.sleep(0)
        await queue.enqueue(1)
        await asyncio.sleep(0)
        return [await error_of(queue.enqueue(2)), await running]

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match=event):
            loop.run_until_complete(main)
        late, error = loop.run_until_complete(main)
    assert isinstance(error, PolicyError)
    assert kind is type(error.__cause__)
    assert (PolicyError if event == "item_added" else type(None)) is type(late)
    accepted = [1] if late else [1, 2]
    assert accepted == (sink.items if event == "flush_done" else queue.undelivered)


async def test_a_time_that_no_float_can_hold_is_never() -> None:
    """A policy may wait until a time that no float can hold: it waits until the drain."""
    sink = Sink[int]()
    async with FlushQueue(sink, Answering(lambda now: Wait(10**400))) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(1000.0)
        assert [] == sink.batches
    assert [[1]] == sink.batches
