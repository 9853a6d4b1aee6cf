"""A model of a queue, as plain as can be: what must come of whatever happens.

It keeps lists of items where the core keeps numbers and credit, and knows the contract alone. The
policy is not played again: the model says what it must hear, one event after the other, and takes
its answer from what it was heard to say. `tests.core_sessions.judge` compares the two.
"""

import copy
import math
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import attrs

from flushq import (
    Displaced,
    Dropped,
    Flush,
    FlushFailed,
    FlushReport,
    ItemFailed,
    ItemTooLarge,
    PolicyError,
    QueueClosed,
    QueueFull,
    ShutdownTimeout,
    Wait,
)
from tests.core_sessions.flights import Cause, Ended, Entry, Fate, Flight
from tests.core_sessions.partitions import COPIED, NOTHING, Heard, Partition
from tests.core_sessions.starts import Starts
from tests.sessions.facts import Item, Limits

Outcome = tuple[Cause, ...]
"""How a call has ended: with the item that stays, or the kind of an exception and its facts."""

PLACES = "delivered", "dropped", "undelivered", "in_doubt", "pending", "in_flight", "displaced"

CANCELLED: Outcome = (CancelledError, None)
ACCEPTED: Outcome = ("returned", None)


@attrs.define(eq=False)
class Call:
    """Somebody who is in a call of the queue.

    Attributes:
        kind: Which call.
        item: The item that is brought.
        inside: The flight that it is a part of.
        state: What it waits for: "line", "room", "pause", "receipt", "barrier", "end"; or "done".
        ready: Whether it can go on.
        cancelled: Whether it was cancelled, and does not know it yet.
        answer: With what it was woken, or how it has ended.
        entry: The item that stays.
        mark: How many items a barrier waits for.
        claims: Whether a pause has a claim to room.
        aborts: Whether it was cancelled while it waited for the end.
    """

    kind: str
    item: Item | None = None
    inside: Flight | None = None
    state: str = "new"
    ready: bool = False
    cancelled: bool = False
    answer: Outcome | None = None
    entry: Entry | None = None
    mark: int = 0
    claims: bool = False
    aborts: bool = False

    @property
    def is_owner(self) -> bool:
        """Whether it runs the queue."""
        return self.kind in {"run", "leave"}

    def end(self, answer: Outcome) -> None:
        """The call ends so."""
        self.state, self.answer, self.ready = "done", answer, False


@attrs.define(eq=False, kw_only=True)
class Model:
    """What must come of whatever happens to a queue.

    Attributes:
        heard: What the copies of its policy were heard to hear and answer, to be compared and used
            up.
        handles: Whether there is a failure handler.
        usual_burst: How many items may come before others run.
        complaints: What the policy heard that it must not, with the point of the contract.
        entries, waiting: The items that were accepted, and those of them that wait.
        partitions: Those that exist; without keys there is one, for good.
        due: Those of them that are due and below their limit, the first in line first; those that
            came at one moment stand together.
        copies: The numbers of the copies of the policy that were heard.
        places: How many items are at each place, as far as the queue knows.
        duplicates: How many duplicates were accepted.
        turned_away: How many items were displaced as they came.
        calls: Those who are in a call of the queue.
        line, reserved: Those of them who wait for room, and who were given room.
        pauses: Those who claim room while they let others run.
        overflowed: Whether an item was displaced since a batch was taken.
        corrected: The partitions whose policies are to be asked again.
        opened: Since when the burst is open.
        burst, most: How many items it has, and may have.
        policy_failed: Whether a copy of the policy has failed: then none is told anything more.
        timer_fired: When the timer has fired.
        flights, running: The flushes that were started, and those that have not ended.
        reports, reasons: What is told of those that have, and how many there were of each reason.
        mark: How many items are due since somebody waits for their end.
        started, closing, stopped, is_cut, ended, owned: How far the queue has come.
        deadline: When the end is to be over.
        failure: The first failure.
        starts: When calls may start.
        interruption: What the first flush has raised that was interrupted.
    """

    limits: Limits
    heard: deque[Heard]
    handles: bool
    usual_burst: float
    now: float = 0.0
    complaints: list[tuple[int | str, str]] = attrs.field(factory=list)
    entries: list[Entry] = attrs.field(factory=list)
    waiting: list[Entry] = attrs.field(factory=list)
    partitions: list[Partition] = attrs.field(factory=list)
    due: list[list[Partition]] = attrs.field(factory=list)
    copies: set[int] = attrs.field(factory=set)
    places: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(PLACES, 0))
    duplicates: int = 0
    turned_away: int = 0
    calls: list[Call] = attrs.field(factory=list)
    line: list[Call] = attrs.field(factory=list)
    reserved: list[Call] = attrs.field(factory=list)
    pauses: list[Call] = attrs.field(factory=list)
    overflowed: bool = False
    corrected: list[Partition] = attrs.field(factory=list)
    opened: float | None = None
    burst: int = 0
    most: float = attrs.Factory(lambda self: self.usual_burst, takes_self=True)
    policy_failed: bool = False
    timer_fired: float | None = None
    flights: list[Flight] = attrs.field(factory=list)
    running: list[Flight] = attrs.field(factory=list)
    reports: list[FlushReport] = attrs.field(factory=list)
    reasons: dict[str, int] = attrs.field(factory=dict)
    mark: int = 0
    started: bool = False
    closing: bool = False
    stopped: bool = False
    is_cut: bool = False
    ended: bool = False
    owned: bool = False
    deadline: float | None = None
    failure: Outcome | None = None
    interruption: Cause = None
    _parts: deque[Ended] = attrs.field(factory=deque)
    _done: deque[tuple[Flight, float]] = attrs.field(factory=deque)
    starts: Starts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.starts = Starts(copy.deepcopy(self.limits.throttle), lambda: self.now)

    # Producers.

    @property
    def ending(self) -> bool:
        """Whether the queue ends."""
        return self.closing or self.failure is not None

    @property
    def room(self) -> int:
        """How many items there is room for, beside those whose producers pause."""
        return self.limits.max_queue_size - len(self.waiting) - len(self.pauses)

    def _bears(self, weight: float, *others: Call) -> bool:
        """Whether what waits may weigh so much more, beside what others bring."""
        most = self.limits.max_queue_weight
        weights = [entry.item.weight for entry in self.waiting]
        weights += [call.item.weight for call in others if call.item is not None]
        return most is None or not weight or sum(weights) + weight <= most

    def _fits(self, call: Call, line: int = 0) -> bool:
        """Whether there is room for a new item, beside what others were given and claim."""
        assert call.item is not None
        has_place = self.room - len(self.reserved) - line > 0
        return has_place and self._bears(call.item.weight, *self.reserved, *self.pauses)

    @property
    def _waits_when_full(self) -> bool:
        return self.limits.when_full == "wait"

    def enter(self, call: Call) -> Call:
        """Somebody brings an item."""
        self.calls.append(call)
        refusal = self._refusal(call.inside) or self._weight_refusal(call.item)
        claims = len(self.line) + len(self.reserved)
        needs_room = self._twin(call) is None
        if refusal is not None:
            call.end(refusal)
        elif call.kind == "enqueue_nowait":
            passes = self.line and self.limits.max_queue_weight is not None
            full = needs_room and (passes or not self._fits(call, len(self.line)))
            full = full and self._waits_when_full
            self._accept(call) if not full else call.end((QueueFull, None))
        elif needs_room and (claims or not self._fits(call)) and self._waits_when_full:
            self._join(call)
        elif self._must_pause:
            call.state, call.ready = "pause", True
            call.claims = needs_room and self._waits_when_full
            self.pauses += [call] if call.claims else []
        else:
            self._accept(call)
        return call

    @property
    def _must_pause(self) -> bool:
        return self.burst >= self.most or not (self.started or self.entries)

    def _join(self, call: Call) -> None:
        call.state, call.ready = "line", False
        self.line.append(call)

    def _twin(self, call: Call) -> Entry | None:
        """The item that waits with the same key."""
        if not self.limits.dedupe or call.item is None:
            return None
        keys = call.item.partition, call.item.key
        same = (each for each in self.waiting if (each.item.partition, each.item.key) == keys)
        return next(same, None)

    def _weight_refusal(self, item: Item | None) -> Outcome | None:
        limits = self.limits.max_weight, self.limits.max_queue_weight
        most = min((limit for limit in limits if limit is not None), default=math.inf)
        return (ItemTooLarge, None) if item is not None and item.weight > most else None

    def _refusal(self, inside: Flight | None) -> Outcome | None:
        """Why a caller is refused that is a part of this flight."""
        if self.failure is not None:
            return self.failure
        runs = inside in self.running and getattr(inside, "wants", None) is not None
        refused = self.closing and (self.stopped or not runs)
        return (QueueClosed, None) if refused else None

    def _accept(self, call: Call) -> None:
        assert call.item is not None
        if self.opened is None:
            self.opened = self.now
        self.burst += 1
        call.entry = self._twin(call)
        stays = None if call.entry is None else call.entry.number
        if call.entry is not None:
            self.duplicates += 1
        elif not self._make_room(call):
            self._turn_away(call)
            return
        else:
            call.entry = Entry(call.item, len(self.entries), self._partition_of(call.item))
            self.entries.append(call.entry)
            self.waiting.append(call.entry)
            self.places["pending"] += 1
        if call.kind == "deliver":
            self.most += 1
            call.state, call.ready = "receipt", False
        else:
            call.end(("returned", stays))

    def _make_room(self, call: Call) -> bool:
        """Displace the oldest if need be; return whether there is room."""
        while self.limits.when_full == "drop_oldest" and not self._fits(call):
            entry = self.waiting.pop(0)
            self._move(entry, "displaced")
            self._answer(entry, Fate("displaced"))
            self.overflowed = True
            if entry.since is not None and entry.partition not in self.corrected:
                self.corrected.append(entry.partition)
            self._line_up()
        return self._waits_when_full or self._fits(call)

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
        """Somebody asks about an item that was submitted."""
        assert call.entry is not None
        self.calls.append(call)
        call.state = "receipt"
        if call.entry.answer is not None:
            call.end(call.entry.answer)
        return call

    # Callers go on.

    def cancel(self, call: Call) -> None:
        """A caller is cancelled."""
        call.cancelled = call.ready = True

    def resume(self, call: Call) -> None:
        """A caller that is ready goes on."""
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
        """It was given room, or has let others run."""
        refusal = self._refusal(call.inside)
        claims = self.line or self.reserved or not self._fits(call)
        claims = claims and self._waits_when_full
        if refusal is not None:
            call.end(refusal)
        elif state == "pause" and not call.claims and claims and self._twin(call) is None:
            self._join(call)
        else:
            self._accept(call)

    def _wake(self, calls: Iterable[Call], answer: Outcome | None) -> None:
        for call in calls:
            if not call.ready:
                call.ready, call.answer = True, answer

    # The pass.

    def run_pass(self, call_at_once: Callable[[Flight], None] | None = None) -> None:
        """A pass; flushes may be begun by it, and end in it."""
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
        if self.ending and not self.running and not self.waiting:
            self.ended = True
            self._wake((call for call in self.calls if call.state == "end"), None)

    def _observe(self) -> None:
        self._announce()
        while self._parts:
            for entry, fate in self._parts.popleft().items():
                self._tell(entry, fate)
        while self._done:
            self._end(*self._done.popleft())
        self.starts.tell_ends()
        self._hear_of_throttle()
        if self.timer_fired is not None:
            now, self.timer_fired = self.timer_fired, None
            self.starts.now = max(now, self.starts.now)
            while late := [each for each in self.partitions if self._wake_at(each) <= now]:
                self._tell_policy(self._next_to_hear(late), "tick", now)
            self._line_up()

    def _announce(self) -> None:
        """The policies are told of the items that have come, as old as the burst is."""
        if self.opened is None:
            return
        opened, self.most, self.burst = self.opened, self.usual_burst, 0
        if not self.reserved:
            self.opened = None
        fresh = [entry for entry in self.waiting if entry.since is None]
        while fresh:
            partition = self._next_to_hear(entry.partition for entry in fresh)
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
            partition = self._next_to_hear(corrected)
            corrected.remove(partition)
            self._tell_policy(partition, "asked", opened)
        self._line_up()

    def _start_flush(self) -> bool:
        self._announce()
        while self.line and self._fits(self.line[0]):
            self._admit(self.line.pop(0))
        partition = self._next_to_flush() if self._has_free_slot else None
        may_start = self.starts.let_go(is_due=partition is not None)
        self._hear_of_throttle()
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
        self._hear_of_throttle()
        return flight in self.running

    def _hear_of_throttle(self) -> None:
        """If the throttle has failed, so has the queue."""
        if self.starts.failed:
            self._fail(PolicyError, self.starts.failure)

    def _take(self, partition: Partition) -> Flight:
        """Take a batch of a partition."""
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

    def _admit(self, call: Call) -> None:
        """Give room to the first in line, unless it was cancelled."""
        if call.cancelled:
            return
        call.state, call.ready = "room", True
        self.reserved.append(call)
        if self.opened is None:
            self.opened = self.now

    def _largest(self, told: list[Entry], up_to: int | None) -> list[Entry]:
        """As many of the oldest of these items as the caps allow."""
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
        waits = (flight.wants is not None and flight in inside for flight in self.running)
        if self.line and stuck and all(waits):
            last = next(call for call in reversed(self.line) if call.inside in self.running)
            self._refuse(last, (QueueFull, None))

    @property
    def settled(self) -> int:
        """How many items have ended, the oldest first, as far as the queue knows."""
        places = (entry.number for entry in self.waiting[:1])
        oldest = (flight.first_untold for flight in self.running)
        return min([*places, *oldest], default=len(self.entries))

    # Partitions.

    def _told(self, partition: Partition) -> list[Entry]:
        """Those of its items that wait and that its policy was told of."""
        mine = (entry for entry in self.waiting if entry.partition is partition)
        return [entry for entry in mine if entry.since is not None]

    def _is_below_limit(self, partition: Partition) -> bool:
        running = [flight for flight in self.running if flight.partition == partition.key]
        return len(running) < self.limits.partition_slots

    def _exists(self, partition: Partition) -> bool:
        keys = [entry.item.partition for entry in self.waiting]
        keys += [flight.partition for flight in self.running]
        return partition.key in keys or not self.limits.partitioned

    def _is_due(self, partition: Partition) -> bool:
        """Whether it is to stand in line."""
        told = self._told(partition)
        if not told or not self._is_below_limit(partition):
            return False
        must = self.closing or told[0].number < self.mark
        return must or isinstance(partition.decision, Flush)

    def _line_up(self) -> None:
        """A moment is over: who is not due any more leaves the line, others come to its end."""
        self.partitions = [each for each in self.partitions if self._exists(each)]
        due = [each for each in self.partitions if self._is_due(each)]
        line = [[each for each in group if each in due] for group in self.due]
        come = [each for each in due if not any(each in group for group in line)]
        self.due = [group for group in (*line, come) if group]

    def _next_to_flush(self) -> Partition | None:
        """The first in line; only if nobody is, under pressure, that of the oldest item."""
        if self.due:
            return self._next_to_hear(self.due[0])
        if not self._is_pressed:
            return None
        told = (entry.partition for entry in self.waiting if entry.since is not None)
        return next(filter(self._is_below_limit, told), None)

    @property
    def _is_pressed(self) -> bool:
        is_full = len(self.waiting) >= self.limits.max_queue_size
        if self._waits_when_full:
            first = self.line[0].item if self.line else None
            return first is not None and (is_full or not self._bears(first.weight))
        weight, most = (
            sum(entry.item.weight for entry in self.waiting),
            self.limits.max_queue_weight,
        )
        return is_full or self.overflowed or (most is not None and weight >= most)

    def _reason_of(self, partition: Partition) -> tuple[str, int | None]:
        """Why it flushes, and how many items at most."""
        if self.closing:
            return "drain", None
        if self._told(partition)[0].number < self.mark:
            return "flush", None
        decision = partition.decision
        if isinstance(decision, Flush):
            return decision.reason, decision.up_to
        return "pressure", None

    @property
    def _has_free_slot(self) -> bool:
        free = len(self.running) < self.limits.max_in_flight
        return free and self.started and not self.stopped

    @property
    def _may_start(self) -> bool:
        """Whether there is a slot, and something waits that may have it."""
        waiting = any(self._is_below_limit(entry.partition) for entry in self.waiting)
        return waiting and len(self.running) < self.limits.max_in_flight

    @property
    def _may_press(self) -> bool:
        """Whether a flush may start for those who wait for room."""
        return self._may_start and self.starts.may_start

    # The policy.

    @property
    def wake_at(self) -> float:
        """When a policy is to be asked again."""
        return min(map(self._wake_at, self.partitions), default=math.inf)

    def _wake_at(self, partition: Partition) -> float:
        """While it may start another flush, its policy is asked, whoever has the slots."""
        decision = partition.decision
        if not isinstance(decision, Wait) or not self.started or self.stopped:
            return math.inf
        may_flush = self._is_below_limit(partition) and self._told(partition)
        return decision.until if may_flush else math.inf

    def _next_to_hear(self, partitions: Iterable[Partition]) -> Partition:
        """Of those that may hear next, in any order, the one that was heard to do so.

        A new copy belongs to a partition that has none, which is the first of those.
        """
        may_hear = list(partitions)
        copy = self.heard[0].copy if self.heard else None
        known = [each for each in may_hear if each.copy == copy]
        new = [each for each in may_hear if each.copy is None]
        return (known or new or may_hear)[0]

    def _tell_policy(self, partition: Partition, event: str, now: float, *facts: Cause) -> None:
        """The copy of this partition hears of this, and nothing else is heard, now."""
        if self.policy_failed:
            return
        partition.told_at = now = max(partition.told_at, now)
        heard = self.heard.popleft() if self.heard else NOTHING
        if partition.copy is None and heard.copy not in self.copies:
            partition.copy = heard.copy
            self.copies.add(heard.copy)
        self._check_heard(heard, partition, (event, now, *facts))
        if heard.decision is None:
            self.policy_failed = True
            self._fail(PolicyError, heard.cause)
        else:
            partition.decision = heard.decision

    def _check_heard(self, heard: Heard, partition: Partition, right: tuple[Cause, ...]) -> None:
        if heard.copy != partition.copy:
            text = f"policy {heard.copy} was told {heard.event}, not policy {partition.copy}"
            self.complaints.append(("P4", text))
        elif heard.event[0] != COPIED and heard.event != right:
            self.complaints.append((13, f"the policy was told {heard.event}, not {right}"))

    # Flights.

    def flight_is_over(self, flight: Flight) -> None:
        """A flight is gone."""
        error = flight.error
        self.starts.call_ended(flight, error if isinstance(error, BaseException | None) else None)
        self._done.append((flight, self.now))

    def _end(self, flight: Flight, now: float) -> None:
        """The queue hears of the end of a flight."""
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
        self._hear_of_throttle()
        self._line_up()
        for entry in flight.entries:
            if entry.answer is None:
                self._answer(entry, flight.fates.get(entry))
        self.reports.append(self._report(flight, seconds, lost))

    def _losses(self, flight: Flight) -> list[Entry]:
        """What is neither delivered nor dropped."""
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
            error=error,  # type: ignore[arg-type]  # or one that equals it
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
        """The queue hears of the end of an item."""
        self._move(entry, fate.kind)
        self._answer(entry, fate)

    def _answer(self, entry: Entry, fate: Fate | None) -> None:
        """Those who ask are told what became of an item; None: the queue ended first."""
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
        """Nothing is taken any more: what is in no flight that runs was lost."""
        for entry in self.entries:
            if entry.place == "undelivered" and entry.answer is None:
                self._answer(entry, None)

    # Barriers and the end.

    def flush(self, call: Call) -> Call:
        """Somebody comes to wait until all has ended that was accepted by now."""
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
        """The queue starts."""
        self.started = True

    def wait_for_end(self, call: Call) -> Call:
        """Somebody waits for the end: run, leave or aclose."""
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
        """What those are told who wait for the end."""
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
        """Nothing is taken any more, and what runs is interrupted."""
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
        """How the queue ends, as far as is known."""
        return self.failure or (ShutdownTimeout, self.interruption)

    # Once nothing is left to be done.

    def _room_flaws(self) -> Iterator[tuple[int | str, str]]:
        runs = self.started and not self.stopped
        if self._is_pressed and self._has_free_slot and self._may_press:
            yield "B4", "a queue is full beside a free slot"
        if self.line and not self._is_pressed:
            yield 7, "producers wait beside room"
        if self.line and runs and self._may_press:
            yield 7, "producers wait beside a free slot"

    def idle_flaws(self) -> Iterator[tuple[int | str, str]]:
        """What the contract forbids to stand still, by its own words, whatever a pass does."""
        runs = self.started and not self.stopped
        yield from self._room_flaws()
        if self.line and (self.stopped or self.failure is not None):
            yield 10, "producers wait though the queue has stopped"
        if any(call.state == "barrier" and call.mark <= self.settled for call in self.calls):
            yield 9, "a barrier waits for nothing"
        may_flush = self._has_free_slot and any(map(self._is_due, self.partitions))
        if self.starts.may_start and (may_flush or self.starts.retries_now):
            yield 6, "a call waits that may start"
        if self.timer_fired is not None or self._parts or self._done:
            yield 6, "nobody has told the policy of the time, or of the end of a flush"
        if runs and any(entry.since is None for entry in self.waiting):
            yield 6, "the policy never heard of an arrival"
        if self.ending and not self.running and not self.waiting and not self.ended:
            yield 10, "the end does not come"
        ended = (entry for entry in self.entries if entry.place not in {"pending", "in_flight"})
        if any(entry.answer is None for entry in ended) and not self.running:
            yield 19, "nobody is told of an item that has ended"
