"""Producers: who may be accepted, refused, overtaken, made to wait.

Room that is free may be *claimed*: by a call that waits for it or has been given it, and by one
that pauses for fairness. A call that finds no room, or somebody in line before it, is *blocked*;
one of enqueue_nowait, which cannot wait, only if all the room is claimed. Blocked calls are
accepted in the order in which they came. A call whose cancellation was asked for may be overtaken,
and so may one that is going to be refused.
"""

from asyncio import CancelledError

from flushq import ItemTooLarge, QueueClosed, QueueEnded, QueueFull
from tests.sessions.account import Account
from tests.sessions.endings import Endings
from tests.sessions.facts import Item, Limits
from tests.sessions.history import History
from tests.sessions.outcomes import Flaw, Outcomes
from tests.sessions.waiting import Call

BURST = 256


class Line:
    """The calls of enqueue that have not ended.

    Attributes:
        calls: All of them, in order.
    """

    def __init__(
        self,
        limits: Limits,
        history: History,
        account: Account,
        endings: Endings,
        outcomes: Outcomes,
    ) -> None:
        self.calls: dict[Call, None] = {}
        self._limits = limits
        self._history = history
        self._account = account
        self._endings = endings
        self._outcomes = outcomes
        self._was_deadlock = False
        self._burst: tuple[str, int] = ("", 0)
        self._burst_size = 0

    def called(self, call: Call) -> None:
        """Somebody calls enqueue."""
        loop = self._history.loop
        call.called_in, call.called_at = loop.iteration, loop.time()
        call.claims = not self._account.is_duplicate(call.item)
        behind = not call.nowait and bool(self.blocked)
        call.blocked = call.claims and (behind or not self._is_room_beside(self._claims))
        call.refused = call.delivers and call.inside is not None and not call.inside.over
        self.calls[call] = None
        if call.is_inside:
            self.look_for_deadlock()

    @property
    def blocked(self) -> list[Call]:
        """The calls that wait in line, in order."""
        return [call for call in self.calls if call.blocked]

    @property
    def _claims(self) -> list[Call]:
        """The calls that may have a claim to room: a duplicate has none until it has paused."""
        now = self._history.loop.iteration
        return [call for call in self.calls if call.claims or call.called_in != now]

    def _is_room_beside(self, claims: list[Call]) -> bool:
        """Whether there is room for an item when all of these have come in."""
        return len(self._account.waiting) + len(claims) < self._limits.max_queue_size

    def accepted(self, call: Call) -> Item:
        """The item was accepted; return the one that stays: a duplicate goes."""
        self._check_acceptance(call)
        del self.calls[call]
        return self._account.accept(call.item, min(call.called_at, self._history.loop.woke_at))

    def refused(self, call: Call, error: BaseException) -> None:
        """The call has raised."""
        del self.calls[call]
        flaw = self._flaw(call, error)
        if flaw is not None:
            point, text = flaw
            self._history.complain(point, f"{call.who}, {call.item}: {error!r} {text}")

    # Acceptance.

    def _check_acceptance(self, call: Call) -> None:
        if call.cancelled:
            self._history.complain(1, f"{call.item} was accepted from a cancelled {call.who}")
        if call.refused:
            self._history.complain(14, f"{call.item} is delivered for the flush that runs")
        if self._endings.refuses(inside=call.is_inside):
            self._history.complain(10, f"{call.item} was accepted after the end had begun")
        if self._limits.max_weight is not None and call.item.weight > self._limits.max_weight:
            self._history.complain(4, f"{call.item} was accepted")
        # A call that was let in at once or has slept a turn for fairness stands in no line.
        if call.blocked or call.called_in == self._history.loop.iteration:
            self._check_order(call)
        self._check_burst(call)

    def _check_order(self, call: Call) -> None:
        if self._account.is_duplicate(call.item):
            return
        if call.nowait:
            self._check_claims(call)
            return
        has_waited = call.blocked and call.called_in != self._history.loop.iteration
        for other in self.calls:
            if other is call:
                return
            # One that pauses for fairness has a claim to its room, whoever comes in beside it.
            if (other.blocked or has_waited) and not self._may_be_overtaken(other):
                self._history.complain(7, f"{call.item} overtook {other.item}")
                return

    def _check_claims(self, call: Call) -> None:
        """Whoever comes at once takes no room to which another one surely has a claim."""
        others = [other for other in self.calls if other is not call]
        claims = [other for other in others if other.claims and not self._may_be_overtaken(other)]
        if not self._is_room_beside(claims):
            items = [other.item for other in claims]
            self._history.complain(7, f"{call.item} took the room of one of {items}")

    def _may_be_overtaken(self, call: Call) -> bool:
        if call.is_inside:
            return self._was_deadlock or self._endings.interrupts
        return call.may_go(self._history.loop.time()) or self._endings.closing_maybe

    def _check_burst(self, call: Call) -> None:
        burst = (call.who, self._history.loop.iteration)
        self._burst_size = self._burst_size + 1 if burst == self._burst else 1
        self._burst = burst
        may_be_late = call.nowait or call.delivers  # cannot suspend; is about to
        if self._burst_size > BURST and not may_be_late:
            self._history.complain(8, f"{self._burst_size} items without a turn of the loop")

    # Refusals.

    def _flaw(self, call: Call, error: BaseException) -> Flaw:
        """What is wrong with a refusal."""
        if isinstance(error, QueueEnded):
            return self._outcomes.flaw_of_failure(error)
        if isinstance(error, ItemTooLarge):
            limit = self._limits.max_weight
            fits = limit is None or call.item.weight <= limit
            return (4, "though it fits") if fits else None
        if isinstance(error, QueueFull):
            return self._flaw_of_full(call)
        if isinstance(error, QueueClosed):
            return self._flaw_of_closed(call)
        if isinstance(error, CancelledError | GeneratorExit):
            stopped = call.inside is not None and self._endings.interrupts
            going = stopped or call.may_go(self._history.loop.time())
            return None if going else (1, "though nobody cancelled it")
        refused = call.refused and type(error) is RuntimeError
        return None if refused else (1, "is none of the errors that enqueue may raise")

    def _flaw_of_closed(self, call: Call) -> Flaw:
        if not self._endings.closing_maybe:
            return (10, "though nobody closed the queue")
        draining = call.inside is not None and not call.inside.over and not self._endings.stops
        return (14, "though it comes from a flush, in the drain") if draining else None

    def _flaw_of_full(self, call: Call) -> Flaw:
        if call.nowait:
            return None if call.blocked else (7, "though there was room")
        if call.inside is None:
            return (7, "though it should wait")
        return None if self._was_deadlock else (14, "though a running flush does not wait for room")

    # Deadlock: every flush that could make room waits for room.

    def is_deadlock(self) -> bool:
        """Whether every slot is taken by a flush that waits in line."""
        running = self._account.running
        inside = {call.inside for call in self.blocked}
        return len(running) >= self._limits.max_in_flight and inside.issuperset(running)

    def look_for_deadlock(self) -> None:
        """Remember that there was a deadlock: to be called after whatever may cause one."""
        self._was_deadlock = self._was_deadlock or self.is_deadlock()

    def forget_deadlock(self) -> None:
        """The loop is idle: whoever was to be refused has been."""
        self._was_deadlock = False
