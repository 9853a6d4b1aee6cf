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
from collections.abc import Callable
from typing import Any

from flushq.arguments import shown
from flushq.policy import IDLE, Decision, Flush, FlushPolicy, flaw_in

OnFailure = Callable[[str, BaseException | None], object]
"""Is told what the policy has done, and what it raised, if it raised."""


class RunningPolicy:
    """A copy of a policy, and the decision that it made last.

    Args:
        copy: The copy.
        overridden: The events that it overrides.
        max_in_flight: How many flushes may run at a time.
        on_failure: Is called when the policy fails.

    Attributes:
        copy: The copy.
        now: The last time that it was told.
        decision: What it answered.
        pending: How many of the items that it was told of wait.
        in_flight: How many of the flushes that it was told of run.
        failed: Whether it has failed, or another copy.
    """

    __slots__ = (
        "_max_in_flight",
        "_on_failure",
        "_overridden",
        "_sound",
        "_sound_until",
        "copy",
        "decision",
        "failed",
        "in_flight",
        "now",
        "pending",
    )

    def __init__(
        self,
        copy: FlushPolicy,
        overridden: tuple[str, ...],
        max_in_flight: int,
        on_failure: OnFailure,
    ) -> None:
        self.copy = copy
        self.now: float = -math.inf
        self.decision: Decision = IDLE
        self.pending = self.in_flight = 0
        self.failed = False
        self._max_in_flight = max_in_flight
        self._on_failure = on_failure
        self._overridden = overridden
        self._sound: Decision = IDLE
        self._sound_until = math.inf

    @property
    def may_flush(self) -> bool:
        """Whether something waits that another flush may take."""
        return self.pending > 0 and self.in_flight < self._max_in_flight

    def item_added(self, now: float, count: int, weight: float) -> None:
        """Items have arrived."""
        self.pending += count
        self.now = now
        if self.failed:
            return
        try:
            if "item_added" in self._overridden:
                answer: Any = self.copy.item_added(now, count, weight)
            else:
                self.copy.queue.note_item_added(now, count, weight)
                answer = self.copy.answer(now)
            self._take("item_added", answer)
        except BaseException as error:
            self._raised("item_added", error)

    def flush_started(self, now: float, count: int, weight: float) -> None:
        """The oldest items have left for a flush."""
        self.pending -= count
        self.in_flight += 1
        self.now = now
        try:
            if "flush_started" in self._overridden:
                answer: Any = self.copy.flush_started(now, count, weight)
            else:
                self.copy.queue.note_flush_started(now, count, weight)
                answer = self.copy.answer(now) if self.pending else IDLE
            self._take("flush_started", answer)
        except BaseException as error:
            self._raised("flush_started", error)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None
    ) -> None:
        """A flush has ended."""
        self.in_flight -= 1
        self.now = now
        if self.failed:
            return
        try:
            if "flush_done" in self._overridden:
                answer: Any = self.copy.flush_done(now, count, seconds, error)
            else:
                self.copy.queue.note_flush_done(now)
                answer = self.copy.answer(now) if self.pending else IDLE
            self._take("flush_done", answer)
        except BaseException as fault:
            self._raised("flush_done", fault)

    def tick(self, now: float) -> None:
        """The time asked for has come."""
        self.now = now
        if self.failed:
            return
        try:
            if "tick" in self._overridden:
                answer: Any = self.copy.tick(now)
            else:
                self.copy.queue.note_tick(now)
                answer = self.copy.answer(now) if self.pending else IDLE
            self._take("tick", answer)
        except BaseException as error:
            self._raised("tick", error)

    # No event: the facts are corrected where they change, and the policy is asked later.

    def displaced(self, weight: float) -> None:
        """The oldest item, of this weight, has left without a flush."""
        self.pending -= 1
        if not self.failed:
            self.copy.queue.displaced(1, weight)

    def reweighed(self, change: float) -> None:
        """An item that waits weighs so much more, or less."""
        if not self.failed:
            self.copy.queue.reweighed(change)

    def ask_again(self, now: float) -> None:
        """Its facts were corrected."""
        self.now = now
        if self.failed:
            return
        try:
            self._take("the corrected facts", self.copy.answer(now))
        except BaseException as error:
            self._raised("decide", error)

    def _take(self, event: str, answer: Any) -> None:
        """Take the answer to an event."""
        facts = self.copy.queue
        if facts.pending != self.pending or facts.in_flight != self.in_flight:
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
            f"{self.pending} and {self.in_flight}; an override returns super()'s answer"
        )

    def _raised(self, event: str, error: BaseException) -> None:
        self._fail(f"raised {shown(error)} in {event}", error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _fail(self, what: str, cause: BaseException | None) -> None:
        self.hear_no_more()
        self._on_failure(what, cause)

    def hear_no_more(self) -> None:
        """It, or another copy of the same policy, has failed."""
        self.failed = True
