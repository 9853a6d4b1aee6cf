"""Callers that watch an item are told of its end: all of them, and each only once."""

from collections.abc import Callable
from typing import Any

import pytest

from flushq.core.buffer import Buffer
from flushq.core.receipts import Receipts
from flushq.errors import Dropped, ItemFailed
from tests.core.support import Caller, batch_of
from tests.strategies import Refusal

LOSS = Refusal("lost")


def loss() -> Callable[[], BaseException]:
    """Return a maker of the exception for items that are lost now."""
    return lambda: LOSS


def receipts_of(*items: int) -> Receipts[int]:
    """Return the receipts of waiting items, numbered from 5."""
    buffer: Buffer[int] = Buffer()
    buffer.first = 5
    for item in items:
        buffer.append(item)
    return Receipts(buffer, loss, "users: ")


def failure_of(caller: Caller) -> BaseException | None:
    """Return the exception that a caller raises; None if the item was delivered."""
    failure: Callable[[], BaseException] | None = caller.result()
    return None if failure is None else failure()


def test_a_single_caller_needs_nothing_but_its_waiter() -> None:
    """One caller is watched by its waiter alone; a completion is made once for all later ones."""
    receipts, one = receipts_of(10, 11), Caller()
    receipts.watch(6, one)
    assert {6: one} == receipts.watchers
    completion = receipts.completion(6)
    assert (11, {one: None}) == (completion.item, completion.waiters)
    assert completion is receipts.completion(6)


def test_nothing_is_kept_for_a_caller_that_has_gone() -> None:
    """A caller that stops waiting is removed, and so are all callers once they are told."""
    receipts, one = receipts_of(10, 11), Caller()
    receipts.watch(5, one)
    receipts.leave(5, one)
    assert {} == receipts.watchers
    completion = receipts.completion(6)
    completion.join(one)
    completion.set_result(None)
    assert {} == completion.waiters


def test_all_who_wait_are_told() -> None:
    """All waiters are told: the first one, one of a completion, and a later one."""
    receipts, callers = receipts_of(10), [Caller(), Caller(), Caller()]
    receipts.watch(5, callers[0])
    completion = receipts.completion(5)
    completion.join(callers[1])
    receipts.watch(5, callers[2])
    error = Refusal("bad")
    batch = batch_of(10, first=5)
    batch.conclude(None, {0: error}, {}, [])
    receipts.settle(batch)
    failures = [failure_of(caller) for caller in callers]
    assert [Dropped] * 3 == [type(failure) for failure in failures]
    assert 3 == len(set(map(id, failures)))
    assert [error] * 3 == [failure and failure.__cause__ for failure in failures]
    assert {} == receipts.watchers


@pytest.mark.parametrize("gone", range(3))
def test_a_caller_that_is_cancelled_takes_nothing_from_the_others(gone: int) -> None:
    """If one of the callers of an item is cancelled, the others are told."""
    receipts, callers = receipts_of(10), [Caller(), Caller(), Caller()]
    for caller in callers:
        receipts.watch(5, caller)
    callers[gone].cancel()
    receipts.settle(batch_of(10, first=5))
    del callers[gone]
    assert [None, None] == [failure_of(caller) for caller in callers]


def test_a_completion_remembers_the_end() -> None:
    """A completion keeps the end for later callers, and drops the driver's receipt."""
    receipts = receipts_of(10, 11)
    one, other = receipts.completion(5), receipts.completion(6)
    one.receipt = other.receipt = object()
    batch = batch_of(10, 11, first=5)
    batch.conclude(LOSS, {}, {0: LOSS}, [0])
    receipts.settle(batch)
    assert [True, True] == [one.done(), other.ended]
    assert isinstance(one.failure and one.failure(), ItemFailed)
    assert (None, None, None) == (other.failure, one.receipt, other.receipt)


def test_one_that_waits_no_more_is_forgotten() -> None:
    """A caller can leave a completion, even twice, and is not told then."""
    receipts, caller = receipts_of(10), Caller()
    completion = receipts.completion(5)
    completion.join(caller)
    completion.leave(caller)
    completion.leave(caller)
    receipts.settle(batch_of(10, first=5))
    assert ({}, False) == (completion.waiters, caller.done())


def test_each_item_is_told_what_became_of_it() -> None:
    """Each item is told its own end: dropped, failed, lost or delivered."""
    receipts, callers = receipts_of(10, 11, 12, 13), [Caller() for _ in range(4)]
    for number, caller in enumerate(callers, 5):
        receipts.watch(number, caller)
    batch, bad, worse = batch_of(10, 11, 12, 13, first=5), Refusal("bad"), Refusal("worse")
    batch.conclude(worse, {0: bad}, {1: worse}, [1, 2])
    receipts.settle(batch)
    failures: list[Any] = [failure_of(caller) for caller in callers]
    assert [Dropped, ItemFailed, Refusal, type(None)] == [type(failure) for failure in failures]
    assert (bad, worse, LOSS) == (failures[0].__cause__, failures[1].__cause__, failures[2])
    assert "users: 11 failed: Refusal('worse')" == str(failures[1])


def test_what_is_in_no_batch_is_lost() -> None:
    """When no batch is taken any more, all callers are told, except those of running flushes."""
    receipts, callers = receipts_of(10, 11, 12), [Caller() for _ in range(3)]
    for number, caller in enumerate(callers, 5):
        receipts.watch(number, caller)
    receipts.settle_lost([batch_of(11, first=6)])
    assert [True, False, True] == [caller.done() for caller in callers]
    assert [LOSS, LOSS] == [failure_of(caller) for caller in callers[::2]]
    receipts.settle_lost([batch_of(11, first=6)])
    assert {6: callers[1]} == receipts.watchers
