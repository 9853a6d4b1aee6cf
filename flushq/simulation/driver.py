"""The driver of a Core in virtual time.

Theory of operation. There are four kinds of events: a call of flush_fn ends, items arrive, a
``Wait(until)`` of the policy is over, or a call that had to wait may start. The simulation sets its
time to the time of the earliest event. At each instant, calls end first. Then all arriving items
come in, as one event. Then the policy gets a tick, if its Wait is over and no other event at this
instant has changed its decision. Then calls start if they may, and producers that wait in line come
in. So if an item arrives at the time at which a flush is due, the item joins the batch of this
flush. Times are only added and compared: with ints and Fractions a trace is exact.

The trace holds the decision of the policy after each event, so the driver tells the policy of each
event separately. The driver asks the core for a flush only if a flush may start. A flush may start
in four cases: the policy wants a flush, producers may stand in line, the queue is being drained, or
calls may have to wait (``starts.is_busy``).

flushq.simulation.partitioned adds partitions: it finds the partition of each event, and the policy
that must get the next tick.
"""

import heapq
import math
from collections.abc import Hashable, Sequence

import attrs

from flushq.core.attempts import Attempts, Call
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.core.displacing import Displacing
from flushq.core.receipts import DISPLACED
from flushq.core.running_policy import RunningPolicy
from flushq.errors import PolicyError
from flushq.outcomes import Verdict
from flushq.policy import Flush, Wait
from flushq.simulation.sink import Sink
from flushq.simulation.trace import Displacement, Events, Facts, SimulatedFlush, Trace

MOST_BROKEN_PROMISES = 10_000
"""The most broken promises in a row.

The policy breaks a promise if it returns Wait for a tick: see :class:`~flushq.policy.Wait`. (With
partitions, the limit for the policy is multiplied by the number of partitions.) The throttle breaks
a promise if no call can start at the time that the throttle has named.
"""


@attrs.define(eq=False)
class _Producer:
    """A producer that waits in line for room; it is also the waiter that the core completes."""

    item: int
    _called: list["_Producer"]

    def done(self) -> bool:
        """Return False: a simulated producer is never cancelled."""
        return False

    def set_result(self, answer: object, /) -> None:
        """Record that the producer may add its item, or must leave because the queue is ending."""
        self._called.append(self)


@attrs.define(eq=False)
class _Retry:
    """A flush whose next call waits in the line of calls; it is also the waiter of this call."""

    attempts: Attempts[int]
    _let_go: list["_Retry"]

    def done(self) -> bool:
        """Return False: a simulated flush is never cancelled."""
        return False

    def set_result(self, answer: object, /) -> None:
        """Record that the next call must start."""
        self._let_go.append(self)


_Call = tuple[float, int, Batch[int], Attempts[int] | None, int]
"""A call that runs, as a tuple of five members.

The members are the time at which the call ends, the sequence number of the first item of its batch,
the batch, the :class:`Attempts` of the batch, and the number of items of the call. Calls with the
same end time end in the order of these sequence numbers. The ``Attempts`` are None for the first
call of a batch.
"""


class Simulation:
    """The driver for virtual time. It never waits: it sets its time to that of the next event."""

    def __init__(
        self, core: Core[int], times: Sequence[float], sink: Sink, *, is_bounded: bool
    ) -> None:
        core.ending.start()
        self._core, self._batcher, self._buffer = core, core.batcher, core.buffer
        self._policy = core.batcher.policy
        self._times = [*times, math.inf]
        self._sink = sink
        self._now = -math.inf
        self._arrived = 0
        self._enter = self._ask_for_room if is_bounded else core.buffer.append
        self._called: list[_Producer] = []
        self._blocked = 0
        self._always_asks = is_bounded
        self._waits = 0
        self._calls: list[_Call] = []
        self._let_go: list[_Retry] = []
        self._flushes: dict[int, SimulatedFlush] = {}
        self._told: list[Facts] = []
        self._displacements: list[Displacement] = []
        if isinstance(core.admission, Displacing):
            core.admission.on_displaced = self._note_displaced

    def run(self, *, drain: bool) -> Trace:
        """Return the trace of all events. If ``drain``, close the queue after the last arrival."""
        if drain and len(self._times) > 1:
            last = self._times[-2]
            self._play(last)
            self._close(last)
        self._play(math.inf)
        return self._trace()

    def _close(self, now: float) -> None:
        self._core.close()
        self._always_asks = True
        while self._pass(now):
            pass

    def _trace(self) -> Trace:
        return Trace(
            flushes=tuple(self._flushes.values()),
            events=Events(self._told),
            stranded=len(self._buffer),
            undelivered=self._batcher.losses.undelivered.count,
            refused=len(self._times) - 1 - self._batcher.accepted,
            blocked=self._blocked,
            displacements=tuple(self._displacements),
        )

    def _play(self, until: float) -> None:
        """Simulate all events up to the time ``until``, including those at this time."""
        core, times, calls, never = self._core, self._times, self._calls, math.inf
        batcher, starts, policy = self._batcher, core.starts, self._policy
        while True:
            end = calls[0][0] if calls else never
            arrival = times[self._arrived]
            wake = core.wake_at if starts.is_busy else batcher.wake_at
            now = min(wake, arrival, end)
            if now > until or now == never:
                return
            if end == now:
                self._end_calls(now)
            if arrival == now:
                self._arrive(now)
            while wake == now and batcher.wake_at == now:
                self._tick(now)
            if starts.is_busy and starts.wake_at == now:
                self._count_throttle_time()
            if batcher.stopped is not None:
                self._check()
            while self._always_asks or starts.is_busy or isinstance(policy.decision, Flush):
                if not self._pass(now):
                    break

    # Items arrive.

    def _arrive(self, now: float) -> None:
        """Add the items that arrive now; tell the policy of all items that have come in."""
        times, item = self._times, self._arrived
        while times[item] == now:
            self._enter(item)
            item += 1
        self._arrived = item
        self._announce(now)

    def _announce(self, now: float) -> None:
        pending, weight = self._policy.pending, self._buffer.fresh_weight
        self._batcher.announce(now)
        came = self._policy.pending - pending
        if came > 0:
            self._waits = 0
            self._told.append((now, "item_added", came, weight, self._policy.decision, None))

    def _ask_for_room(self, item: int) -> None:
        admission, (key, weight) = self._core.admission, self._buffer.measure(item)
        if admission.must_join_line(admission.need_of(item, key, weight)):
            admission.waitlist.join(_Producer(item, self._called), None, weight)
            self._blocked += 1
        elif admission.add(item, key, weight) == DISPLACED:
            self._note_displaced(DISPLACED, item)

    def _note_displaced(self, number: int, item: int) -> None:
        """Record that ``item`` was displaced, by an arriving item or on its own arrival."""
        self._displacements.append(Displacement(self._times[self._arrived], item))

    # Calls end.

    def _end_calls(self, now: float) -> None:
        self._waits = 0
        calls = self._calls
        while calls and calls[0][0] <= now:
            _, _, batch, attempts, size = heapq.heappop(calls)
            verdict = self._sink.verdict(attempts.attempt if attempts else 1, size)
            if attempts is not None or verdict is not None:
                attempts = attempts or self._core.new_attempts(batch, has_handler=True)
                self._after_call(batch, attempts, verdict, now)
            else:
                batch.returned()
                self._end_flush(batch, now)

    def _after_call(
        self, batch: Batch[int], attempts: Attempts[int], verdict: Verdict | None, now: float
    ) -> None:
        """Decide what follows a call that failed, or that succeeded after a failure."""
        if verdict is None:
            attempts.returned(now)
        else:
            attempts.raised(RuntimeError("a simulated failure"), now, may_ask=True)
            attempts.handler_answered(verdict)
        if attempts.next is None:
            self._correct(batch, now)
            self._end_flush(batch, now)
        else:
            self._core.starts.join(_Retry(attempts, self._let_go), attempts, now)

    def _correct(self, batch: Batch[int], now: float) -> None:
        """Correct the record of a flush, which was made as if the first call were the last."""
        self._flushes[batch.first] = attrs.evolve(
            self._flushes[batch.first],
            ended=now,
            attempts=batch.attempts,
            dropped=len(batch.dropped),
            in_doubt=len(batch.lost or ()),
        )

    def _end_flush(self, batch: Batch[int], now: float) -> None:
        self._core.starts.note_end(batch, now, batch.error)
        self._batcher.end_flush(batch, now)
        decision = batch.policy.decision
        self._told.append((now, "flush_done", batch.count, 0, decision, batch.partition))
        if self._batcher.stopped is not None:
            self._check()

    # A time that the policy or the throttle has named is reached.

    def _tick(self, now: float) -> None:
        policy, partition = self._first_to_tick()
        self._batcher.tick(now)
        self._told.append((now, "tick", 0, 0, policy.decision, partition))
        self._waits = self._waits + 1 if isinstance(policy.decision, Wait) else 0
        if self._waits > MOST_BROKEN_PROMISES * max(1, self._batcher.partitions):
            name = type(policy.copy).__name__
            raise PolicyError(f"the policy {name} returned Wait for {self._waits} ticks in a row")

    def _first_to_tick(self) -> tuple[RunningPolicy, Hashable]:
        """Return the policy that must get the next tick, and the key of its partition."""
        return self._policy, None

    def _count_throttle_time(self) -> None:
        """Record that a time which the throttle has named has come.

        Raises:
            PolicyError: Too many such times have come in a row.
        """
        self._waits += 1
        if self._waits > MOST_BROKEN_PROMISES:
            raise PolicyError(
                f"the throttle returned a time at which no call could start, {self._waits} times in"
                " a row"
            )

    # Calls start, and producers in line come in.

    def _pass(self, now: float) -> bool:
        """Start retries and a flush, or let producers in; return whether anything was done."""
        self._now = now
        batch = self._core.start_next_flush(self._clock)
        if self._batcher.stopped is not None:
            self._check()
        has_retried = self._call_again(now)
        if batch is not None:
            self._start(batch, now)
            return True
        return has_retried or (self._always_asks and self._let_in(now))

    def _call_again(self, now: float) -> bool:
        """Start the calls that have left the line of calls; return whether there were any."""
        retries, self._let_go[:] = [*self._let_go], []
        for retry in retries:
            attempts = retry.attempts
            attempts.paused()
            assert isinstance(attempts.next, Call)
            self._call(attempts.batch, attempts, len(attempts.next.items), now)
        return bool(retries)

    def _clock(self) -> float:
        return self._now

    def _start(self, batch: Batch[int], now: float) -> None:
        size, decision, partition = batch.count, batch.policy.decision, batch.partition
        batch.call(())
        self._told.append((now, "flush_started", size, batch.weight, decision, partition))
        ended = self._call(batch, None, size, now)
        self._flushes[batch.first] = SimulatedFlush(
            now, ended, size, batch.reason, batch.oldest, partition=partition
        )

    def _call(
        self, batch: Batch[int], attempts: Attempts[int] | None, size: int, now: float
    ) -> float:
        """Simulate a call of flush_fn; return the time at which the call ends."""
        self._waits = 0
        ended = now + self._sink.seconds(size)
        heapq.heappush(self._calls, (ended, batch.first, batch, attempts, size))
        return ended

    def _let_in(self, now: float) -> bool:
        """Add the items of the producers that were given room; return whether any was added.

        If the end of the queue has begun, these producers leave the line, and no item is added.
        """
        self._core.respond()
        came = 0
        for producer in self._called:
            self._core.admission.waitlist.leave(producer)
            if not self._core.ending.has_begun:
                self._buffer.append(producer.item)
                came += 1
        self._called.clear()
        self._arrive(now)
        return came > 0

    def _check(self) -> None:
        """Raise PolicyError if a policy or the throttle has failed.

        If the queue has failed for another reason, let no more items arrive.
        """
        outcome = self._core.ending.outcome()
        if isinstance(outcome, PolicyError):
            raise outcome
        self._arrived = len(self._times) - 1
