"""All that the checker knows put together, and what must hold whenever the loop is idle."""

import math
from asyncio import CancelledError, Timeout
from collections.abc import Callable
from typing import Any, Self

from flushq import Decision, Flush, FlushFailed, FlushQueue, PolicyError, QueueEnded, Wait
from tests.sessions.account import Account
from tests.sessions.endings import Endings
from tests.sessions.facts import Barrier, Call, Closer, Flight, Item, Limits, Waiting
from tests.sessions.history import History
from tests.sessions.line import Line
from tests.sessions.loop import EARLY


class Checker:
    """Whoever acts tells it; it compares with the contract and complains to the history."""

    def __init__(self, limits: Limits, history: History) -> None:
        self.history = history
        self.account = Account(limits, history)
        self.endings = Endings(limits, history, self.account)
        self.line = Line(limits, history, self.account, self.endings)
        self.logged = 0
        self._limits = limits
        self._decision: Decision = Wait()
        self._heard_at = 0.0
        self._ears: dict[str, Callable[..., None]] = {
            "item_added": self._item_added,
            "flush_started": self._flush_started,
            "flush_done": self._flush_done,
            "tick": self._tick,
        }

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def watch(self, queue: FlushQueue[Item]) -> None:
        """Know the queue: what can be seen of it, and the lists that exceptions must carry."""
        self.endings.queue = queue

    # Producers.

    def enqueue_called(self, call: Call) -> None:
        """Somebody calls enqueue or enqueue_nowait."""
        self.history.note(call.who, "enqueue", call.item)
        self.line.called(call)

    def enqueue_ended(self, call: Call, error: BaseException | None) -> None:
        """The call has ended."""
        self.history.note(
            call.who, "  accepted" if error is None else "  refused", call.item, error
        )
        self.line.ended(call, error)

    def interrupt(self, waiting: Waiting, *, surely: bool = True) -> None:
        """Somebody is being cancelled, or is perhaps."""
        if surely:
            waiting.requested = True
        else:
            waiting.vague = True
        if isinstance(waiting, Closer):
            self.endings.interrupt(waiting, surely=surely)

    # The sink.

    def sink_called(self, batch: list[Item]) -> Flight:
        """The sink was called with a batch."""
        self.history.note("sink", "called", tuple(batch))
        if self.endings.cut_surely:
            self.history.complain(10, "a flush was started after the close was cut short")
        flight = self.account.call(batch)
        self.line.look_for_deadlock()
        return flight

    def context_seen(self, who: str) -> None:
        """The sink runs in the context of whoever started the queue."""
        if who != self.endings.started_by:
            self.history.complain(13, f"the sink runs in the context of {who}")

    def sink_cancelled(self, flight: Flight) -> None:
        """The sink sees a cancellation."""
        self.history.note("sink", "  cancelled", flight)
        flight.cancelled_in.append(self.history.loop.iteration)
        if not self.endings.interrupts:
            self.history.complain(10, f"{flight} was cancelled without need")

    def sink_ended(self, flight: Flight, error: BaseException | None) -> None:
        """The sink has returned or raised."""
        self.history.note("sink", "  returned" if error is None else "  raised", flight, error)
        self.account.end(flight, error)
        self.line.look_for_deadlock()

    # Barriers.

    def flush_called(self, who: str, scope: Timeout | None = None) -> Barrier:
        """Somebody calls flush()."""
        self.history.note(who, "flush")
        account = self.account
        barrier = Barrier(
            who=who,
            scope=scope,
            start=account.settled,
            heard=account.heard,
            mark=account.position,
            late=bool(self.endings.failures),
        )
        self.endings.call_barrier(barrier)
        return barrier

    def flush_ended(self, barrier: Barrier, error: BaseException | None) -> None:
        """The call has ended."""
        self.history.note(barrier.who, "  flushed" if error is None else "  flush failed", error)
        self.endings.end_barrier(barrier, error)

    # Owners.

    def start_refused(self, who: str, error: BaseException) -> None:
        """Somebody came to start the queue, too late."""
        self.history.note(who, "did not start the queue", error)
        if not (isinstance(error, RuntimeError) and self.endings.closing_maybe):
            self.history.complain(17, f"{who} got {error!r}")

    def queue_started(self, who: str) -> None:
        """The queue was started."""
        self.history.note(who, "started the queue")
        self.endings.start(who)

    def closer_called(self, closer: Closer) -> Closer:
        """Somebody begins to wait for the end of the queue."""
        self.history.note(closer.who, closer.kind, closer.body_error)
        self.endings.call(closer)
        return closer

    def closer_ended(self, closer: Closer, error: BaseException | None) -> None:
        """It waits no more."""
        self.history.note(closer.who, f"  ended {closer.kind}", error)
        self.endings.end(closer, error)

    # The policy.

    def told(self, event: str, now: float, *facts: Any) -> None:
        """The policy is told of an event."""
        self.history.note("policy", event, now, *facts)
        if not self._heard_at <= now <= self.history.loop.time() + 2 * EARLY:
            self.history.complain(13, f"the policy hears of {now} at the wrong time")
        self._heard_at = now
        self._ears[event](now, *facts)

    def _item_added(self, now: float, count: int, weight: float) -> None:
        self.account.told_arrivals(now, count)

    def _flush_started(self, now: float, count: int, weight: float) -> None:
        self._check_cause(count)
        self.account.told_start(now, count)

    def _flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None
    ) -> None:
        flight = self.account.told_end(now, count, seconds, error)
        if error is not None and flight is not None and not flight.interrupted:
            self.endings.fail(FlushFailed, error)

    def _tick(self, now: float) -> None:
        if isinstance(self._decision, Flush) or now < self._decision.until:
            self.history.complain(6, "a tick came that nobody asked for")

    def answered(self, decision: Decision) -> Decision:
        """The policy answers."""
        self.history.note("policy", "  answers", decision)
        self._decision = decision
        return decision

    def policy_failed(self, cause: BaseException | None) -> None:
        """The policy raises, or answers nonsense."""
        self.history.note("policy", "  fails", cause)
        self.endings.fail(PolicyError, cause)

    def _check_cause(self, count: int) -> None:
        """Find the reason why a batch is being cut; is it as large as this reason makes it."""
        sizes = self._sizes()
        if not sizes:
            self.history.complain(6, "a flush is started without any reason")
        elif count not in sizes:
            self.history.complain(4, f"a batch has {count} items, not {sizes}")
        if self.endings.failures or self.endings.cut_surely:
            self.history.complain(12, "a flush is started after the end")

    def _sizes(self) -> set[int]:
        """The sizes that a batch may have, if it may be cut now."""
        largest, endings = self.account.largest_cut(), self.endings
        if endings.closing or self.account.cut < endings.barrier_mark:
            return {largest}
        sizes = {largest} if endings.closing_maybe else set()
        if isinstance(self._decision, Flush):
            sizes.add(min(largest, self._decision.up_to or largest))
        elif self.line.blocked:
            sizes.add(largest)
        return sizes

    # Idle moments.

    def idle(self) -> None:
        """Nothing can happen at this moment any more; time is about to move on."""
        self.endings.become_sure()
        self._check_flights()
        self._check_size()
        self._check_line()
        self._check_barriers()
        self._check_closers()
        if self.endings.started and not self.endings.stopped:
            self._check_slots()

    @property
    def _is_slot_free(self) -> bool:
        return len(self.account.running) < self._limits.max_in_flight

    def _check_flights(self) -> None:
        for flight in list(self.account.running):
            if not flight.called:
                self.account.end(flight, CancelledError())
                if not self.endings.stops:
                    self.history.complain(2, f"{flight} was cut and never handed over")
            elif self.endings.interrupted:
                last = flight.cancelled_in[-1] if flight.cancelled_in else -1
                if last < max(0, self.endings.cut_in):
                    self.history.complain(10, f"{flight} was not cancelled")

    def _check_size(self) -> None:
        pending, waiting = self.endings.queue.pending, len(self.account.waiting)
        if self.endings.stopped:
            waiting = 0
        elif self.account.untold:
            self.history.complain(6, f"the policy never heard of {self.account.untold} arrivals")
        if pending != waiting:
            self.history.complain(2, f"{pending} items are pending, not {waiting}")

    def _check_line(self) -> None:
        endings, calls = self.endings, self.line.calls
        if endings.stopped or (endings.closing and any(not call.is_inside for call in calls)):
            if calls:
                self.history.complain(10, f"{_names(calls)} wait though the queue ends")
        elif calls and len(self.account.waiting) < self._limits.max_queue_size:
            self.history.complain(7, f"{_names(calls)} wait beside room")
        elif calls and endings.started and self._is_slot_free:
            self.history.complain(7, f"{_names(calls)} wait beside a free slot")
        elif calls and self.line.is_deadlock():
            self.history.complain(14, "every flush waits for room")
        self.line.forget_deadlock()

    def _check_barriers(self) -> None:
        for barrier in self.endings.barriers:
            if self.endings.is_reached(barrier):
                self.history.complain(9, f"{barrier.who} still waits, for nothing")

    def _check_closers(self) -> None:
        ending = self.endings.closing or self.endings.failures
        if ending and not self.account.running:
            for closer in self.endings.closers:
                if not closer.over:
                    self.history.complain(10, f"{closer.who} still waits for the end")
        timers = self.history.loop.timers_of(self.endings.queue)
        if timers > self._most_timers:
            self.history.complain(10, f"the queue has set {timers} timers")

    @property
    def _most_timers(self) -> int:
        """One for the policy, and one for the limit."""
        endings = self.endings
        if not (endings.closing or endings.failures):
            return 1
        return 2 if self.account.running else 0

    def _check_slots(self) -> None:
        """No slot is free beside items that are due."""
        account, endings = self.account, self.endings
        if not account.waiting or not self._is_slot_free:
            return
        if endings.closing:
            self.history.complain(10, "the drain stands still")
        if account.cut < endings.barrier_mark:
            self.history.complain(9, "a barrier has started no flush")
        due = -math.inf if isinstance(self._decision, Flush) else self._decision.until
        if due <= self.history.loop.time() or self.history.loop.next_timer > due:
            self.history.complain(6, f"items wait beside a free slot, due at {due:g}")

    # The end.

    def finish(self) -> None:
        """The loop is quiet for good."""
        queue, outcomes = self.endings.queue, []
        self.account.balance(queue.undelivered, queue.in_doubt)
        lost = bool(queue.undelivered or queue.in_doubt)
        if lost and not self.endings.stops:
            self.history.complain(2, "items were lost without need")
        for closer in self.endings.closers:
            if closer.body_error is None and not isinstance(closer.error, CancelledError):
                outcomes.append(closer.error)
        bad = lost or bool(self.endings.failures)
        for outcome in outcomes:
            if bad != isinstance(outcome, QueueEnded):
                self.history.complain(10, f"a closer was told {outcome!r}")
        if len({type(outcome) for outcome in outcomes}) > 1:
            self.history.complain(10, f"closers do not agree: {outcomes}")
        self._check_notes(lost=bad)

    def _check_notes(self, *, lost: bool) -> None:
        """A loss beside another exception is told in a note and a log record, each once."""
        notes = 0
        for closer in self.endings.closers:
            told = len(getattr(closer.error, "__notes__", ()))
            notes += told
            other = closer.error is not None and not isinstance(closer.error, QueueEnded)
            if told != (lost and other) and (told or not closer.may_be_early):
                self.history.complain(11, f"{closer.error!r} has {told} notes")
        if notes != self.logged:
            self.history.complain(11, f"{self.logged} log records, not {notes}")


def _names(calls: dict[Call, None]) -> str:
    return ", ".join(f"{call.who} with {call.item}" for call in calls)
