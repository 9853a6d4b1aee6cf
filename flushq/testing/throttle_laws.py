"""The laws that every throttle keeps, and a play: a throttle at work in a history.

Theory of operation. A play tells a running copy of the throttle what happens, as a queue does: it
asks before each call that starts and after whatever has happened, and writes down all of it. What
was written is then told to other copies in ways that should make no difference: they must answer
the same. A *retelling* is a generator of what is told; it may look at the copy before it goes on.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from flushq.arguments import as_float
from flushq.testing.histories import Due, Finish
from flushq.testing.laws import LawBroken, Told
from flushq.testing.throttle_histories import Burst, Call, ThrottleHistory, ThrottleStep
from flushq.throttles.throttle import Throttle, flaw_in, throttle_copy

THROTTLE_LAWS = {
    "sound": "no event raises; ready_at answers a time, and inf only while a call runs",
    "repeatable": "the same history leads to the same answers",
    "pure": "ready_at changes nothing, whatever time it is asked about, and however often",
    "later": "from the time that ready_at answers on a call may start, until something happens",
    "bursts": "n calls that start and end at one time do what n calls do one after the other",
    "shift": "a history at another time leads to the same answers: times, not durations",
}
"""The name of each law of throttles, and what it says."""

SHIFT_SECONDS = 1000.328125
_LATER = (0, 1, 8, 1000)
_ROUNDED = {"bursts", "shift"}


class ThrottleLawBroken(LawBroken):
    """A throttle has broken a law. The message shows what it was told, and its answers.

    Attributes:
        law: The name of the law; :data:`THROTTLE_LAWS` has what it says.
        why: What happened.
        history: What the throttle was told before.
    """

    laws = THROTTLE_LAWS


Turns = Sequence[Sequence[Told]]
"""What was told in each step of a history. The last of all is a question."""


class ThrottlePlay:
    """A throttle at work in a history."""

    def __init__(self, throttle: Throttle, history: ThrottleHistory) -> None:
        self._throttle = throttle_copy(throttle)
        self._history = history
        self._now: float = 0 * history.unit
        self._running: list[tuple[float, int]] = []
        self._turns: list[list[Told]] = [[]]
        self._told: Told | None = None

    def run(self) -> Turns:
        """Play it to the end, and return what was told.

        Raises:
            ThrottleLawBroken: The throttle is not sound.
        """
        ready = self._ask()
        for step in (*self._history.steps, Due()):
            self._turns.append([])
            self._now = self._time_of(step, ready)
            self._take(step)
            ready = self._ask()
        return self._turns

    def _time_of(self, step: ThrottleStep, ready: float) -> float:
        """When a step happens."""
        if not isinstance(step, Due):
            return self._now + step.after * self._history.unit
        return ready if self._now < ready < math.inf else self._now

    def _take(self, step: ThrottleStep) -> None:
        """Let a step happen, if it can."""
        match step:
            case Call(_, count):
                self._start(count)
            case Burst(_, failed):
                first = len(self._running)
                started = sum(self._start(1) for _ in failed)
                for each in failed[:started]:
                    self._end(first, failed=each)
            case Finish(_, which, failed) if self._running:
                self._end(which % len(self._running), failed=failed)

    def _start(self, count: int) -> bool:
        """Start a call if the throttle is ready, and tell whether it was."""
        if self._ask() > self._now:
            return False
        self._running.append((self._now, count))
        self._tell("call_started", count, count)
        return True

    def _end(self, which: int, *, failed: bool) -> None:
        started, count = self._running.pop(which)
        error = OSError("flush_fn raised") if failed else None
        self._tell("call_done", count, self._now - started, count, error)

    def _ask(self) -> Any:
        """Ask, unless that has just been done."""
        last = self._told
        if last is not None and (last.name, last.now) == ("ready_at", self._now):
            return last.decision
        ready = self._tell("ready_at")
        flaw = flaw_in(ready, waiting=bool(self._running))
        if flaw is not None:
            raise ThrottleLawBroken("sound", flaw, flat(self._turns))
        return ready

    def _tell(self, name: str, *facts: Any) -> Any:
        told = Told(self._now, name, facts)
        answered = _answered(told, self._throttle, "sound", flat(self._turns))
        self._turns[-1].append(answered)
        self._told = answered
        return answered.decision


def flat(turns: Turns) -> list[Told]:
    """All that was told, in order."""
    return [told for turn in turns for told in turn]


Retelling = Callable[[Turns, Throttle, float], Iterator[Told]]
"""Of what was told, a running copy and a unit of time: what to tell it, with the answers due.

Where any answer will do, the decision is None."""


def again(turns: Turns, throttle: Throttle, unit: float) -> Iterator[Told]:
    """Yield the same."""
    yield from flat(turns)


def asked_more(turns: Turns, throttle: Throttle, unit: float) -> Iterator[Told]:
    """Yield the same, with each question put twice, and one about a time to come before it."""
    for told in flat(turns):
        if told.name == "ready_at":
            yield attrs.evolve(told, now=told.now + SHIFT_SECONDS, decision=None)
            yield told
        yield told


def asked_once(turns: Turns, throttle: Throttle, unit: float) -> Iterator[Told]:
    """Yield the events, and the question after the last of them alone."""
    *before, last = flat(turns[:-1])
    yield from (told for told in before if told.name != "ready_at")
    yield last


def asked_later(turns: Turns, throttle: Throttle, unit: float) -> Iterator[Told]:
    """Yield the same, with questions about later times: a call may start at once then."""
    for told in flat(turns):
        yield told
        if told.name == "ready_at" and told.decision < math.inf:
            begin = max(told.now, told.decision)
            for now in (begin + units * unit for units in _LATER):
                yield Told(now, "ready_at", (), now)


def one_by_one(turns: Turns, throttle: Throttle, unit: float) -> Iterator[Told]:
    """Yield the calls of a burst one after the other, as long as the throttle lets them start."""
    for turn in turns:
        starts, ends = ([told for told in turn if told.name == name] for name in _EVENTS)
        if not (starts and ends):
            yield from turn
            continue
        for start, end in zip(starts, ends, strict=True):
            yield Told(start.now, "ready_at", ())
            if throttle.ready_at(start.now) > start.now:
                return
            yield from (start, end)
        yield turn[-1]


def shifted(turns: Turns, throttle: Throttle, unit: float) -> Iterator[Told]:
    """Yield the same at another time."""
    for told in flat(turns):
        due = told.decision if told.decision is None else told.decision + SHIFT_SECONDS
        yield attrs.evolve(told, now=told.now + SHIFT_SECONDS, decision=due)


_EVENTS = "call_started", "call_done"

RETELLINGS: dict[str, tuple[Retelling, ...]] = {
    "repeatable": (again,),
    "pure": (asked_more, asked_once),
    "later": (asked_later,),
    "bursts": (one_by_one,),
    "shift": (shifted,),
}
"""How the laws about several answers are checked, each after those that it needs."""


def retell(law: str, throttle: Throttle, told: Iterator[Told]) -> None:
    """Tell a running copy all of it: it must make a call wait as long as was told.

    Raises:
        ThrottleLawBroken: It does not, or raises.
    """
    history: list[Told] = []
    for event in told:
        answered = _answered(event, throttle, law, history)
        history.append(answered)
        if event.name == "ready_at":
            flaw = flaw_in(answered.decision, waiting=True) or _difference(law, event, answered)
            if flaw is not None:
                raise ThrottleLawBroken(law, flaw, history)


def _answered(event: Told, throttle: Throttle, law: str, history: Sequence[Told]) -> Told:
    """The same event, with the answer of this throttle."""
    try:
        return attrs.evolve(event, decision=event.tell(throttle))
    except Exception as error:
        why = f"it raised {error!r}"
        raised = attrs.evolve(event, decision=error)
        raise ThrottleLawBroken(law, why, [*history, raised]) from error


def _difference(law: str, due: Told, answered: Told) -> str | None:
    """How an answer differs from the one that is due, if it does."""
    if due.decision is None:
        return None
    wait, other = _wait(due), _wait(answered)
    if wait == other or (law in _ROUNDED and math.isclose(wait, other, rel_tol=1e-9, abs_tol=1e-6)):
        return None
    return f"the last answer makes a call wait for {other} s, not for {wait} s"


def _wait(asked: Told) -> float:
    """For how many seconds an answer makes a call wait."""
    return as_float(max(asked.decision - asked.now, 0))
