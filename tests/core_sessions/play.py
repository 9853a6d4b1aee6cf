"""Plays a queue action by action, on the core and on the model, which must agree."""

import math
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flushq import Decision, PartialFailure
from tests.core_sessions.calls import Call
from tests.core_sessions.driver import Caller, Driver, Flush, Steps, Turn
from tests.core_sessions.flights import Flight, Made
from tests.core_sessions.judge import Judge
from tests.core_sessions.model import Model
from tests.core_sessions.partitions import COPIED, PolicyEvent
from tests.sessions.facts import Item, Limits
from tests.sessions.history import History
from tests.sessions.merges import MISTAKES
from tests.sessions.policies import PolicyPlan, make_policy


class SinkError(Exception):
    """The exception that a flush raises when the script says so."""


class EventRecorder:
    """Records the events and answers of the copies of a policy, with the number of each copy."""

    def __init__(self, events: deque[PolicyEvent]) -> None:
        self._events = events
        self._copies: list[object] = []
        self._numbers: dict[int, int] = {}
        self._event: tuple[object, ...] = ()

    def told(self, policy: object, event: str, *facts: Any) -> None:
        """Keep the event, and the number of the copy that is told of it."""
        if id(policy) not in self._numbers:
            self._numbers[id(policy)] = len(self._copies)
            self._copies.append(policy)
        self._number = self._numbers[id(policy)]
        self._event = event, *facts

    def answered(self, decision: Decision) -> Decision:
        """Record the event with this answer."""
        self._events.append(PolicyEvent(self._number, self._event, decision))
        return decision

    def policy_failed(self, cause: BaseException | None) -> None:
        """Record the event with the exception of the policy, or None if it answers nonsense."""
        self._events.append(PolicyEvent(self._number, self._event, None, cause))

    def copy_failed(self, error: Exception) -> None:
        """Record that the policy cannot be copied again."""
        cause = Made(TypeError, error)
        self._events.append(PolicyEvent(len(self._copies), (COPIED,), None, cause))


class Clock:
    """The time of the script, and the number of its actions."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.iteration = 0

    def time(self) -> float:
        """Return the time of the script."""
        return self._driver.now


class Play:
    """A core and a model of it.

    Attributes:
        driver, model: The driver of the core, and the model.
        history: The actions, and the differences.
        callers: All callers, each with its call in the model.
        open: The callers whose calls have not ended, by number.
        verdicts: What the failure handler may answer, by the names of the actions.
        compares: Whether both are compared after each action.
    """

    def __init__(
        self,
        limits: Limits,
        policy: PolicyPlan,
        verdicts: Mapping[str, object] | None = None,
        burst: float = math.inf,
    ) -> None:
        self.verdicts = {} if verdicts is None else verdicts
        self._policy_events: deque[PolicyEvent] = deque()
        recorded_policy = make_policy(policy, limits, EventRecorder(self._policy_events))
        self.driver = Driver(recorded_policy, limits, handles=bool(verdicts), burst=burst)
        self.model = Model(
            limits=limits,
            policy_events=self._policy_events,
            handles=bool(verdicts),
            usual_burst=burst,
        )
        self.callers: list[tuple[Caller, Call]] = []
        self.open: dict[int, Caller] = {}
        self.history = History(Clock(self.driver))
        driver = self.driver
        lists = driver.flushes, driver.reports
        self._judge = Judge(
            driver,
            driver.core,
            *lists,
            lambda: (driver.credit, driver.overdraft),
            self.model,
            self.history,
        )
        self._items = 0
        self.compares = True

    # Actions.

    def act(self, action: str) -> None:
        """Do an action to the core and the model, and compare them."""
        self._do(action)
        if self.compares:
            self._judge.compare()

    def _do(self, action: str) -> None:
        verb, _, number = action.partition(" ")
        self.history.note("SCRIPT", action)
        self.history.clock.iteration += 1
        act = ACTS.get(verb)
        if act is not None:
            act(self, verb)
        elif verb in OF_FLUSHES:
            flush, flight = self.driver.flushes[int(number)], self.model.flights[int(number)]
            OF_FLUSHES[verb](self, flush, flight)
        elif verb in OF_CALLERS:
            OF_CALLERS[verb](self, *self.callers[int(number)])
        else:
            self._answer(verb, int(number))

    def settle(self) -> None:
        """Take all steps that need neither the sink nor the handler, and compare at the end.

        The states between these steps are compared where the steps are actions of the script.
        """
        while (action := next(self.steps(), None)) is not None:
            self._do(action)
        if self.compares:
            self._judge.compare()
            self._judge.compare_idle()

    # What is possible.

    def steps(self) -> Iterator[str]:
        """Yield the steps of callers, flushes, timers and passes that are possible now."""
        for number, caller in self.open.items():
            if caller.ready:
                yield f"resume {number}"
        for number, flush in enumerate(self.driver.flushes):
            if not flush.begun:
                yield f"begin {number}"
            elif flush.over and not flush.told:
                yield f"end {number}"
            elif isinstance(flush.wants, Turn) and flush.wants.waiter.done():
                yield f"unpause {number}"
        if self.driver.timer <= self.driver.now:
            yield "timer"
        if self.driver.limit <= self.driver.now:
            yield "limit"
        if self.driver.woken:
            yield "pass"

    @property
    def next_time(self) -> float:
        """The time of the next timer; inf if none is set."""
        times = self.driver.timer, self.driver.limit
        return min((time for time in times if time > self.driver.now), default=math.inf)

    def wishes(self) -> Iterator[tuple[str, int]]:
        """Yield "call" or "ask", and the number, for each flush that waits for sink or handler."""
        for number, flight in enumerate(self.model.flights):
            if flight.wants is not None and flight.wants[0] in {"call", "ask"}:
                yield str(flight.wants[0]), number

    def cancellations(self) -> Iterator[str]:
        """Yield an action for each caller that may be cancelled."""
        for number, caller in self.open.items():
            if not caller.cancelled:
                yield f"cancel {number}"

    def readings(self) -> Iterator[str]:
        """Yield an action for each submitted item whose end may be waited for."""
        for number, (caller, call) in enumerate(self.callers):
            if call.kind == "submit" and caller.accepted:
                yield f"read {number}"

    # The end.

    def bring_to_end(self) -> None:
        """Let all flushes and calls end, and then the queue."""
        self.settle()
        while (action := self._next_to_end()) is not None and not self.history.complaints:
            self.act(action)
            self.settle()
        waiting = list(self.open)
        if waiting or not self.driver.core.ending.ended:
            self.history.complain(2, f"callers {waiting} wait for ever: {self.driver!r}")

    def _next_to_end(self) -> str | None:
        wish = next(self.wishes(), None)
        if wish is not None:
            verb, number = wish
            return f"return {number}" if verb == "call" else f"{next(iter(self.verdicts))} {number}"
        if not self.model.closing:
            return "leave" if self.model.started else "aclose"
        return "advance" if self.next_time < math.inf else None

    # Producers.

    def make_item(self) -> Item:
        """Make the next item."""
        self._items += 1
        return Item(self._items)

    def _bring(self, kind: str) -> None:
        caller, call = Caller(), Call(kind, self.make_item())
        assert call.item is not None
        enter = getattr(self.driver, kind)
        self._come(caller, enter(caller, call.item), self.model.enter(call))

    def _come(self, caller: Caller, steps: Steps, call: Call) -> None:
        self.driver.enter(caller, steps)
        number = len(self.callers)
        self.open[number] = caller
        self._judge.callers[number] = caller, call
        self.callers.append((caller, call))
        self._close_if_done(number, caller)

    def _enter(self, flush: Flush, flight: Flight) -> None:
        """Bring an item to the queue from inside a flush."""
        caller, call = Caller(), Call("enqueue", self.make_item(), flight)
        assert call.item is not None
        steps = self.driver.enqueue(caller, call.item, flush.batch)
        self._come(caller, steps, self.model.enter(call))

    def _read(self, caller: Caller, call: Call) -> None:
        reading = self.model.read(Call("read", entry=call.entry))
        self._come(Caller(), self.driver.read(caller.completion), reading)

    def _flush(self, kind: str) -> None:
        self._come(Caller(), self.driver.flush(), self.model.flush(Call(kind)))

    def _cancel(self, caller: Caller, call: Call) -> None:
        self.driver.cancel(caller)
        self.model.cancel(call)

    def _resume(self, caller: Caller, call: Call) -> None:
        self.driver.resume(caller)
        self.model.resume(call)
        self._close_if_done(self.callers.index((caller, call)), caller)

    def _close_if_done(self, number: int, caller: Caller) -> None:
        if caller.done:
            del self.open[number]
            if isinstance(caller.error, MISTAKES):
                self.model.note_burst(self.driver.core.admission.opened)
            what = caller.value if caller.error is None else caller.error
            self.history.note(f"caller {number}", "done", what)

    # Owners and time.

    def _start(self, verb: str) -> None:
        self.driver.start()
        self.model.start()

    def _wait_for_end(self, kind: str) -> None:
        steps = getattr(self.driver, kind)()
        self._come(Caller(), steps, self.model.wait_for_end(Call(kind)))

    def _pass(self, verb: str) -> None:
        self.driver.run_pass()
        self._note_policy_events()
        self.model.run_pass()

    def _note_policy_events(self) -> None:
        for recorded in self._policy_events:
            facts = *recorded.event[1:], recorded.decision
            self.history.note(f"policy {recorded.copy}", str(recorded.event[0]), *facts)

    def _pass_at_once(self, verb: str) -> None:
        """Make a pass that calls ``flush_fn``, which returns or raises without suspending."""
        error = None if verb == "pass_returning" else SinkError("at once")

        def call(flush: Flush) -> None:
            self.driver.begin(flush)
            if error is None:
                self.driver.go_on(flush)
            elif flush.wants is not None:
                self.driver.fail(flush, error)
            self._watch(flush)
            if flush.over:
                self.driver.end_in_pass(flush)

        def end_call(flight: Flight) -> None:
            if error is None:
                flight.returned()
            else:
                flight.raised(error, self.model.now, may_ask=True)

        def call_of_model(flight: Flight) -> None:
            flight.begin(stopped=self.model.stopped)
            if flight.wants is not None:
                end_call(flight)
            if flight.wants is None:
                self.model.flight_is_over(flight)

        self.driver.run_pass(call)
        self._note_policy_events()
        self.model.run_pass(call_of_model)

    def _advance(self, verb: str) -> None:
        self.pass_time(self.next_time)

    def pass_time(self, now: float) -> None:
        """Set the time of the core and the model."""
        self.driver.now = self.model.now = now

    def _fire_timer(self, verb: str) -> None:
        self.model.timer_fired = max(self.driver.now, self.driver.timer)
        self.driver.fire_timer()

    def _reach_limit(self, verb: str) -> None:
        self.driver.reach_limit()
        self.model.cut_short()

    # Flushes.

    def _begin(self, flush: Flush, flight: Flight) -> None:
        self.driver.begin(flush)
        flight.begin(stopped=self.model.stopped)
        self._watch(flush)

    def _return(self, flush: Flush, flight: Flight) -> None:
        self.driver.go_on(flush)
        flight.returned()
        self._watch(flush)

    def _raise(self, flush: Flush, flight: Flight, error: BaseException) -> None:
        self.driver.fail(flush, error)
        flight.raised(error, self.model.now, may_ask=isinstance(error, Exception))
        self._watch(flush)

    def _answer(self, verb: str, number: int) -> None:
        """Give the answer of the handler to a flush."""
        flush, flight = self.driver.flushes[number], self.model.flights[number]
        self.driver.go_on(flush, self.verdicts[verb])
        flight.judged(self.verdicts[verb])
        self._watch(flush)

    def _break(self, flush: Flush, flight: Flight) -> None:
        error = SinkError("the handler")
        self.driver.fail(flush, error)
        flight.broke(error)
        self._watch(flush)

    def _unpause(self, flush: Flush, flight: Flight) -> None:
        if flush.batch.interrupted:
            self.driver.fail(flush, CancelledError())
        else:
            self.driver.go_on(flush)
        flight.paused()
        self._watch(flush)

    def _watch(self, flush: Flush) -> None:
        """Note what a flush waits for."""
        self.history.note("flush", "wants", flush.wants)

    def _end(self, flush: Flush, flight: Flight) -> None:
        self.driver.end(flush)
        self.model.flight_is_over(flight)


def _raiser(make: Callable[[], BaseException]) -> Callable[[Play, Flush, Flight], None]:
    return lambda play, flush, flight: play._raise(flush, flight, make())


# ruff: noqa: SLF001 - the tables of the class
ACTS: dict[str, Callable[[Play, str], None]] = {
    **dict.fromkeys(["enqueue", "enqueue_nowait", "submit", "deliver"], Play._bring),
    **dict.fromkeys(["run", "leave", "aclose"], Play._wait_for_end),
    "flush": Play._flush,
    "start": Play._start,
    "pass": Play._pass,
    **dict.fromkeys(["pass_returning", "pass_raising"], Play._pass_at_once),
    "advance": Play._advance,
    "timer": Play._fire_timer,
    "limit": Play._reach_limit,
}
"""Actions that name neither a caller nor a flush."""

OF_CALLERS: dict[str, Callable[[Play, Caller, Call], None]] = {
    "read": Play._read,
    "cancel": Play._cancel,
    "resume": Play._resume,
}
"""Actions that name a caller."""

OF_FLUSHES: dict[str, Callable[[Play, Flush, Flight], None]] = {
    "enter": Play._enter,
    "begin": Play._begin,
    "return": Play._return,
    "raise": _raiser(lambda: SinkError("all")),
    "part": _raiser(lambda: PartialFailure({0: SinkError("the first")})),
    "mistake": _raiser(lambda: PartialFailure({})),
    "die": _raiser(CancelledError),
    "break": Play._break,
    "unpause": Play._unpause,
    "end": Play._end,
}
"""Actions that name a flush; all others are answers of the handler and name a flush, too."""
