"""One script, played: the actions that are possible, and how often each may be taken."""

import math
from collections.abc import Iterator

from tests.core_sessions.play import Play
from tests.enumeration.setups import Setup
from tests.sessions.facts import Item

MOST = {
    "enqueue_nowait": 1,
    "flush": 1,
    "aclose": 1,
    "raise": 1,
    "part": 1,
    "enter": 1,
    "leave": 1,
    "cancel owner": 2,
}
"""How often each of these actions may be taken in a script."""

STEPS = {"resume", "begin", "end", "unpause", "timer", "limit", "pass"}


class TinyPlay(Play):
    """A tiny queue that is played action by action."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        verdicts = None if setup.verdict is None else {"judge": setup.verdict}
        super().__init__(setup.limits, setup.policy, verdicts, setup.burst)
        self._producing = "deliver" if setup.receipts else "enqueue"
        self._start_by = "run" if setup.owner == "run" else "start"
        self._counts = dict.fromkeys((*MOST, self._producing), 0)
        self._has_advanced = False
        for action in setup.prologue:
            self.take(action, again=True)
        self._has_advanced = False

    def make_item(self) -> Item:
        """Return a new item with its weight, and one of two keys or partitions if there are any."""
        number, limits = super().make_item().number, self._setup.limits
        weights = self._setup.weights
        return Item(
            number,
            key=number % 2 if limits.dedupe else None,
            weight=weights[min(number, len(weights)) - 1],
            partition=number % 2 if limits.partitioned else None,
        )

    # The possible actions.

    def actions(self, last: str, left: int) -> list[str]:
        """Return the actions that are possible now and worth taking, when so many are left."""
        found = list(self.steps())
        if found:
            found.append("settle")
        if not self._has_advanced and self.next_time < math.inf:
            found.append("advance")
        found += self._answers()
        found += self._cancellations()
        found += self._comers()
        return [action for action in found if not _is_vain(action, last, left)]

    def _answers(self) -> Iterator[str]:
        for verb, number in self.wishes():
            if verb == "ask":
                yield f"judge {number}"
            else:
                yield f"return {number}"
                kinds = ["raise", "enter", *(["part"] if self.verdicts else [])]
                yield from (f"{kind} {number}" for kind in kinds if self._may(kind))

    def _cancellations(self) -> Iterator[str]:
        for action in self.cancellations():
            if not self._cancels_owner(action) or self._may("cancel owner"):
                yield action

    def _cancels_owner(self, action: str) -> bool:
        verb, _, number = action.partition(" ")
        return verb == "cancel" and self.callers[int(number)][1].is_owner

    def _comers(self) -> Iterator[str]:
        if self._counts[self._producing] < self._setup.producers:
            yield self._producing
        yield from (kind for kind in ("enqueue_nowait", "flush", "aclose") if self._may(kind))
        if not self.model.started:
            if not self.model.closing:
                yield self._start_by
        elif self._setup.owner == "with" and self._may("leave"):
            yield "leave"

    def _may(self, kind: str) -> bool:
        return self._counts[kind] < MOST[kind]

    # Taking actions.

    def take(self, action: str, *, again: bool = False) -> None:
        """Take an action; with ``again`` another script has already judged the same actions."""
        action = {"enqueue": self._producing, "start": self._start_by}.get(action, action)
        counted = "cancel owner" if self._cancels_owner(action) else action.partition(" ")[0]
        if counted in self._counts:
            self._counts[counted] += 1
        self._has_advanced = action == "advance"  # once in a row is enough
        self.compares = not again
        if action == "settle":
            self.settle()
        else:
            self.act(action)


def _is_vain(action: str, last: str, left: int) -> bool:
    """Return whether another script does the same: all settles at the end, or by single steps."""
    is_step, settles = action.partition(" ")[0] in STEPS, action == "settle"
    return (left == 1 and (is_step or settles)) or (settles and last.partition(" ")[0] in STEPS)
