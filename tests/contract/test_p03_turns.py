"""P3 to P5: how many flushes run, in all and of one partition, and in which order."""

import asyncio
import re
from typing import Any

import pytest

from flushq import Decision, Flush, FlushPolicy, FlushQueue, IntervalPolicy, NaturalPolicy, Wait
from tests.contract.partitions import by_letter, letters
from tests.contract.support import HeldSink, Sink, enqueue_all, settle

# P3: limits.


@pytest.mark.parametrize(
    ("slots", "most", "running"),
    [
        (1, 1, "a"),
        (2, 1, "ab"),
        (9, 1, "abc"),
        (9, 2, "aabbc"),
        (3, 2, "abc"),
        (4, 2, "aabc"),
        (1, 2, "a"),
        (9, None, "aaabbc"),
        (2, None, "ab"),
    ],
)
async def test_how_many_flushes_run(slots: int, most: int | None, running: str) -> None:
    """Flushes run up to max_in_flight in all, and max_in_flight_per_partition of each."""
    sink = HeldSink[str]()
    options = {"max_in_flight": slots, "max_in_flight_per_partition": most}
    async with by_letter(sink, NaturalPolicy(1), **options) as queue:
        await enqueue_all(queue, ["a1", "a2", "a3", "b1", "b2", "c1"])
        await settle()
        assert running == "".join(sorted(letters(sink.batches)))
        sink.open()
        await settle()
        assert sink.most_running <= slots
        assert ["a1", "a2", "a3"] == [item for item in sink.items if item < "b"]


async def test_the_batches_of_a_partition_end_in_order_unless_there_may_be_several() -> None:
    """By default one flush of a partition runs at a time, even with several slots."""
    for most, expected in ((1, ["a1", "a2"]), (2, ["a2", "a1"])):
        sink = HeldSink[str]()
        options = {"max_in_flight": 2} | ({} if most == 1 else {"max_in_flight_per_partition": 2})
        async with by_letter(sink, NaturalPolicy(1), **options) as queue:
            await enqueue_all(queue, ["a1", "a2"])
            await settle()
            sink.let_go_last()
            await settle()
            sink.open()
        assert expected == [batch[0] for batch in sink.delivered]


@pytest.mark.parametrize("options", [{}, {"partition_key": str}])
@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), ("1", TypeError)],
)
def test_a_limit_that_is_not_one_is_refused(
    value: Any, kind: type[Exception], options: Any
) -> None:
    """The limit must be an int of at least 1, or None, also without partitions."""
    message = f"max_in_flight_per_partition must .*{re.escape(repr(value))}"
    with pytest.raises(kind, match=message):
        FlushQueue(Sink[str](), NaturalPolicy(), max_in_flight_per_partition=value, **options)


# P4: turns.


async def test_the_first_in_line_goes_first_and_stands_at_the_end_after_its_flush() -> None:
    """Due partitions take turns of one batch each, in the order in which they became due."""
    sink = HeldSink[str]()
    async with by_letter(sink, NaturalPolicy(1)) as queue:
        await queue.enqueue("x")
        for items in (["c1", "c2", "c3"], ["a1"], ["b1", "b2"]):
            await settle()
            await enqueue_all(queue, items)
        await settle()
        sink.open()
        await settle()
    assert ["x", "c1", "a1", "b1", "c2", "b2", "c3"] == sink.items


@pytest.mark.parametrize(
    ("slots", "most", "expected"),
    [
        (1, 1, [("b1", 1.0), ("c1", 2.0), ("b2", 4.0)]),
        (2, None, [("b1", 1.0), ("c1", 1.0), ("b2", 3.0)]),
        (2, 3, [("b1", 1.0), ("c1", 2.0), ("b2", 3.0)]),
    ],
)
async def test_a_flood_in_one_partition_delays_a_batch_of_another_by_one_of_its_batches(
    slots: int, most: int | None, expected: list[tuple[str, float]]
) -> None:
    """A due batch waits for at most one batch of each other partition."""
    sink = Sink[str](seconds=1.0)
    options = {"max_in_flight": slots, "max_in_flight_per_partition": most}
    async with by_letter(sink, NaturalPolicy(1), **options) as queue:
        await enqueue_all(queue, [f"a{number}" for number in range(100)])
        for item, pause in (("b1", 0.5), ("c1", 0.25), ("b2", 1.75), ("", 3.0)):
            await asyncio.sleep(pause)
            if item:
                await queue.enqueue(item)
        starts = zip(sink.batches, sink.started, strict=True)
        assert expected == [(batch[0], start) for batch, start in starts if batch[0] > "b"]


class Odd(FlushPolicy):
    """A policy that flushes only odd numbers of items."""

    def decide(self, now: float) -> Decision:
        """Flush if the number of waiting items is odd."""
        return Flush("odd") if self.queue.pending % 2 else Wait()


async def test_a_partition_loses_its_place_when_its_policy_changes_its_mind() -> None:
    """A partition that is due again stands behind those that became due meanwhile."""
    sink = HeldSink[str]()
    async with by_letter(sink, Odd()) as queue:
        for item in ("x", "a1", "b1", "a2", "c1", "a3", "d1", "d2"):
            await queue.enqueue(item)
            await settle()
        sink.open()
        await settle()
        assert [["x"], ["b1"], ["c1"], ["a1", "a2", "a3"]] == sink.batches


async def test_a_partition_that_is_at_its_limit_stands_not_in_line() -> None:
    """A partition at its limit gets its place in line when its own flush ends."""
    sink = HeldSink[str]()
    async with by_letter(sink, NaturalPolicy(1), max_in_flight=2) as queue:
        for item in ("a1", "x1", "a2", "b1", "c1"):
            await queue.enqueue(item)
            await settle()
        sink.let_go()
        await settle()
        assert "axb" == letters(sink.batches)
        sink.open()
        await settle()
        assert "axbca" == letters(sink.batches)


# P5: latency.


async def test_a_flush_that_is_due_starts_when_a_slot_is_free_and_its_turn_has_come() -> None:
    """A due flush starts exactly when a slot is free and it is first in line."""
    sink = Sink[str](seconds=0.5)
    async with by_letter(sink, IntervalPolicy(1.0)) as queue:
        for item in ("a1", "b1", "c1", "a2", "d1"):
            await queue.enqueue(item)
            await asyncio.sleep(0.25)
        await asyncio.sleep(5.0)
    assert [["a1", "a2"], ["b1"], ["c1"], ["d1"]] == sink.batches
    assert [1.0, 1.5, 2.0, 2.5] == sink.started
