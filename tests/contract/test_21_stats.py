"""Point 21: the stats are an account that adds up at every moment, whoever looks."""

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushPolicy,
    FlushqError,
    FlushQueue,
    FlushReport,
    IntervalPolicy,
    NaturalPolicy,
    PartialFailure,
    QueueEnded,
    QueueFull,
    QueueStats,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import error_of, own_loop
from tests.contract.support import (
    HeldSink,
    Sink,
    enqueue_all,
    failing,
    patient,
    produce,
    settle,
    steps,
)
from tests.virtual import VirtualLoop


def adds_up(stats: QueueStats) -> bool:
    """Whether each accepted item is in one place."""
    return stats.accepted == sum(
        (
            *(stats.duplicates, stats.delivered, stats.dropped),
            *(stats.undelivered, stats.in_doubt, stats.pending, stats.in_flight),
        )
    )


# Where an item is counted.


async def test_a_new_queue() -> None:
    """Before anything has happened, on a loop or off it, all figures are 0."""
    expected = QueueStats(
        accepted=0,
        duplicates=0,
        delivered=0,
        dropped=0,
        undelivered=0,
        in_doubt=0,
        pending=0,
        in_flight=0,
        waiting=0,
        flushes={},
        oldest_age=0.0,
    )
    assert expected == FlushQueue(Sink[int](), NaturalPolicy()).stats()


def test_stats_need_no_loop() -> None:
    """They can be read before the loop runs, and after it was closed, with items in the queue."""
    queue = FlushQueue(Sink[int](), NaturalPolicy(), max_shutdown_wait=0)
    assert 0 == queue.stats().accepted

    async def leave() -> None:
        await enqueue_all(queue, [1, 2])
        await asyncio.sleep(2.0)

    async def end() -> None:
        await error_of(queue.aclose())

    with own_loop() as loop:
        loop.run_until_complete(leave())
        assert (2, 2.0) == (queue.stats().pending, queue.stats().oldest_age)
        loop.run_until_complete(end())
    assert (2, 2, 0.0) == (
        *(queue.stats().accepted, queue.stats().undelivered),
        queue.stats().oldest_age,
    )


async def test_an_item_on_its_way() -> None:
    """An item is pending, then in flight, then delivered: at any moment in one of these."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(2)) as queue:
        await enqueue_all(queue, range(3))
        stats = queue.stats()
        assert (3, 3, 0, 0) == (stats.accepted, stats.pending, stats.in_flight, stats.delivered)
        await settle()
        stats = queue.stats()
        assert (3, 1, 2, 0) == (stats.accepted, stats.pending, stats.in_flight, stats.delivered)
        sink.let_go()
        await settle()
        stats = queue.stats()
        assert (3, 0, 1, 2) == (stats.accepted, stats.pending, stats.in_flight, stats.delivered)
        sink.open()
    assert (3, 3) == (queue.stats().accepted, queue.stats().delivered)


async def test_several_flushes_are_in_flight() -> None:
    """in_flight counts items, of all flushes that run."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, NaturalPolicy(2), max_in_flight=2) as queue:
        await enqueue_all(queue, range(5))
        await settle()
        assert (4, 1) == (queue.stats().in_flight, queue.stats().pending)
        sink.open()


async def test_duplicates_are_accepted() -> None:
    """A duplicate counts among those accepted, and nowhere else but as a duplicate."""
    queue = FlushQueue(Sink[int](), patient(), dedupe_key=lambda item: item)
    async with queue:
        await enqueue_all(queue, [1, 1, 2, 1])
        stats = queue.stats()
        assert (4, 2, 2) == (stats.accepted, stats.duplicates, stats.pending)
    assert (4, 2, 2) == (
        *(queue.stats().accepted, queue.stats().duplicates),
        queue.stats().delivered,
    )


async def test_what_is_dropped_and_what_is_lost() -> None:
    """Dropped items, those in doubt and those undelivered are counted apart."""
    verdicts: list[Verdict] = [Drop(), Fail()]
    queue = FlushQueue(
        Sink[int](errors={0: PartialFailure({0: OSError()}), 1: OSError()}),
        NaturalPolicy(2),
        on_failure=lambda failure: verdicts.pop(0),
    )
    async with failing(queue):
        await enqueue_all(queue, range(5))
        await settle()
        stats = queue.stats()
    assert (5, 1, 1, 2, 1) == (
        *(stats.accepted, stats.delivered, stats.dropped),
        *(stats.in_doubt, stats.undelivered),
    )
    assert stats == queue.stats()


async def test_lists_that_were_emptied_change_no_account() -> None:
    """The lists may be emptied, to store the items elsewhere: what was lost stays lost."""
    queue = FlushQueue(Sink[int](errors={0: OSError()}), NaturalPolicy(2))
    async with failing(queue):
        await enqueue_all(queue, range(5))
    queue.undelivered.clear()
    queue.in_doubt.clear()
    stats = queue.stats()
    assert (2, 3) == (stats.in_doubt, stats.undelivered)
    assert adds_up(stats)


async def test_what_is_refused_is_not_accepted() -> None:
    """Neither a refused item nor a producer in line counts; those in line are told apart."""
    sink = HeldSink[int]()
    queue = FlushQueue(sink, patient(1), max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        producers = [produce(queue, item) for item in (2, 3)]
        await settle()
        with pytest.raises(FlushqError):
            queue.enqueue_nowait(4)
        assert (2, 2) == (queue.stats().accepted, queue.stats().waiting)
        producers[0].cancel()
        await settle()
        assert (2, 1) == (queue.stats().accepted, queue.stats().waiting)
        sink.open()
        await producers[1]
    assert (3, 0) == (queue.stats().accepted, queue.stats().waiting)


async def test_flushes_are_counted_when_they_have_ended() -> None:
    """By reason, and a flush that fails counts as one that does not."""
    sink = HeldSink[int]()
    async with failing(FlushQueue(sink, NaturalPolicy(1))) as queue:
        await enqueue_all(queue, [1, 2])
        await settle()
        assert {} == dict(queue.stats().flushes)
        sink.let_go()
        await settle()
        assert {"natural": 1} == dict(queue.stats().flushes)
        sink.fail(OSError("sink"))
        await settle()
        assert {"natural": 2} == dict(queue.stats().flushes)


# Values.


async def test_stats_are_frozen() -> None:
    """A snapshot does not change, neither by hand nor by what happens later."""
    async with FlushQueue(Sink[int](), NaturalPolicy()) as queue:
        await queue.enqueue(1)
        await queue.flush()
        stats = queue.stats()
        await queue.enqueue(2)
        await queue.flush()
    assert (1, 1, {"flush": 1}) == (stats.accepted, stats.delivered, dict(stats.flushes))
    assert {"flush": 2} == dict(queue.stats().flushes)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        stats.delivered = 7  # type: ignore[misc]  # that is the point
    stats.flushes["flush"] = 7  # type: ignore[index]  # a snapshot is its owner's
    assert {"flush": 2} == queue.stats().flushes
    assert 7 == json.loads(json.dumps(attrs.asdict(stats)))["flushes"]["flush"]


# The age of the oldest item.


async def test_the_age_counts_from_the_arrival() -> None:
    """It is that of the oldest item that waits, told to the policy or not yet, and 0 if none does.

    What is in flight does not count.
    """
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2)) as queue:
        assert 0.0 == queue.stats().oldest_age
        await asyncio.sleep(5.0)
        await queue.enqueue(1)
        assert 0.0 == queue.stats().oldest_age
        await asyncio.sleep(1.0)
        assert 1.0 == queue.stats().oldest_age
        await queue.enqueue(2)
        await settle()
        assert 0.0 == queue.stats().oldest_age
        await asyncio.sleep(1.0)
        await queue.enqueue(3)
        await asyncio.sleep(1.0)
        await queue.enqueue(4)
        assert 1.0 == queue.stats().oldest_age
        sink.open()
        await settle()
        assert 0.0 == queue.stats().oldest_age


async def test_the_age_after_a_flush_of_some() -> None:
    """When a flush leaves items behind, the age is that of the oldest of those."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(2)) as queue:
        for item in range(2):
            await queue.enqueue(item)
        for item in range(2, 5):
            await asyncio.sleep(1.0)
            await queue.enqueue(item)
        assert (3, 2.0) == (queue.stats().pending, queue.stats().oldest_age)
        sink.let_go()
        await settle()
        assert (1, 0.0) == (queue.stats().pending, queue.stats().oldest_age)
        await asyncio.sleep(3.0)
        assert 3.0 == queue.stats().oldest_age
        sink.open()


async def test_the_age_of_a_burst() -> None:
    """An item that the policy has not heard of yet has an age: it computed for so long."""
    loop = asyncio.get_running_loop()
    async with FlushQueue(Sink[int](), patient()) as queue:
        await queue.enqueue(1)
        if isinstance(loop, VirtualLoop):
            loop.elapse(2.0)
            assert 2.0 == queue.stats().oldest_age
        await queue.enqueue(2)
        assert 2 == queue.stats().pending


async def test_the_age_before_the_start() -> None:
    """Items that wait for the start grow old."""
    queue = FlushQueue(Sink[int](), NaturalPolicy())
    await queue.enqueue(1)
    await asyncio.sleep(4.0)
    assert 4.0 == queue.stats().oldest_age
    async with queue:
        await queue.flush()
        assert 0.0 == queue.stats().oldest_age


async def test_a_duplicate_renews_no_age() -> None:
    """The age is that of the item that stayed."""
    async with FlushQueue(Sink[int](), patient(), dedupe_key=lambda item: item) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(2.0)
        await queue.enqueue(1)
        assert 2.0 == queue.stats().oldest_age


async def test_the_age_of_who_waited_for_room() -> None:
    """An item counts from the moment at which it got room."""
    sink = HeldSink[int]()
    async with FlushQueue(sink, patient(1), max_queue_size=1) as queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        waiting = produce(queue, 2)
        await asyncio.sleep(5.0)
        sink.let_go()
        await waiting
        await settle()
        assert (1, 0.0) == (queue.stats().pending, queue.stats().oldest_age)
        sink.open()


@pytest.mark.parametrize("end", ["close", "failure", "limit"])
async def test_the_age_at_the_end(end: str) -> None:
    """When the queue has ended nothing waits, and the age is 0."""
    queue = FlushQueue(
        Sink[int](1.0, errors={0: OSError()} if end == "failure" else {}),
        NaturalPolicy(1),
        max_shutdown_wait=0 if end == "limit" else None,
    )
    expected = {"close": type(None), "failure": FlushFailed, "limit": ShutdownTimeout}
    await queue.__aenter__()
    await enqueue_all(queue, [1, 2])
    await settle()
    assert expected[end] is type(await error_of(queue.__aexit__(None, None, None)))
    await asyncio.sleep(10.0)
    assert (0.0, 0, 0) == (
        queue.stats().oldest_age,
        *(queue.stats().pending, queue.stats().in_flight),
    )


# At every moment.


class WatchedLoop(VirtualLoop):
    """A loop that calls something after each of its iterations."""

    after_each: Callable[[], None] = staticmethod(lambda: None)

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]  # asyncio does not tell of it
        self.after_each()


@attrs.define
class Run:
    """One random life of a queue, and what it does to its items.

    Attributes:
        seed: What it is drawn with.
        accepted: How many calls have returned.
        looks: How often the stats were looked at.
        reports: What was reported.
    """

    seed: int
    accepted: int = 0
    looks: int = 0
    reports: list[FlushReport] = attrs.field(factory=list)
    draw: random.Random = attrs.field(init=False)
    queue: FlushQueue[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        draw = self.draw = random.Random(self.seed)
        caps: dict[str, Any] = {"max_records": draw.choice([None, 1, 3, 10])}
        policy: FlushPolicy = draw.choice(
            [NaturalPolicy(**caps), IntervalPolicy(draw.choice([0.05, 0.3, 2.0]), **caps)]
        )
        self.queue = FlushQueue(
            self.flush,
            policy,
            dedupe_key=draw.choice([None, lambda item: item]),
            max_queue_size=draw.choice([1, 3, 20]),
            max_in_flight=draw.choice([1, 2, 3]),
            max_shutdown_wait=draw.choice([None, 0, 0.5, 5.0]),
            on_failure=draw.choice([None, self.judge, self.judge]),
            on_report=self.report,
        )

    async def flush(self, batch: list[int]) -> None:
        """Take some time, or none, and fail at times."""
        draw = self.draw
        if draw.random() < 0.7:
            await asyncio.sleep(draw.choice([0.0, 0.1, 1.0]))
        if draw.random() < 0.05:
            raise OSError("all")
        if draw.random() < 0.1:
            raise PartialFailure({draw.randrange(len(batch)): OSError("one")})

    def judge(self, failure: Failure[int]) -> Verdict:
        """Answer with anything."""
        verdicts: list[Verdict] = [Drop(), Drop(), Retry(), Retry(0.2), Split(), Fail()]
        return self.draw.choice(verdicts)

    def report(self, report: FlushReport) -> None:
        """Look at it, and at the stats."""
        self.reports.append(report)
        self.look()

    def look(self) -> None:
        """At this moment the account adds up, and is that of the producers."""
        self.looks += 1
        stats = self.queue.stats()
        assert adds_up(stats), stats
        assert self.accepted <= stats.accepted
        assert stats.pending == self.queue.pending
        assert (len(self.queue.undelivered), len(self.queue.in_doubt)) == (
            *(stats.undelivered, stats.in_doubt),
        )
        assert (stats.oldest_age >= 0.0) if stats.pending else (stats.oldest_age == 0.0)

    async def produce(self) -> None:
        """Bring items in every way there is, now and then."""
        draw = self.draw
        for _ in range(draw.randrange(30)):
            item = draw.randrange(10)
            bring = draw.choice([self.queue.enqueue, self.queue.submit, self._at_once])
            with suppress(QueueFull):
                await bring(item)
                self.accepted += 1
            if draw.random() < 0.3:
                await asyncio.sleep(draw.choice([0.0, 0.1, 0.5]))

    async def _at_once(self, item: int) -> None:
        self.queue.enqueue_nowait(item)

    async def live(self) -> None:
        """Run the queue with some producers, of whom some are cancelled."""
        draw = self.draw
        with suppress(QueueEnded):
            async with self.queue:
                producers = [asyncio.create_task(self.produce()) for _ in range(draw.randint(1, 4))]
                await asyncio.sleep(draw.choice([0.0, 0.1, 1.0, 3.0]))
                draw.choice(producers).cancel()
                await steps(draw.randrange(5))
                if draw.random() < 0.7:
                    await asyncio.wait(producers)
        await asyncio.gather(*producers, return_exceptions=True)


def test_the_account_adds_up_at_every_step_of_random_runs(caplog: pytest.LogCaptureFixture) -> None:
    """After each iteration of the loop, and in each report, every accepted item is in one place.

    At the end the reports add up to the stats.
    """
    looks = 0
    for seed in range(200):
        run = Run(seed)
        loop = WatchedLoop()
        loop.after_each = run.look
        try:
            loop.run_until_complete(run.live())
        finally:
            loop.close()
        stats = run.queue.stats()
        assert stats.accepted == run.accepted
        assert 0 == stats.pending == stats.in_flight == stats.waiting
        assert stats.delivered == sum(report.delivered for report in run.reports)
        assert stats.dropped == sum(report.dropped for report in run.reports)
        assert sum(stats.flushes.values()) == len(run.reports)
        for report in run.reports:
            assert (report.error is None) == (report.delivered == report.count)
        looks += run.looks
    assert "on_report raised" not in caplog.text
    assert 5000 < looks
