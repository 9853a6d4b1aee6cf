"""S2: leaving a stream early raises no error, lists the rest and closes the source."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from itertools import repeat
from typing import Any

import anyio
import attrs
import pytest

from flushq import IntervalPolicy, NaturalPolicy, batches
from flushq.throttles import RateLimit
from tests.contract.hostile import FACTORIES, error_of, left_behind
from tests.contract.streams import Play, Source, in_both
from tests.contract.support import How, Interruption, settle, steps, sweep
from tests.threads.worlds import World

CANCELLED: list[How] = ["cancel", "timeout", "wait_for", "scope"]


class Left(Exception):
    """The exception that leaves the block."""


def by_break() -> bool:
    """Leave by a break."""
    return True


def by_exception() -> bool:
    """Leave by an exception."""
    raise Left


@in_both
@pytest.mark.parametrize("leaves", [by_break, by_exception])
def test_leaving_early(
    play: Play, leaves: Callable[[], bool], caplog: pytest.LogCaptureFixture
) -> None:
    """After an early exit the source is closed, and nothing is logged; the lists stay the same."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        async with world.batches(source.items(), NaturalPolicy(2), max_queue_size=3) as stream:
            async for batch in stream:
                await world.sleep(1.0)
                lists = stream.undelivered, stream.in_doubt
                if batch[-1] >= 3 and leaves():
                    break
        assert source.closed
        assert lists[0] is stream.undelivered
        assert lists[1] is stream.in_doubt

    async def leaving(world: World) -> None:
        with suppress(Left):
            await scenario(world)

    play(leaving)
    assert [] == caplog.records


@in_both
def test_leaving_before_the_loop_comes_to_an_error_of_the_source(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the source that the loop did not reach is neither raised nor logged."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0, 5), OSError("no line"))
        async with world.batches(source.items(), NaturalPolicy(2)) as stream:
            await world.sleep(1.0)
            assert [0, 1] == await anext(stream)
        assert ([0, 1], [2, 3, 4]) == (stream.in_doubt, stream.undelivered)

    play(scenario)
    assert [] == caplog.records


@in_both
def test_what_is_left(play: Play) -> None:
    """The batch in hand is in doubt, and the items read after it are undelivered."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        stream = world.batches(source.items(), NaturalPolicy(2), max_queue_size=3)
        async with stream:
            await world.sleep(1.0)
            assert [0, 1] == await anext(stream)
            await world.sleep(1.0)
            assert [2, 3] == await anext(stream)
            await world.sleep(1.0)
        assert ([2, 3], [4, 5, 6, 7]) == (stream.in_doubt, stream.undelivered)

    play(scenario)


@in_both
def test_a_consumer_that_never_asks(play: Play) -> None:
    """If the consumer never asks, all items are undelivered and none is in doubt."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        async with world.batches(source.items(), NaturalPolicy(), max_queue_size=2) as stream:
            await world.sleep(5.0)
        assert ([0, 1, 2], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


@in_both
def test_a_batch_that_the_consumer_may_change(play: Play) -> None:
    """Changes to a yielded list do not change the lists of the stream."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0, 2))
        async with world.batches(source.items(), IntervalPolicy(9.0)) as stream:
            (await anext(stream)).clear()
        assert [0, 1] == stream.in_doubt

    play(scenario)


# How the source is stopped.


@attrs.define(eq=False)
class Iterator:
    """An asynchronous iterator that is not a generator, and has an ``aclose``.

    Attributes:
        closed: The tasks in which it was closed.
        error: The exception that ``aclose`` raises.
    """

    error: BaseException | None = None
    closed: list[Any] = attrs.field(factory=list, init=False)
    tasks: list[Any] = attrs.field(factory=list, init=False)

    def __aiter__(self) -> AsyncIterator[int]:
        """Return this object."""
        return self

    async def __anext__(self) -> int:
        """Return a number at once."""
        self.tasks.append(asyncio.current_task())
        return 1

    async def aclose(self) -> None:
        """Note the task, and raise the error if there is one."""
        await asyncio.sleep(1.0)
        self.closed.append(asyncio.current_task())
        if self.error is not None:
            raise self.error


class Bare:
    """An asynchronous iterator that cannot be closed."""

    def __aiter__(self) -> AsyncIterator[int]:
        """Return this object."""
        return self

    async def __anext__(self) -> int:
        """Return a number after a second."""
        await asyncio.sleep(1.0)
        return 1


async def test_the_source_is_closed_in_the_task_that_has_read_it() -> None:
    """The source is closed once, in the task that has read it; it need not have aclose."""
    source = Iterator()
    async with batches(source, NaturalPolicy(), name="orders") as stream:
        assert await anext(stream)
    assert source.closed == [source.tasks[0]]
    assert "flushq 'orders' reader" == source.tasks[0].get_name()
    async with batches(Bare(), NaturalPolicy()) as stream:
        assert [1] == await anext(stream)
    assert [] == left_behind()


@pytest.mark.not_in(
    "uvloop", reason="it passes eager_start, which the factory of Python 3.13.0 does not take"
)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
async def test_a_block_that_is_left_at_once_closes_the_source(factory: Any) -> None:
    """A block that is left at once closes the source, even if the reader has not begun."""
    asyncio.get_running_loop().set_task_factory(factory)
    source = Iterator()
    async with batches(source, NaturalPolicy()) as stream:
        pass
    assert 1 == len(source.closed)
    assert len(source.tasks) == len(stream.undelivered)
    asyncio.get_running_loop().set_task_factory(None)


async def test_what_closing_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The block raises the error of closing, or logs it if another exception is raised."""
    error = OSError("cannot be closed")
    with pytest.raises(OSError, match="cannot be closed") as caught:
        async with batches(Iterator(error), NaturalPolicy()):
            pass
    assert error is caught.value
    with pytest.raises(Left):
        async with batches(Iterator(error), NaturalPolicy(), name="orders"):
            raise Left
    (record,) = caplog.records
    assert (logging.ERROR, "orders: the source raised an exception while it was being stopped") == (
        record.levelno,
        record.getMessage(),
    )
    assert record.exc_info is not None
    assert error is record.exc_info[1]


async def test_what_a_source_raises_where_it_waits() -> None:
    """An exception that the source raises when it is cancelled is raised by the block."""

    async def source() -> AsyncIterator[int]:
        try:
            await asyncio.sleep(1e9)
            yield 1
        finally:
            raise Left

    with pytest.raises(Left):
        async with batches(source(), NaturalPolicy()):
            await settle()


async def test_a_source_that_yields_when_it_is_cancelled() -> None:
    """An item that the source yields when it is cancelled is undelivered; the source is closed."""

    async def source() -> AsyncIterator[int]:
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            yield 7

    async with batches(source(), NaturalPolicy()) as stream:
        await settle()
    assert [7] == stream.undelivered
    assert [] == left_behind()


async def test_a_stubborn_source_gets_each_cancellation() -> None:
    """A source that ignores its cancellation is waited for, and gets each further one."""
    cancelled: list[float] = []
    loop = asyncio.get_running_loop()

    async def source() -> AsyncIterator[int]:
        while len(cancelled) < 3:
            try:
                await asyncio.sleep(1e9)
            except asyncio.CancelledError:
                cancelled.append(loop.time())
        yield 1

    async def use() -> None:
        async with batches(source(), NaturalPolicy()) as stream:
            await anext(stream)

    began = loop.time()
    using = asyncio.create_task(error_of(use()))
    for _ in range(3):
        await asyncio.sleep(1.0)
        using.cancel()
    assert isinstance(await using, asyncio.CancelledError)
    assert [1.0, 2.0, 3.0] == [at - began for at in cancelled]
    assert [] == left_behind()


async def test_a_cancelled_scope_reaches_the_source_once() -> None:
    """A scope of anyio cancels the block at every await, but the source only once."""
    ended = False

    async def source() -> AsyncIterator[int]:
        nonlocal ended
        try:
            await asyncio.sleep(1e9)
            yield 1
        finally:
            await steps(5)
            ended = True

    with anyio.CancelScope() as scope:
        async with batches(source(), NaturalPolicy()) as stream:
            await settle()
            scope.cancel()
            await anext(stream)
    assert ended


async def test_what_a_source_raises_by_itself_is_not_taken_for_a_cancellation() -> None:
    """A CancelledError of the source is raised by the loop like any other exception."""

    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    got = []
    with pytest.raises(asyncio.CancelledError):
        async with batches(source(), NaturalPolicy()) as stream:
            async for batch in stream:
                got += batch
    assert [1] == got


# Cancellations.


@attrs.define(eq=False)
class Consumer:
    """A consumer of a stream of eight numbers, which records its progress.

    Attributes:
        leaves_at: The number after which it leaves; the batch of this number is then in hand.
        read: The numbers that the source has yielded.
        closed: Whether the source has ended.
        yielded: The numbers that the stream has yielded.
        in_hand: The batch that the consumer works on.
    """

    leaves_at: float
    read: list[int] = attrs.field(factory=list, init=False)
    closed: bool = attrs.field(default=False, init=False)
    yielded: list[int] = attrs.field(factory=list, init=False)
    in_hand: list[int] = attrs.field(factory=list, init=False)
    stream: Any = attrs.field(init=False)

    async def source(self) -> AsyncIterator[int]:
        """Yield the numbers; closing this generator takes some steps."""
        try:
            for number in range(8):
                await steps(number % 3)
                self.read.append(number)
                yield number
        finally:
            try:
                await steps(2)
            finally:
                self.closed = True

    async def consume(self) -> None:
        """Work on each batch for some steps."""
        self.stream = batches(self.source(), NaturalPolicy(2), max_queue_size=2)
        async with self.stream:
            async for batch in self.stream:
                self.yielded += batch
                self.in_hand = batch
                await steps(2)
                if batch[-1] >= self.leaves_at:
                    break
                self.in_hand = []


@pytest.mark.parametrize("leaves_at", [3, math.inf])
@pytest.mark.parametrize("how", CANCELLED)
async def test_a_block_that_is_cancelled_at_any_step(how: How, leaves_at: float) -> None:
    """If the block is cancelled, the batch in hand is in doubt, and later items undelivered."""

    async def scenario(interrupted: Interruption) -> None:
        consumer = Consumer(leaves_at)
        returned = await interrupted(consumer.consume())
        assert not returned or consumer.yielded[-1] >= min(leaves_at, 7)
        assert how != "cancel" or interrupted.too_late == returned
        assert consumer.closed or not consumer.read
        assert [] == left_behind()
        if interrupted.step:
            assert consumer.in_hand == consumer.stream.in_doubt
            assert consumer.read == consumer.yielded + consumer.stream.undelivered

    assert 10 <= await sweep(scenario, how)


@pytest.mark.not_in(
    "uvloop", reason="it passes eager_start, which the factory of Python 3.13.0 does not take"
)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
async def test_an_ask_that_is_cancelled_at_any_step(factory: Any) -> None:
    """An ask that is cancelled takes no items: the next ask gets them."""
    asyncio.get_running_loop().set_task_factory(factory)

    async def scenario(interrupted: Interruption) -> None:
        async def source() -> AsyncIterator[int]:
            for number in range(4):
                await steps(3)
                yield number

        async with batches(source(), NaturalPolicy()) as stream:
            got: list[int] = []

            async def ask() -> None:
                got.extend(await anext(stream))

            await interrupted(ask())
            await settle()
            batch = await anext(stream)
        assert batch == stream.in_doubt
        assert [0, 1, 2, 3] == got + batch + stream.undelivered

    assert 4 <= await sweep(scenario)
    asyncio.get_running_loop().set_task_factory(None)


async def test_no_batch_is_cut_while_nobody_asks() -> None:
    """After an ask that timed out, the items read until the next ask join its batch."""
    async with batches(numbers(1.0), NaturalPolicy(), throttle=RateLimit(1, 0.5)) as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.5)
        await asyncio.sleep(4.0)
        assert [0, 1, 2, 3] == await anext(stream)


async def numbers(seconds: float) -> AsyncIterator[int]:
    """Yield numbers from 0 on."""
    for number in range(100):
        await asyncio.sleep(seconds)
        yield number


async def test_a_generator_that_holds_a_stream_may_be_closed() -> None:
    """If a generator that uses a stream is closed, the stream is left, too."""

    async def pairs() -> AsyncIterator[list[int]]:
        async with batches(numbers(0.0), NaturalPolicy(2), max_queue_size=2) as stream:
            streams.append(stream)
            async for batch in stream:
                yield batch

    streams: list[Any] = []
    async with aclosing(pairs()) as each:  # type: ignore[type-var]  # it is a generator
        async for pair in each:
            assert 2 >= len(pair)
            break
    assert [] == left_behind()
    assert 0 == streams[0].in_doubt[0]
