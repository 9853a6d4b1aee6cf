"""S1 and S3: a stream reads on, yields what the policy decides, and ends as its source does."""

import math
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import flushq
import flushq.threads
from flushq import (
    FlushPolicy,
    FlushReport,
    IntervalPolicy,
    ItemTooLarge,
    NaturalPolicy,
    PolicyError,
)
from flushq.throttles import RateLimit, Throttle
from tests.contract.streams import Play, Source, in_asyncio, in_both, raised, rest_of
from tests.threads.worlds import ThreadsWorld, World, run_threads

NEVER = IntervalPolicy(math.inf)


@in_both
def test_the_source_is_read_on_while_a_batch_is_worked_on(play: Play) -> None:
    """Each batch has all that was read meanwhile, within the caps; the last ask ends the loop."""

    async def scenario(world: World) -> None:
        source, began = Source(world, repeat(1.0, 9)), world.now()
        got = []
        async with world.batches(source.items(), NaturalPolicy(3)) as stream:
            async for batch in stream:
                got.append((world.now() - began, batch))
                await world.sleep(2.25)
        assert [(1.0, [0]), (3.25, [1, 2]), (5.5, [3, 4]), (7.75, [5, 6]), (10.0, [7, 8])] == got
        assert ([], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


@in_both
def test_a_batch_waits_for_the_policy_and_for_the_consumer(play: Play) -> None:
    """It is cut when it is due and asked for, and what was read by then joins it."""

    async def scenario(world: World) -> None:
        source, began = Source(world, repeat(1.0, 9)), world.now()
        async with world.batches(source.items(), IntervalPolicy(2.0)) as stream:
            assert [0, 1] == (await anext(stream))[:2]
            assert 3.0 == world.now() - began
            await world.sleep(4.5)
            assert [3, 4, 5, 6] == (await anext(stream))[-4:]
            assert 7.5 == world.now() - began

    play(scenario)


@in_both
@pytest.mark.parametrize(
    "bound",
    [{"max_queue_size": 3}, {"weigh": lambda _: 2, "max_queue_weight": 7}],
    ids=["size", "weight"],
)
def test_no_more_is_read_than_there_is_room_for(play: Play, bound: dict[str, Any]) -> None:
    """Beyond the batch in hand there are those that have room, and one, asked for or not."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        async with world.batches(source.items(), NEVER, **bound) as stream:
            await world.sleep(1.0)
            assert 4 == source.read
            assert [0, 1, 2] == await anext(stream)
            await world.sleep(1.0)
            assert 7 == source.read
        assert ([0, 1, 2], [3, 4, 5, 6]) == (stream.in_doubt, stream.undelivered)

    play(scenario)


@in_both
def test_asking_says_that_the_last_batch_was_delivered(play: Play) -> None:
    """The report of a batch comes when the next one is asked for, and tells how long it took."""

    async def scenario(world: World) -> None:
        reports: list[FlushReport] = []
        source = Source(world, [1.0, 0.0, 1.0])
        options: dict[str, Any] = {"on_report": reports.append}
        async with world.batches(source.items(), IntervalPolicy(0.5), **options) as stream:
            assert [0, 1] == await anext(stream)
            await world.sleep(2.0)
            assert [] == reports
            assert [2] == await anext(stream)
            await world.sleep(0.5)
            assert [[]] == [await rest_of(stream)]
        told = [(report.delivered, report.seconds, report.reason) for report in reports]
        assert [(2, 2.0, "age"), (1, 0.5, "drain")] == told

    play(scenario)


def half(number: int) -> int:
    """The key of two numbers."""
    return number // 2


@in_both
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dedupe_key": half}, [[0, 2, 4, 6]]),
        ({"dedupe_key": half, "merge": max, "max_queue_size": 4}, [[1, 3, 5, 7]]),
        ({"weigh": lambda number: number}, [[0, 1, 2, 3], [4, 5], [6], [7]]),
    ],
    ids=["dedupe_key", "merge", "weigh"],
)
def test_duplicates_and_weights(
    play: Play, options: dict[str, Any], expected: list[list[int]]
) -> None:
    """What waits already is dropped, or merged; max_weight caps a batch by what weigh says."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0, 8))
        policy = IntervalPolicy(math.inf, max_weight=9 if "weigh" in options else None)
        async with world.batches(source.items(), policy, **options) as stream:
            await world.sleep(1.0)
            assert expected == await rest_of(stream)

    play(scenario)


@in_both
def test_a_throttle_says_when_a_batch_may_be_yielded(play: Play) -> None:
    """No more batches are yielded than it allows, the rest at the end of the source included."""

    async def scenario(world: World) -> None:
        source, began = Source(world, repeat(1.0, 5)), world.now()
        times = []
        policy, throttle = NaturalPolicy(2), RateLimit(1, 3.0)
        async with world.batches(source.items(), policy, throttle=throttle) as stream:
            async for batch in stream:
                times.append((world.now() - began, batch))
                await world.sleep(0.5)
        assert [(1.0, [0]), (4.0, [1, 2]), (7.0, [3, 4])] == times

    play(scenario)


@in_both
@pytest.mark.parametrize("error", [None, OSError("no line")])
def test_a_source_that_ends_at_once(play: Play, error: BaseException | None) -> None:
    """The loop ends without a batch, or with what the source has raised; so does each later ask."""

    async def scenario(world: World) -> None:
        stream = world.batches(Source(world, [], error).items(), NEVER)
        async with stream:
            if error is not None:
                assert error is await raised(anext(stream))
            assert [] == await rest_of(stream)
            assert [] == await rest_of(stream)
        assert ([], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


@in_both
def test_what_the_source_raises_comes_after_what_was_read(play: Play) -> None:
    """All that was read before is yielded first, and then the loop raises that very exception."""

    async def scenario(world: World) -> None:
        error = OSError("no line")
        got: list[list[int]] = []

        async def consume() -> None:
            async with stream:
                async for batch in stream:
                    got.append(batch)
                    await world.sleep(1.0)

        stream = world.batches(Source(world, repeat(0.0, 5), error).items(), NaturalPolicy(2))
        assert error is await raised(consume())
        assert list(range(5)) == [item for batch in got for item in batch]
        assert ([], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


@in_both
def test_an_item_that_is_refused(play: Play) -> None:
    """It ends the reading as an error of the source does; it is undelivered, the source closed."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        policy = IntervalPolicy(math.inf, max_weight=3)
        stream = world.batches(source.items(), policy, weigh=lambda number: number)
        async with stream:
            assert [0, 1, 2] == await anext(stream)
            assert [3] == await anext(stream)
            assert ItemTooLarge is type(await raised(anext(stream)))
            assert source.closed
            assert [] == await rest_of(stream)
        assert ([4], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


@in_both
def test_an_item_that_cannot_be_merged(play: Play) -> None:
    """The one that waits is yielded as it was, the new one is undelivered, as one refused is."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        options: dict[str, Any] = {"dedupe_key": half, "merge": lambda old, new: new // old}
        async with world.batches(source.items(), NEVER, **options) as stream:
            assert [0] == await anext(stream)
            assert ZeroDivisionError is type(await raised(anext(stream)))
        assert ([1], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


class Broken(FlushPolicy):
    """A policy that raises once it knows of so many items."""

    def decide(self, now: float) -> Any:
        """Flush each, then fail."""
        if self.queue.pending > 1:
            raise ZeroDivisionError
        return flushq.Flush() if self.queue.pending else flushq.Wait()


class BrokenThrottle(Throttle):
    """A throttle that raises."""

    def ready_at(self, now: float) -> float:
        """Fail."""
        raise ZeroDivisionError


@in_both
@pytest.mark.parametrize("throttle", [None, BrokenThrottle()])
def test_a_policy_or_throttle_that_raises_ends_the_stream(
    play: Play, throttle: Throttle | None
) -> None:
    """The loop raises PolicyError, with the lists of the stream, which are complete at the end."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(1.0))
        policy = Broken() if throttle is None else NaturalPolicy()
        got = []
        stream = world.batches(source.items(), policy, throttle=throttle)
        async with stream:
            if throttle is None:
                got = await anext(stream)
                await world.sleep(3.0)
            error: Any = await raised(anext(stream))
            assert PolicyError is type(error)
            assert ZeroDivisionError is type(error.__cause__)
            assert error.undelivered
            await world.sleep(5.0)
        assert error.undelivered is stream.undelivered
        assert error.in_doubt is stream.in_doubt
        assert ([], list(range(source.read))) == (stream.in_doubt, got + stream.undelivered)
        assert source.closed

    play(scenario)


# How it is used.


@in_both
def test_one_consumer_at_a_time(play: Play) -> None:
    """A second one is refused, and the first goes on."""

    async def scenario(world: World) -> None:
        async with world.batches(Source(world, [2.0]).items(), NEVER, name="one") as stream:
            asking = world.go(rest_of(stream))
            await world.sleep(1.0)
            error = await raised(anext(stream))
            assert RuntimeError is type(error)
            assert str(error).startswith("<BatchStream 'one' of <")
            assert str(error).endswith("> must not be asked by two consumers at a time")
            assert [[0]] == await asking

    play(scenario)


@in_both
def test_outside_of_its_block(play: Play) -> None:
    """It is asked inside of its block alone, which is entered once."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(1.0))
        stream = world.batches(source.items(), NEVER)
        assert "must be used inside its with block" in str(await raised(anext(stream)))
        async with stream:
            assert "was entered before" in str(await raised(stream.__aenter__()))
            asking = world.go(anext_of(stream))
            await world.sleep(2.5)
        assert "must be used inside its with block" in str(await raised(asking))
        assert "must be used inside its with block" in str(await raised(anext(stream)))
        assert "was entered before" in str(await raised(stream.__aenter__()))
        assert (list(range(source.read)), []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


async def anext_of(stream: Any) -> Any:
    """Ask, in a coroutine."""
    return await anext(stream)


def test_bad_arguments() -> None:
    """A source of the other driver, or of none, is refused, and so is what a queue refuses."""
    aio: Any = flushq.batches
    threads: Any = flushq.threads.batches
    with pytest.raises(TypeError, match="source must be an async iterable, not range"):
        aio(range(3), NEVER)
    with pytest.raises(TypeError, match="source must be an iterable, not 3"):
        threads(3, NEVER)
    for batches, source in (aio, Source(None, []).items()), (threads, []):  # type: ignore[arg-type]  # it is not run
        with pytest.raises(ValueError, match="max_queue_size must be at least 1, not 0"):
            batches(source, NEVER, max_queue_size=0)
        with pytest.raises(TypeError, match="on_report must be callable"):
            batches(source, NEVER, on_report=3)


# Against a model.

EPSILON = 2.0**-10
"""Is part of each work, so that a batch is never asked for at the time at which an item comes."""


@attrs.frozen
class Told:
    """What became of a stream: each batch with its time, and the lists."""

    batches: list[tuple[float, list[int]]]
    undelivered: list[int]
    in_doubt: list[int]


@attrs.frozen
class Story:
    """A source, a consumer that works for so long on each batch and then leaves, and limits."""

    delays: Sequence[int]
    works: Sequence[int]
    most: int
    room: int

    def expected(self, *, is_patient: bool) -> Told:
        """What a reader with a list would do; a patient one waits for the item that it reads."""
        told: list[tuple[float, list[int]]] = []
        delays, works = iter(self.delays), list(self.works)
        waiting: list[int] = []
        unread: list[int] = []
        now, asks_at, read, reads_at = 0.0, 0.0, 0, next(delays, math.inf)
        while not (asks_at <= now and not waiting and reads_at == math.inf):
            if asks_at <= now and waiting:
                told.append((now, waiting[: self.most]))
                asks_at = now + works.pop(0) + EPSILON
                if unread:
                    reads_at = now + next(delays, math.inf)
                waiting, unread = waiting[self.most :] + unread, []
            now = min(at for at in (reads_at, asks_at) if at > now)
            if now == asks_at and not works:
                unread += [read] * (is_patient and reads_at < math.inf)
                return Told(told, waiting + unread, told[-1][1])
            if now == reads_at and len(waiting) < self.room:
                waiting.append(read)
                read, reads_at = read + 1, now + next(delays, math.inf)
            elif now == reads_at:
                unread.append(read)
                read, reads_at = read + 1, math.inf
        return Told(told, [], [])

    async def play(self, world: World) -> None:
        """Consume, and compare."""
        source, began = Source(world, self.delays), world.now()
        told = []
        works = list(self.works)
        stream = world.batches(source.items(), NaturalPolicy(self.most), max_queue_size=self.room)
        async with stream:
            async for batch in stream:
                told.append((world.now() - began, batch))
                await world.sleep(works.pop(0) + EPSILON)
                if not works:
                    break
        expected = self.expected(is_patient=isinstance(world, ThreadsWorld))
        assert expected == Told(told, stream.undelivered, stream.in_doubt)


short = st.integers(1, 6)
stories = st.builds(
    Story, st.lists(short, max_size=12), st.lists(short, min_size=1, max_size=12), short, short
)


@given(stories)
@example(Story([1] * 9, [5, 5], most=2, room=2))
def test_a_stream_does_what_a_reader_with_a_list_would_do(story: Story) -> None:
    """Whatever the source and the consumer do, and wherever that leaves, in both drivers."""
    in_asyncio(story.play)
    run_threads(story.play)
