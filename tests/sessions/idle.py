"""What must hold whenever the loop is idle: nothing is left that could be done now."""

from asyncio import CancelledError

from tests.sessions.account import Account
from tests.sessions.barriers import Barriers
from tests.sessions.deliveries import Deliveries
from tests.sessions.endings import Endings
from tests.sessions.facts import ASKED, HANDED, Limits
from tests.sessions.hearing import Hearing
from tests.sessions.history import History
from tests.sessions.line import Line
from tests.sessions.waiting import Call


class Idleness:
    """The checks of an idle moment."""

    def __init__(
        self,
        limits: Limits,
        history: History,
        account: Account,
        endings: Endings,
        barriers: Barriers,
        line: Line,
        hearing: Hearing,
        deliveries: Deliveries,
    ) -> None:
        self._limits = limits
        self._history = history
        self._account = account
        self._endings = endings
        self._barriers = barriers
        self._line = line
        self._hearing = hearing
        self._deliveries = deliveries

    def check(self) -> None:
        """Nothing can happen at this moment any more; time is about to move on."""
        self._check_flights()
        self._check_size()
        self._check_line()
        self._check_barriers()
        self._check_closers()
        if self._endings.started and not self._endings.stopped:
            self._check_slots()

    @property
    def _is_slot_free(self) -> bool:
        return len(self._account.running) < self._limits.max_in_flight

    def _check_flights(self) -> None:
        for flight in list(self._account.running):
            if not flight.called:
                self._account.end(flight, CancelledError())
                if not self._endings.stops:
                    self._history.complain(2, f"{flight} was cut and never handed over")
            elif flight.state not in {HANDED, ASKED}:
                self._deliveries.check_idle(flight)
            elif self._endings.interrupted:
                last = flight.cancelled_in[-1] if flight.cancelled_in else -1
                if last < max(0, self._endings.cut_in):
                    self._history.complain(10, f"{flight} was not cancelled")

    def _check_size(self) -> None:
        pending, waiting = self._endings.queue.pending, len(self._account.waiting)
        if self._endings.stopped:
            waiting = 0
        elif self._account.untold:
            self._history.complain(6, f"the policy never heard of {self._account.untold} arrivals")
        if pending != waiting:
            self._history.complain(2, f"{pending} items are pending, not {waiting}")

    def _check_line(self) -> None:
        endings, calls = self._endings, self._line.calls
        if endings.stopped or (endings.closing and any(not call.is_inside for call in calls)):
            if calls:
                self._history.complain(10, f"{_names(calls)} wait though the queue ends")
        elif calls and len(self._account.waiting) < self._limits.max_queue_size:
            self._history.complain(7, f"{_names(calls)} wait beside room")
        elif calls and endings.started and self._is_slot_free:
            self._history.complain(7, f"{_names(calls)} wait beside a free slot")
        elif calls and self._line.is_deadlock():
            self._history.complain(14, "every flush waits for room")
        self._line.forget_deadlock()

    def _check_barriers(self) -> None:
        for barrier in self._barriers.calls:
            if self._barriers.is_reached(barrier):
                self._history.complain(9, f"{barrier.who} still waits, for nothing")

    def _check_closers(self) -> None:
        ending = self._endings.closing or self._endings.failures
        if ending and not self._account.running:
            for closer in self._endings.closers:
                if not closer.over:
                    self._history.complain(10, f"{closer.who} still waits for the end")
        timers = self._history.loop.timers_of(self._endings.queue)
        if timers > self._most_timers:
            self._history.complain(10, f"the queue has set {timers} timers")

    @property
    def _most_timers(self) -> int:
        """One for the policy, and one for the limit."""
        endings = self._endings
        if not (endings.closing or endings.failures):
            return 1
        return 2 if self._account.running else 0

    def _check_slots(self) -> None:
        """No slot is free beside items that are due."""
        account, endings = self._account, self._endings
        if not account.waiting or not self._is_slot_free:
            return
        if endings.closing:
            self._history.complain(10, "the drain stands still")
        if account.cut < self._barriers.mark:
            self._history.complain(9, "a barrier has started no flush")
        due = self._hearing.due
        if due <= self._history.loop.time() or self._history.loop.next_timer > due:
            self._history.complain(6, f"items wait beside a free slot, due at {due:g}")


def _names(calls: dict[Call, None]) -> str:
    return ", ".join(f"{call.who} with {call.item}" for call in calls)
