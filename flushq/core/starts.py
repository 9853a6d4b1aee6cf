"""When a call of flush_fn may start: the throttle, the holds and the line of calls.

The first *call* for a batch starts when the batch is taken. After a failure there may be further
calls, with the same items or a part of them. These further calls wait in the *line of calls*, and
start from there. The rules:

* No call starts before the throttle is ready and all holds are over. No reason to flush overrides
  this. (A *hold* comes from the verdict ``Retry(after=s, hold=True)``: no call of the queue starts
  for s seconds.)
* While the queue is suspended, no call starts. A stream suspends its queue while no consumer asks
  for a batch.
* A call in line waits until its pause is over, and then until it may start. The calls start in the
  order in which their pauses end. A call whose pause is over starts before a new batch is taken.
  A batch whose call is in line keeps its slot.
* The throttle is told of every call (flushq.core.running_throttle). If the throttle fails, the
  queue fails, and the calls in line never start: their waiters are completed with False.

Theory of operation. If a batch is due but may not be taken yet, it stays due. So only the time of
the next check must be kept. One time, ``wake_at``, is enough for all calls: before that time only
an event can let a call start, and each event causes a pass anyway. So nothing polls. If there is
no throttle, no hold, no call in line and no suspension, no check is needed: then ``is_busy`` is
false.
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
    """A call in line: the end of its pause, and the waiter and the attempts of its flush."""

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
        is_busy: Whether this object must be asked before a call starts.
        is_suspended: Whether no call starts until :meth:`resume`.
        is_blocked: Whether a waiting call can start only after another call has ended.
        line: The calls in line, in the order in which their pauses end.
        now: The latest time of any event so far. The throttle is never told an earlier time.
        wake_at: The time at which the next waiting call may start; inf if no call waits, or if only
            an event can let a call start.
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
        """Let no call start until :meth:`resume` is called; no reason to flush overrides this."""
        self.is_suspended = self.is_busy = True

    def resume(self) -> None:
        """Let calls start again, from the next pass on."""
        self.is_suspended = False

    # The line of calls.

    def join(self, waiter: Waiter, attempts: Attempts[T], now: float) -> None:
        """Put the next call of a flush in line; ``attempts.next`` is the pause before this call.

        The waiter is completed with True when the call starts. In two cases the waiter is completed
        with False, and the call never starts: the throttle fails, or the queue interrupted the
        flush before this method was called.
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
        """Remove the call of this waiter from the line, if the call is still there."""
        self.line = [call for call in self.line if call.waiter is not waiter]

    @property
    def blocked(self) -> set[Batch[T]]:
        """The batches whose call in line waits only for the end of another call."""
        if not self.is_blocked:
            return set()
        return {call.attempts.batch for call in self.line if call.paused_until <= self.now}

    # Calls start and end.

    def start_calls_in_line(self, now: float, *, is_due: bool) -> bool:
        """Start the calls in line that may start; return whether the due batch may be taken.

        ``is_due`` says whether a batch is due. If no batch is due, return False.
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
        """Tell the throttle that a call starts; :meth:`start_calls_in_line` has allowed it."""
        if self._throttle is not None:
            self._throttle.call_started(batch, self.now, count, weight)

    def note_end(self, batch: Batch[T], now: float, error: BaseException | None) -> None:
        """Record that a call has ended at ``now``; :meth:`tell_ends` will tell the throttle."""
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
        """Return whether a call may start now.

        If not, set ``wake_at``. But while the queue is suspended, return False and set nothing.
        """
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
