"""When a call of flush_fn may start: the throttle, holds, and the line of calls.

The first *call* for a batch starts when the batch is taken. After a failure there may be further
calls, with the same items or a part of them: these start from the line of calls. The rules:

* No call starts before the throttle is ready and the hold of every Retry is over, whatever the
  reason of the flush. (A verdict ``Retry(after=s, hold=True)`` holds all calls for s seconds.)
* While the queue is suspended, no call starts. A stream suspends its queue while no consumer asks
  for a batch.
* Calls after a failure wait in line: first until their pause is over, then until they may start,
  in the order in which their pauses end. They start before new batches. Meanwhile their batches
  keep their slots.
* The throttle is told of every call (flushq.core.running_throttle). If the throttle fails, the
  queue fails, and the calls in line never start: their waiters are told so.

Theory of operation. A batch that is due and may not be taken yet stays due, so only the time of the
next check must be kept. One time, ``wake_at``, is enough for all calls: before that time only an
event can change the answer, and each event causes a pass anyway. So nothing polls. If there is no
throttle, no hold and no call in line, there is nothing to check here: ``is_busy`` is false.
"""

import math
from bisect import insort
from functools import partial
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from flushq.arguments import as_float
from flushq.core.attempts import Attempts, Pause
from flushq.core.batch import Batch
from flushq.core.running_throttle import OnFailure, RunningThrottle
from flushq.core.waiter import Waiter, wake
from flushq.throttles import Throttle
from flushq.throttles.throttle import throttle_copy

T = TypeVar("T")


NEVER_YET: float = -math.inf


class _InLine(NamedTuple, Generic[T]):
    """A call in line: the end of its pause, the waiter of its flush, and the flush's attempts."""

    paused_until: float
    waiter: Waiter
    attempts: Attempts[T]


class Starts(Generic[T]):
    """The part of a queue that decides when calls of flush_fn start.

    Args:
        throttle: The throttle that decides when a call may start. A deep copy of it is run. None: a
            call may start at any time.
        on_failure: The function that is called when the throttle fails.

    Raises:
        TypeError: ``throttle`` is not a Throttle, or cannot be copied.

    Attributes:
        is_busy: Whether calls must be checked here before they start.
        is_suspended: Whether no call starts until :meth:`resume`.
        is_blocked: Whether a call waits and only the end of another call can let it start.
        line: The calls in line, in the order in which their pauses end.
        now: The latest known time. No event is told with an earlier time.
        wake_at: The time at which a call that waits may start; inf if it must wait for an event.
    """

    __slots__ = (
        "_held_until",
        "_throttle",
        "is_blocked",
        "is_busy",
        "is_suspended",
        "line",
        "now",
        "wake_at",
    )

    def __init__(self, throttle: Throttle | None, on_failure: OnFailure) -> None:
        self._throttle: RunningThrottle[T] | None = None
        if throttle is not None:
            on_failure = partial(self._fail, on_failure)
            self._throttle = RunningThrottle(throttle_copy(throttle), on_failure)
        self.is_busy = throttle is not None
        self.is_suspended = self.is_blocked = False
        self.line: list[_InLine[T]] = []
        self.now = self._held_until = NEVER_YET
        self.wake_at: float = math.inf

    @property
    def failed(self) -> bool:
        """Whether the throttle has failed."""
        return self._throttle is not None and self._throttle.failed

    def suspend(self) -> None:
        """Let no call start until :meth:`resume`, whatever its reason."""
        self.is_suspended = self.is_busy = True

    def resume(self) -> None:
        """Let calls start again, from the next pass on."""
        self.is_suspended = False

    # The line.

    def join(self, waiter: Waiter, attempts: Attempts[T], now: float) -> None:
        """Put the next call of a flush in line, after the pause that ``attempts.next`` names.

        The waiter is completed with True when the call starts. It is completed with False if the
        throttle fails, or if the flush was interrupted and flush_fn swallowed the cancellation:
        then the call never starts.
        """
        pause = attempts.next
        assert isinstance(pause, Pause)
        if self.failed or attempts.batch.interrupted:
            wake(waiter, answer=False)
            return
        until = now + pause.seconds
        if pause.holds:
            self._held_until = max(self._held_until, until)
        insort(self.line, _InLine(until, waiter, attempts), key=attrgetter("paused_until"))
        self.is_busy = True

    def leave(self, waiter: Waiter) -> None:
        """Remove the call of this waiter from the line, if it is still there."""
        self.line = [call for call in self.line if call.waiter is not waiter]

    @property
    def blocked(self) -> set[Batch[T]]:
        """The batches in line that wait for nothing but the end of another call."""
        if not self.is_blocked:
            return set()
        return {call.attempts.batch for call in self.line if call.paused_until <= self.now}

    # Calls start and end.

    def start_calls_in_line(self, now: float, *, is_due: bool) -> bool:
        """Start the calls in line that may start; return whether a due batch may be taken.

        ``is_due`` says whether a batch is due.
        """
        self.now = now = max(now, self.now)
        self.wake_at, self.is_blocked = math.inf, False
        may_retry = True
        while may_retry and self.line and self.line[0].paused_until <= now:
            may_retry = self._may_start(now)
            if may_retry:
                self._start(self.line.pop(0))
        may_start = may_retry and is_due and self._may_start(now)
        if self.line and self.wake_at == math.inf:
            pauses = (call.paused_until for call in self.line if call.paused_until > now)
            self.wake_at = max(next(pauses, math.inf), self._held_until)
        is_held_back = self.is_suspended or now < self._held_until
        self.is_busy = self._throttle is not None or is_held_back or bool(self.line)
        return may_start

    def call_started(self, batch: Batch[T], count: int, weight: float) -> None:
        """Tell the throttle of the start of a call that :meth:`start_calls_in_line` has allowed."""
        if self._throttle is not None:
            self._throttle.call_started(batch, self.now, count, weight)

    def note_end(self, batch: Batch[T], now: float, error: BaseException | None) -> None:
        """Note that a call has ended at ``now``; :meth:`tell_ends` will tell the throttle."""
        self.now = max(now, self.now)
        if self._throttle is not None:
            self._throttle.note_end(batch, self.now, error)

    def tell_ends(self) -> None:
        """Tell the throttle of the calls that have ended."""
        if self._throttle is not None:
            self._throttle.tell_ends()

    def _start(self, call: _InLine[T]) -> None:
        if call.waiter.done():  # its flush was cut short
            return
        try:
            self.call_started(call.attempts.batch, *call.attempts.size)
        finally:
            wake(call.waiter, not self.failed)

    def _may_start(self, now: float) -> bool:
        """Return whether a call may start now; if not, and not suspended, set ``wake_at``."""
        if self.is_suspended:
            return False
        ready = self._held_until
        if self._throttle is not None:
            is_pausing = bool(self.line) and self.line[-1].paused_until > now
            ready = max(ready, self._throttle.ready_at(now, is_pausing=is_pausing))
        if ready <= now:
            return True
        self.wake_at = ready
        self.is_blocked = as_float(ready) == math.inf
        return False

    def _fail(self, on_failure: OnFailure, what: str, cause: BaseException | None) -> None:
        on_failure(what, cause)
        line, self.line = self.line, []
        for call in line:
            wake(call.waiter, answer=False)
