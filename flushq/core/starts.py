"""When a call of flush_fn may start: the throttle, holds, and the line of calls.

A *call* is the first of a batch, or one more with the same items or a part of them, after a
failure. It starts when its batch is taken, or when it is let go from the line. The rules:

* No call starts before the throttle is ready and every *hold* is over, whatever the reason.
* While the queue is *held*, as that of a stream is whose consumer does not ask, no call starts.
* Calls after a failure stand in line: first until their pause is over, then until they may start,
  in the order in which their pauses end. They go before new batches. Each keeps the slot of its
  batch.
* The throttle hears of every call (flushq.core.running_throttle). If it fails, the queue does, and
  those in line are told that they will never start.

Theory of operation. A batch that is due and may not be taken yet is still due, so nothing is kept
of it but the time at which to look again. One time serves all, ``wake_at``; before it, only what
happens, and has a pass anyway, can change the answer. So nothing polls. A queue with no throttle,
of which no flush has failed, has nothing to do here: ``is_busy`` is false.
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
    """A call in line: when its pause is over, who waits for it, and what it is made with."""

    paused_until: float
    waiter: Waiter
    attempts: Attempts[T]


class Starts(Generic[T]):
    """The start of every call.

    Args:
        throttle: When a call may start; a deep copy is run. None: at any time.
        on_failure: Is called when the throttle fails.

    Raises:
        TypeError: It is not a Throttle, or cannot be copied.

    Attributes:
        is_busy: Whether there is anything to be done here.
        is_held: Whether no call starts until release().
        is_blocked: Whether a call is to start that nothing but the end of another lets start.
        line: The calls in line, in the order in which their pauses end.
        now: The latest time that is known; no event is told with an earlier one.
        wake_at: When a call may start that has to wait now; inf: not before something happens.
    """

    __slots__ = (
        "_held_until",
        "_throttle",
        "is_blocked",
        "is_busy",
        "is_held",
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
        self.is_held = self.is_blocked = False
        self.line: list[_InLine[T]] = []
        self.now = self._held_until = NEVER_YET
        self.wake_at: float = math.inf

    @property
    def failed(self) -> bool:
        """Whether the throttle has failed."""
        return self._throttle is not None and self._throttle.failed

    def hold(self) -> None:
        """Let no call start, whatever its reason."""
        self.is_held = self.is_busy = True

    def release(self) -> None:
        """Let calls start again, from the next pass on."""
        self.is_held = False

    # The line.

    def join(self, waiter: Waiter, attempts: Attempts[T], now: float) -> None:
        """Complete the waiter with True when the call may start; with False if it never will.

        That is if the throttle has failed, or the flush was interrupted, which flush_fn may have
        swallowed.
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
        """Its caller goes on, whether or not it may."""
        self.line = [call for call in self.line if call.waiter is not waiter]

    @property
    def blocked(self) -> set[Batch[T]]:
        """The batches in line whose pause is over, if nothing but the end of a call lets one go."""
        if not self.is_blocked:
            return set()
        return {call.attempts.batch for call in self.line if call.paused_until <= self.now}

    # Calls start and end.

    def let_go(self, now: float, *, is_due: bool) -> bool:
        """Start the calls in line that may, and return whether a batch that is due may be taken."""
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
        self.is_busy = self._throttle is not None or self.is_held or bool(self.line)
        return may_start

    def call_started(self, batch: Batch[T], count: int, weight: float) -> None:
        """A call starts, since let_go() has said that it may."""
        if self._throttle is not None:
            self._throttle.call_started(batch, self.now, count, weight)

    def note_end(self, batch: Batch[T], now: float, error: BaseException | None) -> None:
        """A call has ended, at this moment; tell_ends() is to tell of it."""
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
        """Whether a call may start; if not, wake_at is when it may."""
        if self.is_held:
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
