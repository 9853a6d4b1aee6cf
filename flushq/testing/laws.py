"""The laws that every policy must keep, and a class that runs a policy through a history.

Theory of operation. A :class:`Play` tells a copy of the policy the event of each step that can
happen, and records the answers. The play also keeps the weights of the waiting items, and a
QueueState of its own. So it can check the laws that concern a single answer. The play also watches
``decide``, which must change nothing.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import attrs

from flushq.facts import QueueState
from flushq.policy import (
    Decision,
    Flush,
    FlushPolicy,
    Wait,
    check_caps,
    flaw_in,
    running_copy,
)
from flushq.testing.histories import Arrive, Due, Finish, History, Pass, Start, Step, quarter_of
from flushq.testing.watch import watched

LAWS = {
    "sound": "each event method returns a valid decision, raises nothing, and calls super()",
    "caps": "max_records and max_weight are valid caps and never change",
    "silent": "if no item is pending or no slot is free, the answer to each event is Wait()",
    "pure": "the answer to each event is that of decide; decide changes nothing and reads no clock",
    "ahead": "Wait.until is later than now",
    "kept": "if no event comes before Wait.until, tick(until) answers Flush",
    "idle": "while items are pending and no flush runs, the answer is Flush or a finite Wait.until",
    "repeatable": "the same history leads to the same decisions",
    "bursts": "one event with n items leads to the same decisions as n events with one item each",
    "shift": "if all times are shifted, so is Wait.until, which is a time, not a duration",
    "max_latency": "while a slot is free, no item waits longer than max_latency",
    "max_batch": "no batch has more than max_batch items",
    "ratio": "the policy spends at most ratio.bound times the optimum",
}
"""The name and the text of each law."""

OPTIONAL = tuple(LAWS)[1:-3]
"""The names that ``except_for`` may contain: all laws except ``sound`` and the three bounds. All
other laws need ``sound``. A bound is checked only if the caller gives this bound."""

_ROUNDING = 1e-9


class LawBroken(AssertionError):
    """A policy has broken a law. The message shows the history, event by event.

    Attributes:
        law: The name of the law; :data:`LAWS` has its text.
        why: How the law was broken.
        history: The events that the policy was told, with its answers. For ``ratio``: the times of
            the arrivals.
    """

    laws: ClassVar = LAWS

    def __init__(self, law: str, why: str, history: Sequence[object] = ()) -> None:
        super().__init__(law, why, history)
        self.law = law
        self.why = why
        self.history = history

    def __str__(self) -> str:
        """Return the law, how the law was broken, and the history, one event in each line."""
        lines = [f"{self.law}: {self.laws[self.law]}", f"but {self.why}"]
        return "\n    ".join([*lines, *map(str, self.history)])


@attrs.frozen
class MethodCall:
    """One call of a method of a policy or throttle (an event or a question), with the answer.

    Attributes:
        now: The time of the call, in seconds.
        name: The name of the method, for example ``item_added`` or ``ready_at``.
        facts: The arguments of the call, except ``now``.
        decision: The answer, or the exception that the method raised.
        weights: For ``item_added``, the weight of each item; else empty.
    """

    now: float
    name: str
    facts: tuple[Any, ...]
    decision: Any = None
    weights: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the call and its answer as one line of text."""
        facts = ", ".join(map(repr, (self.now, *self.facts)))
        return f"{self.name}({facts}) -> {self.decision!r}"

    def tell(self, policy: object) -> Any:
        """Call this method of a policy or throttle with these arguments, and return the answer."""
        return getattr(policy, self.name)(self.now, *self.facts)


class Play:
    """A run of a policy through a history."""

    def __init__(self, policy: FlushPolicy, history: History, except_for: Collection[str]) -> None:
        self._told: list[MethodCall] = []
        self._policy = running_copy(policy, history.slots)
        self._facts = QueueState(history.slots)
        self._changed: set[str] = set()
        self._history = history
        self._except_for = except_for
        self._now: float = 0 * history.unit
        self._waiting: list[float] = []
        self._running: list[tuple[float, int]] = []
        self._decision: Decision = Wait()
        self._caps = self._read_caps()

    def run(self) -> list[MethodCall]:
        """Play the whole history, and return all events with the policy's answers.

        Raises:
            LawBroken: A law that concerns a single answer is broken.
        """
        self._check_caps()
        for step in (*self._history.steps, Due()):
            self._take(step)
        return self._told

    def _take(self, step: Step) -> None:
        """Play one step if it can happen."""
        if not isinstance(step, Due):
            self._now += step.after * self._history.unit
        match step:
            case Arrive(_, weights):
                self._arrive(tuple(quarters * quarter_of(self._caps[1]) for quarters in weights))
            case Start(_, up_to) if self._waiting and self._is_free():
                self._start(up_to)
            case Finish(_, which, failed) if self._running:
                started, count = self._running.pop(which % len(self._running))
                error = OSError("flush_fn raised") if failed else None
                self._facts.flush_done(self._now, count, self._now - started)
                self._tell("flush_done", count, self._now - started, error)
            case Pass():
                self._tell("tick")
            case Due():
                self._go_to_due_time()

    def _arrive(self, weights: tuple[float, ...]) -> None:
        self._waiting += weights
        self._facts.item_added(self._now, len(weights), sum(weights))
        self._tell("item_added", len(weights), sum(weights), weights=weights)

    def _start(self, up_to: int | None) -> None:
        own = self._decision.up_to if isinstance(self._decision, Flush) else None
        limits = [limit for limit in (own, up_to) if limit is not None]
        count = self._batch_size(min([len(self._waiting), *limits]))
        weights = self._waiting[:count]
        del self._waiting[:count]
        self._running.append((self._now, count))
        self._facts.flush_started(self._now, count, sum(weights))
        self._tell("flush_started", count, sum(weights))

    def _go_to_due_time(self) -> None:
        """Go to the time that the policy asked for; check that its answer to a tick is Flush."""
        if not isinstance(self._decision, Wait):
            return
        until = self._decision.until
        if self._now < until < math.inf:
            self._now = until
            self._tell("tick")
            if not isinstance(self._decision, Flush):
                self._report_broken("kept", f"the policy answered {self._decision!r}")

    def _is_free(self) -> bool:
        return len(self._running) < self._history.slots

    def _read_caps(self) -> tuple[int | None, float | None]:
        return self._policy.max_records, self._policy.max_weight

    def _check_caps(self) -> None:
        try:
            check_caps(*self._caps)
        except (TypeError, ValueError) as error:
            raise LawBroken("caps", str(error)) from None

    def _batch_size(self, most: int) -> int:
        """Return the size of a batch of the oldest items: within the caps and at most ``most``."""
        records, heaviest = self._caps
        most = min(most, most if records is None else records)
        count, weight = 0, 0.0
        for mass in self._waiting[:most]:
            weight += mass
            if heaviest is not None and weight > heaviest:
                break
            count += 1
        return count

    def _tell(self, name: str, *facts: Any, weights: tuple[float, ...] = ()) -> None:
        event = MethodCall(self._now, name, facts, weights=weights)
        try:
            with watched(self._policy, self._changed):
                decision = event.tell(self._policy)
        except Exception as error:
            self._told.append(attrs.evolve(event, decision=error))
            raise LawBroken("sound", f"the policy raised {error!r}", self._told) from error
        self._told.append(attrs.evolve(event, decision=decision))
        self._check(decision)
        self._decision = decision

    def _check(self, decision: Any) -> None:
        """Check the laws that concern a single answer."""
        self._check_sound(decision)
        if self._read_caps() != self._caps:
            self._report_broken(
                "caps", f"the caps were {self._caps} and are {self._read_caps()} now"
            )
        if self._waiting and self._is_free():
            self._check_pure(decision)
            if decision == Wait() and not self._running:
                self._report_broken("idle", f"the answer was Wait(); pending: {len(self._waiting)}")
        elif decision != Wait():
            self._report_broken("silent", f"the policy answered {decision!r}")

    def _check_sound(self, decision: Any) -> None:
        flaw = flaw_in(decision, self._now)
        if flaw is not None:
            self._report_broken("ahead" if isinstance(decision, Wait) else "sound", flaw)
        for name in ("pending", "in_flight", "weight", "oldest"):
            kept, fact = getattr(self._policy.queue, name), getattr(self._facts, name)
            if not math.isclose(kept, fact, abs_tol=_ROUNDING):
                self._report_broken("sound", f"queue.{name} of the policy is {kept}, not {fact}")

    def _check_pure(self, decision: Decision) -> None:
        with watched(self._policy, self._changed):
            try:
                said: object = self._policy.decide(self._now)
            except Exception as error:
                said = error
        if said != decision:
            self._report_broken("pure", f"decide, called directly, gives {said!r}")
        if self._changed:
            self._report_broken("pure", f"decide changed {', '.join(sorted(self._changed))}")

    def _report_broken(self, law: str, why: str) -> None:
        """Raise LawBroken unless ``except_for`` contains this law."""
        if law not in self._except_for:
            raise LawBroken(law, why, self._told)
