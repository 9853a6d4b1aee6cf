"""The callers that ask how an item ended, and the answers that they get.

Each caller that waits for the end of an item has a waiter of its own, so the cancellation of one
caller does not affect the other callers. A waiter is completed with None if the item was delivered,
else with a *failure factory*, which makes a new exception for each caller. If only one caller waits
and the item has no receipt, this caller's waiter is enough. Otherwise the item gets a
:class:`Completion`, which can have several waiters. A receipt needs a completion even without
waiters, because a receipt may be asked later or several times. The waiter or the completion of an
item is the *watcher* of the item. Until the item has ended, the watcher is in the dict
``Receipts.watchers``, under the sequence number of the item. An item without a watcher costs
nothing.

A failure factory is made when the item ends. If the item was lost, the exceptions that the factory
makes report the outcome of the queue as it was known when the factory was made.
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
"""A function that makes a new exception, which tells why an item was not delivered."""


DISPLACED = -1
"""The placeholder for the sequence number of an item that was displaced on arrival."""


class Completion(Generic[T]):
    """The record of how one item ends: some callers wait for the end now, some may ask later.

    Attributes:
        item: The item, merged with its duplicates so far.
        waiters: The waiters of the callers that wait now.
        ended: Whether the item has ended.
        failure: The failure factory if the item has ended and was not delivered, else None.
        receipt: The receipt of the item. None if the driver made none, or if the item has ended.
    """

    __slots__ = ("ended", "failure", "item", "receipt", "waiters")

    def __init__(self, item: T, waiters: Iterable[Waiter]) -> None:
        self.item = item
        self.waiters = dict.fromkeys(waiters)
        self.ended = False
        self.failure: FailureFactory | None = None
        self.receipt: Any = None

    def join(self, waiter: Waiter) -> None:
        """Register a waiter; :meth:`set_result` will complete this waiter."""
        self.waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter, whether or not it was completed."""
        self.waiters.pop(waiter, None)

    def done(self) -> bool:
        """Return whether the item has ended."""
        return self.ended

    def set_result(self, failure: FailureFactory | None) -> None:
        """Record the end of the item, and complete all waiters with ``failure``."""
        self.failure, self.ended, self.receipt = failure, True, None
        for waiter in self.waiters:
            wake(waiter, failure)
        self.waiters.clear()


class Receipts(Generic[T]):
    """The watchers of the items that have not ended: completions and waiters.

    Args:
        buffer: The items that wait.
        loss: The function that returns the failure factory for items that are lost now.
        label: The prefix of the messages of exceptions.

    Attributes:
        watchers: The watcher of each watched item, keyed by the sequence number of the item.
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

    def completion_of(self, item: T, kept_number: int | None) -> Completion[T]:
        """Return the completion of an item that has just come.

        ``kept_number`` is the value that ``Admission.add`` returned for the item.
        """
        if kept_number == DISPLACED:
            return self.displaced(item)
        return self.completion(self._buffer.number_of(item, kept_number))

    def displaced(self, item: T) -> Completion[T]:
        """Return a new completion of an item that was displaced on arrival, and so has ended."""
        completion = Completion(item, ())
        completion.set_result(self._displacement(item))
        return completion

    def completion(self, number: int) -> Completion[T]:
        """Return the completion of a waiting item; make a completion if the item has none."""
        watcher = self.watchers.get(number)
        if isinstance(watcher, Completion):
            return watcher
        waiters = () if watcher is None else (watcher,)
        completion = self.watchers[number] = Completion(self._buffer[number], waiters)
        return completion

    def completion_of_next(self, item: T) -> Completion[T]:
        """Return a new completion for ``item``, which must be the next item to come in."""
        completion = self.watchers[self._buffer.next_number] = Completion(item, ())
        return completion

    def watch(self, number: int, waiter: Waiter) -> None:
        """Register a waiter; it is completed when the item with this number has ended."""
        if number in self.watchers:
            self.completion(number).join(waiter)
        else:
            self.watchers[number] = waiter

    def leave(self, number: int, waiter: Waiter) -> None:
        """Remove a waiter of an item, whether or not it was completed."""
        watcher = self.watchers.get(number)
        if isinstance(watcher, Completion):
            watcher.leave(waiter)
        elif watcher is waiter:
            del self.watchers[number]

    def settle_displaced(self, number: int, item: T) -> None:
        """Tell the watcher of the item with this number that the item was displaced."""
        if self.watchers:
            self._tell((number,), {number: self._displacement(item)})

    def _displacement(self, item: T) -> FailureFactory:
        return partial(Displaced, item, self._label)

    def _renew(self, number: int, item: T) -> None:
        watcher = self.watchers.get(number)
        if isinstance(watcher, Completion):
            watcher.item = item

    def settle_part(self, batch: Batch[T], ended: Ended) -> None:
        """Tell the watchers of the ``ended`` items how the items ended; the flush still runs."""
        if self.watchers:
            dropped = {at: error for at, error in ended.items() if error is not None}
            failures = self._failures_of(batch, Dropped, dropped)
            numbers = batch.numbers
            self._tell((numbers[position] for position in ended), failures)

    def settle(self, batch: Batch[T]) -> None:
        """Tell the watchers of all items of a batch how the items ended; the flush is over."""
        self._tell(batch.numbers, self._failures(batch))

    def settle_all_but(self, running: Iterable[Batch[T]]) -> None:
        """For each item outside the ``running`` batches, tell its watcher that the item is lost."""
        lost = self.watchers.keys() - chain(*(batch.numbers for batch in running))
        if lost:
            self._tell(sorted(lost), dict.fromkeys(lost, self._loss()))

    def _tell(self, numbers: Iterable[int], failures: Mapping[int, FailureFactory]) -> None:
        """Tell the watchers how these items ended: an item not in ``failures`` was delivered."""
        pop, failure_of = self.watchers.pop, failures.get
        for number in numbers:
            watcher = pop(number, None)
            if watcher is not None and not watcher.done():
                watcher.set_result(failure_of(number))

    def _failures(self, batch: Batch[T]) -> Mapping[int, FailureFactory]:
        """Return a failure factory for each item that was not delivered, keyed by its number."""
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
