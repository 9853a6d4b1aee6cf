"""Point 18: a flush function that delivers some items of a batch, and says which it did not."""

import asyncio
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    PartialFailure,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import error_of
from tests.contract.support import (
    Handler,
    Sink,
    enqueue_all,
    failing,
    now,
    patient,
    produce,
    settle,
)


class Bad(Exception):
    """What is wrong with an item."""


class Picky:
    """A flush function that refuses some items, each so many times, and takes the others.

    Attributes:
        refusals: How many times each of the items is still refused.
        handed: What each call was handed.
        taken: What was taken, in order.
        errors: The exceptions of the items, the last ones.
    """

    def __init__(self, refusals: Mapping[int, int]) -> None:
        self.refusals = dict(refusals)
        self.handed: list[list[int]] = []
        self.taken: list[int] = []
        self.errors: dict[int, Bad] = {}

    async def __call__(self, batch: list[int]) -> None:
        """Take what is not refused."""
        self.handed.append(list(batch))
        refused: dict[int, BaseException] = {}
        for index, item in enumerate(batch):
            left = self.refusals.get(item, 0)
            if left <= 0:
                self.taken.append(item)
                continue
            self.refusals[item] = left - 1
            refused[index] = self.errors[item] = Bad(item)
        if refused:
            raise PartialFailure(refused)


def raising(errors: Any) -> Any:
    """Return a flush function that raises a PartialFailure made from this."""

    async def flush_fn(batch: list[int]) -> None:
        raise PartialFailure(errors)

    return flush_fn


# What becomes of the items.


async def test_without_a_handler_the_others_are_delivered_and_the_queue_ends() -> None:
    """Only the items that it names are in doubt; the PartialFailure is the cause."""
    queue = FlushQueue(Picky({1: 1, 3: 1}), NaturalPolicy(5))
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(7))
    assert isinstance(caught.value.__cause__, PartialFailure)
    assert ([1, 3], [5, 6]) == (queue.in_doubt, queue.undelivered)
    assert 3 == queue.stats().delivered


async def test_the_handler_is_asked_about_those_that_failed() -> None:
    """It gets the failed items, in order, the PartialFailure, and the exception of each."""
    sink, handler = Picky({1: 1, 3: 1}), Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(5), on_failure=handler) as queue:
        await enqueue_all(queue, range(5))
        await settle()
        assert (3, 2) == (queue.stats().delivered, queue.stats().dropped)
    (failure,) = handler.failures
    assert isinstance(failure.error, PartialFailure)
    assert ([1, 3], 1, "natural") == (failure.items, failure.attempt, failure.reason)
    assert [sink.errors[1], sink.errors[3]] == failure.errors


async def test_the_order_of_the_mapping_does_not_matter() -> None:
    """The failed items are in the order of the batch, whatever that of the mapping."""
    errors = {2: Bad(2), 0: Bad(0)}
    handler = Handler[int]()
    async with FlushQueue(raising(errors), NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, [7, 8, 9])
    assert [[7, 9]] == handler.items
    assert [errors[0], errors[2]] == handler.failures[0].errors
    assert (1, 2) == (queue.stats().delivered, queue.stats().dropped)


async def test_all_may_fail() -> None:
    """A PartialFailure that names every item delivers none."""
    handler = Handler[int]()
    sink = Picky({0: 1, 1: 1})
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert (0, 2) == (queue.stats().delivered, queue.stats().dropped)


async def test_a_retry_hands_over_the_failed_ones_alone() -> None:
    """What was delivered is not handed over again, and the attempts go on counting."""
    sink, handler = Picky({1: 2, 3: 1, 4: 3}), Handler[int]([Retry(1.0)] * 3)
    async with FlushQueue(sink, NaturalPolicy(6), on_failure=handler) as queue:
        await enqueue_all(queue, range(6))
    assert [[0, 1, 2, 3, 4, 5], [1, 3, 4], [1, 4], [4]] == sink.handed
    assert [1, 2, 3] == [failure.attempt for failure in handler.failures]
    assert ([0, 2, 5, 3, 1, 4], 3.0) == (sink.taken, now())
    assert 6 == queue.stats().delivered


async def test_the_failed_ones_may_be_split() -> None:
    """Split halves what failed, and each half may fail in part again."""
    sink, handler = Picky({1: 2, 3: 1, 5: 2, 7: 3}), Handler[int]([Split(), Retry(), Retry()])
    async with FlushQueue(sink, NaturalPolicy(8), on_failure=handler) as queue:
        await enqueue_all(queue, range(8))
    assert [list(range(8)), [1, 3], [1], [5, 7], [5, 7]] == sink.handed
    assert [[1, 3, 5, 7], [1], [5, 7], [7]] == handler.items
    assert (7, 1) == (queue.stats().delivered, queue.stats().dropped)


async def test_a_part_of_a_half_that_fails_for_good_leaves_the_rest_in_doubt() -> None:
    """After Fail in one half, in doubt are its failed items and the half that was to come."""
    handler = Handler[int]([Split(), Fail()])
    queue = FlushQueue(Picky({1: 1, 2: 2, 5: 1, 6: 1}), NaturalPolicy(8), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(8))
    assert ([2, 5, 6], 5) == (queue.in_doubt, queue.stats().delivered)


async def test_a_whole_failure_may_follow_a_partial_one() -> None:
    """An attempt that raises as a whole fails what was left for it, and has no errors by item."""
    calls = 0

    async def sink(batch: list[int]) -> None:
        nonlocal calls
        calls += 1
        raise PartialFailure({1: Bad(1), 2: Bad(2)}) if calls == 1 else OSError

    handler = Handler[int]([Retry()])
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
    assert [[1, 2], [1, 2]] == handler.items
    assert handler.failures[1].errors is None
    assert (1, 2) == (queue.stats().delivered, queue.stats().dropped)


async def test_a_handler_may_change_the_list_of_errors() -> None:
    """What a handler does to the errors that it is given loses track of nothing."""

    def handler(failure: Failure[int]) -> Verdict:
        assert failure.errors is not None
        failure.errors.pop()
        return Drop()

    queue = FlushQueue(Picky({0: 1, 1: 1}), NaturalPolicy(), on_failure=handler)
    async with queue:
        await enqueue_all(queue, range(3))
    assert (1, 2, []) == (queue.stats().delivered, queue.stats().dropped, queue.in_doubt)


async def test_a_sink_may_change_its_mapping_afterwards() -> None:
    """What becomes of the mapping after it was raised changes nothing."""
    errors: dict[int, BaseException] = {0: Bad(0)}

    def handler(failure: Failure[int]) -> Verdict:
        errors.clear()
        return Fail()

    queue = FlushQueue(raising(errors), NaturalPolicy(), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(2))
    assert ([0], 1) == (queue.in_doubt, queue.stats().delivered)


@pytest.mark.parametrize(
    "handler", [lambda _: None, lambda failure: failure.missing], ids=["nonsense", "raises"]
)
async def test_a_bad_handler_fails_those_that_failed(handler: Any) -> None:
    """What the PartialFailure does not name stays delivered, whatever the handler does."""
    sink = Picky({1: 1})
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__.__cause__, PartialFailure)
    assert ([1], 2) == (queue.in_doubt, queue.stats().delivered)


async def test_one_that_comes_with_a_cancellation_still_counts() -> None:
    """A sink that is cut short by the limit and says what it has delivered is believed."""

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


async def test_one_within_a_group_is_a_failure_of_all() -> None:
    """A PartialFailure counts if it is raised itself, not in an exception group."""

    async def sink(batch: list[int]) -> None:
        raise ExceptionGroup("of tasks", [PartialFailure({0: Bad(0)})])

    handler = Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(3))
    assert [[0, 1, 2]] == handler.items


class Rejected(PartialFailure):
    """A user's own kind."""


async def test_a_subclass_will_do() -> None:
    """A PartialFailure of a user's own kind is one."""

    async def sink(batch: list[int]) -> None:
        raise Rejected({1: Bad(1)})

    handler = Handler[int]()
    async with FlushQueue(sink, NaturalPolicy(), on_failure=handler) as queue:
        await enqueue_all(queue, range(2))
    assert [[1]] == handler.items
    assert Rejected is type(handler.failures[0].error)


# flush().


@pytest.mark.parametrize(
    ("refused", "raises"), [([0], True), ([1, 3], True), ([2], False), ([2, 3], False)]
)
async def test_flush_raises_for_the_very_items_it_waited_for(
    refused: list[int], *, raises: bool
) -> None:
    """A loss in the batch that it waited for is nothing to flush() if it came after the call."""
    queue = FlushQueue(Picky(dict.fromkeys(refused, 1)), patient())
    async with failing(queue):
        await enqueue_all(queue, range(2))
        flush = asyncio.create_task(error_of(queue.flush()))
        await produce(queue, 2, 3)  # they come before the batch is cut
        assert raises == isinstance(await flush, FlushFailed)
    assert (refused, []) == (queue.in_doubt, queue.undelivered)


async def test_losses_are_listed_in_order_of_acceptance() -> None:
    """Parts of several batches are listed in order, whichever becomes known first."""

    async def sink(batch: list[int]) -> None:
        await asyncio.sleep(9.0 - batch[0])
        raise PartialFailure({1: Bad(), 2: Bad()})

    queue = FlushQueue(sink, NaturalPolicy(3), max_in_flight=3)
    async with failing(queue):
        await enqueue_all(queue, range(10))
    assert ([1, 2, 4, 5, 7, 8], [9]) == (queue.in_doubt, queue.undelivered)
    assert 3 == queue.stats().delivered


# Those that make no sense.


class Unreadable(Mapping[int, BaseException]):
    """A mapping that cannot be read."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        raise Bad("no keys")

    def __getitem__(self, index: int) -> BaseException:
        raise Bad("no values")


NONSENSE: list[tuple[Any, str]] = [
    ({}, "it names no item"),
    ({3: Bad()}, "3 is not an index of a batch of 3 items"),
    ({0: Bad(), -1: Bad()}, "-1 is not an index of a batch of 3 items"),
    ({False: Bad()}, "False is not an index of a batch of 3 items"),
    ({1.0: Bad()}, "1.0 is not an index of a batch of 3 items"),
    ({Fraction(1): Bad()}, "Fraction(1, 1) is not an index of a batch of 3 items"),
    ({math.nan: Bad()}, "nan is not an index of a batch of 3 items"),
    ({None: Bad()}, "None is not an index of a batch of 3 items"),
    ({0: "bad"}, "'bad', of index 0, is not an exception"),
    ({0: Bad(), 1: Bad}, "of index 1, is not an exception"),
    ({0: None}, "None, of index 0, is not an exception"),
    ([0], "it takes a mapping of indices to exceptions, not [0]"),
    (1, "it takes a mapping of indices to exceptions, not 1"),
    (OSError(), "it takes a mapping of indices to exceptions, not OSError()"),
]


@pytest.mark.parametrize(("errors", "flaw"), NONSENSE)
async def test_what_makes_no_sense_puts_the_whole_batch_in_doubt(errors: Any, flaw: str) -> None:
    """It ends the queue, whatever the handler: nobody knows what was delivered."""
    handler = Handler[int]()
    queue = FlushQueue(raising(errors), NaturalPolicy(3), on_failure=handler)
    with pytest.raises(FlushFailed, match=re.escape(flaw)) as caught:
        async with queue:
            await enqueue_all(queue, range(4))
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert isinstance(cause.__cause__, PartialFailure)
    assert ([0, 1, 2], [3], 0) == (queue.in_doubt, queue.undelivered, queue.stats().delivered)
    assert [] == handler.failures


async def test_what_cannot_be_read_puts_the_whole_batch_in_doubt() -> None:
    """A mapping that raises when it is looked at ends the queue, and nothing vanishes."""
    queue = FlushQueue(raising(Unreadable()), NaturalPolicy(3), on_failure=Handler[int]())
    with pytest.raises(FlushFailed) as caught:
        async with queue:
            await enqueue_all(queue, range(3))
    assert isinstance(caught.value.__cause__, Bad)
    assert ([0, 1, 2], 0) == (queue.in_doubt, queue.stats().delivered)


async def test_indices_are_those_of_the_attempt() -> None:
    """A retry is a batch of its own: an index of the first attempt may be out of its range."""
    handler = Handler[int]([Retry()])
    queue = FlushQueue(raising({2: Bad()}), NaturalPolicy(), on_failure=handler)
    with pytest.raises(FlushFailed, match="2 is not an index of a batch of 1 items"):
        async with queue:
            await enqueue_all(queue, range(3))
    assert ([2], 2) == (queue.in_doubt, queue.stats().delivered)


async def test_what_makes_no_sense_in_a_half_leaves_the_other_one_in_doubt() -> None:
    """The half that was delivered stays so."""
    calls: list[list[int]] = []

    async def sink(batch: list[int]) -> None:
        calls.append(list(batch))
        if len(calls) == 1:
            raise OSError
        if len(calls) == 3:
            raise PartialFailure({})

    handler = Handler[int]([Split(), Drop()])
    queue = FlushQueue(sink, NaturalPolicy(), on_failure=handler)
    async with failing(queue):
        await enqueue_all(queue, range(4))
    assert ([2, 3], 2) == (queue.in_doubt, queue.stats().delivered)


async def test_other_exceptions_are_no_partial_failures() -> None:
    """An exception that merely has errors by index fails the whole batch."""
    error = OSError()
    vars(error)["errors"] = {0: Bad()}
    handler = Handler[int]()
    queue = FlushQueue(Sink[int](errors={0: error}), NaturalPolicy(), on_failure=handler)
    async with queue:
        await enqueue_all(queue, range(2))
    assert [[0, 1]] == handler.items
