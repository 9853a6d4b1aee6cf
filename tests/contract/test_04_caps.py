"""Point 4: no batch is empty or exceeds a cap, whoever asked for it; weights are checked."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import attrs
import pytest

from flushq import (
    Decision,
    Flush,
    FlushPolicy,
    FlushQueue,
    IntervalPolicy,
    ItemTooLarge,
    NaturalPolicy,
    QueueFull,
    ShutdownTimeout,
    Wait,
)
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
)
from tests.narrow import NarrowInteger, NarrowRational, NarrowReal


def weight_of(item: Any) -> Any:
    """Weigh an item that is its own weight."""
    return item


async def test_the_drain_keeps_the_cap() -> None:
    """95 items at the end of the block leave in nine batches of 10 and one of 5."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(60.0, max_records=10), max_queue_size=95) as queue:
        for item in range(95):
            queue.enqueue_nowait(item)
    assert [10] * 9 + [5] == sink.sizes


async def test_a_manual_flush_keeps_the_cap() -> None:
    """flush() cuts what waits into batches within the cap."""
    sink = Sink[int]()
    async with FlushQueue(sink, patient(10)) as queue:
        for item in range(25):
            queue.enqueue_nowait(item)
        await queue.flush()
        assert [10, 10, 5] == sink.sizes


async def test_pressure_keeps_the_cap() -> None:
    """A flush for the sake of waiting producers is within the cap too."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, patient(3), max_queue_size=5) as queue:
        await enqueue_all(queue, range(17))
    assert 3 == max(sink.sizes)
    assert list(range(17)) == sink.items


@attrs.define
class Greedy(FlushPolicy):
    """Ask at once for a batch of up to so many items, whatever the cap."""

    up_to: int | None
    max_records: int | None = None

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush("greedy", self.up_to)


@pytest.mark.parametrize(
    ("up_to", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [3, 2]), (None, [3, 2])]
)
async def test_what_the_policy_asks_for_is_cut_to_the_cap(
    up_to: int | None, sizes: list[int]
) -> None:
    """A batch holds at most what the policy asked for, and at most what the cap allows."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, Greedy(up_to, max_records=3)) as queue:
        await enqueue_all(queue, range(5))
        await asyncio.sleep(9.0)
        assert sizes == sink.sizes


async def test_barriers_and_the_drain_are_bound_by_the_cap_alone() -> None:
    """What a policy asks for limits its own flushes, not those of flush() and the drain."""
    sink = Sink[int](seconds=1.0)
    async with FlushQueue(sink, Greedy(1, max_records=3)) as queue:
        await enqueue_all(queue, range(4))
        await settle()
        await queue.flush()
        assert [[0], [1, 2, 3]] == sink.batches
        await enqueue_all(queue, range(4, 9))
    assert [[0], [1, 2, 3], [4, 5, 6], [7, 8]] == sink.batches


async def test_a_cap_of_one() -> None:
    """With max_records=1 every item is a batch."""
    sink = Sink[int]()
    async with FlushQueue(sink, NaturalPolicy(max_records=1)) as queue:
        await enqueue_all(queue, range(20))
    assert [1] * 20 == sink.sizes


async def test_no_reason_makes_an_empty_batch() -> None:
    """Neither flush(), nor a timer, nor the close of an empty queue calls flush_fn."""
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0)) as queue:
        await queue.flush()
        await asyncio.sleep(5.0)
        await queue.enqueue(0)
        await queue.flush()
        await asyncio.sleep(5.0)
        await asyncio.gather(queue.flush(), queue.flush())
    await queue.aclose()
    assert [[0]] == sink.batches


async def test_a_flush_during_a_batch_of_everything_makes_no_empty_batch() -> None:
    """A due time and a flush() whose items all left with the batch before cut nothing."""
    sink = Sink[int](seconds=3.0)
    async with FlushQueue(sink, IntervalPolicy(1.0, max_records=2), max_in_flight=2) as queue:
        await enqueue_all(queue, range(2))
        await settle()
        await queue.flush()
        await asyncio.sleep(3.0)
    assert [[0, 1]] == sink.batches


async def test_weights_fill_a_batch_up_to_the_cap_exactly() -> None:
    """A batch is the longest run of the oldest items that weigh at most max_weight together."""
    sink = Sink[int]()
    policy = NaturalPolicy(max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of) as queue:
        await enqueue_all(queue, [4, 6, 0, 1, 10, 0, 3, 3, 3, 3, 9, 2, 0])
    assert [[4, 6, 0], [1], [10, 0], [3, 3, 3], [3], [9], [2, 0]] == sink.batches


async def test_both_caps_hold_at_once() -> None:
    """Each batch is within max_records and max_weight, and as long as both allow."""
    sink = Sink[int](seconds=1.0)
    policy = IntervalPolicy(5.0, max_records=3, max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of, max_in_flight=2) as queue:
        await enqueue_all(queue, [1, 1, 1, 1, 5, 5, 5, 1, 1, 1, 9, 9])
    assert [[1, 1, 1], [1, 5], [5, 5], [1, 1, 1], [9], [9]] == sink.batches


async def test_both_caps_hold_under_every_reason_at_once() -> None:
    """Full, age, pressure, flush() and drain: no batch of 300 items exceeds either cap."""
    sink = Sink[int](seconds=0.25)
    policy = IntervalPolicy(0.5, max_records=4, max_weight=16)
    items = [item * 7 % 17 for item in range(300)]
    async with FlushQueue(
        sink, policy, weigh=weight_of, max_queue_size=6, max_in_flight=3
    ) as queue:
        for number, item in enumerate(items):
            await queue.enqueue(item)
            if number % 50 == 49:
                await queue.flush()
            elif number % 7 == 6:
                await asyncio.sleep(0.375)
    assert items == sink.items
    assert 1 <= min(sink.sizes)
    assert 4 >= max(sink.sizes)
    assert 16 >= max(map(sum, sink.batches))


async def test_fractions_stay_exact() -> None:
    """Three thirds fill a batch of weight 1, though no float is a third."""
    sink = Sink[Fraction]()
    third = Fraction(1, 3)
    policy = IntervalPolicy(math.inf, max_weight=1)
    async with FlushQueue(sink, policy, weigh=weight_of) as queue:
        await enqueue_all(queue, [third] * 4)
        await settle()
        assert [[third] * 3] == sink.batches


@pytest.mark.parametrize("kind", [NarrowInteger, NarrowReal, NarrowRational])
async def test_weights_of_few_bits_are_summed_as_plain_numbers(kind: Callable[[int], Any]) -> None:
    """Batches are within the cap also if the weights are of a type whose sums wrap round."""
    sink = Sink[int]()
    policy = IntervalPolicy(1.0, max_weight=100_000)
    async with FlushQueue(sink, policy, weigh=lambda _: kind(1000), max_queue_size=150) as queue:
        await enqueue_all(queue, range(500))
    assert list(range(500)) == sink.items
    assert [100] * 5 == sink.sizes


async def test_an_item_above_the_cap_is_refused_to_its_producer() -> None:
    """ItemTooLarge shows both weights; the item is not accepted, and the queue goes on."""
    sink = Sink[float]()
    async with FlushQueue(sink, NaturalPolicy(max_weight=10), weigh=weight_of) as queue:
        await queue.enqueue(10)
        with pytest.raises(ItemTooLarge, match=r"11.*10"):
            await queue.enqueue(11)
        with pytest.raises(ValueError, match=r"10\.5.*10"):
            queue.enqueue_nowait(10.5)
        await queue.enqueue(9)
    assert [10, 9] == sink.items


async def test_an_item_above_the_cap_does_not_wait_for_room() -> None:
    """A full queue refuses what is too large at once: it could wait for ever."""
    sink = HeldSink[int]()
    policy = NaturalPolicy(max_records=1, max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of, max_queue_size=1) as queue:
        await queue.enqueue(1)
        await settle()
        await queue.enqueue(2)
        behind = produce(queue, 3)
        await settle()
        with pytest.raises(ItemTooLarge):
            await queue.enqueue(11)
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(4)
        sink.open()
        await behind
    assert [1, 2, 3] == sink.items


@pytest.mark.parametrize(
    ("weight", "error"),
    [
        (-1, ValueError),
        (-math.inf, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        (None, TypeError),
        (True, TypeError),
        (1j, TypeError),
    ],
)
async def test_a_weight_that_is_none_is_the_producers_error(
    weight: object, error: type[Exception]
) -> None:
    """A weight that is no finite number of at least 0 refuses the item; the queue goes on."""
    sink = Sink[object]()
    async with FlushQueue(sink, patient(), weigh=weight_of) as queue:
        await queue.enqueue(1)
        with pytest.raises(error, match=str(weight)):
            await queue.enqueue(weight)
        with pytest.raises(error, match=str(weight)):
            queue.enqueue_nowait(weight)
        await queue.enqueue(2.5)
    assert [[1, 2.5]] == sink.batches


async def test_a_weight_that_cannot_be_added_up_refuses_its_item_or_accepts_it() -> None:
    """If the sum of finite weights is beyond all floats, enqueue still keeps its word."""
    sink = Sink[float]()
    accepted = []
    async with failing(
        FlushQueue(sink, patient(), weigh=weight_of, max_shutdown_wait=0), ShutdownTimeout
    ) as queue:
        for item in [0.5, 10**400]:
            with suppress(Exception):
                await queue.enqueue(item)
                accepted.append(item)
    assert accepted == queue.undelivered


@pytest.mark.parametrize("policy", [IntervalPolicy(1.0, max_weight=5), NaturalPolicy(None, 5.0)])
def test_a_weight_cap_without_weigh(policy: FlushPolicy) -> None:
    """max_weight without weigh is a TypeError at construction that names both."""
    with pytest.raises(TypeError, match=r"max_weight=5.* needs weigh"):
        FlushQueue(Sink[int](), policy)


class Capped(FlushPolicy):
    """Flush at once, within caps that nobody has checked."""

    def __init__(self, max_records: Any = None, max_weight: Any = None) -> None:
        self.max_records = max_records
        self.max_weight = max_weight

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        (Capped(0), ValueError),
        (Capped(-1), ValueError),
        (Capped(1.5), TypeError),
        (Capped(True), TypeError),
        (Capped("9"), TypeError),
        (Capped(None, 0), ValueError),
        (Capped(None, -1.5), ValueError),
        (Capped(None, math.nan), ValueError),
        (Capped(None, "9"), TypeError),
        (Capped(None, True), TypeError),
    ],
)
def test_a_policys_caps_are_checked_at_construction(policy: Capped, error: type[Exception]) -> None:
    """A cap that is none is refused when the queue is built, and its value is shown."""
    wrong = policy.max_records if policy.max_weight is None else policy.max_weight
    with pytest.raises(error, match=repr(wrong)):
        FlushQueue(Sink[int](), policy, weigh=weight_of)


@pytest.mark.parametrize("later", [None, 1, 100, 0, -5, "x"])
async def test_a_policys_caps_are_read_once(later: Any) -> None:
    """Caps that change after construction, on the policy or on its copy, change no batch."""
    sink = Sink[int]()
    policy = Capped(3)
    queue = FlushQueue(sink, policy)
    policy.max_records = later
    queue.policy.max_records = later
    async with queue:
        await enqueue_all(queue, range(7))
    assert [3, 3, 1] == sink.sizes


class CappedAnewAtEachReading(FlushPolicy):
    """Flush at once, with a cap that is sound only when it is read first."""

    caps = 3

    @property
    def max_records(self) -> int | None:  # type: ignore[override]  # that is the point
        """Return a smaller cap each time."""
        CappedAnewAtEachReading.caps -= 1
        return self.caps + 1

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


async def test_a_cap_is_read_just_once() -> None:
    """The cap that was checked is the cap that holds, also if each reading gives another."""
    CappedAnewAtEachReading.caps = 3
    sink = Sink[int]()
    async with FlushQueue(sink, CappedAnewAtEachReading()) as queue:
        await enqueue_all(queue, range(7))
    assert [3, 3, 1] == sink.sizes


async def test_an_infinite_weight_cap_is_no_cap() -> None:
    """max_weight=inf holds any finite weight."""
    sink = Sink[float]()
    policy = IntervalPolicy(math.inf, max_weight=math.inf)
    async with FlushQueue(sink, policy, weigh=weight_of) as queue:
        await enqueue_all(queue, [1e200, 1.0, 1e100])
    assert [[1e200, 1.0, 1e100]] == sink.batches


async def test_a_queue_that_fills_by_weight_flushes_at_once() -> None:
    """Reaching max_weight is reaching a cap: the policy hears of it with the item."""
    sink = Sink[int]()
    policy = IntervalPolicy(60.0, max_weight=10)
    async with FlushQueue(sink, policy, weigh=weight_of) as queue:
        await enqueue_all(queue, [5, 4])
        await settle()
        assert [] == sink.batches
        await queue.enqueue(3)
        await settle()
        assert [[5, 4]] == sink.batches
        assert 0.0 == now()


class WaitsForWeight(FlushPolicy):
    """Flush when what waits weighs a certain amount, as the queue tells it."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Note the weight."""
        answer = super().item_added(now, count, weight)
        self.seen.append(self.queue.weight)
        return answer

    def decide(self, now: float) -> Decision:
        """Flush from a weight of 8 on."""
        return Flush() if self.queue.weight >= 8 else Wait()


async def test_the_policy_knows_the_weight_that_waits() -> None:
    """The weights told are those of the items that wait, duplicates and refused ones left out."""
    sink = Sink[int]()
    policy = WaitsForWeight()
    key: Callable[[int], int] = abs
    async with FlushQueue(sink, policy, weigh=weight_of, dedupe_key=key) as queue:
        running = queue.policy
        assert isinstance(running, WaitsForWeight)
        for item in [1, 2, 2, 1, 3]:
            await queue.enqueue(item)
            await settle()
        with pytest.raises(ValueError, match="-4"):
            await queue.enqueue(-4)
        await queue.enqueue(2)
        await queue.enqueue(5)
        await settle()
        assert [[1, 2, 3, 5]] == sink.batches
        assert [1, 3, 6, 11] == running.seen


async def test_the_cap_holds_for_what_is_in_doubt() -> None:
    """A failed flush is one batch within the cap: no more than that is ever in doubt at a slot."""
    sink = Sink[int](errors={0: OSError("down")})
    async with failing(FlushQueue(sink, patient(4))) as queue:
        for item in range(11):
            queue.enqueue_nowait(item)
    assert ([0, 1, 2, 3], 7) == (queue.in_doubt, len(queue.undelivered))
