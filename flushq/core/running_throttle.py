"""A throttle at work in a queue: the calls that the throttle is told of, and its answers.

The rules:

* *The throttle is told of every call*, once of its start and once of its end, in the order of these
  events.
* The code of the throttle runs only in a pass. The end of a call is recorded when the call ends.
  The throttle is told of this end later, but before it is asked again, and before another call
  starts. It is told the time at which the call ended.
* An exception of the throttle, or an answer that is not a valid time, is reported as a failure of
  the throttle. After a failure the throttle is told nothing, and no call may start.
"""

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flushq.arguments import shown
from flushq.core.batch import Batch
from flushq.throttles import Throttle
from flushq.throttles.throttle import flaw_in

T = TypeVar("T")

OnFailure = Callable[[str, BaseException | None], object]
"""A function that gets a text (what the throttle did wrong) and an exception or None."""

_Call = tuple[float, int, float]
"""The time at which a call started, the number of its items, and their total weight."""


class RunningThrottle(Generic[T]):
    """A running copy of a throttle, and the calls that this copy was told of.

    Args:
        copy: The copy of the throttle.
        on_failure: The function that is called when the throttle fails.

    Attributes:
        failed: Whether the throttle has failed.
    """

    __slots__ = ("_copy", "_ended", "_on_failure", "_running", "failed")

    def __init__(self, copy: Throttle, on_failure: OnFailure) -> None:
        self.failed = False
        self._copy = copy
        self._on_failure = on_failure
        self._running: dict[Batch[T], _Call] = {}
        self._ended: list[tuple[_Call, float, BaseException | None]] = []

    def call_started(self, batch: Batch[T], now: float, count: int, weight: float) -> None:
        """Tell the throttle that a call with items of a batch starts."""
        self._running[batch] = now, count, weight
        self._tell("call_started", now, count, weight)

    def note_end(self, batch: Batch[T], now: float, error: BaseException | None) -> None:
        """Record the end of the running call for a batch; do nothing if there is no such call."""
        call = self._running.pop(batch, None)
        if call is not None:
            self._ended.append((call, now, error))

    def tell_ends(self) -> None:
        """Tell the throttle of the calls that have ended."""
        while self._ended:
            (started, count, weight), now, error = self._ended.pop(0)
            self._tell("call_done", now, count, now - started, weight, error=error)

    def ready_at(self, now: float, *, is_pausing: bool) -> float:
        """Return the time from which a call may start; inf if an event must come first.

        The throttle may answer inf only if a call runs, or if a retry pauses (``is_pausing``).
        After a failure of the throttle, return inf.
        """
        self.tell_ends()
        if self.failed:
            return math.inf
        try:
            ready = self._copy.ready_at(now)
            flaw = flaw_in(ready, waiting=is_pausing or bool(self._running))
        except BaseException as error:
            self._raised("ready_at", error)
            return math.inf
        if flaw is None:
            return ready
        self._fail(f"answered ready_at with {shown(ready)}: {flaw}", None)
        return math.inf

    def _tell(self, event: str, *facts: Any, **more: Any) -> None:
        if self.failed:
            return
        try:
            getattr(self._copy, event)(*facts, **more)
        except BaseException as error:
            self._raised(event, error)

    def _raised(self, event: str, error: BaseException) -> None:
        self._fail(f"raised {shown(error)} in {event}", error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _fail(self, what: str, cause: BaseException | None) -> None:
        self.failed = True
        self._on_failure(f"{type(self._copy).__name__} {what}", cause)
