"""Helpers of the tests of the queue for threads."""

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from flushq import FlushPolicy, IntervalPolicy
from flushq.threads import FlushQueue
from tests.threads.stage import Stage, no_collector, play
from tests.threads.steps import CAN_TRACE_THREADS, Tracer

NEVER = IntervalPolicy(float("inf"))


class Interrupt(KeyboardInterrupt):
    """The interrupt that a test raises, like Ctrl-C."""


def interrupt() -> None:
    """Raise an Interrupt."""
    raise Interrupt


class Sink:
    """A flush_fn that keeps its batches; on a stage each call takes the given seconds."""

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
        """All items, in the order of the calls."""
        return [item for batch in self.batches for item in batch]


def queue_of(
    sink: Callable[[list[Any]], object], policy: FlushPolicy = NEVER, **options: Any
) -> Any:
    """Return a queue; by default it never flushes by itself."""
    return FlushQueue(sink, policy, **options)


def at_every_step(act: Callable[[], object], play_once: Callable[[Any], object]) -> int:
    """Repeat a test, and call ``act`` at another step of a call each time; return the step count.

    ``play_once`` runs the test. It gets a function, through which it must make the call. The call
    raises the exception of ``act``, as it raises that of a signal handler. Before each run there is
    one without ``act``, so that all functions are traced step by step: see `tests.threads.steps`.
    """
    for number in count(1):
        AtStep(sys.maxsize, act).play(play_once)
        at_step = AtStep(number, act)
        with suppress(Interrupt):
            at_step.play(play_once)
        if at_step.count < number:
            return number - 1
    raise AssertionError


def at_every_step_on_stage(
    act: Callable[[], object], body: Callable[[Stage, Any], object], *, seed: int = 0
) -> None:
    """Do the same as ``at_every_step`` with a function that runs on a stage, and starts threads."""

    def play_once(make: Callable[[Callable[[], object]], None]) -> None:
        play(lambda stage: body(stage, make), seed)

    if CAN_TRACE_THREADS:
        assert at_every_step(act, play_once) > 10
    else:
        play_once(_call)


def _call(call: Callable[[], object]) -> None:
    call()


class AtStep:
    """A run of a test in which ``act`` is called at the given step of a call."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.count = 0
        self._number = number
        self._act = act
        self._is_counting = False
        self._tracer = Tracer(self._between)

    def play(self, play_once: Callable[[Any], object]) -> None:
        """Run the test once: trace everything until ``act``, and count the steps of the call."""
        before = sys.gettrace()
        with no_collector():  # it would call functions that are traced as well
            sys.settrace(self._tracer.trace)
            try:
                play_once(self._make)
            finally:
                sys.settrace(before)

    def _make(self, call: Callable[[], object]) -> None:
        sys.settrace(self._tracer.trace)
        self._is_counting = True
        try:
            call()
        finally:
            self._is_counting = False

    def _between(self) -> None:
        if self._is_counting:
            self.count += 1
            if self.count == self._number:
                sys.settrace(None)
                self._act()
