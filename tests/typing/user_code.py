"""A user's code, with the types that type checkers must infer: it is checked, and never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_type

import flushq.threads
from flushq import (
    Batched,
    BatchStream,
    Drop,
    Fail,
    Failure,
    FailureHandler,
    FlushFailed,
    FlushQueue,
    FlushReport,
    NaturalPolicy,
    QueueStats,
    Receipt,
    Retry,
    Split,
    Verdict,
    batches,
    services,
)

POLICY = NaturalPolicy(max_records=100)


async def insert(batch: list[str]) -> None:
    """Return nothing."""


async def copy(batch: Sequence[str]) -> int:
    """Return a number, which the queue ignores."""
    return len(batch)


async def judge(failure: Failure[str]) -> Verdict:
    """Return a verdict; an async handler may await something first."""
    assert_type(failure.items, list[str])
    assert_type(failure.errors, list[BaseException] | None)
    return Drop() if failure.attempt > 3 else Retry(after=1.0)


def isolate(failure: Failure[str]) -> Split | Fail:
    """Return only two kinds of verdicts."""
    return Split() if len(failure.items) > 1 else Fail()


def show(report: FlushReport) -> int:
    """Return a number, which the queue ignores."""
    return report.count


async def a_queue_knows_its_items() -> None:
    """The type of a queue's items is the type that flush_fn takes."""
    queue = FlushQueue(
        insert, POLICY, dedupe_key=str.lower, weigh=len, on_failure=judge, on_report=show
    )
    assert_type(queue, FlushQueue[str])
    assert_type(FlushQueue(copy, POLICY, on_failure=isolate), FlushQueue[str])
    async with queue as entered:
        assert_type(entered, FlushQueue[str])
    await queue.enqueue("a")
    queue.enqueue_nowait("a")
    assert_type(await queue.submit("a"), Receipt[str])
    assert_type((await queue.submit("a")).item, str)
    assert_type(queue.undelivered, list[str])
    assert_type(queue.in_doubt, list[str])
    assert_type(queue.stats(), QueueStats)
    assert_type(queue.stats().flushes, Mapping[str, int])


async def bury(item: str, error: BaseException) -> None:
    """Save an item."""


def bury_number(item: int, error: BaseException) -> int:
    """Save a number, and return it, which the queue ignores."""
    return item


def passes(error: BaseException) -> bool:
    """Return whether the error may be temporary."""
    return isinstance(error, OSError)


def pause(failure: Failure[str]) -> Retry:
    """Return a retry with a pause."""
    return Retry.backoff(failure.attempt, most=len(failure.items))


def refuse(batch: list[int]) -> None:
    """Return nothing; a plain function."""


async def a_ready_handler_knows_its_items() -> None:
    """The type of a handler's items is that of the queue, and the type that ``bury`` takes."""
    assert_type(FailureHandler(split=ValueError, bury=bury), FailureHandler[str])
    handler = FailureHandler(retry=(OSError, KeyError), split=passes, bury=bury, attempts=3)
    assert_type(FlushQueue(insert, POLICY, on_failure=handler), FlushQueue[str])
    assert_type(FailureHandler(retry=passes), FailureHandler[Any])
    FlushQueue(insert, POLICY, on_failure=FailureHandler(retry=passes))
    FlushQueue(insert, POLICY, on_failure=FailureHandler[str](backoff=pause))
    other = FailureHandler(split=ValueError, bury=bury_number)
    FlushQueue(insert, POLICY, on_failure=other)  # type: ignore[misc]  # it buries no strings
    plain = flushq.threads.FailureHandler(split=ValueError, bury=bury_number)
    assert_type(plain, flushq.threads.FailureHandler[int])
    assert_type(
        flushq.threads.FlushQueue(refuse, POLICY, on_failure=plain), flushq.threads.FlushQueue[int]
    )


async def a_service_has_its_queue(queue: FlushQueue[str]) -> None:
    """The block of a service gets the queue with its type."""
    async with services.running(queue, Path("left.json")) as same:
        assert_type(same, FlushQueue[str])


async def a_queue_may_get_an_explicit_type() -> None:
    """A lambda has no types, so the type of the items can be given."""
    queue = FlushQueue[int](lambda batch: insert([str(number) for number in batch]), POLICY)
    assert_type(queue, FlushQueue[int])


async def wrong_types_are_found(queue: FlushQueue[str], strings: Batched[int, str]) -> None:
    """Each of these lines is a type error."""
    await queue.enqueue(1)  # type: ignore[arg-type]  # not a str
    queue.enqueue_nowait(None)  # type: ignore[arg-type]  # not a str
    await strings("a")  # type: ignore[arg-type]  # not an int
    FlushQueue(insert, POLICY, weigh=str.lower)  # type: ignore[arg-type]  # a str is not a weight
    FlushQueue(insert, POLICY, on_failure=show)  # type: ignore[arg-type]  # answers no verdict
    FlushQueue(show, POLICY)  # type: ignore[arg-type]  # not async


async def by_mapping(ids: list[int]) -> dict[int, str]:
    """Return a result for each key."""
    return dict(zip(ids, map(str, ids), strict=True))


async def by_order(ids: Sequence[int]) -> tuple[str, ...]:
    """Return the results in the order of the keys."""
    return tuple(map(str, ids))


async def or_nothing(ids: list[int]) -> Mapping[int, str | None]:
    """Return None for each key that does not exist."""
    return dict.fromkeys(ids)


async def or_errors(ids: list[int]) -> list[str | BaseException]:
    """Return an exception for each key, which its callers must get."""
    return list(map(KeyError, ids))


async def batched_knows_its_results() -> None:
    """The result of a call has the type that the loader returns for a key."""
    assert_type(Batched(by_mapping, POLICY), Batched[int, str])
    assert_type(Batched(by_order, POLICY), Batched[int, str])
    assert_type(Batched(or_nothing, POLICY), Batched[int, str | None])
    assert_type(Batched(or_errors, POLICY), Batched[int, str])
    async with Batched(by_mapping, POLICY, weigh=float) as load:
        assert_type(load, Batched[int, str])
        assert_type(await load(1), str)


async def a_stream_knows_its_items(numbers: AsyncIterator[int], lines: list[str]) -> None:
    """The batches and the lists have items of the type that the source yields."""
    async with batches(numbers, POLICY, dedupe_key=str, weigh=float, on_report=show) as stream:
        assert_type(stream, BatchStream[int])
        async for batch in stream:
            assert_type(batch, list[int])
    assert_type(stream.undelivered + stream.in_doubt, list[int])
    with flushq.threads.batches(
        lines, POLICY, dedupe_key=len, merge=max, weigh=len, max_queue_weight=9
    ) as plain:
        for strings in plain:
            assert_type(strings, list[str])
    batches(lines, POLICY)  # type: ignore[arg-type]  # not asynchronous


def an_error_lists_what_was_lost(error: FlushFailed) -> list[str]:
    """The items of an exception have the type Any."""
    return error.undelivered + error.in_doubt
