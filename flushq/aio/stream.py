"""A stream of batches for asyncio: ``async for batch in stream``.

Its theory is that of flushq.streams. The reader is a task, which iterates the source and closes it,
as some sources must be closed in the task that has iterated them.
"""

import asyncio
from collections.abc import AsyncIterable
from types import TracebackType
from typing import Any, Self, TypeVar

from flushq.aio.cancellation import until_done, until_ended
from flushq.aio.entrance import Entrance
from flushq.aio.runner import Runner
from flushq.arguments import shown
from flushq.core.caps import Weigh
from flushq.core.core import Core
from flushq.core.duplicates import DedupeKey
from flushq.core.merging import Merge
from flushq.policy import FlushPolicy
from flushq.streams import Handover, StreamView
from flushq.telling import OnReport, tell_late
from flushq.throttles import Throttle

T = TypeVar("T")


class BatchStream(StreamView[T]):
    """Batches of what a source yields, to be iterated inside ``async with``: see :func:`batches`.

    To ask for the next batch says that the last one was delivered. One consumer at a time may ask.
    An ask that is cancelled takes nothing: the next one gets what it would have got.

    Leaving the block early, by ``break``, an exception or a cancellation, ends the reading, and
    loses nothing silently: see ``undelivered`` and ``in_doubt``, which are complete then.
    """

    def __init__(self, source: AsyncIterable[T], core: Core[T], on_report: OnReport | None) -> None:
        self._source = source
        self._core = core
        self._runner = Runner(core, self._hand, None, on_report)
        self._queue = Entrance(core, self._runner)
        self._handover = Handover(core, repr(self))
        self._is_reading = False

    async def __aenter__(self) -> Self:
        """Begin to read the source, in a task.

        Raises:
            RuntimeError: The block was entered before.
        """
        self._runner.bind()
        if self._core.batcher.started:
            raise RuntimeError(f"{self!r} was entered before")
        self._iterator = aiter(self._source)
        self._runner.start()
        name = f"flushq{self._core.name} reader"
        self._reader = self._runner.loop.create_task(self._read(), name=name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading, and close the source if it has an ``aclose``.

        Nothing of the stream runs when this returns. An exception of the block goes on. A
        cancellation meanwhile is passed on to the source, and raised afterwards.

        Raises:
            BaseException: What the source raised while it was stopped, if the block raised nothing.
        """
        self._stop()
        cancelled = await until_done(self._reader, error)
        cancelled = await until_ended(self._core, self._runner, owner=True) or cancelled
        self._handover.list_losses()
        if cancelled is not None:
            raise cancelled
        tell_late(self._core, self._handover.late, error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        """Say that the last batch was delivered, and wait for the next one.

        Raises:
            StopAsyncIteration: The source has ended, and all of it was delivered.
            PolicyError: The policy or the throttle has failed.
            ItemTooLarge, TypeError, ValueError: An item of the source was refused, as by
                :meth:`FlushQueue.enqueue`; what was read before it has been yielded.
            RuntimeError: Asked outside of the block, on another event loop, or by two at a time.
            BaseException: What the source raised, or ``dedupe_key``, ``merge`` or ``weigh``; what
                was read before has been yielded.
        """
        self._runner.bind()
        self._runner.wake()
        await self._runner.wait(self._handover)
        batch = self._handover.take()
        if batch is None:
            raise StopAsyncIteration
        return batch

    # What runs beside the consumer.

    async def _hand(self, batch: list[T]) -> None:
        waiter: asyncio.Future[None] = self._runner.loop.create_future()
        self._handover.offer(batch, waiter)
        await waiter

    async def _read(self) -> None:
        self._is_reading = True
        try:
            await self._enqueue_all()
        except BaseException as error:
            if not (self._handover.left and isinstance(error, asyncio.CancelledError)):
                self._handover.fail(error)
            await self._close_source()
        finally:
            self._close_queue()

    async def _enqueue_all(self) -> None:
        unread = self._handover.unread
        if self._handover.left:
            raise asyncio.CancelledError
        async for item in self._iterator:
            unread.append(item)
            await self._queue.enqueue(item)
            unread.clear()

    async def _close_source(self) -> None:
        aclose: Any = getattr(self._iterator, "aclose", None)
        if aclose is None:
            return
        try:
            await aclose()
        except BaseException as error:
            self._handover.late = error

    def _close_queue(self) -> None:
        if not self._core.ending.closing:
            self._runner.close()

    def _stop(self) -> None:
        self._handover.left = True
        if not self._core.ending.ended:
            self._close_queue()
            self._runner.cut_short("the block of the stream was left")
        if self._is_reading:  # else it would be cancelled before it could close the source
            self._reader.cancel()


def batches(
    source: AsyncIterable[T],
    policy: FlushPolicy,
    *,
    dedupe_key: DedupeKey[T] | None = None,
    merge: Merge[T] | None = None,
    weigh: Weigh[T] | None = None,
    max_queue_size: int = 10_000,
    max_queue_weight: float | None = None,
    throttle: Throttle | None = None,
    on_report: OnReport | None = None,
    name: str | None = None,
) -> BatchStream[T]:
    """Make lists of what a source yields, as the policy decides.

    Use it as ``async with batches(source, policy) as stream``, and inside of the block
    ``async for batch in stream``. The source is read on while a batch is worked on. A batch is cut
    when the policy says so and the consumer asks, so it holds all that has been read by then,
    within the caps. When the source has ended, the rest is yielded, and the loop ends.

    Args:
        source: Any async iterable, such as an async generator.
        policy: When a batch is worth it; a deep copy is run. To it a batch is a flush, which runs
            until the consumer asks for the next one.
        dedupe_key, merge, weigh: As of a FlushQueue.
        max_queue_size: How many items may wait; then one more is read, which waits for room.
        max_queue_weight: What the items that wait may weigh together; it needs ``weigh``. An item
            that does not fit is the one more. None: any weight.
        throttle: When a batch may be yielded; a deep copy is run. None: at any time.
        on_report: A plain function that is called with a FlushReport after every batch.
        name: What the stream is called in its repr, in exceptions, log records and tasks.

    Raises:
        TypeError, ValueError: As of a FlushQueue; or the source is not an async iterable.
    """
    if not isinstance(source, AsyncIterable):
        raise TypeError(f"source must be an async iterable, not {shown(source)}")
    core: Core[T] = Core(
        policy,
        dedupe_key=dedupe_key,
        merge=merge,
        weigh=weigh,
        max_queue_size=max_queue_size,
        max_queue_weight=max_queue_weight,
        throttle=throttle,
        name=name,
        keeps_reports=on_report is not None,
    )
    return BatchStream(source, core, on_report)
