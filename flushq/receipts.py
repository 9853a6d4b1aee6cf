"""What became of one item, for whoever asks: receipts, by the numbers of the items.

An item has a receipt only if somebody has asked for one, and it is kept here until the item has
ended. Whoever awaits it holds a future of their own, so that a cancelled waiter takes nothing from
the others, and gets an exception of their own. A receipt that nobody awaits costs nothing more.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from flushq.batcher import Batch
from flushq.errors import Dropped, ItemFailed

T = TypeVar("T")

Fate = Callable[[], BaseException | None]
"""Makes the exception that tells what became of an item; None if it was delivered."""


class Receipt(Generic[T]):
    """To be awaited, any number of times: returns None once the item was delivered.

    A cancellation ends the waiting alone.

    Attributes:
        item: The item; of a duplicate, the one that stayed.

    Raises:
        ItemFailed: ``flush_fn`` raised for it; its exception is the ``__cause__``.
        Dropped: The same, and the failure handler dropped it.
        FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
        RuntimeError: Awaited inside flush_fn, before the end, or on another event loop.
    """

    __slots__ = ("_fate", "_loop", "_waiters", "item")

    def __init__(self, item: T, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.item = item
        self._loop = loop
        self._fate: Fate | None = None
        self._waiters: dict[asyncio.Future[None], None] = {}

    def __await__(self) -> Generator[Any, None, None]:
        while self._fate is None:
            waiter = self._loop().create_future()
            self._waiters[waiter] = None
            try:
                yield from waiter
            finally:
                del self._waiters[waiter]
        error = self._fate()
        if error is not None:
            raise error

    @property
    def awaited(self) -> bool:
        """Whether anybody waits who has not been cancelled."""
        return not all(waiter.done() for waiter in self._waiters)

    def settle(self, fate: Fate) -> None:
        """Tell all who wait, and who will."""
        self._fate = fate
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Receipts(Generic[T]):
    """The receipts of items that have not ended.

    Args:
        loop: Returns the loop in which a receipt may be awaited, or raises.
        outcome: How the queue has ended: a new exception.
    """

    def __init__(self, loop: Callable[[], asyncio.AbstractEventLoop], outcome: Fate) -> None:
        self._loop = loop
        self._outcome = outcome
        self._open: dict[int, Receipt[T]] = {}

    def of(self, number: int, item: T) -> Receipt[T]:
        """The receipt of the item with this number; there is one for all who ask."""
        receipt = self._open.get(number)
        if receipt is None:
            receipt = self._open[number] = Receipt(item, self._loop)
        return receipt

    def settle(self, batch: Batch[T]) -> None:
        """A batch has ended."""
        if not self._open:
            return
        lost = frozenset(batch.lost or ())
        for number in _numbers(batch):
            receipt = self._open.pop(number, None)
            if receipt is not None:
                position = number - batch.first
                receipt.settle(self._fate(batch, position, receipt.item, lost=position in lost))

    def settle_lost(self, running: Iterable[Batch[T]]) -> None:
        """Nothing is cut any more: what is in no running batch was lost."""
        lost = self._open.keys() - chain(*map(_numbers, running))
        for number in sorted(lost):
            self._open.pop(number).settle(self._outcome)

    def _fate(self, batch: Batch[T], position: int, item: T, *, lost: bool) -> Fate:
        if position in batch.dropped:
            return partial(Dropped, item, batch.dropped[position])
        if position in batch.failed:
            return partial(ItemFailed, item, batch.failed[position])
        return self._outcome if lost else _delivered


def _numbers(batch: Batch[T]) -> range:
    return range(batch.first, batch.first + batch.count)


def _delivered() -> None:
    return None
