"""Policies that tell an ear what they hear and answer, and that fail when asked to."""

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
    """In its ``number``-th event the policy answers nonsense, raises, or forgets super()."""

    number: int
    what: str


@attrs.frozen
class PolicyPlan:
    """Which policy, with which number (its wait, gain or salt), and what goes wrong with it.

    Attributes:
        copies: How many copies can be made of it, with those of the queue. None: all.
    """

    kind: str
    number: float = 0.0
    fault: PolicyFault | None = None
    copies: int | None = None


class Ear(Protocol):
    """Hears what a policy is told and answers."""

    def told(self, policy: object, event: str, *facts: Any) -> None:
        """A copy of the policy is told of an event."""

    def answered(self, decision: Decision) -> Decision:
        """It answers."""

    def policy_failed(self, cause: BaseException | None) -> None:
        """It raises, or answers nonsense."""

    def copy_failed(self, error: Exception) -> None:
        """Another copy cannot be made."""


class Copied:
    """What a policy holds that cannot be copied more than a number of times."""

    def __init__(self, ear: Ear, times: int) -> None:
        self._ear = ear
        self._times = times

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        if self._times == 0:
            error = RuntimeError("the policy was told to refuse to be copied")
            self._ear.copy_failed(error)
            raise error
        self._times -= 1
        return self


class Heard(HookedPolicy):
    """A policy that tells an ear; to be the first base of a class.

    The ear and the fault belong to the class, so that the policy holds plain values alone.
    """

    ear: ClassVar[Ear]
    fault: ClassVar[PolicyFault | None]
    heard: int = 0
    hears: bool = False
    copied: Copied

    def hear(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Tell the ear, and answer; in one event perhaps, misbehave."""
        self.ear.told(self, event, *facts)
        self.heard += 1
        self.hears = True
        try:
            if self.fault is None or self.fault.number != self.heard:
                return self.ear.answered(tell(*facts))
            return self._fail(self.fault.what, event, tell, *facts)
        finally:
            self.hears = False

    def answer(self, now: float) -> Decision:
        """Answer an event, or be asked without one."""
        return super().answer(now) if self.hears else self.hear("asked", super().answer, now)

    def _fail(self, what: str, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        error = None if what in NONSENSE else RuntimeError(f"the policy was told to {what}")
        if what == "forget" and event not in {"tick", "asked"}:
            self.ear.policy_failed(None)
            return Wait()
        self.ear.policy_failed(error)
        if what != "raise early":
            tell(*facts)
        if error is not None:
            raise error
        answer: Decision = NONSENSE[what]
        return answer


class Interval(Heard, IntervalPolicy):
    """IntervalPolicy, heard."""


class Natural(Heard, NaturalPolicy):
    """NaturalPolicy, heard."""


class Echo(Heard, PlainEchoPolicy):
    """A policy that learns, heard."""


class Whim(Heard):
    """A policy without sense: what it decides follows from the facts, but nobody knows how.

    It takes bites of all sizes, waits for all times, for ever too, and breaks its promises.
    """

    def __init__(
        self, salt: float, max_records: int | None = None, max_weight: float | None = None
    ) -> None:
        self.salt = int(salt)
        self.max_records = max_records
        self.max_weight = max_weight

    def decide(self, now: float) -> Decision:
        """Flush a bite, or wait."""
        queue = self.queue
        whim = (queue.pending * 7919 + queue.in_flight * 104_729 + self.salt) % 8191
        if whim % 8 == 0:
            return Wait()
        due = queue.oldest + whim % 5 / 4
        if due <= now:
            return Flush("whim", up_to=whim % 4 or None)
        return Wait(min(due, now + 0.5))


POLICIES: dict[str, type[Heard]] = {
    "interval": Interval,
    "natural": Natural,
    "echo": Echo,
    "whim": Whim,
}


def make_policy(plan: PolicyPlan, limits: Limits, ear: Ear) -> FlushPolicy:
    """Make the policy of a plan, which tells this ear."""
    kind = POLICIES[plan.kind]
    numbers = () if kind is Natural else (plan.number,)
    heard: Any = type(kind.__name__, (kind,), {"ear": ear, "fault": plan.fault})
    policy: Heard = heard(*numbers, limits.max_records, limits.max_weight)
    if plan.copies is not None:
        policy.copied = Copied(ear, plan.copies)
    return policy
