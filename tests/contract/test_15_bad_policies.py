"""Point 15, second half: a policy that raises or answers nonsense ends the queue, nothing lost."""

import asyncio
import functools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from flushq import (
    Decision,
    Flush,
    FlushFailed,
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

# It raises.


@ALL_EVENTS
@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError, GeneratorExit])
async def test_a_policy_that_raises_ends_the_queue(event: str, kind: type[BaseException]) -> None:
    """A policy may raise in any event: PolicyError, with the cause, and nothing lost."""
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


@ALL_EVENTS
async def test_a_policy_that_raises_later(event: str) -> None:
    """A policy that fails in its second round leaves the first delivered and lists the rest."""
    sink = Sink[int](0.5)
    queue = FlushQueue(sink, Broken(event, ZeroDivisionError, nth=2))
    accepted = []
    with pytest.raises(PolicyError):
        async with queue:
            for item in range(6):
                await queue.enqueue(item)
                accepted.append(item)
                await asyncio.sleep(0.75)
    assert [] == queue.in_doubt
    assert accepted == sink.items + queue.undelivered


async def test_flush_started_is_told_before_flush_fn_is_called() -> None:
    """If flush_started raises, flush_fn is never called with that batch: it is first in line."""
    sink = Sink[int](5.0)
    queue = FlushQueue(sink, Broken("flush_started", ZeroDivisionError, nth=2), max_in_flight=2)
    with pytest.raises(PolicyError):
        async with queue:
            await queue.enqueue(0)
            await asyncio.sleep(2.0)
            await enqueue_all(queue, range(1, 4))
            await asyncio.sleep(2.0)
    assert [[0]] == sink.delivered == sink.batches
    assert [1, 2, 3] == queue.undelivered


# It answers nonsense.

NONSENSE: dict[str, Callable[[float], Any]] = {
    "None": lambda now: None,
    "True": lambda now: True,
    "a number": lambda now: now + 1.0,
    "a class": lambda now: Flush,
    "a coroutine": lambda now: asyncio.sleep,
    "until now": Wait,
    "until the past": lambda now: Wait(now - 1.0),
    "until -inf": lambda now: Wait(-math.inf),
    "until NaN": lambda now: Wait(math.nan),
    "until True": lambda now: Wait(until=True),
    "until a str": lambda now: Wait("later"),  # type: ignore[arg-type]  # what is tested
    "until None": lambda now: Wait(None),  # type: ignore[arg-type]  # what is tested
    "until a Decimal": lambda now: Wait(Decimal(10)),  # type: ignore[arg-type]  # what is tested
    "up to 0": lambda now: Flush(up_to=0),
    "up to -1": lambda now: Flush(up_to=-1),
    "up to True": lambda now: Flush(up_to=True),
    "up to 1.5": lambda now: Flush(up_to=1.5),  # type: ignore[arg-type]  # what is tested
    "up to 2.0": lambda now: Flush(up_to=2.0),  # type: ignore[arg-type]  # what is tested
    "up to a str": lambda now: Flush(up_to="2"),  # type: ignore[arg-type]  # what is tested
    "no reason": lambda now: Flush(None),  # type: ignore[arg-type]  # what is tested
    "reason in bytes": lambda now: Flush(b"age"),  # type: ignore[arg-type]  # what is tested
}


@pytest.mark.parametrize("make", NONSENSE.values(), ids=NONSENSE)
async def test_an_answer_that_is_no_decision_ends_the_queue(make: Callable[[float], Any]) -> None:
    """What is no Decision, or one with senseless values, is a PolicyError that shows it."""
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


def float_like(number: Any) -> float:
    """Pass a number off as a float, to a type checker that takes none but floats and ints."""
    passed: float = number
    return passed


@pytest.mark.parametrize(
    "make",
    [
        lambda now: Wait(now + 1),
        lambda now: Wait(float_like(Fraction(now) + Fraction(1, 3))),
        lambda now: Wait(int(now) + 1),
        lambda now: Wait(10**400),
        lambda now: Wait(math.inf),
    ],
    ids=["float", "Fraction", "int", "huge", "inf"],
)
async def test_any_real_number_later_than_now_is_a_time(make: Callable[[float], Any]) -> None:
    """A Wait may name any real number after now, also one that no float can hold."""

    class Twice(Answering):
        """Waits once, then flushes."""

        def tick(self, now: float) -> Decision:
            self.make = lambda now: Flush("due")
            return super().tick(now)

    sink = Sink[int]()
    async with FlushQueue(sink, Twice(make), max_queue_size=1) as queue:
        await queue.enqueue(1)
        await queue.enqueue(2)  # waits for room: pressure makes it, whatever the policy says
    assert [1, 2] == sink.items


def forget(event: str) -> FlushPolicy:
    """Return a policy that answers one event without telling the base class."""

    def answer(self: Second, now: float, *facts: object) -> Decision:
        return Wait()

    answer.__name__ = event
    policy: FlushPolicy = type("Forgetful", (Second,), {event: answer})()
    return policy


@pytest.mark.parametrize("event", ["item_added", "flush_started", "flush_done"])
async def test_an_override_that_forgets_super_is_found_out(event: str) -> None:
    """An event that does not reach the base class is a PolicyError at that very event."""
    sink = Sink[int](1.0)
    queue = FlushQueue(sink, forget(event))
    ended: list[float] = []
    with pytest.raises(PolicyError, match=rf"Forgetful.*{event}.*super"):
        async with queue:
            await queue.enqueue(1)
            while not ended:
                await asyncio.sleep(0.25)
                ended += [now()] if await error_of(queue.flush()) else []
    assert [{"item_added": 0.25, "flush_started": 0.25, "flush_done": 1.5}[event]] == ended
    assert ([] if event == "flush_done" else [1]) == queue.undelivered


async def test_a_tick_without_super_is_no_miscount() -> None:
    """A tick that does not reach the base class changes no number: its answer is what counts."""
    sink = Sink[int]()
    async with FlushQueue(sink, forget("tick")) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(10.0)
        assert [] == sink.batches
    assert [[1]] == sink.delivered


async def test_a_policy_that_meddles_with_its_facts_is_found_out() -> None:
    """A decide that changes the facts of the base class is a PolicyError."""

    class Meddling(NaturalPolicy):
        def decide(self, now: float) -> Decision:
            self.queue.pending += 1
            return Wait()

    queue = FlushQueue(Sink[int](), Meddling())
    with pytest.raises(PolicyError, match="counts 2 pending"):
        async with queue:
            await queue.enqueue(1)
    assert [1] == queue.undelivered


async def test_a_policy_that_loses_its_facts_is_found_out() -> None:
    """A policy that replaces its QueueState by nothing ends the queue with PolicyError."""

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


# What cannot be shown.


class Unprintable(Exception):
    """An exception, or an answer, that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise AttributeError("there is no repr")


async def test_an_error_that_cannot_be_shown_is_a_policy_error_all_the_same() -> None:
    """A policy that raises what has a broken repr ends the queue with PolicyError."""
    queue = FlushQueue(Sink[int](), Broken("item_added", Unprintable))
    with pytest.raises(PolicyError) as caught:
        async with queue:
            await queue.enqueue(1)
            await settle()
    assert isinstance(caught.value.__cause__, Unprintable)
    assert [1] == queue.undelivered


async def test_an_answer_that_cannot_be_shown_is_a_policy_error_all_the_same() -> None:
    """A policy that answers what has a broken repr ends the queue with PolicyError."""
    queue = FlushQueue(Sink[int](), Answering(lambda now: Unprintable()))
    with pytest.raises(PolicyError):
        async with queue:
            await queue.enqueue(1)
            await settle()
    assert [1] == queue.undelivered


async def test_an_event_without_a_name_is_a_policy_error_all_the_same() -> None:
    """A policy whose event is a partialmethod may fail like any other."""

    class Partial(NaturalPolicy):
        def arrived(self, answer: Any, *facts: Any) -> Any:
            return answer

        item_added = functools.partialmethod(arrived, 3)

    queue = FlushQueue(Sink[int](), Partial())
    with pytest.raises(PolicyError):
        async with queue:
            await queue.enqueue(1)
            await settle()
    assert [1] == queue.undelivered


# Whom it reaches.


async def test_a_policy_error_reaches_everyone() -> None:
    """Waiting and later producers, flush(), run() and aclose() get a new PolicyError each."""
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


async def test_the_bodys_exception_wins_over_a_policy_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A body that raises keeps its exception; the PolicyError goes into a note and a record."""
    queue = FlushQueue(Sink[int](), Broken("item_added", ZeroDivisionError))
    with pytest.raises(ValueError, match="of the body") as caught:
        async with queue:
            await queue.enqueue(1)
            await settle()
            raise ValueError("of the body")
    assert "PolicyError" in caught.value.__notes__[0]
    assert "PolicyError" in caplog.text


async def test_the_limit_counts_from_the_policy_error() -> None:
    """After a PolicyError running flushes have max_shutdown_wait, and are in doubt if cut short."""
    sink = Sink[int](100.0)
    policy = Broken("item_added", ZeroDivisionError, nth=2)
    queue = FlushQueue(sink, policy, max_shutdown_wait=3.0)
    running = asyncio.create_task(error_of(queue.run()))
    await queue.enqueue(0)
    await asyncio.sleep(2.0)
    await queue.enqueue(1)
    assert isinstance(await running, PolicyError)
    assert 5.0 == now()
    assert [0] == queue.in_doubt
    assert [1] == queue.undelivered


async def test_the_first_to_fail_is_the_outcome() -> None:
    """A flush that fails after the policy has failed is in doubt, and PolicyError stays."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, Broken("item_added", ZeroDivisionError, nth=2))
    with pytest.raises(PolicyError) as caught:
        async with queue:
            await queue.enqueue(0)
            await asyncio.sleep(2.0)
            await queue.enqueue(1)
            await settle()
            sink.fail(OSError())
    assert not isinstance(caught.value, FlushFailed)
    assert [0] == queue.in_doubt
    assert [1] == queue.undelivered


# It is interrupted.


@ALL_EVENTS
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_policy_is_raised_on(event: str, kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit of a policy leave the loop, and the queue has ended."""
    queue = FlushQueue(Sink[int](1.0), Broken(event, kind))

    async def session() -> BaseException | None:
        running = asyncio.ensure_future(error_of(queue.run()))
        await queue.enqueue(1)
        return await running

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match=event):
            loop.run_until_complete(main)
        error = loop.run_until_complete(main)
    assert isinstance(error, PolicyError)
    assert kind is type(error.__cause__)
    assert ([] if event == "flush_done" else [1]) == queue.undelivered


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_after_an_interrupt_of_the_policy_nothing_is_accepted(kind: type[BaseException]) -> None:
    """A producer whose next step was due in the interrupted iteration is refused."""
    queue = FlushQueue(Sink[int](1.0), Broken("item_added", kind))

    async def session() -> list[BaseException | None]:
        running = asyncio.ensure_future(error_of(queue.run()))
        await asyncio.sleep(0)
        await queue.enqueue(1)
        await asyncio.sleep(0)
        return [await error_of(queue.enqueue(2)), await running]

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="item_added"):
            loop.run_until_complete(main)
        errors = loop.run_until_complete(main)
    assert [PolicyError, PolicyError] == [*map(type, errors)]
    assert [1] == queue.undelivered


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_at_the_end_of_a_flush_does_not_lose_the_flush(
    kind: type[BaseException],
) -> None:
    """A policy that is interrupted as a flush ends, while told of an item, lets the queue end."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, Broken("item_added", kind, nth=2))

    async def session() -> BaseException | None:
        running = asyncio.ensure_future(error_of(queue.run()))
        await queue.enqueue(0)
        await asyncio.sleep(2.0)
        sink.let_go()
        await asyncio.sleep(0)  # the flush returns in this iteration, just before
        queue.enqueue_nowait(1)
        return await running

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="item_added"):
            loop.run_until_complete(main)
        error = loop.run_until_complete(main)
    assert isinstance(error, PolicyError)
    assert [[0]] == sink.delivered
    assert [] == queue.in_doubt
    assert [1] == queue.undelivered


@pytest.mark.not_in("eager", reason="the first flush begins as soon as it is cut")
async def test_a_batch_that_was_only_cut_when_the_policy_failed_is_undelivered() -> None:
    """A policy that fails as the second of two flushes is started keeps the first from starting."""

    class OneByOne(Broken):
        max_records = 1

    sink = Sink[int]()
    policy = OneByOne("flush_started", ZeroDivisionError, nth=2)
    queue = FlushQueue(sink, policy, max_in_flight=2)
    with pytest.raises(PolicyError):
        async with queue:
            await queue.enqueue(1)
            await queue.enqueue(2)
            await asyncio.sleep(5.0)
    assert [] == sink.batches
    assert [1, 2] == queue.undelivered
    assert [] == queue.in_doubt


async def test_a_time_that_no_float_can_hold_is_never() -> None:
    """A policy may ask to wait until a time beyond all floats: that is until the drain."""
    sink = Sink[int]()
    async with FlushQueue(sink, Answering(lambda now: Wait(10**400))) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(1000.0)
        assert [] == sink.batches
    assert [[1]] == sink.batches
