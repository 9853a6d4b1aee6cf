"""What became of one item, for whoever asks: receipts, by the numbers of the items.

Whoever waits for the end of an item holds a future of their own, so that a cancelled waiter takes
nothing from the others, and is told the item's *fate*, which makes an exception of their own. One
who has come to wait, and waits alone, needs nothing but that future. A crowd, with a receipt for
who may wait later or several times, is made for others; it takes in whoever waits alone. Either is
kept here until the item has ended, and an item that nobody asks about costs nothing.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from flushq.batcher import Batch
from flushq.buffer import Buffer
from flushq.errors import Dropped, ItemFailed

T = TypeVar("T")

Fate = Callable[[], BaseException]
"""Makes the exception that tells why an item was not delivered."""

Waiter = asyncio.Future[Fate | None]
"""Is told the fate of an item; None if it was delivered."""

Loop = Callable[[], asyncio.AbstractEventLoop]


def give_up(waiter: Waiter) -> None:
    """Wait no more, whether or not it was told. Once the loop is closed nobody would hear of it."""
    if not (waiter.done() or waiter.get_loop().is_closed()):
        waiter.cancel()


class Receipt(Generic[T]):
    """To be awaited, any number of times: returns None once the item was delivered.

    It comes from :meth:`FlushQueue.submit`. A cancellation ends the waiting alone.

    Attributes:
        item: The item; of a duplicate, the one that stayed.

    Raises:
        ItemFailed: ``flush_fn`` raised for it; its exception is the ``__cause__``.
        Dropped: The same, and the failure handler dropped it.
        FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
        RuntimeError: Awaited inside flush_fn, before the end, or on another event loop.
    """

    __slots__ = ("_crowd", "_loop", "item")

    def __init__(self, item: T, loop: Loop, crowd: "_Crowd[T]") -> None:
        self.item = item
        self._loop = loop
        self._crowd = crowd

    def __await__(self) -> Generator[Any, None, None]:
        crowd = self._crowd
        while not crowd.ended:
            waiter: Waiter = self._loop().create_future()
            crowd.waiters[waiter] = None
            try:
                yield from waiter
            finally:
                del crowd.waiters[waiter]
        if crowd.fate is not None:
            raise crowd.fate()

    def done(self) -> bool:
        """Whether the item has ended, delivered or not."""
        return self._crowd.ended


class _Crowd(Generic[T]):
    """All who wait for the end of one item, now or later: to be told as one who waits alone.

    Attributes:
        waiters: Those who wait now.
        ended: Whether they were told.
        fate: What they were told.
        receipt: For all who ask; gone with the end of the item.
    """

    __slots__ = ("ended", "fate", "receipt", "waiters")

    def __init__(self, item: T, loop: Loop, waiters: Iterable[Waiter]) -> None:
        self.waiters = dict.fromkeys(waiters)
        self.ended = False
        self.fate: Fate | None = None
        self.receipt = Receipt(item, loop, self)

    def join(self, waiter: Waiter) -> None:
        """Tell this one as well, if it is not cancelled before."""
        self.waiters[waiter] = None
        waiter.add_done_callback(self.waiters.pop)

    def done(self) -> bool:
        """Whether they were told."""
        return self.ended

    def cancelled(self) -> bool:
        """Whether nobody waits who has not been cancelled."""
        return all(waiter.cancelled() for waiter in self.waiters)

    def set_result(self, fate: Fate | None) -> None:
        """Tell all who wait, and who will."""
        self.fate, self.ended = fate, True
        del self.receipt
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(fate)


class Receipts(Generic[T]):
    """Those who ask about items that have not ended.

    Args:
        loop: Returns the loop in which a receipt may be awaited, or raises.
        buffer: The items that wait.
        loss: Why what is lost by now was lost.
        label: What the messages of the exceptions begin with.

    Attributes:
        asked: Who asks about an item, by its number: a crowd, or one who waits alone.
    """

    def __init__(
        self, loop: Loop, buffer: Buffer[T], loss: Callable[[], Fate], label: str = ""
    ) -> None:
        self.asked: dict[int, _Crowd[T] | Waiter] = {}
        self._loop = loop
        self._buffer = buffer
        self._loss = loss
        self._label = label

    def of(self, number: int) -> Receipt[T]:
        """The receipt of the item that waits with this number; there is one for all who ask."""
        return self._crowd(number).receipt

    def _crowd(self, number: int) -> _Crowd[T]:
        asks = self.asked.get(number)
        if isinstance(asks, _Crowd):
            return asks
        waiters = () if asks is None else (asks,)
        crowd = self.asked[number] = _Crowd(self._buffer[number], self._loop, waiters)
        return crowd

    def waiter(self, number: int, loop: asyncio.AbstractEventLoop) -> Waiter:
        """A new future that is told the fate of the item that waits with this number.

        Whoever has waited, to the end or not, says so with :func:`give_up`.
        """
        waiter: Waiter = loop.create_future()
        if number in self.asked:
            self._crowd(number).join(waiter)
        else:
            self.asked[number] = waiter
        return waiter

    def settle_part(self, batch: Batch[T], ended: Mapping[int, BaseException | None]) -> None:
        """Items of a batch that goes on have ended: dropped for an exception, or delivered."""
        if self.asked:
            dropped = {at: error for at, error in ended.items() if error is not None}
            fates = self._fates_of(batch, Dropped, dropped)
            self._tell((batch.first + position for position in ended), fates)

    def settle(self, batch: Batch[T]) -> None:
        """A batch has ended."""
        if self.asked:
            self._tell(_numbers(batch), self._fates(batch))

    def settle_lost(self, running: Iterable[Batch[T]]) -> None:
        """Nothing is cut any more: what is in no running batch was lost."""
        lost = self.asked.keys() - chain(*map(_numbers, running))
        if lost:
            self._tell(sorted(lost), dict.fromkeys(lost, self._loss()))

    def _tell(self, numbers: Iterable[int], fates: Mapping[int, Fate | None]) -> None:
        """Tell all who ask about these items; what has no fate was delivered."""
        for number in numbers:
            asks = self.asked.pop(number, None)
            if asks is not None and not asks.done():
                asks.set_result(fates.get(number))

    def _fates(self, batch: Batch[T]) -> Mapping[int, Fate | None]:
        """The fates of those that were not delivered, by number."""
        loss = self._loss() if batch.lost else None
        fates = {batch.first + position: loss for position in batch.lost or ()}
        failed = self._fates_of(batch, ItemFailed, batch.failed)
        return {**fates, **failed, **self._fates_of(batch, Dropped, batch.dropped)}

    def _fates_of(
        self, batch: Batch[T], kind: type[ItemFailed], errors: Mapping[int, BaseException]
    ) -> Mapping[int, Fate]:
        return {
            batch.first + position: partial(kind, batch.items[position], error, self._label)
            for position, error in errors.items()
        }


def _numbers(batch: Batch[Any]) -> range:
    return range(batch.first, batch.first + batch.count)
