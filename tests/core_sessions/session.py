"""Seeded sessions of the core: draw possible actions until the queue has ended."""

import math

import attrs

from flushq import Drop, Fail, Retry, Split
from flushq.core.fairness import BURST
from tests.core_sessions.play import Play
from tests.sessions.dice import Dice, Items, bounded, limits_of, merging, policy_of
from tests.sessions.facts import Item, Limits
from tests.sessions.history import History
from tests.sessions.policies import PolicyPlan

VERDICTS: dict[str, object] = {
    "drop": Drop(),
    "fail": Fail(),
    "retry": Retry(),
    "postpone": Retry(0.5),
    "hold": Retry(0.5, hold=True),
    "split": Split(),
    "nonsense": None,
}


def play(seed: int) -> History:
    """Play the session of this seed, and return its history."""
    dice = Dice(seed)
    handles = dice.chance(0.5)
    limits = bounded(dice, merging(dice, limits_of(dice, 0.5)))
    session = Session(dice, limits, policy_of(dice), handles=handles)
    session.play()
    return session.history


class Session(Play):
    """One session, with these probabilities.

    With *eagerness* a possible step comes before any new call. With *patience* a new item comes,
    rather than a cancellation, a flush() or a close. With *trouble* a call of ``flush_fn`` fails,
    and with *haste* it ends in the pass that starts the flush.
    """

    def __init__(self, dice: Dice, limits: Limits, policy: PolicyPlan, *, handles: bool) -> None:
        burst = dice.choice([math.inf, BURST, 4, 2, 1])
        limits = attrs.evolve(limits, max_shutdown_wait=dice.choice([None, 0, 0.25, 0.25, 1.0]))
        super().__init__(limits, policy, VERDICTS if handles else None, burst)
        self._dice = dice
        self._new_item = Items(dice, limits)
        self._eagerness = dice.choice([0.3, 0.6, 0.8])
        self._trouble = dice.choice([0.2, 0.5, 0.8] if handles else [0.0, 0.05, 0.2])
        self._patience = dice.choice([0.7, 0.9, 0.97])
        self._haste = dice.choice([0.0, 0.5, 0.9])
        self.history.note("PLAN", f"{limits} {policy}")

    def make_item(self) -> Item:
        """Make an item with one of a few keys and weights."""
        return self._new_item()

    def play(self) -> None:
        """Play the session until all calls have ended."""
        for _ in range(self._dice.choice([30, 60, 90])):
            self.act(self._draw())
            if self.model.ended or self.history.complaints:
                break
        self.bring_to_end()
        for action in (*LATECOMERS, *self.readings()):
            self.act(action)
        self.settle()

    def _draw(self) -> str:
        dice = self._dice
        steps = list(self.steps())
        if steps and dice.chance(self._eagerness):
            step = dice.choice(steps)
            if step == "pass" and dice.chance(self._haste):
                return "pass_raising" if dice.chance(self._trouble) else "pass_returning"
            return step
        wishes = list(self.wishes())
        if wishes and dice.chance(0.5):
            return self._answer_to(*dice.choice(wishes))
        if dice.chance(0.15):
            self.pass_time(self.driver.now + 0.25)
        if dice.chance(self._patience):
            return self._comer(wishes)
        return dice.choice(self._disturbances())

    def _answer_to(self, wish: str, number: int) -> str:
        """Return an answer to a call of ``flush_fn`` or of the handler."""
        good, bad = ANSWERS[wish]
        chance = self._trouble / (1 if wish == "call" else 3)
        trouble = self._dice.chance(0.6 if self.model.flights[number].interrupted else chance)
        return f"{self._dice.choice(bad if trouble else good)} {number}"

    def _comer(self, wishes: list[tuple[str, int]]) -> str:
        """Return an action that brings an item, starts the queue or lets time pass."""
        found = ["enqueue", "enqueue", "enqueue", "enqueue_nowait", "submit", "deliver"]
        found += [f"enter {number}" for verb, number in wishes if verb == "call"] * 2
        if self.next_time < math.inf:
            found.append("advance")
        if not self.model.started and not self.model.closing:
            found += ["start", "start", "run"]
        return self._dice.choice(found)

    def _disturbances(self) -> list[str]:
        """Return the possible readings, cancellations, flush() calls and closes."""
        found = ["flush", *self.readings(), *self.cancellations()]
        if self.model.closing or self._dice.chance(0.1):
            found.append("aclose")
            found += ["leave"] if self.model.started else []
            waiting = {n for n in self.open if self.callers[n][1].state == "end"}
            found += 3 * [each for each in self.cancellations() if int(each.split()[1]) in waiting]
        return found


LATECOMERS = "enqueue", "enqueue_nowait", "submit", "deliver", "flush", "aclose"
"""The calls that are made after the queue has ended."""

ANSWERS: dict[str, tuple[list[str], list[str]]] = {
    "call": (["return"], ["raise", "raise", "part", "part", "mistake", "die"]),
    "ask": (
        ["drop", "retry", "postpone", "hold", "split", "split"],
        ["drop", "fail", "nonsense", "break"],
    ),
}
"""The answers to a call of ``flush_fn`` or of the handler: without trouble, and with it."""
