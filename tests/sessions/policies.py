"""Policies that tell an ear what they hear and answer, and that fail when asked to."""

import math
from collections.abc import Callable
from typing import Any, Protocol

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
    """Which policy, with which number (its wait, gain or salt), and what goes wrong with it."""

    kind: str
    number: float = 0.0
    fault: PolicyFault | None = None


class Ear(Protocol):
    """Hears what a policy is told and answers; it is not copied with the policy."""

    def told(self, event: str, now: float, *facts: Any) -> None:
        """The policy is told of an event."""

    def answered(self, decision: Decision) -> Decision:
        """It answers."""

    def policy_failed(self, cause: BaseException | None) -> None:
        """It raises, or answers nonsense."""


class Heard(HookedPolicy):
    """A policy that tells an ear; to be the first base of a class."""

    ear: Ear
    fault: PolicyFault | None = None
    heard: int = 0

    def hear(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Tell the ear, and answer; in one event perhaps, misbehave."""
        self.ear.told(event, *facts)
        self.heard += 1
        if self.fault is None or self.fault.number != self.heard:
            return self.ear.answered(tell(*facts))
        return self._fail(self.fault.what, event, tell, *facts)

    def _fail(self, what: str, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        error = None if what in NONSENSE else RuntimeError(f"the policy was told to {what}")
        if what == "forget" and event != "tick":
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
        self, salt: int, max_records: int | None = None, max_weight: float | None = None
    ) -> None:
        self.salt = salt
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


POLICIES: dict[str, Callable[..., Heard]] = {
    "interval": Interval,
    "natural": lambda _, *caps: Natural(*caps),
    "echo": Echo,
    "whim": lambda salt, *caps: Whim(int(salt), *caps),
}


def make_policy(plan: PolicyPlan, limits: Limits, ear: Ear) -> FlushPolicy:
    """Make the policy of a plan, which tells this ear."""
    policy = POLICIES[plan.kind](plan.number, limits.max_records, limits.max_weight)
    policy.ear, policy.fault = ear, plan.fault
    return policy
