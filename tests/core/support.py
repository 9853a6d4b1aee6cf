"""Helpers of the tests of the core: waiters without a loop, and batches."""

from typing import Any

import attrs

from flushq.core.batch import Batch
from flushq.core.running_policy import RunningPolicy
from flushq.policies import NaturalPolicy


@attrs.define(eq=False)
class Caller:
    """A waiter like that of a driver: it is answered once, or cancelled.

    Attributes:
        answer: The result with which it was completed.
    """

    answer: Any = None
    _state: str = "waits"

    def done(self) -> bool:
        """Return whether it was completed or cancelled."""
        return self._state != "waits"

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._state == "cancelled"

    def result(self) -> Any:
        """Return the result with which it was completed."""
        assert self._state == "answered"
        return self.answer

    def set_result(self, result: Any, /) -> None:
        """Complete it with this result."""
        assert self._state == "waits"
        self.answer, self._state = result, "answered"

    def cancel(self) -> None:
        """Cancel it, unless it was answered before."""
        if self._state == "waits":
            self._state = "cancelled"


def batch_of(*items: int, first: int = 0, started: float = 0.0) -> Batch[int]:
    """Return a batch of these items, numbered from ``first``; the oldest one came at 0."""
    policy = RunningPolicy(NaturalPolicy(), (), 1, lambda *_: None)
    return Batch(list(items), len(items), 5, (), "full", first, 0.0, started, 4, policy)
