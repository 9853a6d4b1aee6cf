"""A stream of batches for asyncio: ``async for batch in stream``.

flushq.streams explains how a stream works. The reader is one task, which iterates over the
source and closes the source: some sources must be closed in the task that iterated over them.
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
from flushq.telling import OnReport, raise_or_log_late
from flushq.throttles import Throttle

T = TypeVar("T")


class BatchStream(StreamView[T]):
    """A stream of batches. Iterate it inside ``async with``: see :func:`batches`.

    A consumer that asks for the next batch confirms that the previous batch was delivered. Only one
    consumer at a time may ask. If a consumer is cancelled while it waits for a batch, the next
    consumer that asks gets this batch.

    If the block is left early (by ``break``, an exception or a cancellation), the reading stops. No
    item is lost silently: after the block, ``undelivered`` and ``in_doubt`` are complete.
    """

    def __init__(self, source: AsyncIterable[T], core: Core[T], on_report: OnReport | None) -> None:
        self._source = source
        self._core = core
        self._runner = Runner(core, self._hand_over, None, on_report)
        self._queue = Entrance(core, self._runner)
        self._handover = Handover(core, repr(self))
        self._is_reading = False

    async def __aenter__(self) -> Self:
        """Start a task that reads the source.

        Raises:
            RuntimeError: The block was entered before.
        """
        self._runner.bind()
        if self._core.batcher.started:
            raise RuntimeError(f"cannot enter {self!r}: it was entered before")
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
        """Stop reading, and close the source if it has a method ``aclose``.

        When this returns, nothing of the stream runs any more. An exception of the block is raised
        afterwards. A cancellation during this call is passed on to the source, and is raised
        afterwards.

        Raises:
            BaseException: The exception that the source raised after the block was left, or when
                the source was closed, if the block raised nothing.
        """
        self._stop()
        cancelled = await until_done(self._reader, error)
        cancelled = await until_ended(self._core, self._runner, owner=True) or cancelled
        self._handover.list_losses()
        if cancelled is not None:
            raise cancelled
        raise_or_log_late(self._core, self._handover.late, error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        """Confirm that the previous batch was delivered, and return the next batch when it is due.

        Raises:
            StopAsyncIteration: The source has ended, and all its items were delivered.
            PolicyError: The policy or the throttle has failed.
            ItemTooLarge, TypeError, ValueError: An item of the source was refused, for the reasons
                at :meth:`FlushQueue.enqueue`. All items before this item were yielded.
            RuntimeError: Called outside of the block, on another event loop, or by two consumers at
                a time.
            BaseException: Raised by the source, ``dedupe_key``, ``merge`` or ``weigh``. All items
                that the stream had accepted by then were yielded.
        """
        self._runner.bind()
        self._runner.wake()
        await self._runner.wait(self._handover)
        batch = self._handover.take()
        if batch is None:
            raise StopAsyncIteration
        return batch

    # The flush and the reader.

    async def _hand_over(self, batch: list[T]) -> None:
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
        unaccepted = self._handover.unaccepted
        if self._handover.left:
            raise asyncio.CancelledError
        async for item in self._iterator:
            unaccepted.append(item)
            await self._queue.enqueue(item)
            unaccepted.clear()

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
            self._runner.stop("the block of the stream was left")
        if self._is_reading:  # a reader that has not begun must still close the source
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
    """Return a stream that yields the items of a source in batches, when the policy says so.

    Use it as ``async with batches(source, policy) as stream``, and inside the block
    ``async for batch in stream``. Each batch is a list. A task continues to read the source while
    the consumer works on a batch. The next batch is formed when the policy says so and the consumer
    asks for it. So it holds all items that were read by then, as far as the caps of the policy
    allow. When the source has ended, the remaining items are yielded, and ``async for`` ends.

    Args:
        source: Any async iterable, such as an async generator.
        policy: The policy, which decides when a batch is due; the stream runs a deep copy of it.
            A batch that is handed to the consumer counts as a flush, which ends when the consumer
            asks for the next batch.
        dedupe_key, merge, weigh: The same as for a :class:`FlushQueue`.
        max_queue_size: The most items that may wait. The reader may hold one more item, for which
            there is no room yet.
        max_queue_weight: The most weight that the waiting items may have together; needs ``weigh``.
            The reader may hold one more item, for which there is no room yet. None: any weight.
        throttle: The throttle, which decides when a batch may be yielded; the stream runs a deep
            copy of it. None: a batch may be yielded at any time.
        on_report: A plain function that is called with a FlushReport after every batch. An
            exception that it raises is logged.
        name: The name of the stream in its repr, in exceptions, log records and tasks.

    Raises:
        TypeError, ValueError: The same as for a FlushQueue; or the source is not an async iterable.
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
