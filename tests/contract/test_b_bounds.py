"""B1 to B5: how many items may wait, and what a full queue does.

`tests/threads/test_bounds.py` tests both drivers, and random sessions test the decisions.
"""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from operator import itemgetter
from typing import Any

import pytest

from flushq import (
    BudgetPolicy,
    Decision,
    FlushQueue,
    IntervalPolicy,
    NaturalPolicy,
    QueueFull,
    QueueState,
    ShutdownTimeout,
)
from tests.contract.partitions import by_letter
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    now,
    patient,
    produce,
    settle,
)

DROPS = "drop_oldest", "drop_newest"


def itself(item: int) -> int:
    """Return the number, which is its own weight."""
    return item


def weighed(sink: Any, most: float, **options: Any) -> FlushQueue[int]:
    """Make a queue of numbers, which weigh at most ``most`` in all and are never due."""
    return FlushQueue(sink, patient(), weigh=itself, max_queue_weight=most, **options)


# Weight.


async def test_what_is_in_flight_weighs_nothing() -> None:
    """Only waiting items count for max_queue_weight, not items in flight."""
    sink = HeldSink[int]()
    async with weighed(sink, 10) as queue:
        await queue.enqueue(10)
        waiting = produce(queue, 10)
        await settle()
        assert waiting.done()
        assert [[10]] == sink.batches
        sink.open()


class Forgetful(NaturalPolicy):
    """A policy that does not pass weights on, so that its items weigh nothing."""

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Pass the number of items on, but not their weight."""
        return super().item_added(now, count)


@pytest.mark.parametrize("more", [{}, {"partition_key": itself}], ids=["one queue", "partitions"])
async def test_the_bound_holds_whatever_the_policy_knows(more: dict[str, Any]) -> None:
    """The bound holds even if the policy does not know the weights."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, Forgetful(1), weigh=itself, max_queue_weight=10, **more) as queue:
        await queue.enqueue(0)
        await settle()
        producers = [produce(queue, item) for item in (5, 3, 4)]
        for each, done in zip(producers, (True, True, False), strict=True):
            await settle()
            assert done is each.done()
        sink.let_go()
        await settle()
        assert producers[2].done()
        sink.open()
    assert [0, 5, 3, 4] == sink.items


async def test_sums_of_floats_leave_nothing_behind() -> None:
    """After items whose weights do not add up exactly, an item of the full weight has room."""
    sink = Sink[float]()
    queue = FlushQueue(sink, patient(), weigh=lambda item: item, max_queue_weight=0.3)
    async with queue:
        for _ in range(3):
            await enqueue_all(queue, [0.1, 0.05, 0.1])
            await queue.flush()
            queue.enqueue_nowait(0.3)
            await queue.flush()


@pytest.mark.parametrize("partition_key", [None, lambda _: 1])
@pytest.mark.parametrize(
    "changes",
    [
        {"merge": lambda _, new: new, "dedupe_key": itemgetter(0)},
        {"max_queue_size": 3, "when_full": "drop_oldest"},
    ],
    ids=["merged", "displaced"],
)
async def test_no_fact_is_below_zero(partition_key: Any, changes: dict[str, Any]) -> None:
    """The policy is told no negative weight if rounding makes the sum of changes negative."""
    told: list[float] = []

    class Policy(NaturalPolicy):
        """A policy that notes the weight of items."""

        def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
            told.append(weight)
            return super().item_added(now, count, weight)

    heavy = [("a", 0.4), ("b", 0.1), ("c", 0.1)]  # 0.4 + 0.1 + 0.1 - 0.4 - 0.1 - 0.1 < 0
    light = [("a", 0.0), ("b", 0.0), ("c", 0.0)]
    queue = FlushQueue(
        Sink[Any](), Policy(), weigh=itemgetter(1), partition_key=partition_key, **changes
    )
    await enqueue_all(queue, heavy + light)
    await queue.aclose()
    assert [0] == told


@pytest.mark.parametrize("weight", [1, 5])
async def test_who_is_cancelled_gives_its_weight_back(weight: int) -> None:
    """If a heavy producer is cancelled, waiting or with room, the next one in line gets room."""
    sink = HeldSink[int]()
    async with weighed(sink, 10, max_in_flight=2) as queue:
        await queue.enqueue(6)
        heavy, light = produce(queue, 9), produce(queue, 10)
        if weight == 1:
            light.cancel()
            light = produce(queue, 1)
        await settle()
        heavy.cancel()
        await settle()
        assert light.done()
        sink.open()


@pytest.mark.not_in("eager", reason="the pause of an eager producer has already ended")
async def test_a_pause_claims_the_weight() -> None:
    """A producer that pauses keeps a claim to its weight, and has room when it resumes."""
    sink = HeldSink[int]()
    queue = weighed(sink, 10)
    first = produce(queue, 6)  # before the start, a producer pauses at its first item
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match=r"weight=10\); producers that come before this item: 1$"):
        queue.enqueue_nowait(5)
    queue.enqueue_nowait(4)
    await first
    assert 2 == queue.pending
    sink.open()
    await queue.aclose()


async def test_a_line_by_weight_presses_in_every_pass() -> None:
    """A queue with a line by weight flushes again if a batch makes too little room."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient(2), weigh=itself, max_queue_weight=10)
    await enqueue_all(queue, [0, 0, 0, 0, 9])
    waiting = produce(queue, 2)
    await settle()
    async with queue:
        await settle()
        assert waiting.done()
        assert [[0, 0], [0, 0], [9]] == sink.batches


@pytest.mark.parametrize("when_full", DROPS)
async def test_a_heavy_burst_presses_in_every_pass(when_full: Any) -> None:
    """A queue at its weight flushes until it is below it, also to a sink that never suspends."""
    sink = Sink[int]()
    queue = FlushQueue(sink, patient(2), weigh=itself, max_queue_weight=9, when_full=when_full)
    await enqueue_all(queue, [0, 0, 0, 0, 9])
    async with queue:
        await settle()
        assert [[0, 0], [0, 0], [9]] == sink.batches


# Displacing.


@pytest.mark.parametrize("when_full", DROPS)
@pytest.mark.parametrize("options", [{"max_queue_size": 3}, {"max_queue_weight": 3}])
async def test_a_tight_producer_lets_the_loop_run(when_full: Any, options: dict[str, Any]) -> None:
    """The loop runs at least every 512 items, displaced ones included."""
    queue = FlushQueue(
        HeldSink[int](), patient(), weigh=lambda _: 1, when_full=when_full, max_shutdown_wait=0,
        **options,
    )  # fmt: skip
    counts = [0]

    async def watch() -> None:
        while counts[-1] < 2000:
            await asyncio.sleep(0)
            counts.append(queue.stats().accepted)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await enqueue_all(queue, range(2000))
    await watching
    steps = [later - earlier for earlier, later in pairwise(counts)]
    assert 256 <= max(steps) <= 513
    stats = queue.stats()
    assert (2000, 1997, 3) == (stats.accepted, stats.displaced, stats.pending)
    with pytest.raises(ShutdownTimeout):
        await queue.aclose()


async def test_a_duplicate_displaces_nothing() -> None:
    """A duplicate needs no room; the key of a displaced item is free again."""
    sink = Sink[int]()
    queue = FlushQueue(
        sink, patient(), dedupe_key=itself, max_queue_size=2, when_full="drop_oldest"
    )
    await enqueue_all(queue, [1, 2, 1, 2])
    assert (0, 2) == (queue.stats().displaced, queue.stats().duplicates)
    await enqueue_all(queue, [3, 1])
    assert (2, 2) == (queue.stats().displaced, queue.stats().duplicates)
    async with queue:
        pass
    assert [[3, 1]] == sink.batches


async def test_nothing_is_displaced_while_a_slot_is_free() -> None:
    """While a slot is free, a full queue flushes, so nothing is displaced."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(), max_queue_size=2, when_full="drop_oldest") as queue:
        for item in range(10):
            await queue.enqueue(item)
            await settle()
    assert (list(range(10)), 0) == (sink.items, queue.stats().displaced)


@pytest.mark.parametrize("told", [True, False])
async def test_the_facts_stay_true(*, told: bool) -> None:
    """After displacing, the facts are right, whether or not the policy knew the item."""
    sink = HeldSink[int]()
    queue = FlushQueue(
        sink, NaturalPolicy(), weigh=itself, max_queue_size=3, when_full="drop_oldest"
    )
    async with queue:
        await queue.enqueue(100)
        await settle()
        for item in (1, 2, 4):
            await asyncio.sleep(1.0)
            await queue.enqueue(item)
            if told:
                await settle()
        await asyncio.sleep(1.0)
        await queue.enqueue(8)
        if not told:
            await enqueue_all(queue, [1, 2, 4, 8])
        await settle()
        facts = queue.policy.queue
        expected = ((2.0, 1), (3.0, 1), (4.0, 1)) if told else ((4.0, 3),)
        assert (3, 14.0, expected) == (facts.pending, facts.weight, facts.arrivals)
        assert expected[0][0] == facts.oldest == now() - queue.stats().oldest_age
        sink.open()


async def test_a_partition_whose_last_item_is_displaced_is_gone() -> None:
    """A partition without items and flushes is removed; the other policies are asked again."""
    sink = HeldSink[str]()
    queue = by_letter(sink, patient(2), max_queue_size=3, when_full="drop_oldest", max_in_flight=2)
    async with queue:
        await enqueue_all(queue, ["a1", "a2"])
        await settle()
        await enqueue_all(queue, ["a3", "b1", "c1"])
        await settle()
        assert [["a1", "a2"], ["b1"]] == sink.batches
        await enqueue_all(queue, ["d1", "d2", "d3"])
        assert (3, 3, 2) == (
            queue.stats().partitions,
            queue.pending,
            queue.stats().displaced,
        )
        sink.open()
    assert [["a1", "a2"], ["b1"], ["d1", "d2"], ["d3"]] == sink.batches
    assert 0 == queue.stats().partitions


async def test_a_partition_that_is_not_full_any_more_is_asked_again() -> None:
    """A partition is no longer due if an item of another partition displaces what made it due."""
    sink = HeldSink[str]()
    queue = by_letter(sink, patient(2), max_queue_size=4, when_full="drop_oldest")
    async with queue:
        await enqueue_all(queue, ["x1", "x2"])
        await settle()
        await enqueue_all(queue, ["a1", "a2", "b1", "b2"])
        await settle()
        await enqueue_all(queue, ["c1"])
        await settle()
        sink.let_go()
        await settle()
        assert ["b1", "b2"] == sink.batches[1]
        sink.open()


async def test_a_policy_with_sums_of_its_own_is_never_late() -> None:
    """BudgetPolicy counts displaced items until its next flush, so it flushes early, never late."""
    sink = HeldSink[int]()
    queue = FlushQueue(
        sink, BudgetPolicy(6.0), max_queue_size=3, when_full="drop_oldest", max_in_flight=2
    )
    async with queue:
        await enqueue_all(queue, [1, 2, 3, 4])
        await settle()
        assert [[2, 3, 4]] == sink.batches
        await queue.enqueue(5)
        await asyncio.sleep(7.0)
        assert [0.0, 6.0] == sink.started
        sink.open()


def test_corrected_facts() -> None:
    """Corrected facts equal those of a state that never knew the item."""
    state, other = QueueState(), QueueState()
    for facts in (state, other):
        facts.item_added(1, 2, 5)
    state.item_added(2, 3, 7)
    state.displaced(2, 5)
    assert (3, 7, 2, ((2, 3),)) == (state.pending, state.weight, state.oldest, state.arrivals)
    other.displaced(1, 3)
    other.reweighed(4)
    assert (1, 6, 1, ((1, 1),)) == (other.pending, other.weight, other.oldest, other.arrivals)
    other.displaced(1, 6)
    assert (0, 0, float("inf"), ()) == (other.pending, other.weight, other.oldest, other.arrivals)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"when_full": "drop"}, ValueError, 'when_full must be "wait", "drop_oldest" or'),
    ({"when_full": None}, TypeError, "when_full must be a str, not None"),
    ({"max_queue_weight": 5}, TypeError, "max_queue_weight=5 needs weigh"),
    ({"max_queue_weight": 0, "weigh": itself}, ValueError, "max_queue_weight must be above 0"),
    ({"max_queue_weight": "5", "weigh": itself}, TypeError, "must be a real number, not '5'"),
    ({"merge": max}, TypeError, "needs dedupe_key"),
    ({"merge": 7, "dedupe_key": itself}, TypeError, "merge must be callable, not 7"),
    ({"merge": asyncio.sleep, "dedupe_key": itself}, TypeError, "merge must not be async"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_bounds_are_refused(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """Bad bounds are refused by the constructor, and the message shows the value."""
    make: Callable[..., FlushQueue[int]] = FlushQueue
    with pytest.raises(kind, match=message):
        make(Sink[int](), IntervalPolicy(1.0), **options)
