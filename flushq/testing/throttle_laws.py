"""The laws that every throttle must keep, and a class that runs a throttle through a history.

Theory of operation. A :class:`ThrottlePlay` tells a copy of the throttle the events of a history.
The play calls ``ready_at`` before each call that may start, and after each step. A call of
``ready_at`` is a *question*. The play records all events and questions, and the answers. Then other
copies are told the same events and questions in other ways, for example with all times shifted. The
copies must give the same answers. A *retelling* is a generator of events and questions for such a
copy. To choose the next event, a retelling may itself ask the copy a question.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from flushq.arguments import as_float
from flushq.testing.histories import Due, Finish
from flushq.testing.laws import LawBroken, MethodCall
from flushq.testing.throttle_histories import Burst, Call, ThrottleHistory, ThrottleStep
from flushq.throttles.throttle import Throttle, flaw_in, throttle_copy

THROTTLE_LAWS = {
    "sound": "no method raises; ready_at answers a time, which is inf only while a call runs",
    "repeatable": "the same history leads to the same answers",
    "pure": "ready_at changes nothing, however often and for whatever time it is called",
    "later": "if no event comes, a call may start at the time that ready_at answers, and later",
    "bursts": "n calls at one time lead to the same answers, whether made together or one by one",
    "shift": "if all times are shifted, so is each answer, which is a time, not a duration",
}
"""The name and the text of each law for throttles."""

SHIFT_SECONDS = 1000.328125
_LATER = (0, 1, 8, 1000)
_ROUNDED = {"bursts", "shift"}


class ThrottleLawBroken(LawBroken):
    """A throttle has broken a law. The message shows the events and the answers.

    Attributes:
        law: The name of the law; :data:`THROTTLE_LAWS` has its text.
        why: How the law was broken.
        history: The events and questions that the throttle was told, with its answers.
    """

    laws = THROTTLE_LAWS


Turns = Sequence[Sequence[MethodCall]]
"""The events and questions that a play has recorded, with the answers.

The first list has the question before the first step. Each further list has the events and
questions of one step. After the last event comes a question.
"""


class ThrottlePlay:
    """A run of a throttle through a history."""

    def __init__(self, throttle: Throttle, history: ThrottleHistory) -> None:
        self._throttle = throttle_copy(throttle)
        self._history = history
        self._now: float = 0 * history.unit
        self._running: list[tuple[float, int]] = []
        self._turns: list[list[MethodCall]] = [[]]
        self._last: MethodCall | None = None

    def run(self) -> Turns:
        """Play the whole history, and return the events, the questions and the answers.

        Raises:
            ThrottleLawBroken: The throttle breaks the law ``sound``.
        """
        ready = self._ask()
        for step in (*self._history.steps, Due()):
            self._turns.append([])
            self._now = self._time_of(step, ready)
            self._take(step)
            ready = self._ask()
        return self._turns

    def _time_of(self, step: ThrottleStep, ready: float) -> float:
        """Return the time at which a step happens."""
        if not isinstance(step, Due):
            return self._now + step.after * self._history.unit
        return ready if self._now < ready < math.inf else self._now

    def _take(self, step: ThrottleStep) -> None:
        """Play one step if it can happen."""
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
        """Start a call if the throttle is ready; return whether the call has started."""
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
        """Return the answer of ready_at; reuse the last answer if the question was the same."""
        last = self._last
        if last is not None and (last.name, last.now) == ("ready_at", self._now):
            return last.decision
        ready = self._tell("ready_at")
        flaw = flaw_in(ready, waiting=bool(self._running))
        if flaw is not None:
            raise ThrottleLawBroken("sound", flaw, flat(self._turns))
        return ready

    def _tell(self, name: str, *facts: Any) -> Any:
        event = MethodCall(self._now, name, facts)
        answered = _answered(event, self._throttle, "sound", flat(self._turns))
        self._turns[-1].append(answered)
        self._last = answered
        return answered.decision


def flat(turns: Turns) -> list[MethodCall]:
    """Return all events and questions, in order."""
    return [each for turn in turns for each in turn]


Retelling = Callable[[Turns, Throttle, float], Iterator[MethodCall]]
"""A function of the recorded turns, a running copy of the throttle, and the unit of time.

The function yields events and questions for the copy, with the answers that the copy must give. The
answer (``decision``) is None if the copy may give any answer.
"""


def again(turns: Turns, throttle: Throttle, unit: float) -> Iterator[MethodCall]:
    """Yield the recorded events and questions as they are."""
    yield from flat(turns)


def asked_more(turns: Turns, throttle: Throttle, unit: float) -> Iterator[MethodCall]:
    """Yield all events, and each question three times: shifted, unchanged, and unchanged again."""
    for each in flat(turns):
        if each.name == "ready_at":
            yield attrs.evolve(each, now=each.now + SHIFT_SECONDS, decision=None)
            yield each
        yield each


def asked_once(turns: Turns, throttle: Throttle, unit: float) -> Iterator[MethodCall]:
    """Yield what comes before the last Due: all events, but only the last of the questions."""
    *before, last = flat(turns[:-1])
    yield from (each for each in before if each.name != "ready_at")
    yield last


def asked_later(turns: Turns, throttle: Throttle, unit: float) -> Iterator[MethodCall]:
    """Yield all events and questions; after each finite answer, yield further questions, too.

    The further questions are asked at times at which a call may start according to this answer.
    """
    for each in flat(turns):
        yield each
        if each.name == "ready_at" and each.decision < math.inf:
            begin = max(each.now, each.decision)
            for now in (begin + units * unit for units in _LATER):
                yield MethodCall(now, "ready_at", (), now)


def one_by_one(turns: Turns, throttle: Throttle, unit: float) -> Iterator[MethodCall]:
    """Yield all events and questions; the calls of a burst start one at a time.

    If the throttle is not ready for the next call of a burst, end the history there.
    """
    for turn in turns:
        starts, ends = ([each for each in turn if each.name == name] for name in _EVENTS)
        if not (starts and ends):
            yield from turn
            continue
        for start, end in zip(starts, ends, strict=True):
            yield MethodCall(start.now, "ready_at", ())
            if throttle.ready_at(start.now) > start.now:
                return
            yield from (start, end)
        yield turn[-1]


def shifted(turns: Turns, throttle: Throttle, unit: float) -> Iterator[MethodCall]:
    """Yield all events and questions, with all times shifted by ``SHIFT_SECONDS``."""
    for each in flat(turns):
        due = each.decision if each.decision is None else each.decision + SHIFT_SECONDS
        yield attrs.evolve(each, now=each.now + SHIFT_SECONDS, decision=due)


_EVENTS = "call_started", "call_done"

RETELLINGS: dict[str, tuple[Retelling, ...]] = {
    "repeatable": (again,),
    "pure": (asked_more, asked_once),
    "later": (asked_later,),
    "bursts": (one_by_one,),
    "shift": (shifted,),
}
"""For each law about several answers, the retellings that check the law.

Each law comes after the laws that it needs.
"""


def retell(law: str, throttle: Throttle, retelling: Iterator[MethodCall]) -> None:
    """Tell a copy of the throttle these events and questions, and check the answers of the copy.

    Raises:
        ThrottleLawBroken: An answer of the copy is wrong, or the copy raises.
    """
    history: list[MethodCall] = []
    for each in retelling:
        answered = _answered(each, throttle, law, history)
        history.append(answered)
        if each.name == "ready_at":
            flaw = flaw_in(answered.decision, waiting=True) or _difference(law, each, answered)
            if flaw is not None:
                raise ThrottleLawBroken(law, flaw, history)


def _answered(
    event: MethodCall, throttle: Throttle, law: str, history: Sequence[MethodCall]
) -> MethodCall:
    """Return the event or question with the answer of this throttle.

    Raises:
        ThrottleLawBroken: The throttle raises.
    """
    try:
        return attrs.evolve(event, decision=event.tell(throttle))
    except Exception as error:
        why = f"the throttle raised {error!r}"
        raised = attrs.evolve(event, decision=error)
        raise ThrottleLawBroken(law, why, [*history, raised]) from error


def _difference(law: str, due: MethodCall, answered: MethodCall) -> str | None:
    """Return how an answer differs from the right answer, or None if both are the same."""
    if due.decision is None:
        return None
    wait, other = _wait(due), _wait(answered)
    if wait == other or (law in _ROUNDED and math.isclose(wait, other, rel_tol=1e-9, abs_tol=1e-6)):
        return None
    return f"the last answer makes a call wait for {other} s, not for {wait} s"


def _wait(asked: MethodCall) -> float:
    """Return how many seconds after the question a call may start."""
    return as_float(max(asked.decision - asked.now, 0))
