"""The part of the contract that both drivers share: each scenario runs with both.

The details are tested in `tests/core` (the decisions) and `tests/contract` (asyncio).
"""

from collections.abc import Awaitable, Callable
from typing import Any

from flushq import (
    Drop,
    Dropped,
    Fail,
    FlushFailed,
    FlushPolicy,
    FlushReport,
    IntervalPolicy,
    ItemFailed,
    ItemTooLarge,
    NaturalPolicy,
    PartialFailure,
    PolicyError,
    QueueClosed,
    QueueFull,
    Retry,
    ShutdownTimeout,
    Split,
)
from tests.threads.both import Scenarios
from tests.threads.worlds import World

NEVER = IntervalPolicy(float("inf"))

on_both = Scenarios()


class Store:
    """A sink that keeps its batches and the times of its calls; each call takes ``seconds``."""

    def __init__(self, world: World, seconds: float = 0.0, *errors: BaseException | None) -> None:
        self.batches: list[list[Any]] = []
        self.times: list[float] = []
        self.running = self.most = 0
        self._world = world
        self._seconds = seconds
        self._errors = list(errors)

    async def __call__(self, batch: list[Any]) -> None:
        """Keep a batch, and raise the next error, if there is one."""
        self.batches.append(list(batch))
        self.times.append(self._world.now())
        self.running += 1
        self.most = max(self.most, self.running)
        if self._seconds:
            await self._world.sleep(self._seconds)
        self.running -= 1
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error

    @property
    def items(self) -> list[Any]:
        """All items, in the order of the calls."""
        return [item for batch in self.batches for item in batch]


async def raised(call: Awaitable[Any]) -> BaseException:
    """Return the exception that a call raises."""
    try:
        await call
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


async def started(queue: Any, *items: Any) -> Any:
    """Enqueue these items, start the queue, and return it."""
    for item in items:
        await queue.enqueue(item)
    await queue.start()
    return queue


@on_both
async def a_batch_goes_out_when_it_is_due(world: World) -> None:
    """A batch is flushed when the policy says so; the caps hold, and items keep their order."""
    store = Store(world)
    queue = await started(world.queue(store, IntervalPolicy(2.0, 3)), 1, 2)
    began = world.now()
    await world.sleep(5)
    for item in range(3, 8):
        await queue.enqueue(item)
    await queue.close()
    assert [1, 2, 3, 4, 5, 6, 7] == store.items
    assert ([1, 2], began + 2) == (store.batches[0], store.times[0])
    assert all(len(batch) <= 3 for batch in store.batches)


@on_both
async def flushes_overlap_within_their_limit(world: World) -> None:
    """At most max_in_flight flushes run, and as many as that if there is work."""
    store = Store(world, 1)
    queue = await started(world.queue(store, NaturalPolicy(2), max_in_flight=3), *range(20))
    await queue.close()
    assert (3, list(range(20))) == (store.most, sorted(store.items))


@on_both
async def producers_wait_for_room(world: World) -> None:
    """A full queue makes producers wait, and flushes; enqueue_nowait raises QueueFull."""
    store = Store(world, 1)
    queue = await started(world.queue(store, NEVER, max_queue_size=2), 1, 2)
    assert isinstance(await raised(_nowait(queue, 3)), QueueFull)
    assert [] == store.batches
    await queue.enqueue(3)
    await world.sleep(0.5)
    assert ([[1, 2]], 1) == (store.batches, queue.pending)
    await queue.close()
    assert [1, 2, 3] == store.items


async def _nowait(queue: Any, item: Any) -> None:
    queue.enqueue_nowait(item)


@on_both
async def flush_is_a_barrier(world: World) -> None:
    """flush() starts at once, and returns when all earlier items have ended, not the later ones."""
    store = Store(world, 3)
    queue = await started(world.queue(store, NEVER), 1, 2)
    began, flushing = world.now(), world.go(queue.flush())
    await world.sleep(1)
    await queue.enqueue(3)
    await flushing
    assert (began + 3, [[1, 2]]) == (world.now(), store.batches)
    await queue.close()
    await queue_is_closed(queue)


async def queue_is_closed(queue: Any) -> None:
    """Check that each call of the queue raises QueueClosed."""
    for call in (queue.enqueue(0), queue.submit(0), queue.flush(), queue.deliver(0)):
        assert isinstance(await raised(call), QueueClosed)
    assert isinstance(await raised(_nowait(queue, 0)), QueueClosed)
    assert "closed" == queue.state


@on_both
async def duplicates_and_weights(world: World) -> None:
    """The first of duplicates stays; no batch is too heavy; an item too heavy is refused."""
    store = Store(world)
    policy = IntervalPolicy(9.0, max_weight=5)
    queue = world.queue(store, policy, dedupe_key=str.lower, weigh=len)
    await started(queue, "ab", "AB", "cde", "f")
    assert isinstance(await raised(queue.enqueue("too heavy")), ItemTooLarge)
    stats = queue.stats()
    assert (4, 1) == (stats.accepted, stats.duplicates)
    await queue.close()
    assert [["ab", "cde"], ["f"]] == store.batches


@on_both
async def receipts_show_the_end_of_each_item(world: World) -> None:
    """A receipt shows whether its item was delivered; a duplicate shares the first receipt."""
    store = Store(world, 1, None, OSError("no disk"))
    queue = world.queue(store, NaturalPolicy(2), dedupe_key=str, on_failure=lambda _: Drop)
    receipts = [await queue.submit(item) for item in (1, 2, 3, "3")]
    assert 3 == receipts[3].item
    await queue.start()
    await receipts[0].result()
    await receipts[1].result()
    error = await raised(receipts[2].result())
    assert (Dropped, "no disk") == (type(error), str(error.__cause__))
    assert isinstance(await raised(receipts[3].result()), Dropped)
    await queue.deliver(5)
    await queue.close()


@on_both
async def a_failure_ends_the_queue(world: World) -> None:
    """An exception of flush_fn ends the queue: its batch is in doubt, the rest is undelivered."""
    cause = OSError("no disk")
    queue = world.queue(Store(world, 1, cause), NaturalPolicy(2))
    receipt = [await queue.submit(item) for item in (1, 2, 3, 4)][-1]
    await queue.start()
    await world.sleep(0.5)
    for call in (queue.close(), receipt.result(), queue.enqueue(5), queue.flush()):
        error: Any = await raised(call)
        assert (FlushFailed, cause) == (type(error), error.__cause__)
        assert ([1, 2], [3, 4]) == (error.in_doubt, error.undelivered)
    assert "failed" == queue.state


@on_both
async def a_handler_decides(world: World) -> None:
    """Retry pauses, Split halves a batch, Drop drops items; the slot is kept meanwhile."""
    verdicts = iter([Retry(5), Split, Drop])
    errors = OSError(1), OSError(2), None, PartialFailure({1: OSError(3)})
    store = Store(world, 0, *errors)
    queue = await started(
        world.queue(store, NaturalPolicy(4), on_failure=lambda _: next(verdicts)), *range(4)
    )
    began = world.now()
    await queue.close()
    assert [[0, 1, 2, 3]] * 2 + [[0, 1], [2, 3]] == store.batches
    assert [began, began + 5, began + 5, began + 5] == store.times
    stats = queue.stats()
    assert (3, 1, 0) == (stats.delivered, stats.dropped, stats.in_doubt)


@on_both
async def a_handler_may_fail_or_break(world: World) -> None:
    """Fail, an invalid verdict, and an exception of the handler each end the queue."""
    answers: list[Callable[[Any], Any]] = [lambda _: Fail, lambda _: "nonsense", lambda _: 1 / 0]
    for answer in answers:
        store = Store(world, 0, OSError("no disk"))
        queue = await started(world.queue(store, NaturalPolicy(), on_failure=answer), 1)
        assert isinstance(await raised(queue.close()), FlushFailed)
        assert [1] == queue.in_doubt


@on_both
async def a_pause_is_cut_short(world: World) -> None:
    """At the limit of a close a batch that waits for its retry is in doubt."""
    store = Store(world, 0, OSError("no disk"))
    options: dict[str, Any] = {"on_failure": lambda _: Retry(1e6), "max_shutdown_wait": 4}
    queue = await started(world.queue(store, NaturalPolicy(1), **options), 1, 2)
    await world.sleep(1)
    began = world.now()
    error: Any = await raised(queue.close())
    assert (ShutdownTimeout, [1], [2]) == (type(error), error.in_doubt, error.undelivered)
    assert began + 4 == world.now()


@on_both
async def reports_and_stats_add_up(world: World) -> None:
    """Each flush is reported once, before the close returns; errors of on_report are ignored."""
    reports: list[FlushReport] = []

    def note(report: FlushReport) -> None:
        reports.append(report)
        raise OSError("ignored")

    store = Store(world, 2)
    queue = await started(world.queue(store, NaturalPolicy(2), on_report=note), 1, 2, 3)
    await world.sleep(1)
    stats = queue.stats()
    assert (3, 2, 1, 0) == (stats.accepted, stats.in_flight, stats.pending, stats.delivered)
    await queue.close()
    assert [("natural", 2, 2.0), ("drain", 1, 2.0)] == [
        (report.reason, report.count, report.seconds) for report in reports
    ]
    assert {"natural": 1, "drain": 1} == queue.stats().flushes


class Broken(FlushPolicy):
    """A policy that raises."""

    def decide(self, now: float) -> Any:
        """Raise an error."""
        raise ZeroDivisionError


@on_both
async def a_policy_that_raises_ends_the_queue(world: World) -> None:
    """An exception of the policy ends the queue, and the waiting item is undelivered."""
    queue = world.queue(Store(world), Broken())
    await queue.start()
    await queue.enqueue(1)
    error: Any = await raised(queue.close())
    assert (PolicyError, [1]) == (type(error), error.undelivered)


@on_both
async def flush_fn_may_enqueue(world: World) -> None:
    """flush_fn may enqueue, also during the drain; a call that would wait forever raises."""
    refused: list[BaseException] = []

    async def sink(batch: list[int]) -> None:
        if batch == [9]:
            await queue.enqueue(10)
            await queue.enqueue(11)
            calls = queue.enqueue(12), queue.flush(), queue.close(), queue.deliver(0)
            refused.extend([await raised(call) for call in calls])
        delivered.extend(batch)

    delivered: list[int] = []
    queue = world.queue(sink, NaturalPolicy(), max_queue_size=2)
    await started(queue, 9)
    await queue.close()
    assert [9, 10, 11] == delivered
    assert [QueueFull, RuntimeError, RuntimeError, RuntimeError] == list(map(type, refused))


@on_both
async def a_queue_that_was_never_started(world: World) -> None:
    """A queue that was never started keeps its items; a close drains it, and ends it for good."""
    store = Store(world)
    queue = world.queue(store, NEVER)
    for item in range(3):
        queue.enqueue_nowait(item)
    await queue.close()
    assert [[0, 1, 2]] == store.batches
    await queue.close()
    await queue_is_closed(queue)


@on_both
async def batched_answers_each_caller(world: World) -> None:
    """One call of the loader answers all callers; a key of two callers is loaded once."""
    calls: list[list[str]] = []

    async def load(keys: list[str]) -> dict[str, Any]:
        calls.append(keys)
        return {key: len(key) if key != "bad" else ValueError(key) for key in keys if key}

    async with world.batched(load, IntervalPolicy(1.0, 5)) as load_one:
        asking = [world.go(load_one(key)) for key in ("a", "bb", "bb", "bad", "")]
        assert [1, 2, 2] == [await each for each in asking[:3]]
        assert [ValueError, KeyError] == [type(await raised(each)) for each in asking[3:]]
    assert [["", "a", "bad", "bb"]] == list(map(sorted, calls))


@on_both
async def a_loader_that_raises_fails_its_callers(world: World) -> None:
    """A loader that raises, or returns a wrong result, fails only the callers of this call."""
    answers = iter([OSError("no disk"), [1, 2], "ab", PartialFailure({0: OSError()}), ["well"]])

    async def load(keys: list[str]) -> Any:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async with world.batched(load, NaturalPolicy()) as load_one:
        for kind in (OSError, ValueError, TypeError, PartialFailure):
            error = await raised(load_one("key"))
            assert (ItemFailed, kind) == (type(error), type(error.__cause__))
        assert "well" == await load_one("key")


test_in_asyncio, test_in_threads, test_in_threads_that_lose_their_turn_anywhere = on_both.tests(
    preempted=50
)
