"""Point 18: what a failure handler is asked, and what becomes of the items that it judges."""

import asyncio
import contextvars
import gc
import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    QueueFull,
    Retry,
    Split,
    Verdict,
)
from tests.contract.hostile import FACTORIES, Second, error_of, left_behind, own_loop
from tests.contract.support import (
    Handler,
    HeldSink,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
    steps,
)
from tests.models import exact


class Untouchable(Exception):
    """An exception that cannot be shown."""

    def __repr__(self) -> str:
        raise AttributeError("this exception has no repr")

    __str__ = __repr__


def poison(*items: int) -> Callable[[list[int]], Awaitable[None]]:
    """Return a flush function that raises, without suspending, while one of these is in a batch."""

    async def flush_fn(batch: list[int]) -> None:
        if not set(items).isdisjoint(batch):
            raise OSError(f"poisoned: {batch}")

    return flush_fn


# Verdicts.


async def test_a_dropped_batch_is_counted_and_the_queue_goes_on() -> None:
    """After Drop the items are neither lost nor delivered, and the next batch is."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Drop()])
    async with FlushQueue(sink, NaturalPolicy(2), on_failure=handler) as queue:
        await enqueue_all(queue, range(4))
    stats = queue.stats()
    assert [[2, 3]] == sink.delivered
    assert [[0, 1]] == handler.items
    assert (4, 2, 2, 0, 0) == (
        stats.accepted,
        stats.dropped,
        stats.delivered,
        stats.in_doubt,
        stats.undelivered,
    )


async def test_a_failed_batch_ends_the_queue() -> None:
    """Fail is what happens without a handler: its items are in doubt, the rest is undelivered."""
    failure, handler = OSError(), Handler[int]([Fail()])
    queue = FlushQueue(Sink[int](errors={0: failure}), NaturalPolicy(2), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
    assert failure is caught.value.__cause__
    assert ([0, 1], [2]) == (queue.in_doubt, queue.undelivered)
    assert [] == left_behind()


async def test_a_retry_hands_the_same_items_over_after_the_pause() -> None:
    """Retry waits for its seconds, then flush_fn gets the same items; they are delivered once."""
    sink = Sink[int](1.0, errors={0: OSError(), 1: OSError()})
    handler = Handler[int]([Retry(2.0), Retry(0.5)])
    async with FlushQueue(sink, NaturalPolicy(2), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
    assert [0.0, 3.0, 4.5, 5.5] == sink.started
    assert [[0, 1], [0, 1], [0, 1], [2]] == sink.batches
    assert [[0, 1], [2]] == sink.delivered
    assert 3 == queue.stats().delivered


async def test_a_pause_is_in_the_seconds_of_the_loop() -> None:
    """A pause of any kind of number is waited for, of hours too, and no longer."""
    sink = Sink[int](errors={0: OSError(), 1: OSError()})
    handler = Handler[int]([Retry(exact(1, 4)), Retry(7200)])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
    assert [0.0, 0.25, 7200.25] == sink.started


async def test_a_split_hands_over_one_half_after_the_other() -> None:
    """The halves run one at a time, the first one first, in the slot of the batch."""
    sink, handler = Sink[int](1.0, errors={0: OSError()}), Handler[int]([Split()])
    async with FlushQueue(sink, NaturalPolicy(5), on_failure=handler) as queue:
        await enqueue_all(queue, range(6))
    assert [[0, 1, 2, 3, 4], [0, 1, 2], [3, 4], [5]] == sink.batches
    assert [0.0, 1.0, 2.0, 3.0] == sink.started
    assert 1 == sink.most_running


async def test_one_item_that_cannot_be_split_ends_the_queue() -> None:
    """Split of one item alone is Fail."""
    queue = FlushQueue(poison(2), NaturalPolicy(4), on_failure=lambda _: Split())
    async with failing(queue):
        await enqueue_all(queue, range(5))
    assert ([2, 3], [4], 2) == (queue.in_doubt, queue.undelivered, queue.stats().delivered)


async def test_a_poisoned_item_is_isolated() -> None:
    """Split while there is something to split, else Drop: the poisoned items alone are dropped."""
    handed: list[list[int]] = []
    poisoned = poison(3, 8)

    async def sink(batch: list[int]) -> None:
        handed.append(list(batch))
        await poisoned(batch)

    def isolate(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Drop()

    async with FlushQueue(sink, NaturalPolicy(10), on_failure=isolate) as queue:
        await enqueue_all(queue, range(20))
    assert (18, 2) == (queue.stats().delivered, queue.stats().dropped)
    assert list(range(10, 20)) == handed[-1]
    assert max(map(len, handed)) == 10


async def test_the_half_that_did_not_fail_is_in_doubt() -> None:
    """When one half ends in Fail, the other was handed over once: it is in doubt too."""
    verdicts: list[Verdict] = [Split(), Fail()]
    queue = FlushQueue(poison(1), NaturalPolicy(4), on_failure=Handler[int](verdicts))
    async with failing(queue):
        await enqueue_all(queue, range(4))
    assert [0, 1, 2, 3] == queue.in_doubt


async def test_the_half_that_was_delivered_is_not() -> None:
    """When the second half ends in Fail, the first one stays delivered."""
    verdicts: list[Verdict] = [Split(), Fail()]
    queue = FlushQueue(poison(3), NaturalPolicy(4), on_failure=Handler[int](verdicts))
    async with failing(queue):
        await enqueue_all(queue, range(4))
    assert ([2, 3], 2) == (queue.in_doubt, queue.stats().delivered)


# What the handler is told.


async def test_a_failure_tells_what_happened() -> None:
    """The handler gets the items, the error, the attempt, the reason and the seconds since."""
    errors = [OSError("first"), OSError("second")]
    handler = Handler[int]([Retry(2.0)])
    sink = Sink[int](1.0, errors=dict(enumerate(errors)))
    queue = FlushQueue(sink, patient(2), on_failure=handler)
    async with queue:
        await asyncio.sleep(5.0)
        await enqueue_all(queue, [7, 8])
        await settle()
    assert [
        Failure([7, 8], errors[0], None, 1, "full", 1.0),
        Failure([7, 8], errors[1], None, 2, "full", 4.0),
    ] == handler.failures


async def test_the_halves_have_attempts_of_their_own() -> None:
    """The attempts of a half start from 1, and the seconds are those of the whole flush."""
    handler = Handler[int]([Retry(), Split(), Retry(), Drop(), Retry()])
    sink = Sink[int](1.0, errors={number: OSError() for number in range(6)})
    async with FlushQueue(sink, NaturalPolicy(2), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    asked = [(failure.items, failure.attempt, failure.seconds) for failure in handler.failures]
    assert [
        ([0, 1], 1, 1.0),
        ([0, 1], 2, 2.0),
        ([0], 1, 3.0),
        ([0], 2, 4.0),
        ([1], 1, 5.0),
        ([1], 2, 6.0),
    ] == asked


async def test_a_handler_is_asked_about_failures_alone() -> None:
    """Nobody asks about a flush that was delivered, nor about one that was never handed over."""
    handler = Handler[int]()
    queue = FlushQueue(Sink[int](), NaturalPolicy(1), on_failure=handler)

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        raise OSError("no more tasks")

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    async with failing(queue):
        await queue.enqueue(1)
        await settle()
        loop.set_task_factory(factory)
        await queue.enqueue(2)
        await settle()
        loop.set_task_factory(before)
    assert [] == handler.failures
    assert [2] == queue.undelivered


async def test_flush_fn_may_change_its_list() -> None:
    """What flush_fn does to its list changes neither the failure nor the next attempt."""
    handed: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        handed.append(list(batch))
        batch.reverse()
        batch.pop()
        if len(handed) < 3:
            raise OSError

    handler = Handler[int]([Retry(), Retry()])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
    assert [[0, 1, 2]] * 3 == handed
    assert [[0, 1, 2]] * 2 == handler.items


async def test_a_handler_may_change_its_list() -> None:
    """What a handler does to the items that it is given changes nothing."""

    def handler(failure: Failure[int]) -> Verdict:
        failure.items.clear()
        return Retry() if failure.attempt == 1 else Fail()

    sink = Sink[int](errors={0: OSError(), 1: OSError()})
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(3))
    assert [[0, 1, 2]] * 2 == sink.batches
    assert [0, 1, 2] == queue.in_doubt


async def test_a_bad_flush_function_is_a_failure_too() -> None:
    """What cannot be awaited and a call that raises are judged as any other failure."""

    def sink(batch: list[int]) -> Any:
        if batch == [0]:
            raise OSError("at the call")

    handler = Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert [OSError, TypeError] == [type(failure.error) for failure in handler.failures]
    assert "flush_fn must be async: it returned None; a function that blocks is run by " in str(
        handler.failures[1].error
    )
    assert 2 == queue.stats().dropped


async def test_an_inner_cancellation_is_a_failure() -> None:
    """A CancelledError that the queue has nothing to do with is judged as any other failure."""

    async def sink(batch: list[int]) -> None:
        never = asyncio.get_running_loop().create_future()
        never.cancel()
        await never

    handler = Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
    assert [asyncio.CancelledError] == [type(failure.error) for failure in handler.failures]


async def test_a_timeout_of_the_sink_is_a_failure() -> None:
    """A sink that gives itself a time limit and misses it is judged, and may be tried again."""
    seconds = iter([9.0, 0.5])

    async def sink(batch: list[int]) -> None:
        async with asyncio.timeout(1.0):
            await asyncio.sleep(next(seconds))

    handler = Handler[int]([Retry(1.0)])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
    assert [TimeoutError] == [type(failure.error) for failure in handler.failures]
    assert (1, 2.5) == (queue.stats().delivered, now())


@pytest.mark.parametrize("verdict", [Drop(), Retry(), Split()], ids=repr)
async def test_what_cannot_be_shown_can_be_judged(verdict: Verdict) -> None:
    """An exception whose repr raises is no hindrance."""
    handler = Handler[int]([verdict])
    sink = Sink[int](errors={0: Untouchable()})
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert 2 == queue.stats().delivered + queue.stats().dropped


async def test_one_exception_may_be_raised_again_and_again() -> None:
    """A sink that raises the very same object at each attempt is judged each time."""
    error = OSError()
    handler = Handler[int]([Retry(1), Retry(1), Fail()])
    sink = Sink[int](errors=dict.fromkeys(range(3), error))
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
    assert error is caught.value.__cause__
    assert (None, None) == (error.__cause__, error.__context__)
    assert [1, 2, 3] == [failure.attempt for failure in handler.failures]


async def test_the_failure_of_a_retry_is_not_chained_to_the_one_before() -> None:
    """Each attempt raises an exception of its own, which does not drag the others along."""
    errors = [OSError("first"), OSError("second")]
    handler = Handler[int]([Retry()])
    sink = Sink[int](errors=dict(enumerate(errors)))
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
    assert [None, None] == [error.__context__ for error in errors]


# How the handler is called.


async def test_a_handler_may_be_async() -> None:
    """The verdict of an async handler is awaited, and the batch keeps its slot meanwhile."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(1.0)])
    async with FlushQueue(sink, NaturalPolicy(1), on_failure=handler.later) as queue:
        await enqueue_all(queue, range(2))
        await asyncio.sleep(1.5)
        assert 1 == queue.stats().in_flight
    assert [0.0, 2.0, 2.0] == sink.started
    assert [[0], [0], [1]] == sink.batches


async def test_a_handler_may_be_any_callable() -> None:
    """An object and a plain function that returns a future will do as well."""

    def soon(failure: Failure[int]) -> Awaitable[Verdict]:
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        answer.get_loop().call_later(1.0, answer.set_result, Drop())
        return answer

    queue = FlushQueue(Sink[int](errors={0: OSError()}), NaturalPolicy(), on_failure=soon)
    async with queue:
        await queue.enqueue(1)
    assert (1, 1.0) == (queue.stats().dropped, now())


@pytest.mark.parametrize("handler", [Drop(), "drop", 0, [Drop()]], ids=repr)
def test_what_cannot_be_called_is_no_handler(handler: Any) -> None:
    """A handler that cannot be called, a verdict too, is refused at once and shown."""
    message = re.escape(f"on_failure must be callable, not {handler!r}")
    with pytest.raises(TypeError, match=f"^{message}$"):
        FlushQueue(Sink[int](), NaturalPolicy(), on_failure=handler)


context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="none")


async def test_a_handler_runs_in_the_flush() -> None:
    """It runs in the task and the context of the flush: it sees what flush_fn has set there."""
    seen: list[tuple[str, bool]] = []
    flush: list[object] = []

    async def sink(batch: list[int]) -> None:
        seen.append((context.get(), True))
        flush.append(asyncio.current_task())
        context.set("flush_fn")
        if len(seen) == 1:
            raise OSError

    async def handler(failure: Failure[int]) -> Verdict:
        seen.append((context.get(), asyncio.current_task() is flush[0]))
        context.set("handler")
        return Retry(1.0)

    context.set("queue")
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        context.set("producer")
        await queue.enqueue(1)
    assert [("queue", True), ("flush_fn", True), ("handler", True)] == seen
    assert flush[0] is flush[1]
    assert "producer" == context.get()


# Handlers that misbehave.


async def generates(failure: Failure[int]) -> AsyncIterator[Verdict]:
    """Yield a verdict."""
    yield Drop()


async def answers_nothing(failure: Failure[int]) -> Verdict:
    """Be async, and forget to return."""
    return cast("Verdict", None)


NONSENSE: list[tuple[Any, str]] = [
    (lambda _: None, "None"),
    (lambda _: Failure, "<class 'flushq.outcomes.Failure'>"),
    (lambda _: "drop", "'drop'"),
    (lambda _: True, "True"),
    (lambda _: Untouchable(), "<tests.contract.test_18_failure_handler.Untouchable object at"),
    (answers_nothing, "None"),
    (generates, "<async_generator object generates at"),
]


@pytest.mark.parametrize(("handler", "shown"), NONSENSE)
async def test_an_answer_that_is_no_verdict_ends_the_queue(handler: Any, shown: str) -> None:
    """It is a TypeError that shows the answer, chained to the sink's error; nothing is lost."""
    failure = OSError()
    sink = Sink[int](errors={0: failure})
    queue = FlushQueue(sink, NaturalPolicy(2), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
    cause = caught.value.__cause__
    assert isinstance(cause, TypeError)
    assert str(cause).startswith(f"on_failure must answer with a verdict, not {shown}")
    assert failure is cause.__cause__
    assert ([0, 1], [2]) == (queue.in_doubt, queue.undelivered)


async def takes_nothing() -> Verdict:
    """Be called with one argument too many."""
    return Drop()


async def test_a_handler_that_cannot_take_the_failure_ends_the_queue() -> None:
    """A class of verdicts given in place of a handler is called, and raises."""
    for handler in (Drop, takes_nothing):
        failure = OSError()
        queue = FlushQueue(
            Sink[int](errors={0: failure}), NaturalPolicy(), on_failure=cast("Any", handler)
        )
        with pytest.raises(FlushFailed) as caught:
            async with queue:
                await queue.enqueue(1)
        assert isinstance(caught.value.__cause__, TypeError)
        assert failure is caught.value.__cause__.__cause__


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", [ValueError, Untouchable, asyncio.CancelledError, GeneratorExit])
async def test_a_handler_that_raises_ends_the_queue(
    kind: type[BaseException], *, later: bool
) -> None:
    """Its exception is the cause, and the sink's is the cause of that; nothing is lost."""

    def raises(failure: Failure[int]) -> Verdict:
        raise mistake

    async def raises_later(failure: Failure[int]) -> Verdict:
        await asyncio.sleep(1.0)
        raise mistake

    mistake = kind()
    failure = OSError()
    sink = Sink[int](errors={1: failure})
    queue = FlushQueue(sink, NaturalPolicy(2), on_failure=raises_later if later else raises)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(5))
    assert mistake is caught.value.__cause__
    assert failure is mistake.__cause__
    assert ([2, 3], [4], 2) == (queue.in_doubt, queue.undelivered, queue.stats().delivered)


async def test_a_handler_that_raises_the_sinks_error_again() -> None:
    """A handler that raises the very error that it was asked about makes it the cause."""
    failure = OSError()

    def handler(asked: Failure[int]) -> Verdict:
        raise asked.error

    queue = FlushQueue(Sink[int](errors={0: failure}), NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
    assert failure is caught.value.__cause__
    assert failure.__cause__ is None


async def test_the_cause_that_a_handler_gives_is_kept() -> None:
    """A handler that raises from something else has told the cause itself."""
    reason = KeyError("of the handler")

    def handler(failure: Failure[int]) -> Verdict:
        raise ValueError from reason

    queue = FlushQueue(Sink[int](errors={0: OSError()}), NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
    assert caught.value.__cause__ is not None
    assert reason is caught.value.__cause__.__cause__


async def test_a_handler_that_raises_at_a_half_loses_track_of_nothing() -> None:
    """What was delivered and dropped before it raised stays so, and the rest is in doubt."""

    def handler(failure: Failure[int]) -> Verdict:
        if failure.items == [4, 5]:
            raise ValueError
        return Split() if len(failure.items) > 2 else Drop()

    queue = FlushQueue(poison(2, 4), NaturalPolicy(8), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(8))
    assert (2, 2) == (queue.stats().delivered, queue.stats().dropped)
    assert [4, 5, 6, 7] == queue.in_doubt


# What is raised on.


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("of_handler", [False, True])
def test_an_interrupt_is_raised_on(
    kind: type[BaseException], factory: Any, *, of_handler: bool
) -> None:
    """KeyboardInterrupt and SystemExit leave the loop; a sink's are nothing to ask about."""
    asked: list[BaseException] = []

    async def sink(batch: list[int]) -> None:
        raise OSError if of_handler else kind("sink")

    def handler(failure: Failure[int]) -> Verdict:
        asked.append(failure.error)
        raise kind("handler")

    queue = FlushQueue(sink, NaturalPolicy(1), on_failure=handler)

    async def session() -> BaseException | None:
        running = asyncio.ensure_future(error_of(queue.run()))
        await asyncio.sleep(0)
        await queue.enqueue(1)
        return await running

    with own_loop() as loop:
        loop.set_task_factory(factory)
        main = loop.create_task(session())
        with pytest.raises(kind, match="handler" if of_handler else "sink") as caught:
            loop.run_until_complete(main)
        error = loop.run_until_complete(main)
    assert isinstance(error, FlushFailed)
    assert caught.value is error.__cause__
    assert ([OSError] if of_handler else []) == [type(error) for error in asked]
    assert [1] == queue.in_doubt


async def test_what_is_no_exception_of_the_sink_is_not_asked_about() -> None:
    """Another BaseException than a CancelledError ends the queue, whatever the handler."""

    async def sink(batch: list[int]) -> None:
        raise GeneratorExit

    handler = Handler[int]()
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    async with failing(queue):
        await queue.enqueue(1)
    assert [] == handler.failures
    assert [1] == queue.in_doubt


# A handler and its own queue.


@pytest.mark.parametrize("in_drain", [False, True])
async def test_a_handler_may_enqueue_to_its_own_queue(*, in_drain: bool) -> None:
    """It may send items round again, behind those that wait, in the drain too."""
    sink = Sink[int](1.0, errors={0: OSError()})

    async def handler(failure: Failure[int]) -> Verdict:
        for item in failure.items:
            await queue.enqueue(item + 10)
        queue.enqueue_nowait(99)
        return Drop()

    queue = FlushQueue(sink, NaturalPolicy(2), on_failure=handler)
    async with queue:
        await enqueue_all(queue, range(4))
        if not in_drain:
            await asyncio.sleep(1.5)
    assert [[0, 1], [2, 3], [10, 11], [99]] == sink.batches
    assert (2, 5) == (queue.stats().dropped, queue.stats().delivered)


async def test_a_handler_that_waits_for_room_in_vain_is_sent_away() -> None:
    """Where waiting for room could never end, enqueue raises QueueFull to a handler too."""
    sink, heard = Sink[int](errors={0: OSError()}), list[BaseException | None]()

    async def handler(failure: Failure[int]) -> Verdict:
        heard.append(await error_of(queue.enqueue(9)))
        return Retry()

    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, on_failure=handler)
    async with queue:
        await enqueue_all(queue, range(3))
    assert [QueueFull] == [type(error) for error in heard]
    assert [[0], [0], [1], [2]] == sink.batches


async def test_a_flush_in_its_pause_is_not_one_that_waits_for_room() -> None:
    """A handler that waits for room gets it when the other flush has come through its pause."""
    sink = Sink[int](errors={0: OSError("first"), 1: OSError("second")})

    async def handler(failure: Failure[int]) -> Verdict:
        if failure.items == [0]:
            return Retry(5.0)
        await queue.enqueue(9)
        return Drop()

    queue = FlushQueue(
        sink, NaturalPolicy(1), max_queue_size=1, max_in_flight=2, on_failure=handler
    )
    async with queue:
        await enqueue_all(queue, range(3))
    assert [[0], [1], [0], [2], [9]] == sink.batches
    assert [0.0, 0.0, 5.0, 5.0, 5.0] == sink.started


@pytest.mark.parametrize("call", [FlushQueue.flush, FlushQueue.aclose, FlushQueue.run])
async def test_a_handler_cannot_wait_for_itself(
    call: Callable[[FlushQueue[int]], Awaitable[None]],
) -> None:
    """flush(), aclose() and run() in a handler are a RuntimeError, which the handler may catch."""
    heard: list[BaseException | None] = []

    async def handler(failure: Failure[int]) -> Verdict:
        heard.append(await error_of(call(queue)))
        heard.append(await asyncio.create_task(error_of(call(queue))))
        return Drop()

    sink = Sink[int](errors={0: OSError()})
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
        await settle()
        await queue.enqueue(2)
    assert [RuntimeError] * 2 == [type(error) for error in heard]
    assert [[2]] == sink.delivered


async def test_a_handler_that_flushes_its_own_queue_ends_it() -> None:
    """The RuntimeError that it does not catch is the end, as is all that it raises."""

    async def handler(failure: Failure[int]) -> Verdict:
        await queue.flush()
        return Drop()

    queue = FlushQueue(Sink[int](errors={0: OSError()}), NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
    assert isinstance(caught.value.__cause__, RuntimeError)


# Slots, order, the policy.


async def test_a_batch_keeps_its_slot_while_it_is_retried_and_split() -> None:
    """Nothing else starts in its slot, so that items are delivered in order, within the caps."""
    failing_once = {number: OSError() for number in (0, 1, 3)}
    sink, handler = Sink[int](1.0, errors=failing_once), Handler[int]([Retry(1), Split(), Retry(1)])
    async with FlushQueue(sink, NaturalPolicy(4), on_failure=handler) as queue:
        await enqueue_all(queue, range(10))
    assert list(range(10)) == [item for batch in sink.delivered for item in batch]
    assert [[0, 1], [2, 3], [4, 5, 6, 7], [8, 9]] == sink.delivered
    assert (4, 1) == (max(sink.sizes), sink.most_running)


async def test_producers_wait_while_a_batch_is_retried() -> None:
    """A retry is backpressure: no producer hears of it, and none gets more room than there is."""
    sink, handler = Sink[int](errors={0: OSError()}), Handler[int]([Retry(10.0)])
    queue = FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, on_failure=handler)
    async with queue:
        producer = produce(queue, 0, 1, 2)
        await asyncio.sleep(9.0)
        assert (1, 1) == (queue.pending, queue.stats().waiting)
        await producer
        assert 10.0 == now()


async def test_the_policy_hears_of_one_long_flush() -> None:
    """However often a batch is handed over, there is one start, one end, and the seconds of all."""
    heard: list[tuple[float, int, float, BaseException | None]] = []

    class Listening(Second):
        def flush_done(
            self, now: float, count: int, seconds: float, error: BaseException | None = None
        ) -> Any:
            heard.append((now, count, seconds, error))
            return super().flush_done(now, count, seconds, error)

    failure = OSError()
    sink = Sink[int](1.0, errors={0: OSError(), 1: OSError(), 4: failure})
    handler = Handler[int]([Retry(2.0), Split(), Fail()])
    queue = FlushQueue(sink, Listening(), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(2))
        await asyncio.sleep(9.0)
        await queue.enqueue(2)
    policy = cast("Listening", queue.policy)
    assert [(7.0, 2, 6.0, None), (10.0, 1, 1.0, failure)] == heard
    assert 2 == [event for event, _ in policy.told].count("flush_started")


async def test_a_retry_at_once_lets_the_loop_run() -> None:
    """A sink that never suspends and is retried at once, again and again, starves nobody."""
    handler = Handler[int]([Retry(0)] * 50)
    queue = FlushQueue(poison(1), NaturalPolicy(), on_failure=handler)
    async with queue:
        await queue.enqueue(1)
        seen = []
        while len(handler.failures) < 51:
            await asyncio.sleep(0)
            seen.append(len(handler.failures))
    assert len(seen) >= 50


async def test_a_split_lets_the_loop_run() -> None:
    """A sink that never suspends starves nobody either while a poisoned batch is split."""

    def isolate(failure: Failure[int]) -> Verdict:
        asked.append(failure.items)
        return Split() if len(failure.items) > 1 else Drop()

    asked: list[list[int]] = []
    queue = FlushQueue(poison(*range(64)), NaturalPolicy(), on_failure=isolate)
    async with queue:
        await enqueue_all(queue, range(64))
        seen = set()
        while len(asked) < 127:
            await asyncio.sleep(0)
            seen.add(len(asked))
    assert len(seen) >= 100


# What is kept.


class Item:
    """An item that can be watched."""


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_a_dropped_batch_is_let_go(attempts: int) -> None:
    """Neither the queue nor a circle of references keeps the items of a batch that was dropped."""

    async def sink(batch: list[Item]) -> None:
        raise OSError

    def handler(failure: Failure[Item]) -> Verdict:
        return Retry(1.0) if failure.attempt < attempts else Drop()

    gc.collect()
    gc.disable()
    try:
        async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
            item = Item()
            kept = weakref.ref(item)
            await queue.enqueue(item)
            del item
            await queue.flush()
            await steps(3)
            assert kept() is None
    finally:
        gc.enable()


async def test_what_was_delivered_in_the_end_is_let_go() -> None:
    """Nothing keeps the items of a batch that failed before it was delivered."""

    async def sink(batch: list[Item]) -> None:
        if len(batch) > 1:
            raise OSError

    gc.collect()
    gc.disable()
    try:
        async with FlushQueue(sink, NaturalPolicy(), on_failure=lambda _: Split()) as queue:
            item = Item()
            kept = weakref.ref(item)
            await enqueue_all(queue, [item, Item()])
            del item
            await queue.flush()
            await steps(3)
            assert kept() is None
    finally:
        gc.enable()


async def test_a_retry_that_waits_does_not_deliver_what_comes_later() -> None:
    """What arrives during the pause is in a batch of its own."""
    sink, handler = HeldSink[int](), Handler[int]([Retry(1.0)])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await queue.enqueue(1)
        await settle()
        sink.fail(OSError())
        await settle()
        await queue.enqueue(2)
        sink.open()
    assert [[1], [1], [2]] == sink.batches


class ArrayError(Exception):
    """An exception that compares as an array does: what comes of it is not true or false."""

    __hash__ = Exception.__hash__

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


@pytest.mark.parametrize("cause", [None, ArrayError("a cause of its own")])
async def test_exceptions_are_told_apart_by_identity(cause: ArrayError | None) -> None:
    """What a handler raises is compared with what it was asked about by identity alone."""
    failure, mistake = ArrayError("of the sink"), ArrayError("of the handler")

    def handler(failure: Failure[int]) -> Verdict:
        raise mistake from cause

    queue = FlushQueue(Sink[int](errors={0: failure}), NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await queue.enqueue(1)
    assert mistake is caught.value.__cause__
    assert (failure if cause is None else cause) is mistake.__cause__


@pytest.mark.parametrize(
    ("kind", "batches", "dropped"),
    [
        (Drop, [[1, 2]], 2),
        (Retry, [[1, 2], [1, 2]], 0),
        (Split, [[1, 2], [1], [2]], 0),
    ],
)
async def test_the_class_of_a_verdict_means_its_instance(
    kind: Any, batches: list[list[int]], dropped: int
) -> None:
    """A handler that forgets the brackets does not end the queue by accident."""
    sink = Sink[int](errors={0: OSError()})
    async with FlushQueue(sink, patient(2), on_failure=lambda _: kind) as queue:
        await enqueue_all(queue, [1, 2])
    assert (batches, dropped) == (sink.batches, queue.stats().dropped)


async def test_the_class_fail_ends_the_queue() -> None:
    """A handler that answers Fail without brackets ends the queue with the failure of flush_fn."""
    error = OSError()
    forgetful: Any = lambda _: Fail  # noqa: E731 - it is a value of a wrong type
    with pytest.raises(FlushFailed) as caught:
        queue = FlushQueue(Sink[int](errors={0: error}), patient(1), on_failure=forgetful)
        async with queue:
            await queue.enqueue(1)
    assert error is caught.value.__cause__
