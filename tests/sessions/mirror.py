"""A queue on a loop, and beside it the model of `tests.core_sessions`, to which the same is done.

Each step of a caller, of a flush and of the timers, each cancellation and each pass is seen when it
is taken. So the model knows the order in which the loop has brought them about, and the queue must
agree with it after every one of them.
"""

import asyncio
import contextvars
import math
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from flushq import Failure, FlushReport
from flushq.aio.runner import Runner
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.core.view import QueueView
from tests.core_sessions.calls import Call
from tests.core_sessions.driver import Caller
from tests.core_sessions.flights import Flight
from tests.core_sessions.judge import Judge
from tests.core_sessions.model import Model
from tests.core_sessions.partitions import Heard
from tests.sessions.facts import Item, Limits
from tests.sessions.history import History
from tests.sessions.loop import EARLY, SessionLoop


@attrs.define(eq=False)
class Flush:
    """A flush that was started.

    Attributes:
        number: How many were started before.
        batch: Its batch.
        items: The items of that.
        task: Its task.
        flight: The same, of the model.
    """

    number: int
    batch: Batch[Item]
    items: tuple[Item, ...]
    task: asyncio.Task[None]
    flight: Flight = attrs.field(init=False)

    @property
    def wish(self) -> tuple[object, ...] | None:
        """What it waits for: compared where flush_fn and the handler are called."""
        return self.flight.wants

    @property
    def runs(self) -> bool:
        """Whether it goes on."""
        return self.flight.wants is not None

    @property
    def pauses(self) -> bool:
        """Whether it is in line to call flush_fn again, or was let go."""
        return self.flight.wants is not None and self.flight.wants[0] in {"pause", "turn"}

    def __repr__(self) -> str:
        return f"flush {self.number}"


CURRENT: contextvars.ContextVar[Flush | None] = contextvars.ContextVar("CURRENT", default=None)
"""The flush that the caller is part of."""


class Mirror:
    """Does to a model what happens to a queue, and compares the two.

    Attributes:
        model: The model.
        heard: What the policy hears and answers.
        flushes: All that were started.
        reports: All that on_report was told.
        loop: The loop of the queue.
        calls: The call that a task is in: to cancel the task is to cancel that.
    """

    def __init__(
        self, limits: Limits, history: History, loop: SessionLoop, *, handles: bool, burst: float
    ) -> None:
        self.heard: deque[Heard] = deque()
        self.model = Model(limits=limits, heard=self.heard, handles=handles, usual_burst=burst)
        self.flushes: list[Flush] = []
        self.reports: list[FlushReport] = []
        self._history = history
        self.loop = loop
        self.calls: dict[asyncio.Task[Any] | None, Call] = {}
        self._flush_of: dict[Batch[Item], Flush] = {}
        self._passes = False
        self._cancelled_in_pass: list[Call] = []
        self._count = 0

    def watch(
        self,
        view: QueueView[Item],
        core: Core[Item],
        runner: Runner[Item],
        credit: Callable[[], tuple[Iterator[None], Iterator[None]]],
    ) -> None:
        """Compare this queue with the model."""
        self._core = core
        self._runner = runner
        lists = self.flushes, self.reports
        self._judge = Judge(view, core, *lists, credit, self.model, self._history)

    def complain(self, point: int | str, text: str) -> None:
        """Note what broke the contract."""
        self._history.complain(point, text)

    def keep_time(self) -> None:
        """The time of the model is that of the loop."""
        self.model.now = self.loop.time()

    def compare(self) -> None:
        """Compare the two, as long as they have not differed."""
        self._judge.compare()

    # Callers.

    def register(self, caller: Caller, call: Call) -> None:
        """Somebody has come."""
        self._judge.callers[self._count] = caller, call
        self._count += 1

    def go_on(self, call: Call, thrown: BaseException | None) -> None:
        """A caller goes on; an exception is thrown into it if it was cancelled or is given up."""
        self.keep_time()
        if isinstance(thrown, GeneratorExit):
            self.model.cancel(call)
        elif call.cancelled != isinstance(thrown, CancelledError):
            self.complain(11, f"{thrown!r} in {call.kind}, cancelled: {call.cancelled}")
        self.model.resume(call)

    def note_burst(self) -> None:
        """An item that is refused when it is added has opened the burst by then."""
        self.model.note_burst(self._core.admission.opened)

    def cancelling(self, task: asyncio.Task[Any]) -> None:
        """A task is being cancelled."""
        self._history.note(task.get_name(), "is being cancelled")
        call = self.calls.get(task)
        if call is not None and self._passes:
            self._cancelled_in_pass.append(call)
        elif call is not None:
            self.model.cancel(call)

    # Passes and timers.

    def begin_pass(self) -> None:
        """A pass begins."""
        self._passes = True

    def end_pass(self) -> None:
        """It has ended, and the model makes the same."""
        self._passes = False
        self.keep_time()
        for heard in self.heard:
            facts = *heard.event[1:], heard.decision
            self._history.note(f"policy {heard.copy}", str(heard.event[0]), *facts)
        self.model.run_pass()
        for flush, flight in zip(self.flushes, self.model.flights, strict=False):
            flush.flight = flight
        for call in self._cancelled_in_pass:
            self.model.cancel(call)
        self._cancelled_in_pass.clear()
        self.compare()

    def fire_timer(self, due: float) -> None:
        """The timer of the policy fires, which was set for this time."""
        self.keep_time()
        self.model.timer_fired = max(self.model.now, due)

    def reach_limit(self) -> None:
        """The timer of the limit fires."""
        self.keep_time()
        if self.model.deadline is None or self.model.now < self.model.deadline - 2 * EARLY:
            self.complain(10, f"the limit of {self.model.deadline} has come")
        self.model.cut_short()

    # Flushes.

    def launch(self, batch: Batch[Item], items: tuple[Item, ...], task: Any) -> None:
        """The task of a flush was made."""
        flush = self._flush_of[batch] = Flush(len(self.flushes), batch, items, task)
        self.flushes.append(flush)

    def begin(self, batch: Batch[Item]) -> Flush:
        """A flush takes its first step."""
        flush = self._flush_of[batch]
        flush.flight.begin(stopped=self.model.stopped)
        return flush

    def end(self, flush: Flush) -> None:
        """It has taken the last step, of a pause perhaps that was cut short."""
        flight = flush.flight
        if flush.pauses and (flight.interrupted or flight.refused):
            flight.paused()
        if flight.wants is not None:
            self.complain(18, f"{flush} has ended instead of {flight.wants}")

    def forget(self, batch: Batch[Item]) -> None:
        """Its task is gone, perhaps without a single step."""
        self.keep_time()
        flight = self._flush_of[batch].flight
        if flight.wants == ("begin",):
            flight.begin(stopped=True)
        self.model.flight_is_over(flight)

    def call_sink(self, flush: Flush, batch: list[Item]) -> None:
        """Flush_fn is called."""
        self.keep_time()
        flight = flush.flight
        if flush.pauses:
            if flight.wants != ("turn",):
                self.complain(18, f"{flush} goes on too early: {flight.wants}")
            flight.paused()
        if flight.wants != ("call", batch):
            self.complain(3, f"flush_fn is called with {batch}, not {flight.wants}")
        self._judge.compare_stats()

    def end_call(self, flush: Flush, error: BaseException | None) -> None:
        """Flush_fn has returned or raised."""
        self.keep_time()
        if error is None:
            flush.flight.returned()
        else:
            may_ask = isinstance(error, Exception | CancelledError)
            flush.flight.raised(error, self.model.now, may_ask=may_ask)

    def ask(self, flush: Flush, failure: Failure[Item]) -> None:
        """The failure handler is called."""
        told = failure.items, failure.error, failure.errors, failure.attempt
        facts = "ask", *told, failure.reason, failure.seconds, failure.partition
        if flush.flight.wants != facts:
            self.complain(18, f"the handler is asked {facts}, not {flush.flight.wants}")

    def judge(self, flush: Flush, verdict: object) -> None:
        """It has answered."""
        self.keep_time()
        flush.flight.judged(verdict)

    def break_handler(self, flush: Flush, error: BaseException) -> None:
        """It has raised."""
        flush.flight.broke(error)

    # When the loop is idle.

    def check_idle(self) -> None:
        """Nothing is left that could be done now, and what is to come has a timer."""
        self.keep_time()
        self._judge.compare()
        self._judge.compare_idle()
        if self._history.complaints:
            return
        timers = self.loop.timers_of(self._runner)
        if timers != self._right_timers():
            self.complain(10, f"the queue has set timers for {timers}")
        for flush in filter(lambda each: each.runs, self.flushes):
            self._check_flush(flush)

    def _right_timers(self) -> list[float]:
        """One for the policy and the next call that may start, and one for the limit."""
        model = self.model
        limits = [] if model.deadline is None or model.is_cut or model.ended else [model.deadline]
        wake_at = min(model.wake_at, model.starts.wake_at)
        return sorted(time for time in (wake_at, *limits) if time < math.inf)

    def _check_flush(self, flush: Flush) -> None:
        """A flush that runs waits for the sink, the handler or the time, and knows that it ends."""
        wants, interrupts = flush.flight.wants, flush.flight.interrupted
        cancels = flush.task.cancelling()
        assert wants is not None
        if wants[0] in {"begin", "turn"}:
            self.complain(18, f"{flush} stands still: {wants}")
        if cancels != interrupts:
            self.complain(10, f"{flush} was cancelled {cancels} times, not {interrupts}")
