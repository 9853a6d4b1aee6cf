"""Policies that record their events and answers, and fail on request."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self

import attrs

from flushq import Decision, Flush, FlushPolicy, IntervalPolicy, NaturalPolicy, Wait
from tests.sessions.facts import Limits
from tests.strategies import HookedPolicy, PlainEchoPolicy

NONSENSE: dict[str, Any] = {
    "None": None,
    "until the past": Wait(-1.0),
    "until NaN": Wait(math.nan),
    "up_to 0": Flush(up_to=0),
}
FAULTS = [*NONSENSE, "raise early", "raise late", "forget"]


@attrs.frozen
class PolicyFault:
    """A fault of a policy in its ``number``-th event: nonsense, an exception or no super()."""

    number: int
    what: str


@attrs.frozen
class PolicyPlan:
    """The kind of a policy, its number (wait, gain or salt), and its fault.

    Attributes:
        copies: How many times the policy can be copied, the copies of the queue included. None:
            without a limit.
    """

    kind: str
    number: float = 0.0
    fault: PolicyFault | None = None
    copies: int | None = None


class PolicyRecorder(Protocol):
    """A recorder of the events and answers of a policy."""

    def told(self, policy: object, event: str, *facts: Any) -> None:
        """Record that a copy of the policy is told of an event."""

    def answered(self, decision: Decision) -> Decision:
        """Record the answer, and return it."""

    def policy_failed(self, cause: BaseException | None) -> None:
        """Record that the policy raises ``cause``, or answers nonsense (None)."""

    def copy_failed(self, error: Exception) -> None:
        """Record that the policy cannot be copied again."""


class Copied:
    """An attribute of a policy that can be copied a limited number of times."""

    def __init__(self, recorder: PolicyRecorder, times: int) -> None:
        self._recorder = recorder
        self._times = times

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        if self._times == 0:
            error = RuntimeError("the policy was told to refuse to be copied")
            self._recorder.copy_failed(error)
            raise error
        self._times -= 1
        return self


class RecordedPolicy(HookedPolicy):
    """A policy that records its events; it must be the first base of a class.

    The recorder and the fault are attributes of the class, so the policy itself holds only plain
    values.
    """

    recorder: ClassVar[PolicyRecorder]
    fault: ClassVar[PolicyFault | None]
    events: int = 0
    is_answering: bool = False
    copied: Copied

    def on_event(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Record the event, and answer it; misbehave if this is the event of the fault."""
        self.recorder.told(self, event, *facts)
        self.events += 1
        self.is_answering = True
        try:
            if self.fault is None or self.fault.number != self.events:
                return self.recorder.answered(tell(*facts))
            return self._fail(self.fault.what, event, tell, *facts)
        finally:
            self.is_answering = False

    def answer(self, now: float) -> Decision:
        """Answer an event, or record that the policy is asked without an event."""
        if self.is_answering:
            return super().answer(now)
        return self.on_event("asked", super().answer, now)

    def _fail(self, what: str, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        error = None if what in NONSENSE else RuntimeError(f"the policy was told to {what}")
        if what == "forget" and event not in {"tick", "asked"}:
            self.recorder.policy_failed(None)
            return Wait()
        self.recorder.policy_failed(error)
        if what != "raise early":
            tell(*facts)
        if error is not None:
            raise error
        answer: Decision = NONSENSE[what]
        return answer


class Interval(RecordedPolicy, IntervalPolicy):
    """An IntervalPolicy that records its events."""


class Natural(RecordedPolicy, NaturalPolicy):
    """A NaturalPolicy that records its events."""


class Echo(RecordedPolicy, PlainEchoPolicy):
    """A policy that learns and records its events."""


class Whim(RecordedPolicy):
    """A policy whose decisions are a hash of the facts.

    It flushes parts of all sizes, waits until various times or for ever, and does not keep to the
    time that it has announced.
    """

    def __init__(
        self, salt: float, max_records: int | None = None, max_weight: float | None = None
    ) -> None:
        self.salt = int(salt)
        self.max_records = max_records
        self.max_weight = max_weight

    def decide(self, now: float) -> Decision:
        """Flush a part of the items, or wait."""
        queue = self.queue
        whim = (queue.pending * 7919 + queue.in_flight * 104_729 + self.salt) % 8191
        if whim % 8 == 0:
            return Wait()
        due = queue.oldest + whim % 5 / 4
        if due <= now:
            return Flush("whim", up_to=whim % 4 or None)
        return Wait(min(due, now + 0.5))


POLICIES: dict[str, type[RecordedPolicy]] = {
    "interval": Interval,
    "natural": Natural,
    "echo": Echo,
    "whim": Whim,
}


def make_policy(plan: PolicyPlan, limits: Limits, recorder: PolicyRecorder) -> FlushPolicy:
    """Make the policy of a plan, with this recorder."""
    kind = POLICIES[plan.kind]
    numbers = () if kind is Natural else (plan.number,)
    recorded: Any = type(kind.__name__, (kind,), {"recorder": recorder, "fault": plan.fault})
    policy: RecordedPolicy = recorded(*numbers, limits.max_records, limits.max_weight)
    if plan.copies is not None:
        policy.copied = Copied(recorder, plan.copies)
    return policy
