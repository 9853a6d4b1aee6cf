"""What the tests of the queue for threads share."""

import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from flushq import FlushPolicy, IntervalPolicy
from flushq.threads import FlushQueue
from tests.threads.stage import Stage
from tests.threads.steps import at_step

NEVER = IntervalPolicy(float("inf"))


class Interrupt(KeyboardInterrupt):
    """A Ctrl-C of a test."""


def interrupt() -> None:
    """Press Ctrl-C."""
    raise Interrupt


class Sink:
    """Keeps what it gets; on a stage it may take its time."""

    def __init__(self, stage: Stage | None = None, seconds: float = 0.0) -> None:
        self.batches: list[list[Any]] = []
        self._stage = stage
        self._seconds = seconds

    def __call__(self, batch: list[Any]) -> None:
        """Keep a batch."""
        if self._stage is not None and self._seconds:
            self._stage.sleep(self._seconds)
        self.batches.append(batch)

    @property
    def items(self) -> list[Any]:
        """All items, in the order in which they came."""
        return [item for batch in self.batches for item in batch]


def queue_of(
    sink: Callable[[list[Any]], object], policy: FlushPolicy = NEVER, **options: Any
) -> Any:
    """A queue."""
    return FlushQueue(sink, policy, **options)


def at_every_step(act: Callable[[Any], object], play_once: Callable[[Any], object]) -> int:
    """Play again and again, and act at each step of the call in turn; return how many there were.

    ``play_once`` is called with a function that makes the call which is acted upon.
    """
    for number in count(1):
        hit: list[bool] = []

        def make(call: Callable[[], object], on: Any = None) -> None:
            hit.append(at_step(number, lambda: act(on), call))  # noqa: B023 - it is called here

        play_once(lambda call, on=None: at_step(sys.maxsize, int, call))  # see tests.threads.steps
        try:
            play_once(make)
        except Interrupt:
            hit.append(True)
        if not hit[-1]:
            return number - 1
    raise AssertionError
