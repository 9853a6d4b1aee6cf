"""A policy at work in a queue: the events that the policy is told of, and its answers.

The rules:

* *The policy is told everything, in order, once*: every arrival, every flush that starts and every
  flush that ends. No event may have a time before :attr:`~RunningPolicy.now`.
* An exception of the policy, or an answer that is not a valid decision, is reported as a failure of
  the policy. After a failure the policy is told of no more events.
* The facts in ``policy.queue`` must agree with the events. They do not agree if the policy
  overrides an event without calling ``super()``. This is a failure of the policy, too.

If a policy does not override an event, the method of the event is not called. Instead the facts are
updated directly, and if items wait, :meth:`~flushq.policy.FlushPolicy.answer` is called. The method
of the event would lead to the same answer, with checks that the queue does not need. An answer is
not checked if it is IDLE, or if it is the same object as the last answer that was found valid.
There is one exception: a Wait whose time has come is always checked.
"""

import math
from collections.abc import Callable
from typing import Any

from flushq.arguments import shown
from flushq.policy import IDLE, Decision, Flush, FlushPolicy, flaw_in

OnFailure = Callable[[str, BaseException | None], object]
"""A function that gets a text (what the policy did wrong) and an exception or None."""


class RunningPolicy:
    """A running copy of a policy, and the last decision of this copy.

    Args:
        copy: The copy of the policy.
        overridden: The names of the events that the policy overrides.
        max_in_flight: The most flushes of this copy that may run at a time.
        on_failure: The function that is called when the policy fails.

    Attributes:
        copy: The copy of the policy.
        now: The latest time that the policy was told.
        decision: The last valid answer of the policy; IDLE before the first answer.
        pending: The number of waiting items that the policy was told of.
        in_flight: The number of running flushes that the policy was told of.
        failed: Whether this copy, or another copy of the same policy, has failed.
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
        """Whether items wait and another flush may start."""
        return self.pending > 0 and self.in_flight < self._max_in_flight

    def item_added(self, now: float, count: int, weight: float) -> None:
        """Tell the policy that items have arrived."""
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
        """Tell the policy that a flush has taken the oldest items."""
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
        """Tell the policy that a flush has ended."""
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
        """Tell the policy that the time of its Wait has come."""
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

    # Corrections of the facts. A correction is not an event: only ask_again() asks for a decision.

    def displaced(self, weight: float) -> None:
        """Correct the facts: the oldest item, which has this weight, was displaced."""
        self.pending -= 1
        if not self.failed:
            self.copy.queue.displaced(1, weight)

    def reweighed(self, change: float) -> None:
        """Correct the facts: the weight of a waiting item has changed by ``change``."""
        if not self.failed:
            self.copy.queue.reweighed(change)

    def ask_again(self, now: float) -> None:
        """Ask the policy for a decision again, after its facts were corrected."""
        self.now = now
        if self.failed:
            return
        try:
            self._take("the corrected facts", self.copy.answer(now))
        except BaseException as error:
            self._raised("decide", error)

    def _take(self, event: str, answer: Any) -> None:
        """Keep the answer as the decision; report a failure if the answer or facts are wrong."""
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
        """Return what is wrong with an answer, or None if it is valid."""
        flaw = flaw_in(answer, self.now)
        if flaw is None:
            self._sound = answer
            self._sound_until = math.inf if isinstance(answer, Flush) else answer.until
        return flaw

    def _miscount(self) -> str:
        """Return the message for facts that do not agree with the events of the policy."""
        facts = self.copy.queue
        return (
            f"self.queue has pending={facts.pending} and in_flight={facts.in_flight}, "
            f"but must have pending={self.pending} and in_flight={self.in_flight}; "
            "an overridden event must call super()"
        )

    def _raised(self, event: str, error: BaseException) -> None:
        self._fail(f"raised {shown(error)} in {event}", error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _fail(self, what: str, cause: BaseException | None) -> None:
        self.mark_failed()
        self._on_failure(what, cause)

    def mark_failed(self) -> None:
        """Mark this copy as failed: from now on it is told of no events."""
        self.failed = True
