"""A stream of batches for threads: ``for batch in stream``.

Its theory is that of flushq.streams, and it is the same as flushq.aio.stream, file beside file. The
reader is a thread, which iterates the source and closes it. A thread cannot be interrupted, so
whoever leaves the block waits until the source has returned what the reader has asked it for.
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
from flushq.telling import OnReport, tell_late
from flushq.threads import primitives
from flushq.threads.interrupts import until_ended
from flushq.threads.primitives import Waiter
from flushq.threads.runner import Runner
from flushq.throttles import Throttle

T = TypeVar("T")

_END: Any = object()


class BatchStream(StreamView[T]):
    """Batches of what a source yields, to be iterated inside ``with``: see :func:`batches`.

    As a :class:`flushq.BatchStream`. Any thread may ask for a batch, one at a time. In the child of
    a fork the stream cannot be used.
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
        self._runner = Runner(self._hand, None, on_report, is_plain, core, None)
        self._locked = self._runner.entrance.locked
        self._handover = Handover(core, repr(self))
        self._threads: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Begin to read the source, in a thread.

        Raises:
            RuntimeError: The block was entered before, or no thread can be started.
        """
        if self._core.batcher.started:
            raise RuntimeError(f"{self!r} was entered before")
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
        """Stop reading, and close the source if it has a ``close``.

        This waits until the source has returned the item, if the reader has asked it for one; for
        ever, if it never does. No thread of the stream runs when this returns. An exception of the
        block goes on. An interrupt (KeyboardInterrupt) ends the waiting, and goes on: then the
        reader ends when the source returns, and ``undelivered`` is complete by then.

        Raises:
            BaseException: What the source raised while it was stopped, if the block raised nothing.
        """
        if self._runner.is_orphan():
            return
        self._handover.left = True
        interrupt = self._stop()
        if interrupt is not None:
            raise interrupt
        for thread in self._threads.values():
            thread.join()
        tell_late(self._core, self._handover.late, error)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[T]:
        """Say that the last batch was delivered, and wait for the next one.

        Raises:
            StopIteration: The source has ended, and all of it was delivered.
            PolicyError: The policy or the throttle has failed.
            ItemTooLarge, TypeError, ValueError: An item of the source was refused, as by
                :meth:`FlushQueue.enqueue`; what was read before it has been yielded.
            RuntimeError: Asked outside of the block, by two at a time, in on_report, or in the
                child of a fork.
            BaseException: What the source raised, or ``dedupe_key``, ``merge`` or ``weigh``; what
                was read before has been yielded.
        """
        runner = self._runner
        if runner.is_orphan():
            raise RuntimeError(f"{self!r} belongs to the parent of this process")
        runner.refuse_inside("asking for a batch")
        runner.wait(math.inf, self._ask, self._handover.leave)
        batch = self._locked(self._handover.take)
        if batch is None:
            raise StopIteration
        return batch

    def _ask(self, waiter: Waiter) -> None:
        self._handover.join(waiter)
        self._runner.wake()

    # What runs beside the consumer.

    def _hand(self, batch: list[T]) -> None:
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
        if self._handover.left:  # whoever left may have been interrupted
            self._stop()
        else:
            self._runner.close()

    def _enqueue_all(self) -> bool:
        """Enqueue what the source yields, and return whether it has come to its end."""
        handover, enter = self._handover, self._runner.entrance.enter
        while not handover.left:
            item = next(self._iterator, _END)
            if item is _END:
                return True
            handover.unread.append(item)
            enter(item, math.inf)
            handover.unread.clear()
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
        """End the queue, list what is left, and return an interrupt that came meanwhile."""
        self._runner.cut_short("the block of the stream was left")
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
    """Make lists of what a source yields, as the policy decides.

    Use it as ``with batches(source, policy) as stream``, and inside of the block ``for batch in
    stream``. The source is read on, in a thread, while a batch is worked on.

    Args:
        source: Any iterable, such as a generator. It is iterated and closed in a thread, in a copy
            of the contextvars context of the block.
        policy, dedupe_key, merge, weigh, max_queue_size, max_queue_weight, throttle, on_report,
            name: As of :func:`flushq.batches`. Threads are named after the stream.

    Raises:
        TypeError, ValueError: As of a FlushQueue; or the source is not an iterable.
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
