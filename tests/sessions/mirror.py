"""The model of `tests.core_sessions`, and the same steps done to it as to a queue on a loop.

The mirror is told of each step of a caller, of a flush and of the timers, of each cancellation and
each pass, at the moment at which it happens. So the model takes the steps in the order of the loop,
and must agree with the queue after each of them.
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
from tests.core_sessions.partitions import PolicyEvent
from tests.sessions.facts import Item, Limits
from tests.sessions.history import History
from tests.sessions.loop import EARLY, SessionLoop


@attrs.define(eq=False)
class Flush:
    """A flush that was started.

    Attributes:
        number: How many flushes were started before.
        batch: The batch.
        items: The items of the batch.
        task: The task of the flush.
        flight: The same flush in the model.
    """

    number: int
    batch: Batch[Item]
    items: tuple[Item, ...]
    task: asyncio.Task[None]
    flight: Flight = attrs.field(init=False)

    @property
    def wish(self) -> tuple[object, ...] | None:
        """What the flush waits for, as the model has it; checked where ``flush_fn`` is called."""
        return self.flight.wants

    @property
    def runs(self) -> bool:
        """Whether the flush has not ended."""
        return self.flight.wants is not None

    @property
    def pauses(self) -> bool:
        """Whether the flush waits to call ``flush_fn`` again, or may call it now."""
        return self.flight.wants is not None and self.flight.wants[0] in {"pause", "turn"}

    def __repr__(self) -> str:
        return f"flush {self.number}"


CURRENT: contextvars.ContextVar[Flush | None] = contextvars.ContextVar("CURRENT", default=None)
"""The flush that the caller is a part of."""


class Mirror:
    """Does the steps of a queue to a model, too, and compares the two.

    Attributes:
        model: The model.
        policy_events: The events and answers of the policy.
        flushes: All flushes that were started.
        reports: All reports that ``on_report`` got.
        loop: The loop of the queue.
        calls: The current call of each task, which is cancelled together with the task.
    """

    def __init__(
        self, limits: Limits, history: History, loop: SessionLoop, *, handles: bool, burst: float
    ) -> None:
        self.policy_events: deque[PolicyEvent] = deque()
        self.model = Model(
            limits=limits,
            policy_events=self.policy_events,
            handles=handles,
            usual_burst=burst,
        )
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
        """Note a breach of the contract."""
        self._history.complain(point, text)

    def keep_time(self) -> None:
        """Set the time of the model to that of the loop."""
        self.model.now = self.loop.time()

    def compare(self) -> None:
        """Compare the queue and the model, unless a difference was found before."""
        self._judge.compare()

    # Callers.

    def register(self, caller: Caller, call: Call) -> None:
        """Add a caller to those that are compared."""
        self._judge.callers[self._count] = caller, call
        self._count += 1

    def go_on(self, call: Call, thrown: BaseException | None) -> None:
        """Resume a caller; ``thrown`` is set if it was cancelled or its coroutine was closed."""
        self.keep_time()
        if isinstance(thrown, GeneratorExit):
            self.model.cancel(call)
        elif call.cancelled != isinstance(thrown, CancelledError):
            self.complain(11, f"{thrown!r} in {call.kind}, cancelled: {call.cancelled}")
        self.model.resume(call)

    def note_burst(self) -> None:
        """Open the burst in the model if an item that was refused has opened it in the queue."""
        self.model.note_burst(self._core.admission.opened)

    def cancelling(self, task: asyncio.Task[Any]) -> None:
        """Note that a task is being cancelled."""
        self._history.note(task.get_name(), "is being cancelled")
        call = self.calls.get(task)
        if call is not None and self._passes:
            self._cancelled_in_pass.append(call)
        elif call is not None:
            self.model.cancel(call)

    # Passes and timers.

    def begin_pass(self) -> None:
        """Note that a pass begins."""
        self._passes = True

    def end_pass(self) -> None:
        """Note that the pass has ended, and run it in the model."""
        self._passes = False
        self.keep_time()
        for recorded in self.policy_events:
            facts = *recorded.event[1:], recorded.decision
            self._history.note(f"policy {recorded.copy}", str(recorded.event[0]), *facts)
        self.model.run_pass()
        for flush, flight in zip(self.flushes, self.model.flights, strict=False):
            flush.flight = flight
        for call in self._cancelled_in_pass:
            self.model.cancel(call)
        self._cancelled_in_pass.clear()
        self.compare()

    def fire_timer(self, due: float) -> None:
        """Fire the timer of the policy, which was set for this time."""
        self.keep_time()
        self.model.timer_fired = max(self.model.now, due)

    def reach_limit(self) -> None:
        """Fire the timer of the time limit."""
        self.keep_time()
        if self.model.deadline is None or self.model.now < self.model.deadline - 2 * EARLY:
            self.complain(10, f"the limit of {self.model.deadline} is reached too early")
        self.model.cut_short()

    # Flushes.

    def launch(self, batch: Batch[Item], items: tuple[Item, ...], task: Any) -> None:
        """Note that the task of a flush was made."""
        flush = self._flush_of[batch] = Flush(len(self.flushes), batch, items, task)
        self.flushes.append(flush)

    def begin(self, batch: Batch[Item]) -> Flush:
        """Note that a flush takes its first step, and return the flush."""
        flush = self._flush_of[batch]
        flush.flight.begin(stopped=self.model.stopped)
        return flush

    def end(self, flush: Flush) -> None:
        """Note that a flush has taken its last step; this may have cut a pause short."""
        flight = flush.flight
        if flush.pauses and (flight.interrupted or flight.refused):
            flight.paused()
        if flight.wants is not None:
            self.complain(18, f"{flush} has ended instead of {flight.wants}")

    def forget(self, batch: Batch[Item]) -> None:
        """Note that the task of a batch has ended, perhaps without a single step."""
        self.keep_time()
        flight = self._flush_of[batch].flight
        if flight.wants == ("begin",):
            flight.begin(stopped=True)
        self.model.flight_is_over(flight)

    def call_sink(self, flush: Flush, batch: list[Item]) -> None:
        """Check a call of ``flush_fn``."""
        self.keep_time()
        flight = flush.flight
        if flush.pauses:
            if flight.wants != ("turn",):
                self.complain(18, f"{flush} calls flush_fn too early: {flight.wants}")
            flight.paused()
        if flight.wants != ("call", batch):
            self.complain(3, f"flush_fn is called with {batch}, not {flight.wants}")
        self._judge.compare_stats()

    def end_call(self, flush: Flush, error: BaseException | None) -> None:
        """Note that ``flush_fn`` has returned or raised."""
        self.keep_time()
        if error is None:
            flush.flight.returned()
        else:
            may_ask = isinstance(error, Exception | CancelledError)
            flush.flight.raised(error, self.model.now, may_ask=may_ask)

    def ask(self, flush: Flush, failure: Failure[Item]) -> None:
        """Check a call of the failure handler."""
        told = failure.items, failure.error, failure.errors, failure.attempt
        facts = "ask", *told, failure.reason, failure.seconds, failure.partition
        if flush.flight.wants != facts:
            self.complain(18, f"the handler is asked {facts}, not {flush.flight.wants}")

    def judge(self, flush: Flush, verdict: object) -> None:
        """Note that the handler has answered."""
        self.keep_time()
        flush.flight.judged(verdict)

    def break_handler(self, flush: Flush, error: BaseException) -> None:
        """Note that the handler has raised."""
        flush.flight.broke(error)

    # When the loop is idle.

    def check_idle(self) -> None:
        """Check an idle moment: nothing can be done now, and each later step has a timer."""
        self.keep_time()
        self._judge.compare()
        self._judge.compare_idle()
        if self._history.complaints:
            return
        timers = self.loop.timers_of(self._runner)
        if timers != self._right_timers():
            self.complain(10, f"the queue has timers for {timers}, not {self._right_timers()}")
        for flush in filter(lambda each: each.runs, self.flushes):
            self._check_flush(flush)

    def _right_timers(self) -> list[float]:
        """Return the times of one timer for the policy or the next call, and one for the limit."""
        model = self.model
        limits = [] if model.deadline is None or model.is_cut or model.ended else [model.deadline]
        wake_at = min(model.wake_at, model.starts.wake_at)
        return sorted(time for time in (wake_at, *limits) if time < math.inf)

    def _check_flush(self, flush: Flush) -> None:
        """Complain unless a flush that runs waits, and was cancelled as often as it must be."""
        wants, interrupts = flush.flight.wants, flush.flight.interrupted
        cancels = flush.task.cancelling()
        assert wants is not None
        if wants[0] in {"begin", "turn"}:
            self.complain(18, f"{flush} makes no progress: {wants}")
        if cancels != interrupts:
            self.complain(10, f"{flush} was cancelled {cancels} times, not {interrupts}")
