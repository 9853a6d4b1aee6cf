"""The throttle of a queue at work: what it is told, and what it answers.

The rules it keeps:

* *The throttle hears of every call*, once when it starts and once when it has ended, in the order
  in which that happens.
* Its code runs in a pass alone. The end of a call is noted at the moment it ends, and told, with
  that time, before the throttle is asked anything and before another call starts.
* What it raises, or answers that is not a time, is reported as its failure. It is told nothing
  more then, and no call may start any more.
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
"""Is told what the throttle has done, and what it raised, if it raised."""

_Call = tuple[float, int, float]
"""When it started, how many items it has, and what they weigh."""


class RunningThrottle(Generic[T]):
    """A copy of a throttle, and the calls that it was told of.

    Args:
        copy: The copy.
        on_failure: Is called when it fails.

    Attributes:
        failed: Whether it has failed.
    """

    __slots__ = ("_copy", "_ended", "_on_failure", "_running", "failed")

    def __init__(self, copy: Throttle, on_failure: OnFailure) -> None:
        self.failed = False
        self._copy = copy
        self._on_failure = on_failure
        self._running: dict[Batch[T], _Call] = {}
        self._ended: list[tuple[_Call, float, BaseException | None]] = []

    def call_started(self, batch: Batch[T], now: float, count: int, weight: float) -> None:
        """A call with items of a batch starts."""
        self._running[batch] = now, count, weight
        self._tell("call_started", now, count, weight)

    def note_end(self, batch: Batch[T], now: float, error: BaseException | None) -> None:
        """The call with items of a batch has ended; if none runs, nothing has."""
        call = self._running.pop(batch, None)
        if call is not None:
            self._ended.append((call, now, error))

    def tell_ends(self) -> None:
        """Tell of the calls that have ended."""
        while self._ended:
            (started, count, weight), now, error = self._ended.pop(0)
            self._tell("call_done", now, count, now - started, weight, error=error)

    def ready_at(self, now: float, *, is_pausing: bool) -> float:
        """From which time on a call may start; inf: not before something else happens.

        ``is_pausing`` says that a retry will ask later, by itself.
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
