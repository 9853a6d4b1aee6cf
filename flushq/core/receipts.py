"""Who asks what became of an item, and what they are told; by the numbers of the items.

Each of those who wait for the end of an item has a waiter of its own, so that one who is cancelled
takes nothing from the others. What it is told is None, if the item was delivered, or a *failure
factory*, which makes a new exception for each of them. A single caller that waits needs nothing but
its waiter. A :class:`Completion` is made for all others: receipts that may be asked later, or
several times, and several who wait. Both are kept here, as the *watchers* of an item, until it has
ended; an item that has none costs nothing.

A failure factory is bound to what is known when the item ends, so it always tells the same.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from flushq.core.attempts import Ended
from flushq.core.batch import Batch
from flushq.core.buffer import Buffer
from flushq.core.waiter import Waiter, wake
from flushq.errors import Displaced, Dropped, ItemFailed

T = TypeVar("T")

FailureFactory = Callable[[], BaseException]
"""Makes the exception that tells why an item was not delivered."""


DISPLACED = -1
"""The number of all items that were displaced as they came: they have none of their own."""


class Completion(Generic[T]):
    """The end of one item, for those who wait for it now, and for those who ask later.

    Attributes:
        item: The item, as merged by now.
        waiters: Those who wait now.
        ended: Whether the item has ended.
        failure: Why it was not delivered; None if it was.
        receipt: What the driver gives to those who ask; gone with the end of the item.
    """

    __slots__ = ("ended", "failure", "item", "receipt", "waiters")

    def __init__(self, item: T, waiters: Iterable[Waiter]) -> None:
        self.item = item
        self.waiters = dict.fromkeys(waiters)
        self.ended = False
        self.failure: FailureFactory | None = None
        self.receipt: Any = None

    def join(self, waiter: Waiter) -> None:
        """Tell this one as well."""
        self.waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """It waits no more, whether or not it was told."""
        self.waiters.pop(waiter, None)

    def done(self) -> bool:
        """Whether the item has ended."""
        return self.ended

    def set_result(self, failure: FailureFactory | None) -> None:
        """The item has ended: tell all who wait, and all who will ask."""
        self.failure, self.ended, self.receipt = failure, True, None
        for waiter in self.waiters:
            wake(waiter, failure)
        self.waiters.clear()


class Receipts(Generic[T]):
    """The watchers of the items that have not ended.

    Args:
        buffer: The items that wait.
        loss: Returns the failure factory of what is lost by now.
        label: What the messages of the exceptions begin with.

    Attributes:
        watchers: For each item that is watched, by its number: a completion, or a single waiter.
    """

    __slots__ = ("_buffer", "_label", "_loss", "watchers")

    def __init__(
        self, buffer: Buffer[T], loss: Callable[[], FailureFactory], label: str = ""
    ) -> None:
        self.watchers: dict[int, Completion[T] | Waiter] = {}
        self._buffer = buffer
        self._loss = loss
        self._label = label
        if buffer.merging is not None:
            buffer.merging.on_merged = self._renew

    def completion_of(self, item: T, stays: int | None) -> Completion[T]:
        """The completion of an item that has just come; ``stays`` is what ``add`` returned."""
        if stays == DISPLACED:
            return self.displaced(item)
        return self.completion(self._buffer.number_of(item, stays))

    def displaced(self, item: T) -> Completion[T]:
        """The completion of an item that was displaced as it came."""
        completion = Completion(item, ())
        completion.set_result(self._displacement(item))
        return completion

    def completion(self, number: int) -> Completion[T]:
        """The completion of the item that waits with this number: one for all who ask."""
        watcher = self.watchers.get(number)
        if isinstance(watcher, Completion):
            return watcher
        waiters = () if watcher is None else (watcher,)
        completion = self.watchers[number] = Completion(self._buffer[number], waiters)
        return completion

    def foresee(self, item: T) -> Completion[T]:
        """The completion of an item that is to come in next, before it does."""
        completion = self.watchers[self._buffer.next_number] = Completion(item, ())
        return completion

    def watch(self, number: int, waiter: Waiter) -> None:
        """Tell a waiter of the end of the item that waits with this number."""
        if number in self.watchers:
            self.completion(number).join(waiter)
        else:
            self.watchers[number] = waiter

    def leave(self, number: int, waiter: Waiter) -> None:
        """The caller of a waiter goes on, whether or not it was told."""
        watcher = self.watchers.get(number)
        if isinstance(watcher, Completion):
            watcher.leave(waiter)
        elif watcher is waiter:
            del self.watchers[number]

    def settle_displaced(self, number: int, item: T) -> None:
        """An item that waited was displaced."""
        if self.watchers:
            self._tell((number,), {number: self._displacement(item)})

    def _displacement(self, item: T) -> FailureFactory:
        return partial(Displaced, item, self._label)

    def _renew(self, number: int, item: T) -> None:
        watcher = self.watchers.get(number)
        if isinstance(watcher, Completion):
            watcher.item = item

    def settle_part(self, batch: Batch[T], ended: Ended) -> None:
        """Items of a batch that goes on have ended."""
        if self.watchers:
            dropped = {at: error for at, error in ended.items() if error is not None}
            failures = self._failures_of(batch, Dropped, dropped)
            numbers = batch.numbers
            self._tell((numbers[position] for position in ended), failures)

    def settle(self, batch: Batch[T]) -> None:
        """A batch has ended."""
        self._tell(batch.numbers, self._failures(batch))

    def settle_lost(self, running: Iterable[Batch[T]]) -> None:
        """No batch is taken any more: what is in none that runs was lost."""
        lost = self.watchers.keys() - chain(*(batch.numbers for batch in running))
        if lost:
            self._tell(sorted(lost), dict.fromkeys(lost, self._loss()))

    def _tell(self, numbers: Iterable[int], failures: Mapping[int, FailureFactory]) -> None:
        """Tell all who watch these items; an item without a failure was delivered."""
        pop, failure_of = self.watchers.pop, failures.get
        for number in numbers:
            watcher = pop(number, None)
            if watcher is not None and not watcher.done():
                watcher.set_result(failure_of(number))

    def _failures(self, batch: Batch[T]) -> Mapping[int, FailureFactory]:
        """The failures of those that were not delivered, by number."""
        if not batch.lost:
            return self._failures_of(batch, Dropped, batch.dropped) if batch.dropped else {}
        loss, numbers = self._loss(), batch.numbers
        return {
            **{numbers[position]: loss for position in batch.lost},
            **self._failures_of(batch, ItemFailed, batch.failed),
            **self._failures_of(batch, Dropped, batch.dropped),
        }

    def _failures_of(
        self, batch: Batch[T], kind: type[ItemFailed], errors: Mapping[int, BaseException]
    ) -> Mapping[int, FailureFactory]:
        numbers = batch.numbers
        return {
            numbers[position]: partial(kind, batch.items[position], error, self._label)
            for position, error in errors.items()
        }
