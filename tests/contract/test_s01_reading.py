"""S1 and S3: a stream reads ahead, yields batches by its policy, and ends like its source."""

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
    """Each batch has the items that were read meanwhile, within the caps, up to the last item."""

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
    """A batch is cut when it is due and asked for; items that were read until then join it."""

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
    """Besides the batch in hand, the items with room and one more are read."""

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
    """The report of a batch comes when the next one is asked for, and has its seconds."""

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
    """Return the key, which two numbers share."""
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
    """Duplicates are discarded or merged, and max_weight limits the weight of a batch."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0, 8))
        policy = IntervalPolicy(math.inf, max_weight=9 if "weigh" in options else None)
        async with world.batches(source.items(), policy, **options) as stream:
            await world.sleep(1.0)
            assert expected == await rest_of(stream)

    play(scenario)


@in_both
def test_a_throttle_says_when_a_batch_may_be_yielded(play: Play) -> None:
    """A throttle limits the batches, also those after the end of the source."""

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
    """If the source ends at once, the loop ends without a batch or raises the source's error."""

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
    """The items read before an error are yielded first, and then the loop raises that error."""

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
    """An item that is refused ends the stream with its error, and is undelivered."""

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
    """If two items cannot be merged, the waiting one is yielded, and the new one is undelivered."""

    async def scenario(world: World) -> None:
        source = Source(world, repeat(0.0))
        options: dict[str, Any] = {"dedupe_key": half, "merge": lambda old, new: new // old}
        async with world.batches(source.items(), NEVER, **options) as stream:
            assert [0] == await anext(stream)
            assert ZeroDivisionError is type(await raised(anext(stream)))
        assert ([1], []) == (stream.undelivered, stream.in_doubt)

    play(scenario)


class Broken(FlushPolicy):
    """A policy that raises if more than one item waits."""

    def decide(self, now: float) -> Any:
        """Flush a single item, or raise if more wait."""
        if self.queue.pending > 1:
            raise ZeroDivisionError
        return flushq.Flush() if self.queue.pending else flushq.Wait()


class BrokenThrottle(Throttle):
    """A throttle that raises."""

    def ready_at(self, now: float) -> float:
        """Raise ZeroDivisionError."""
        raise ZeroDivisionError


@in_both
@pytest.mark.parametrize("throttle", [None, BrokenThrottle()])
def test_a_policy_or_throttle_that_raises_ends_the_stream(
    play: Play, throttle: Throttle | None
) -> None:
    """The loop raises PolicyError with the lists of the stream, which are complete at the end."""

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


# Wrong uses of a stream.


@in_both
def test_one_consumer_at_a_time(play: Play) -> None:
    """A second consumer at the same time gets RuntimeError; the first one gets its batches."""

    async def scenario(world: World) -> None:
        async with world.batches(Source(world, [2.0]).items(), NEVER, name="one") as stream:
            asking = world.go(rest_of(stream))
            await world.sleep(1.0)
            error = await raised(anext(stream))
            assert RuntimeError is type(error)
            assert str(error).startswith("<BatchStream 'one' of <")
            assert str(error).endswith(">: only one consumer at a time may ask for a batch")
            assert [[0]] == await asking

    play(scenario)


@in_both
def test_outside_of_its_block(play: Play) -> None:
    """A stream yields only inside its block, which can be entered only once."""

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
    """Ask for a batch, in a coroutine."""
    return await anext(stream)


def test_bad_arguments() -> None:
    """A wrong kind of source is refused, and so are bad arguments of a queue."""
    aio: Any = flushq.batches
    threads: Any = flushq.threads.batches
    with pytest.raises(TypeError, match="source must be an async iterable, not range"):
        aio(range(3), NEVER)
    with pytest.raises(TypeError, match="source must be an iterable, not 3"):
        threads(3, NEVER)
    for batches, source in (aio, Source(None, []).items()), (threads, []):  # type: ignore[arg-type]  # never run
        with pytest.raises(ValueError, match="max_queue_size must be at least 1, not 0"):
            batches(source, NEVER, max_queue_size=0)
        with pytest.raises(TypeError, match="on_report must be callable"):
            batches(source, NEVER, on_report=3)


# Against a model.

EPSILON = 2.0**-10
"""Added to each work time, so that no batch is asked for at the time at which an item comes."""


@attrs.frozen
class Told:
    """The result of a stream: each batch with its time, and the two lists."""

    batches: list[tuple[float, list[int]]]
    undelivered: list[int]
    in_doubt: list[int]


@attrs.frozen
class Story:
    """The delays of a source, the work times of a consumer that then leaves, and two limits."""

    delays: Sequence[int]
    works: Sequence[int]
    most: int
    room: int

    def expected(self, *, is_patient: bool) -> Told:
        """Return the result of a plain reader; a patient one waits for the item that it reads."""
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
        """Consume a stream, and compare its result with the expected one."""
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
    """For random sources and consumers, both drivers give the result of a plain reader."""
    in_asyncio(story.play)
    run_threads(story.play)
