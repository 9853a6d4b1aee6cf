"""A stream of batches for threads: ``for batch in stream``.

flushq.streams explains how a stream works. The reader is one thread, which iterates over the source
and closes the source. A thread cannot be interrupted. So if the block is left while the reader
waits for an item of the source, the end of the block waits until the source returns.
"""

import math
from collections.abc import Iterable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from flushq.arguments import shown
from flushq.core.caps import Weigh
from flushq.core.core import Core
from flushq.core.duplicates import DedupeKey
from flushq.core.merging import Merge
from flushq.policy import FlushPolicy
from flushq.streams import Handover, StreamView
from flushq.telling import OnReport, raise_or_log_late
from flushq.threads import primitives
from flushq.threads.interrupts import until_ended
from flushq.threads.primitives import Waiter
from flushq.threads.runner import Runner
from flushq.throttles import Throttle

T = TypeVar("T")

_END: Any = object()


class BatchStream(StreamView[T]):
    """A stream of batches. Iterate it inside ``with``: see :func:`batches`.

    A consumer that asks for the next batch confirms that the previous batch was delivered. Any
    thread may ask, but only one thread at a time.

    If the block is left early (by ``break`` or an exception), the reading stops. No item is lost
    silently: after the block, ``undelivered`` and ``in_doubt`` are complete (after an interrupt:
    see :meth:`__exit__`). In the child of a fork the stream cannot be used.
    """

    def __init__(
        self,
        source: Iterable[T],
        core: Core[T],
        on_report: OnReport | None,
        *,
        is_plain: bool,
    ) -> None:
        self._source = source
        self._core = core
        self._runner = Runner(self._hand_over, None, on_report, is_plain, core, None)
        self._locked = self._runner.entrance.locked
        self._handover = Handover(core, repr(self))
        self._threads: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start the thread that reads the source.

        Raises:
            RuntimeError: The block was entered before, or no thread can be started.
        """
        if self._core.batcher.started:
            raise RuntimeError(f"cannot enter {self!r}: it was entered before")
        self._iterator = iter(self._source)
        self._runner.start()
        read = partial(copy_context().run, self._read)
        name = f"flushq{self._core.name} reader"
        self._threads["reader"] = primitives.start_thread(read, name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading, and close the source if it has a method ``close``.

        If the reader has asked the source for an item, this waits until the source returns, without
        a time limit. When this returns, nothing of the stream runs any more. An exception of the
        block is raised afterwards. An interrupt (KeyboardInterrupt) ends the wait, and is raised.
        In that case the reader ends later, when the source returns. After that ``undelivered`` is
        complete.

        Raises:
            BaseException: The exception that the source raised after the block was left, or when
                the source was closed, if the block raised nothing.
        """
        if self._runner.belongs_to_parent():
            return
        self._handover.left = True
        interrupt = self._stop()
        if interrupt is not None:
            raise interrupt
        for thread in self._threads.values():
            thread.join()
        raise_or_log_late(self._core, self._handover.late, error)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[T]:
        """Confirm that the previous batch was delivered, and return the next batch when it is due.

        Raises:
            StopIteration: The source has ended, and all its items were delivered.
            PolicyError: The policy or the throttle has failed.
            ItemTooLarge, TypeError, ValueError: An item of the source was refused, for the reasons
                at :meth:`FlushQueue.enqueue`. All items before this item were yielded.
            RuntimeError: Called outside of the block, by two threads at a time, in on_report, or in
                the child of a fork.
            BaseException: Raised by the source, ``dedupe_key``, ``merge`` or ``weigh``. All items
                that the stream had accepted by then were yielded.
        """
        runner = self._runner
        if runner.belongs_to_parent():
            raise RuntimeError(
                f"{self!r} belongs to the parent of this process; it cannot be used in the child "
                "of a fork"
            )
        runner.check_not_inside("asking for a batch")
        runner.wait(math.inf, self._ask, self._handover.leave)
        batch = self._locked(self._handover.take)
        if batch is None:
            raise StopIteration
        return batch

    def _ask(self, waiter: Waiter) -> None:
        self._handover.join(waiter)
        self._runner.wake()

    # The flush and the reader.

    def _hand_over(self, batch: list[T]) -> None:
        self._threads["worker"] = primitives.current_thread()
        waiter = Waiter()
        self._locked(self._handover.offer, batch, waiter)
        waiter.wait()

    def _read(self) -> None:
        try:
            has_ended = self._enqueue_all()
        except BaseException as error:
            self._handover.fail(error)
            has_ended = False
        if not has_ended:
            self._close_source()
        if self._handover.left:  # an interrupt may have kept __exit__ from ending the queue
            self._stop()
        else:
            self._runner.close()

    def _enqueue_all(self) -> bool:
        """Enqueue items until the block is left, or until the source has ended.

        Return whether the source has ended.
        """
        handover, enter = self._handover, self._runner.entrance.enter
        while not handover.left:
            item = next(self._iterator, _END)
            if item is _END:
                return True
            handover.unaccepted.append(item)
            enter(item, math.inf)
            handover.unaccepted.clear()
        return False

    def _close_source(self) -> None:
        close: Any = getattr(self._iterator, "close", None)
        if close is None:
            return
        try:
            close()
        except BaseException as error:
            self._handover.late = error

    def _stop(self) -> BaseException | None:
        """End the queue, and list the lost items.

        Return the last interrupt that came meanwhile, or None.
        """
        self._runner.stop("the block of the stream was left")
        interrupt = until_ended(self._core, self._runner, owner=True)
        self._locked(self._handover.let_flush_end)
        self._locked(self._handover.list_losses)
        return interrupt


def batches(
    source: Iterable[T],
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

    Use it as ``with batches(source, policy) as stream``, and inside the block ``for batch in
    stream``. Each batch is a list. A thread continues to read the source while the consumer works
    on a batch. The next batch is formed when the policy says so and the consumer asks for it. So it
    holds all items that were read by then, as far as the caps of the policy allow. When the source
    has ended, the remaining items are yielded, and the loop ends.

    Args:
        source: Any iterable, such as a generator. A thread reads and closes it, in a copy of the
            contextvars context in which the block was entered.
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
        on_report: A plain function that is called with a FlushReport after every batch. It runs in
            a thread of the stream, and the next batch may have to wait for it, so it must be quick.
            An exception that it raises is logged.
        name: The name of the stream in its repr, in exceptions, log records and thread names.

    Raises:
        TypeError, ValueError: The same as for a :class:`FlushQueue`; or the source is not an
            iterable.
    """
    if not isinstance(source, Iterable):
        raise TypeError(f"source must be an iterable, not {shown(source)}")
    core: Core[T] = Core(
        policy,
        dedupe_key=dedupe_key,
        merge=merge,
        weigh=weigh,
        max_queue_size=max_queue_size,
        max_queue_weight=max_queue_weight,
        throttle=throttle,
        name=name,
        burst=math.inf,
        keeps_reports=on_report is not None,
    )
    is_plain = dedupe_key is None and weigh is None
    return BatchStream(source, core, on_report, is_plain=is_plain)
