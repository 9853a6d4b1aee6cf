"""Life and the end of a queue: start, close, limit, owners, failure, outcome; who is refused.

A *close* drains: all that waits is due, and new items are refused, except from inside a running
flush. A *failure*, of a flush or of the policy, stops the queue: what waits is undelivered. The
first of the two sets the only *deadline*: then nothing starts any more, and the flushes that run
are interrupted. The queue has ended when nothing runs and nothing waits any more. The *outcome* is
the first failure; without one it is a ShutdownTimeout, if anything was lost.

An *owner* is a caller that runs the queue (``async with``, ``run()``). To cancel it closes the
queue, or cuts the close short if that has begun. To cancel another caller that waits for the end
does so only if no owner has waited.
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
    """How far a queue has come between its start and its end, and how it ended.

    Args:
        batcher: What is started, drained and stopped.
        max_shutdown_wait: Seconds that the end may take. None: no limit.
        label: What the messages of the exceptions begin with.
        describe: Returns what a message calls the queue.

    Attributes:
        closing: Whether a close has begun.
        ended: Whether the queue has ended.
        deadline: When the end is to be over; None while it has not begun.
        owned: Whether an owner has waited for the end.
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

    # How far it has come.

    @property
    def begun(self) -> bool:
        """Whether the queue ends, or has ended: by a close or a failure."""
        return self.closing or self._batcher.failure is not None

    @property
    def state(self) -> str:
        """How far the queue has come, in a word."""
        if self._batcher.failure is not None:
            return "failed"
        if self.closing:
            return "closed" if self.ended else "closing"
        return "running" if self._batcher.started else "new"

    def start(self) -> None:
        """Take batches from now on.

        Raises:
            QueueClosed, RuntimeError: It is closing or closed; or it was started before.
        """
        if self.closing:
            raise QueueClosed(f"{self._describe()} cannot be started again")
        if self._batcher.started:
            raise RuntimeError(f"{self._describe()} was started before")
        self._batcher.start()

    def close(self) -> None:
        """Refuse new items, and drain."""
        self.closing = True
        self._batcher.drain()

    def set_deadline(self, now: float, *, unlimited: float = math.inf) -> float:
        """The end has begun: return by when it is to be over.

        Without a max_shutdown_wait it may take ``unlimited`` seconds.
        """
        if self._max_shutdown_wait is None and unlimited < math.inf:
            self._max_shutdown_wait = unlimited
        limit = math.inf if self._max_shutdown_wait is None else float(self._max_shutdown_wait)
        self.deadline = now + limit
        return self.deadline

    def pass_deadline(self) -> None:
        """The deadline has come."""
        self.cut_short(f"closing took longer than max_shutdown_wait={self._max_shutdown_wait!r} s")

    def cut_short(self, why: str) -> None:
        """Start no flush any more; the driver interrupts those that run."""
        self._batcher.stop(why)

    def finish(self) -> bool:
        """End the queue, if nothing is left to be done; return whether it has ended."""
        if self.begun and self._batcher.is_empty:
            self.ended = True
            for waiter in self._waiters:
                wake(waiter)
        return self.ended

    # Those who wait for the end.

    def join(self, waiter: Waiter, is_owner: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        """Complete the waiter when the queue has ended."""
        self.owned |= is_owner
        self._waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        self._waiters.pop(waiter, None)

    def may_be_hastened(self, *, is_owner: bool) -> bool:
        """Whether a cancellation of this caller, who waits for the end, hastens it."""
        return is_owner or not self.owned

    # Those who are refused.

    def check_open(self, inside: Batch[T] | None) -> None:
        """Raise the refusal, if there is one, of a caller inside this flush (None: in none)."""
        refusal = self.refusal(inside)
        if refusal is not None:
            raise refusal

    def refusal(self, inside: Batch[T] | None) -> FlushqError | None:
        """The exception for a caller that is part of this flush (None: of none), or None."""
        if self._batcher.failure is not None:
            return self.outcome()
        if self.closing and (self._batcher.stopped or not self._batcher.runs(inside)):
            return QueueClosed(f"{self._describe()} takes no items any more")
        return None

    def check_delivered(self, mark: int) -> None:
        """Raise the outcome if an item below this number was lost."""
        if self._batcher.losses.first < mark:
            raise self._exception(self._end_by_now)

    # The outcome.

    def outcome(self) -> QueueEnded | None:
        """How it ended: a new exception, or None if nothing has failed and nothing was lost."""
        if self._batcher.failure is None and not self._batcher.losses:
            return None
        return self._exception(self._end_by_now)

    def take_failure(self) -> QueueEnded | None:
        """The failure, at the first call only: a new exception, to be told at once."""
        if self._batcher.failure is None or self._failure_taken:
            return None
        self._failure_taken = True
        return self.outcome()

    def loss(self) -> Callable[[], QueueEnded]:
        """A factory for what is lost by now: each call makes a new exception, of the same kind."""
        return partial(self._exception, self._end_by_now)

    def carries_loss(self, error: BaseException) -> bool:
        """Whether an exception, or one in a group, carries the lists of this queue already."""
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
