"""The policy of a queue at work: what it is told, and what it answers.

The rules it keeps:

* *The policy hears everything, in order, once*: every arrival, every flush that starts and every
  one that ends. No time may be before :attr:`~RunningPolicy.now`.
* What it raises, or answers that is not a decision, is reported as its failure. It is told nothing
  more then.
* Its facts must agree with what it was told. They do not if an override forgets ``super()``.

An event that a policy does not override is noted by its facts at once, and then
:meth:`~flushq.policy.FlushPolicy.answer` is asked: the same as the event itself does, without the
checks of what the queue has made sure of. An answer that was found sound needs no second look, if
it comes again: a Flush always, a Wait until its time.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

from flushq.arguments import shown
from flushq.policy import (
    EVENTS,
    IDLE,
    Decision,
    Flush,
    FlushPolicy,
    flaw_in,
    overrides,
    running_copy,
)

_NOTES = {event: sys.intern(f"note_{event}") for event in EVENTS}
"""What the facts call an event that was checked; interned, as CPython finds such a name faster."""

OnFailure = Callable[[str, BaseException | None], object]
"""Is told what the policy has done, and what it raised, if it raised."""


class RunningPolicy:
    """A deep copy of a policy, and the decision that it made last.

    Args:
        policy: What is copied.
        max_in_flight: How many flushes may run at a time.
        on_failure: Is called when the policy fails.

    Raises:
        TypeError: ``policy`` is not a FlushPolicy, or cannot be deep-copied.

    Attributes:
        copy: The copy.
        now: The last time that it was told.
        decision: What it answered.
        pending: How many of the items that it was told of wait.
        failed: Whether it has failed.
    """

    def __init__(self, policy: FlushPolicy, max_in_flight: int, on_failure: OnFailure) -> None:
        self.copy = copy = running_copy(policy, max_in_flight)
        self.now = -math.inf
        self.decision: Decision = IDLE
        self.pending = 0
        self.failed = False
        self._in_flight = 0
        self._on_failure = on_failure
        self._overridden = tuple([event for event in EVENTS if overrides(copy, event)])
        self._sound: Decision = IDLE
        self._sound_until = math.inf
        self._item_added, self._flush_started, self._flush_done, self._tick = map(
            self._hearer, EVENTS
        )

    def _hearer(self, event: str) -> Callable[..., Any]:
        """What is told of an event."""
        overridden = event in self._overridden
        owner, name = (self.copy, event) if overridden else (self.copy.queue, _NOTES[event])
        hearer: Callable[..., Any] = getattr(owner, name)
        return hearer

    def item_added(self, now: float, count: int, weight: float) -> None:
        """Items have arrived."""
        self.pending += count
        self.now = now
        try:
            self._hear("item_added", self._item_added(now, count, weight))
        except BaseException as error:
            self._raised("item_added", error)

    def flush_started(self, now: float, count: int, weight: float) -> None:
        """The oldest items have left for a flush."""
        self.pending -= count
        self._in_flight += 1
        self.now = now
        try:
            self._hear("flush_started", self._flush_started(now, count, weight))
        except BaseException as error:
            self._raised("flush_started", error)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None
    ) -> None:
        """A flush has ended."""
        self._in_flight -= 1
        self.now = now
        try:
            self._hear("flush_done", self._flush_done(now, count, seconds, error))
        except BaseException as fault:
            self._raised("flush_done", fault)

    def tick(self, now: float) -> None:
        """The time asked for has come."""
        self.now = now
        try:
            self._hear("tick", self._tick(now))
        except BaseException as error:
            self._raised("tick", error)

    def _hear(self, event: str, answer: Any) -> None:
        """Take the answer to an event; it is None if only the facts were told."""
        if self.failed:
            return
        if event not in self._overridden:
            answer = self.copy.answer(self.now) if self.pending else IDLE
        facts = self.copy.queue
        if facts.pending != self.pending or facts.in_flight != self._in_flight:
            flaw: str | None = self._miscount()
        else:
            is_sound = answer is IDLE or (answer is self._sound and self.now < self._sound_until)
            flaw = None if is_sound else self._flaw_in(answer)
        if flaw is None:
            self.decision = answer
        else:
            self._fail(f"answered {event} with {shown(answer)}: {flaw}", None)

    def _flaw_in(self, answer: Any) -> str | None:
        """What is wrong with an answer, if anything."""
        flaw = flaw_in(answer, self.now)
        if flaw is None:
            self._sound = answer
            self._sound_until = math.inf if isinstance(answer, Flush) else answer.until
        return flaw

    def _miscount(self) -> str:
        """Where the facts differ from what was told."""
        facts = self.copy.queue
        return (
            f"it counts {facts.pending} pending and {facts.in_flight} in flight, not "
            f"{self.pending} and {self._in_flight}; an override returns super()'s answer"
        )

    def _raised(self, event: str, error: BaseException) -> None:
        self._fail(f"raised {shown(error)} in {event}", error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _fail(self, what: str, cause: BaseException | None) -> None:
        self.failed = True
        self._item_added = self._flush_started = self._flush_done = self._tick = _ignore
        self._on_failure(what, cause)


def _ignore(*_: object) -> None:
    """Hear nothing, as a policy that has failed."""
