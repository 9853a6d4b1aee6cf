"""The life and the end of a queue: start, close, deadline, owners, refusals, failure, outcome.

A *close* drains the queue: all waiting items become due for a flush. New items are refused, except
those that a running flush enqueues. A *failure* of a flush, the policy or the throttle stops the
queue: the waiting items become undelivered. The first close or failure sets the *deadline*. A later
close or failure does not move it. (But if ``max_shutdown_wait`` is None, flushq.threads sets a
deadline at interpreter shutdown.) At the deadline the running flushes are interrupted, and from
then on no flush starts. After a close or a failure the queue ends as soon as no flush runs and no
item waits. The *outcome* is the first failure. If there was no failure, but items were lost, the
outcome is a ShutdownTimeout. Otherwise it is None.

An *owner* is a caller that runs the queue (``async with``, ``run()``). If an owner is cancelled,
the queue closes. If a close has begun already, the cancellation cuts this close short. Other
callers can wait for the end of the queue, too. The cancellation of such a caller has the same
effect, unless an owner waits for the end of the queue, or has waited for it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from flushq.arguments import check_number
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher, End
from flushq.core.waiter import Waiter, wake
from flushq.errors import FlushqError, QueueClosed, QueueEnded, ShutdownTimeout

T = TypeVar("T")


class Ending(Generic[T]):
    """The state of a queue from its creation to its end, and the outcome of the queue.

    Args:
        batcher: The batcher of the queue.
        max_shutdown_wait: The time from the first close or failure to the deadline, in seconds.
            None: see :meth:`set_deadline`.
        label: The prefix of the messages of exceptions.
        describe: The function that returns a short description of the queue, for messages.

    Attributes:
        closing: Whether a close has begun.
        ended: Whether the queue has ended.
        deadline: The time at which the running flushes are interrupted; inf if there is no limit,
            None until the deadline is set.
        owned: Whether an owner waits for the end, or has waited for it.
    """

    def __init__(
        self,
        batcher: Batcher[T],
        max_shutdown_wait: float | None,
        label: str,
        describe: Callable[[], str],
    ) -> None:
        if max_shutdown_wait is not None:
            check_number("max_shutdown_wait", max_shutdown_wait, least=0)
        self.closing = self.ended = self.owned = False
        self.deadline: float | None = None
        self._failure_taken = False
        self._batcher = batcher
        self._max_shutdown_wait = max_shutdown_wait
        self._label = label
        self._describe = describe
        self._waiters: dict[Waiter, None] = {}

    # The state.

    @property
    def has_begun(self) -> bool:
        """Whether a close has begun or a failure has happened."""
        return self.closing or self._batcher.failure is not None

    @property
    def state(self) -> str:
        """The state of the queue in one word; see :attr:`QueueView.state`."""
        if self._batcher.failure is not None:
            return "failed"
        if self.closing:
            return "closed" if self.ended else "closing"
        return "running" if self._batcher.started else "new"

    def start(self) -> None:
        """Start the queue: batches may be taken from now on.

        Raises:
            QueueClosed: The queue is closing or closed.
            RuntimeError: The queue was already started.
        """
        if self.closing:
            raise QueueClosed(f"{self._describe()} cannot be started any more")
        if self._batcher.started:
            raise RuntimeError(f"{self._describe()} was started before, and can start only once")
        self._batcher.start()

    def close(self) -> None:
        """Begin a close: refuse new items, and drain the queue."""
        self.closing = True
        self._batcher.drain()

    def set_deadline(self, now: float, *, default_wait: float = math.inf) -> float:
        """Set and return the deadline: ``max_shutdown_wait`` seconds after ``now``.

        If ``max_shutdown_wait`` is None, the deadline is ``default_wait`` seconds after ``now``;
        inf seconds mean that there is no limit.
        """
        if self._max_shutdown_wait is None and default_wait < math.inf:
            self._max_shutdown_wait = default_wait
        limit = math.inf if self._max_shutdown_wait is None else float(self._max_shutdown_wait)
        self.deadline = now + limit
        return self.deadline

    def stop_at_deadline(self) -> None:
        """Stop the queue, because the deadline has come."""
        self.stop(f"closing took longer than max_shutdown_wait={self._max_shutdown_wait!r} s")

    def stop(self, why: str) -> None:
        """Let no more flushes start, because of ``why``; the driver interrupts running flushes."""
        self._batcher.stop(why)

    def finish(self) -> bool:
        """After a close or a failure, end the queue if nothing is left to do; return ``ended``."""
        if self.has_begun and self._batcher.is_empty:
            self.ended = True
            for waiter in self._waiters:
                wake(waiter)
        return self.ended

    # Callers that wait for the end.

    def join(self, waiter: Waiter, is_owner: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        """Register a waiter; it is completed when the queue has ended."""
        self.owned |= is_owner
        self._waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter, whether or not it was completed."""
        self._waiters.pop(waiter, None)

    def cancellation_ends_queue(self, *, is_owner: bool) -> bool:
        """Return whether the cancellation of a caller must end the queue.

        The caller waits for the end of the queue. If the result is true, the driver must close the
        queue (or stop it, if a close has begun already). If the result is false, it does neither.
        """
        return is_owner or not self.owned

    # Refusals.

    def check_open(self, inside: Batch[T] | None) -> None:
        """Raise the exception that :meth:`refusal` returns, unless it returns None."""
        refusal = self.refusal(inside)
        if refusal is not None:
            raise refusal

    def refusal(self, inside: Batch[T] | None) -> FlushqError | None:
        """Return the exception that refuses a caller, or None if the caller is not refused.

        ``inside`` is the running flush that the caller is inside of, or None.
        """
        if self._batcher.failure is not None:
            return self.outcome()
        if self.closing and (self._batcher.stopped or not self._batcher.runs(inside)):
            return QueueClosed(f"{self._describe()} accepts no more items and no calls of flush()")
        return None

    def check_delivered(self, mark: int) -> None:
        """Raise the outcome if an item with a sequence number below ``mark`` was lost."""
        if self._batcher.losses.first < mark:
            raise self._exception(self._end_by_now)

    # The outcome.

    def outcome(self) -> QueueEnded | None:
        """Return a new exception for the outcome; None if nothing failed and no item was lost."""
        if self._batcher.failure is None and not self._batcher.losses:
            return None
        return self._exception(self._end_by_now)

    def take_failure(self) -> QueueEnded | None:
        """Return a new exception for the failure of the queue, or None.

        The result is None if the queue has not failed, or if the failure was taken before.
        """
        if self._batcher.failure is None or self._failure_taken:
            return None
        self._failure_taken = True
        return self.outcome()

    def loss_factory(self) -> Callable[[], QueueEnded]:
        """Return a function that makes exceptions for lost items.

        The exceptions report the outcome that was known when ``loss_factory`` was called.
        """
        return partial(self._exception, self._end_by_now)

    def carries_loss(self, error: BaseException) -> bool:
        """Return whether ``error`` has this queue's lists of lost items.

        An exception group has them if any exception in the group has them.
        """
        if isinstance(error, BaseExceptionGroup):
            leaves: list[BaseException] = list(error.exceptions)
            return any(map(self.carries_loss, leaves))
        undelivered = self._batcher.losses.undelivered.items
        return isinstance(error, QueueEnded) and error.undelivered is undelivered

    @property
    def _end_by_now(self) -> End:
        batcher = self._batcher
        timeout = End(ShutdownTimeout, batcher.stopped, batcher.interruption)
        return batcher.failure or timeout

    def _exception(self, end: End) -> QueueEnded:
        losses = self._batcher.losses
        lists = losses.undelivered.items, losses.in_doubt.items
        error = end.kind(f"{self._label}{end.message}", *lists)
        error.__cause__ = end.cause
        return error
