"""Point 18: a flush function that raises PartialFailure has delivered the items it does not name.

tests/core/test_attempts.py tests the ends of all items in detail.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flushq import (
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    PartialFailure,
    Retry,
    ShutdownTimeout,
)
from tests.contract.support import Handler, Sink, enqueue_all, failing, now, patient


class Bad(Exception):
    """The error of an item."""


def refusal(*indices: int) -> PartialFailure:
    """Return a PartialFailure of the items at these indices."""
    return PartialFailure({index: Bad(index) for index in indices})


async def test_without_a_handler_the_others_are_delivered_and_the_queue_ends() -> None:
    """Without a handler the named items are in doubt, and the PartialFailure is the cause."""
    error = refusal(1, 3)
    queue = FlushQueue(Sink[int](errors={0: error}), NaturalPolicy(5))
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(7))
    assert error is caught.value.__cause__
    assert ([1, 3], [5, 6]) == (queue.in_doubt, queue.undelivered)
    assert 3 == queue.stats().delivered


async def test_the_handler_is_asked_about_those_that_failed() -> None:
    """The handler gets the failed items in order, the PartialFailure, and their exceptions."""
    error, handler = refusal(3, 1), Handler[int]()
    sink = Sink[int](errors={0: error})
    async with FlushQueue(sink, patient(5), on_failure=handler) as queue:
        await enqueue_all(queue, range(5))
        await queue.flush()
    assert (3, 2) == (queue.stats().delivered, queue.stats().dropped)
    errors = [error.errors[1], error.errors[3]]
    assert [Failure([1, 3], error, errors, 1, "flush", 0.0)] == handler.failures


async def test_a_retry_hands_over_the_failed_ones_alone() -> None:
    """A retry has only the failed items, and the number of attempts keeps growing."""
    handler = Handler[int]([Retry(1.0)] * 3)
    sink = Sink[int](errors={0: refusal(1, 3, 4), 1: refusal(0, 2), 2: refusal(1)})
    async with FlushQueue(sink, NaturalPolicy(6), on_failure=handler) as queue:
        await enqueue_all(queue, range(6))
    assert [[0, 1, 2, 3, 4, 5], [1, 3, 4], [1, 4], [4]] == sink.batches
    assert [1, 2, 3] == [failure.attempt for failure in handler.failures]
    assert (6, 3.0) == (queue.stats().delivered, now())


async def test_one_that_comes_with_a_cancellation_still_counts() -> None:
    """After a cancellation at the limit a PartialFailure counts: the other items are delivered."""

    async def sink(batch: list[int]) -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError as error:
            raise PartialFailure({1: error, 3: error}) from None

    handler = Handler[int]()
    queue = FlushQueue(sink, NaturalPolicy(), max_shutdown_wait=5.0, on_failure=handler)
    async with failing(queue, ShutdownTimeout):
        await enqueue_all(queue, range(4))
    assert ([1, 3], 2, []) == (queue.in_doubt, queue.stats().delivered, handler.failures)


class Unreadable(Mapping[int, BaseException]):
    """A mapping that cannot be read."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        raise Bad("no keys")

    def __getitem__(self, index: int) -> BaseException:
        raise Bad("no values")


@pytest.mark.parametrize(
    ("errors", "kind", "flaw"),
    [
        ({0: Bad(), 3: Bad()}, ValueError, "an index must be an int from 0 to 2, not 3"),
        (Unreadable(), Bad, "no keys"),
    ],
)
async def test_what_makes_no_sense_puts_the_whole_batch_in_doubt(
    errors: Any, kind: type[Exception], flaw: str
) -> None:
    """A wrong PartialFailure ends the queue without the handler; its whole batch is in doubt."""
    sink, handler = Sink[int](errors={0: PartialFailure(errors)}), Handler[int]()
    queue = FlushQueue(sink, NaturalPolicy(3), on_failure=handler)
    with pytest.raises(FlushFailed, match=flaw) as caught:
        async with queue:
            await enqueue_all(queue, range(4))
    assert kind is type(caught.value.__cause__)
    assert ([0, 1, 2], [3], 0) == (queue.in_doubt, queue.undelivered, queue.stats().delivered)
    assert [] == handler.failures
