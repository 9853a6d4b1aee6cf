"""A plain model of a queue: what must happen after each action.

The model keeps lists of items where the core keeps numbers and credit, and follows the contract
alone. It does not run the policy: it compares each recorded event of the policy with the event that
is right, and takes over the recorded answer. `tests.core_sessions.judge` compares the core and the
model.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import attrs

from flushq import (
    Displaced,
    Dropped,
    FlushFailed,
    FlushReport,
    ItemFailed,
    PolicyError,
    QueueClosed,
    QueueFull,
    ShutdownTimeout,
)
from tests.core_sessions.calls import ACCEPTED, CANCELLED, NOTHING, Call, Need, Outcome
from tests.core_sessions.flights import Cause, Ended, Entry, Fate, Flight
from tests.core_sessions.partitions import NO_EVENT, Partition
from tests.core_sessions.turns import Turns
from tests.sessions.facts import Item

NEWS_SECONDS = 30.0

PLACES = "delivered", "dropped", "undelivered", "in_doubt", "pending", "in_flight", "displaced"


@attrs.define(eq=False, kw_only=True)
class Model(Turns):
    """A plain model of a queue.

    Attributes:
        handles: Whether there is a failure handler.
        usual_burst: How many items may come before other tasks run.
        entries: The items that were accepted.
        places: How many items are at each place, as far as the queue knows.
        duplicates: How many duplicates were accepted.
        turned_away: How many items were displaced when they came.
        calls: The calls of the queue that have not ended.
        news: The number of displaced items in each log record about them.
        corrected: The partitions whose policies must be asked again.
        opened: The time at which the burst was opened; None if no burst is open.
        burst, most: How many items the burst has, and may have.
        policy_failed: Whether a copy of the policy has failed: then no copy is told any event.
        timer_fired: The time at which the timer has fired.
        flights: The flushes that were started.
        reports, reasons: The reports of ended flushes, and the number of flushes for each reason.
        is_cut, ended, owned: The state of the queue, beside that of `turns`.
        deadline: The time at which the close is cut short.
        failure: The first failure.
        interruption: The exception of the first flush that was interrupted.
    """

    handles: bool
    usual_burst: float
    entries: list[Entry] = attrs.field(factory=list)
    places: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(PLACES, 0))
    duplicates: int = 0
    turned_away: int = 0
    calls: list[Call] = attrs.field(factory=list)
    news: list[int] = attrs.field(factory=list)
    corrected: list[Partition] = attrs.field(factory=list)
    opened: float | None = None
    burst: int = 0
    most: float = attrs.Factory(lambda self: self.usual_burst, takes_self=True)
    policy_failed: bool = False
    timer_fired: float | None = None
    flights: list[Flight] = attrs.field(factory=list)
    reports: list[FlushReport] = attrs.field(factory=list)
    reasons: dict[str, int] = attrs.field(factory=dict)
    is_cut: bool = False
    ended: bool = False
    owned: bool = False
    deadline: float | None = None
    failure: Outcome | None = None
    interruption: Cause = None
    _displaced_by_then: int = 0
    _news_at: float = -math.inf
    _parts: deque[Ended] = attrs.field(factory=deque)
    _done: deque[tuple[Flight, float]] = attrs.field(factory=deque)

    # Producers.

    @property
    def ending(self) -> bool:
        """Whether the queue ends."""
        return self.closing or self.failure is not None

    def enter(self, call: Call) -> Call:
        """Begin a call that brings an item."""
        assert call.item is not None
        self.calls.append(call)
        refusal = self._refusal(call.inside) or self.weight_refusal(call.item)
        refusal = refusal or self.mistake_ahead(call.item)
        if refusal is not None:
            call.end(refusal)
            return call
        need = self.need_of(call.item)
        if call.kind == "enqueue_nowait":
            may_come = not self.waits_when_full or self.may_pass(need)
            self._accept(call) if may_come else call.end((QueueFull, None))
        elif self.must_wait(need):
            self._join(call, need)
        elif self._must_pause:
            call.state, call.ready = "pause", True
            call.claim = need if self.waits_when_full else NOTHING
            self.pauses += [call] if call.claim != NOTHING else []
        else:
            self._accept(call)
        return call

    @property
    def _must_pause(self) -> bool:
        return self.burst >= self.most or not (self.started or self.entries)

    def _join(self, call: Call, need: Need) -> None:
        """Put a call in line, in the order in which the calls began."""
        call.state, call.ready, call.claim = "line", False, need
        self.line = [each for each in self.calls if each is call or each in self.line]

    def _refusal(self, inside: Flight | None) -> Outcome | None:
        """Return the outcome of a refused call; ``inside`` is the flight that makes it, if any."""
        if self.failure is not None:
            return self.failure
        runs = inside in self.running and getattr(inside, "wants", None) is not None
        refused = self.closing and (self.stopped or not runs)
        return (QueueClosed, None) if refused else None

    def _accept(self, call: Call) -> None:
        assert call.item is not None
        mistake = self.mistake(call.item)
        if mistake is not None:
            call.end(mistake)
            return
        if self.opened is None:
            self.opened = self.now
        self.burst += 1
        if not self._make_room(call.item):
            self._turn_away(call)
            return
        twin = self.twin(call.item)
        call.entry = self._add(call.item) if twin is None else self._stay(twin, call.item)
        if call.kind == "deliver":
            self.most += 1
            call.state, call.ready = "receipt", False
        else:
            call.end(("returned", None if twin is None else twin.number))

    def _add(self, item: Item) -> Entry:
        entry = Entry(item, len(self.entries), self._partition_of(item))
        self.entries.append(entry)
        self.waiting.append(entry)
        self.places["pending"] += 1
        return entry

    def _stay(self, entry: Entry, item: Item) -> Entry:
        """Count a duplicate, and merge it into the waiting item, which keeps its place."""
        self.duplicates += 1
        if self.limits.merge is not None:
            merged = self.merged(entry.item, item)
            if merged.weight != entry.item.weight:
                self._correct(entry)
            entry.item = merged
            entry.merged.append(item)
        return entry

    def note_burst(self, opened: float | None) -> None:
        """Open the burst if an item that was refused has opened it in the queue."""
        if self.opened is None and opened is not None:
            self.opened = self.now

    def _make_room(self, item: Item) -> bool:
        """Displace the oldest items if necessary; return whether there is room."""
        while self.limits.when_full == "drop_oldest" and not self.fits(self.need_of(item)):
            entry = self.waiting.pop(0)
            self._move(entry, "displaced")
            self._answer(entry, Fate("displaced"))
            self.overflowed = True
            self._correct(entry)
            self._line_up()
        return self.waits_when_full or self.fits(self.need_of(item))

    def _correct(self, entry: Entry) -> None:
        """Ask the policy again: the facts that it knows of an item have changed."""
        if entry.since is not None and entry.partition not in self.corrected:
            self.corrected.append(entry.partition)

    def _turn_away(self, call: Call) -> None:
        assert call.item is not None
        call.entry = Entry(call.item, -1, Partition(None), "displaced")
        self.turned_away += 1
        self.places["displaced"] += 1
        self.overflowed = True
        self._answer(call.entry, Fate("displaced"))
        call.end(call.entry.answer if call.kind == "deliver" else ("returned", -1))  # type: ignore[arg-type]  # it was just answered

    def _partition_of(self, item: Item) -> Partition:
        for partition in self.partitions:
            if partition.key == item.partition:
                return partition
        self.partitions.append(Partition(item.partition))
        return self.partitions[-1]

    def read(self, call: Call) -> Call:
        """Begin a call that waits for the end of an item that was submitted."""
        assert call.entry is not None
        self.calls.append(call)
        call.state = "receipt"
        if call.entry.answer is not None:
            call.end(call.entry.answer)
        return call

    # Callers resume.

    def cancel(self, call: Call) -> None:
        """Cancel a caller."""
        call.cancelled = call.ready = True

    def resume(self, call: Call) -> None:
        """Resume a caller that is ready."""
        cancelled, call.cancelled, call.ready = call.cancelled, False, False
        if call.state == "end":
            self._resume_closer(call, cancelled=cancelled)
            return
        state, call.state = call.state, "gone"
        if state == "line" and call in self.line:
            self.line.remove(call)
        if state == "room":
            self.reserved.remove(call)
        if state == "pause":
            self.pauses = [each for each in self.pauses if each is not call]
        if cancelled:
            call.end(CANCELLED)
        elif state == "barrier":
            lost = any(entry.is_lost for entry in self.entries[: call.mark])
            call.end(self.outcome if lost else ACCEPTED)
        elif call.answer is not None:
            call.end(call.answer)
        else:
            self._come_in(call, state)

    def _come_in(self, call: Call, state: str) -> None:
        """Add the item of a call that has room or has paused, unless it needs more room now."""
        assert call.item is not None
        refusal = self._refusal(call.inside) or self.mistake_ahead(call.item)
        if refusal is not None:
            call.end(refusal)
            return
        need, was_served = self.need_of(call.item), state == "room"
        lacks_room = not self.fits(need) if was_served else self.must_wait(need)
        if lacks_room and not need.is_within(call.claim):
            self._join(call, need)
        else:
            self._accept(call)

    def _wake(self, calls: Iterable[Call], answer: Outcome | None) -> None:
        for call in calls:
            if not call.ready:
                call.ready, call.answer = True, answer

    # The pass.

    def run_pass(self, call_at_once: Callable[[Flight], None] | None = None) -> None:
        """Make a pass; with ``call_at_once``, it also begins the flushes that it starts."""
        self.calls = [call for call in self.calls if call.state != "done"]
        self._observe()
        while self._start_flush():
            if call_at_once is not None:
                call_at_once(self.flights[-1])
        if self._done:
            self._observe()
        if self.ending:
            self._keep_deadline()
        self._respond()
        self._tell_news()
        if self.ending and not self.running and not self.waiting:
            self.ended = True
            self._wake((call for call in self.calls if call.state == "end"), None)

    def _tell_news(self) -> None:
        """Note a log record about displaced items, at most one every ``NEWS_SECONDS``."""
        displaced, before = self.places["displaced"], self._displaced_by_then
        self._displaced_by_then = displaced
        if displaced > before and self.now >= self._news_at + NEWS_SECONDS:
            self.news.append(displaced - sum(self.news))
            self._news_at = self.now

    def _observe(self) -> None:
        self._announce()
        while self._parts:
            for entry, fate in self._parts.popleft().items():
                self._tell(entry, fate)
        while self._done:
            self._end(*self._done.popleft())
        self.starts.tell_ends()
        self._check_throttle()
        if self.timer_fired is not None:
            now, self.timer_fired = self.timer_fired, None
            self.starts.now = max(now, self.starts.now)
            while late := [each for each in self.partitions if self._wake_at(each) <= now]:
                self._tell_policy(self._next_to_tell(late), "tick", now)
            self._line_up()

    def _announce(self) -> None:
        """Tell the policies of the items that have come, with the time of the burst."""
        if self.opened is None:
            return
        opened, self.most, self.burst = self.opened, self.usual_burst, 0
        if not self.reserved:
            self.opened = None
        fresh = [entry for entry in self.waiting if entry.since is None]
        while fresh:
            partition = self._next_to_tell(entry.partition for entry in fresh)
            come = [entry for entry in fresh if entry.partition is partition]
            fresh = [entry for entry in fresh if entry.partition is not partition]
            for entry in come:
                entry.since = max(partition.told_at, opened)
            weight = sum(entry.item.weight for entry in come)
            self._tell_policy(partition, "item_added", opened, len(come), weight)
            self.corrected = [each for each in self.corrected if each is not partition]
        corrected = [each for each in self.corrected if each in self.partitions]
        self.corrected = []
        while corrected and not self.stopped:
            partition = self._next_to_tell(corrected)
            corrected.remove(partition)
            self._tell_policy(partition, "asked", opened)
        self._line_up()

    def _start_flush(self) -> bool:
        self._announce()
        while self.line and self._fits_line:
            self._admit(self.line.pop(0))
        partition = self._next_to_flush() if self._has_free_slot else None
        may_start = self.starts.start_calls_in_line(is_due=partition is not None)
        self._check_throttle()
        if not may_start or partition is None:
            return False
        flight = self._take(partition)
        self.running.append(flight)
        failed = self.failure
        self._tell_policy(partition, "flush_started", self.now, len(flight.entries), flight.weight)
        if self.failure is failed:
            self.flights.append(flight)
            self.starts.call_started(flight, len(flight.entries), flight.weight)
        else:
            self.running.remove(flight)
            for entry in flight.entries:
                self._move(entry, "undelivered")
        self.due = [[each for each in group if each is not partition] for group in self.due]
        self._line_up()
        self._check_throttle()
        return flight in self.running

    def _check_throttle(self) -> None:
        """Fail the queue if the throttle has failed."""
        if self.starts.failed:
            self._fail(PolicyError, self.starts.failure)

    def _take(self, partition: Partition) -> Flight:
        """Take a batch of a partition, and return its flight."""
        reason, up_to = self._reason_of(partition)
        self.overflowed = False
        taken = self._largest(self._told(partition), up_to)
        self.waiting = [entry for entry in self.waiting if entry not in taken]
        for entry in taken:
            self._move(entry, "in_flight")
        oldest = taken[0].since
        assert oldest is not None
        started, left = max(partition.told_at, self.now), len(self.waiting)
        return Flight(
            taken, partition.key, reason, started, oldest, left, self.handles, self._parts.append,
            self.starts,
        )  # fmt: skip

    @property
    def _fits_line(self) -> bool:
        """Whether the first call in line may add its item; it always claims one place."""
        return self.fits(Need(1, self.line[0].claim.weight))

    def _admit(self, call: Call) -> None:
        """Give room to a call from the line, unless it was cancelled."""
        if call.cancelled:
            return
        call.state, call.ready = "room", True
        self.reserved.append(call)
        if self.opened is None:
            self.opened = self.now

    def _largest(self, told: list[Entry], up_to: int | None) -> list[Entry]:
        """Return as many of the oldest of these items as the caps allow."""
        count = min(len(told), up_to or len(told), self.limits.max_records or len(told))
        most = math.inf if self.limits.max_weight is None else self.limits.max_weight
        while sum(entry.item.weight for entry in told[:count]) > most:
            count -= 1
        return told[:count]

    def _respond(self) -> None:
        if self.ending:
            for call in list(self.line):
                refusal = self._refusal(call.inside)
                if refusal is not None:
                    self._refuse(call, refusal)
        self._break_deadlock()
        marks = [call for call in self.calls if call.state == "barrier"]
        self._wake((call for call in marks if call.mark <= self.settled), None)
        if self.stopped:
            self._stop()
            known = all(flight.interrupted for flight in self.running)
            if known or self.failure is not None:
                self._tell_losses()

    def _refuse(self, call: Call, refusal: Outcome) -> None:
        self.line.remove(call)
        self._wake([call], refusal)

    def _break_deadlock(self) -> None:
        inside = {call.inside for call in self.line}
        may_start = self._may_start and not self.starts.is_blocked
        stuck = not (may_start or self.reserved or self.pauses)
        flights = [flight for flight in self.running if flight not in self.starts.blocked]
        waits = (flight.wants is not None and flight in inside for flight in flights)
        if self.line and stuck and all(waits):
            last = next(call for call in reversed(self.line) if call.inside in flights)
            self._refuse(last, (QueueFull, None))

    @property
    def settled(self) -> int:
        """The number of the first item that has not ended, as far as the queue knows."""
        places = (entry.number for entry in self.waiting[:1])
        oldest = (flight.first_untold for flight in self.running)
        return min([*places, *oldest], default=len(self.entries))

    # The policy.

    def _tell_policy(self, partition: Partition, event: str, now: float, *facts: Cause) -> None:
        """Check that the next recorded event is this one, and take over its answer."""
        if self.policy_failed:
            return
        partition.told_at = now = max(partition.told_at, now)
        recorded = self.policy_events.popleft() if self.policy_events else NO_EVENT
        if partition.copy is None and recorded.copy not in self.copies:
            partition.copy = recorded.copy
            self.copies.add(recorded.copy)
        self._check_event(recorded, partition, (event, now, *facts))
        if recorded.decision is None:
            self.policy_failed = True
            self._fail(PolicyError, recorded.cause)
        else:
            partition.decision = recorded.decision

    # Flights.

    def flight_is_over(self, flight: Flight) -> None:
        """Note that the task of a flight has ended."""
        error = flight.error
        self.starts.call_ended(flight, error if isinstance(error, BaseException | None) else None)
        self._done.append((flight, self.now))

    def _end(self, flight: Flight, now: float) -> None:
        """End a flight for the queue, and tell its policy."""
        self.running.remove(flight)
        lost = self._losses(flight)
        place = "in_doubt" if flight.calls else "undelivered"
        for entry in lost:
            self._move(entry, place)
        for entry, fate in flight.fates.items():
            if fate.kind != "failed" and entry not in flight.told:
                self._move(entry, fate.kind)
        self.reasons[flight.reason] = self.reasons.get(flight.reason, 0) + 1
        if flight.error is not None:
            self._attribute(flight)
        partition = flight.entries[0].partition
        seconds = max(partition.told_at, now) - flight.started
        facts = len(flight.entries), seconds, flight.error
        self._tell_policy(partition, "flush_done", now, *facts)
        self.starts.tell_ends()
        self._check_throttle()
        self._line_up()
        for entry in flight.entries:
            if entry.answer is None:
                self._answer(entry, flight.fates.get(entry))
        self.reports.append(self._report(flight, seconds, lost))

    def _losses(self, flight: Flight) -> list[Entry]:
        """Return the items that are neither delivered nor dropped."""
        if flight.error is None:
            return []
        kept = {entry for entry, fate in flight.fates.items() if fate.kind != "failed"}
        return [entry for entry in flight.entries if entry not in kept]

    def _attribute(self, flight: Flight) -> None:
        if not flight.interrupted:
            self._fail(FlushFailed, flight.error)
        elif flight.calls and self.interruption is None:
            self.interruption = flight.error

    def _report(self, flight: Flight, seconds: float, lost: list[Entry]) -> FlushReport:
        dropped = [fate.cause for fate in flight.fates.values() if fate.kind == "dropped"]
        error = flight.error or (dropped[-1] if dropped else None)
        return FlushReport(
            reason=flight.reason,
            count=len(flight.entries),
            weight=flight.weight,
            waited=flight.started - flight.oldest,
            started=flight.started,
            seconds=seconds,
            attempts=flight.calls,
            error=error,  # type: ignore[arg-type]  # or a Made that equals it
            delivered=len(flight.entries) - len(dropped) - len(lost),
            dropped=len(dropped),
            pending=flight.left,
            partition=flight.partition,
        )

    # Items.

    def _move(self, entry: Entry, place: str) -> None:
        self.places[entry.place] -= 1
        self.places[place] += 1
        entry.place = place

    def _tell(self, entry: Entry, fate: Fate) -> None:
        """Note the end of an item before that of its flight."""
        self._move(entry, fate.kind)
        self._answer(entry, fate)

    def _answer(self, entry: Entry, fate: Fate | None) -> None:
        """Wake the callers that wait for an item; a fate of None means the queue ended first."""
        if fate is None:
            answer = self.outcome
        elif fate.kind == "delivered":
            answer = ACCEPTED
        else:
            kinds = {"dropped": Dropped, "displaced": Displaced}
            answer = (kinds.get(fate.kind, ItemFailed), fate.cause, entry.item)
        entry.answer = answer
        self._wake((c for c in self.calls if c.state == "receipt" and c.entry is entry), answer)

    def _tell_losses(self) -> None:
        """Answer for the undelivered items: none of them will be taken any more."""
        for entry in self.entries:
            if entry.place == "undelivered" and entry.answer is None:
                self._answer(entry, None)

    # Barriers and the end.

    def flush(self, call: Call) -> Call:
        """Begin a call that waits until every item that was accepted before has ended."""
        self.calls.append(call)
        refusal = self._refusal(None)
        if refusal is not None:
            call.end(refusal)
            return call
        self.mark = call.mark = len(self.entries)
        self._line_up()
        if self.settled >= call.mark:
            call.end(ACCEPTED)
        else:
            call.state = "barrier"
        return call

    def start(self) -> None:
        """Start the queue."""
        self.started = True

    def wait_for_end(self, call: Call) -> Call:
        """Begin a call that waits for the end: run, leave or aclose."""
        self.calls.append(call)
        self.started = True
        if call.kind != "run":
            self._close()
        self._wait_for_end(call)
        return call

    def _wait_for_end(self, call: Call) -> None:
        if self.ended:
            call.end(CANCELLED if call.aborts else self.last_word())
            return
        call.state = "end"
        self.owned = self.owned or call.is_owner

    def last_word(self) -> Outcome:
        """Return the outcome of calls that wait for the end."""
        lost = any(entry.is_lost for entry in self.entries)
        return self.outcome if lost or self.failure is not None else ACCEPTED

    def _resume_closer(self, call: Call, *, cancelled: bool) -> None:
        if cancelled and not (call.is_owner or not self.owned):
            call.end(CANCELLED)
            return
        if cancelled:
            call.aborts = True
            if self.closing:
                self.cut_short()
            else:
                self._close()
        self._wait_for_end(call)

    def _close(self) -> None:
        self.closing = True
        self._line_up()
        self._keep_deadline()

    def _keep_deadline(self) -> None:
        if self.deadline is None:
            self.deadline = self.now + self.limits.shutdown_seconds
            if self.deadline <= self.now:
                self.cut_short()

    def cut_short(self) -> None:
        """Stop taking batches, and interrupt the flushes that run."""
        self.is_cut = True
        self._stop()
        for flight in self.flights:
            if flight.wants is not None:
                flight.interrupted += 1

    def _stop(self) -> None:
        self.stopped = True
        for entry in self.waiting:
            self._move(entry, "undelivered")
        self.waiting = []
        self._line_up()

    def _fail(self, kind: type[BaseException], cause: Cause) -> None:
        self.failure = self.failure or (kind, cause)
        self._stop()

    @property
    def outcome(self) -> Outcome:
        """The outcome of the queue, as far as it is known."""
        return self.failure or (ShutdownTimeout, self.interruption)

    # When nothing can be done now.

    def _room_flaws(self) -> Iterator[tuple[int | str, str]]:
        runs = self.started and not self.stopped
        if self.is_pressed and self._has_free_slot and self._may_press:
            yield "B4", "a queue is full although a slot is free"
        if self.line and not self.is_pressed:
            yield 7, "producers wait although there is room"
        if self.line and runs and self._may_press:
            yield 7, "producers wait although a slot is free"

    def idle_flaws(self) -> Iterator[tuple[int | str, str]]:
        """Yield the steps that the contract requires and that did not happen."""
        runs = self.started and not self.stopped
        yield from self._room_flaws()
        if self.line and (self.stopped or self.failure is not None):
            yield 10, "producers wait although the queue has stopped"
        if any(call.state == "barrier" and call.mark <= self.settled for call in self.calls):
            yield 9, "a barrier waits although all its items have ended"
        may_flush = self._has_free_slot and any(map(self._is_due, self.partitions))
        if self.starts.may_start and (may_flush or self.starts.retries_now):
            yield 6, "a call that may start waits"
        if self.timer_fired is not None or self._parts or self._done:
            yield 6, "the policy was not told the time, or the end of a flush"
        if runs and any(entry.since is None for entry in self.waiting):
            yield 6, "the policy was not told of an arrival"
        if self.ending and not self.running and not self.waiting and not self.ended:
            yield 10, "the queue does not end"
        ended = (entry for entry in self.entries if entry.place not in {"pending", "in_flight"})
        if any(entry.answer is None for entry in ended) and not self.running:
            yield 19, "callers are not told of an item that has ended"
