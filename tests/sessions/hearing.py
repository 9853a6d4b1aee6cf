"""The policy: what it hears, what it answers, and whether the queue does as it says."""

import math
from collections.abc import Callable
from typing import Any, Self

from flushq import Decision, Flush, FlushFailed, PolicyError, Wait
from tests.sessions.account import Account
from tests.sessions.barriers import Barriers
from tests.sessions.endings import Endings
from tests.sessions.history import History
from tests.sessions.line import Line
from tests.sessions.loop import EARLY


class Hearing:
    """What the policy was told and has answered.

    Attributes:
        decision: Its last answer.
    """

    def __init__(
        self, history: History, account: Account, endings: Endings, barriers: Barriers, line: Line
    ) -> None:
        self.decision: Decision = Wait()
        self._history = history
        self._account = account
        self._endings = endings
        self._barriers = barriers
        self._line = line
        self._heard_at = 0.0
        self._event = ""
        self._ears: dict[str, Callable[..., None]] = {
            "item_added": self._item_added,
            "flush_started": self._flush_started,
            "flush_done": self._flush_done,
            "tick": self._tick,
        }

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @property
    def due(self) -> float:
        """When the policy wants a flush: -inf, if it is due, or when it is to be asked again."""
        return -math.inf if isinstance(self.decision, Flush) else self.decision.until

    def told(self, event: str, now: float, *facts: Any) -> None:
        """The policy is told of an event."""
        self._history.note("policy", event, now, *facts)
        if not self._heard_at <= now <= self._history.loop.time() + 2 * EARLY:
            self._history.complain(13, f"the policy hears of {now} at the wrong time")
        self._heard_at = now
        self._event = event
        self._ears[event](now, *facts)

    def _item_added(self, now: float, count: int, weight: float) -> None:
        self._account.told_arrivals(now, count)

    def _flush_started(self, now: float, count: int, weight: float) -> None:
        reasons = {reason for reason, size in self._check_cause(count) if size == count}
        self._account.told_start(now, count, frozenset(reasons))

    def _flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None
    ) -> None:
        flight = self._account.told_end(now, count, seconds, error)
        if error is not None and flight is not None and not flight.interrupted:
            self._endings.fail(FlushFailed, error)

    def _tick(self, now: float) -> None:
        if not -math.inf < self.due <= now:
            self._history.complain(6, "a tick came that nobody asked for")

    def answered(self, decision: Decision) -> Decision:
        """The policy answers."""
        self._history.note("policy", "  answers", decision)
        self.decision = decision
        return decision

    def policy_failed(self, cause: BaseException | None) -> None:
        """The policy raises, or answers nonsense."""
        self._history.note("policy", "  fails", cause)
        self._endings.fail(PolicyError, cause)
        if self._event == "flush_started":
            self._account.flights[-1].unsent = True

    def _check_cause(self, count: int) -> set[tuple[str, int]]:
        """Find the reasons why a batch is being cut; is it as large as one of them makes it."""
        causes = self._causes()
        sizes = {size for _, size in causes}
        if not sizes:
            self._history.complain(6, "a flush is started without any reason")
        elif count not in sizes:
            self._history.complain(4, f"a batch has {count} items, not {sizes}")
        if self._endings.failures or self._endings.cut_surely:
            self._history.complain(12, "a flush is started after the end")
        return causes

    def _causes(self) -> set[tuple[str, int]]:
        """Why a batch may be cut now, and how large that would make it."""
        largest, endings = self._account.largest_cut(), self._endings
        if endings.closing:
            return {("drain", largest)}
        causes = {("drain", largest)} if endings.closing_maybe else set()
        if self._account.cut < self._barriers.mark:
            causes.add(("flush", largest))
        elif isinstance(self.decision, Flush):
            causes.add((self.decision.reason, min(largest, self.decision.up_to or largest)))
        elif self._line.blocked and self._account.is_full:
            causes.add(("pressure", largest))
        return causes
