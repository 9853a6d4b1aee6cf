"""The driver of a Core in virtual time.

Theory of operation. Four things can happen next: a call of flush_fn ends, items arrive, or the time
comes that the policy asked for, or at which a call may start that had to wait. The simulation goes
to the earliest of these and lets all that happens at that instant happen: calls end, then items
arrive, all of them in one event. Then the calls start that may by then, and producers in line come
in. So an arrival exactly at a deadline joins the batch. The policy's time comes only if nothing
else happens then: each event has asked the policy already. Times are only added and compared: with
ints and Fractions a trace is exact.

The trace has the policy's answer to each event, so the policy is told of each by itself. The core
is asked for a flush only if there may be one: if the policy wants it, or if there may be a line or
a drain, or if it has a throttle or retries to see to.

What is otherwise with partitions is in flushq.simulation.partitioned: of which partition something
is told, and whose time comes.
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

BROKEN_PROMISES = 10_000
"""How many ticks in a row may be answered with Wait, for each partition; how often in a row no call
may start when the throttle had told."""


@attrs.define(eq=False)
class _Producer:
    """A producer in line, which is its own waiter."""

    item: int
    _called: list["_Producer"]

    def done(self) -> bool:
        """Whether it was called: it waits until it is."""
        return False

    def set_result(self, answer: object, /) -> None:
        """It is called, to come in or to go away."""
        self._called.append(self)


@attrs.define(eq=False)
class _Retry:
    """A flush whose next call is in line, which is its own waiter."""

    attempts: Attempts[int]
    _let_go: list["_Retry"]

    def done(self) -> bool:
        """Whether it may go on: it waits until it may."""
        return False

    def set_result(self, answer: object, /) -> None:
        """It may."""
        self._let_go.append(self)


_Call = tuple[float, int, Batch[int], Attempts[int] | None, int]
"""When it ends; the batch's first item, for their order; the batch, its attempts; the size."""


class Simulation:
    """The driver: it waits and keeps time by going to the next instant."""

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
        """Go on until nothing happens any more; ``drain``: close after the last arrival."""
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
        """Let happen what happens up to this time."""
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
                self._expect_call()
            if batcher.stopped is not None:
                self._check()
            while self._always_asks or starts.is_busy or isinstance(policy.decision, Flush):
                if not self._pass(now):
                    break

    # Items come.

    def _arrive(self, now: float) -> None:
        """Take what arrives; tell the policy of it, and of what has come from the line."""
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
        if admission.must_wait(admission.need_of(item, key, weight)):
            admission.waitlist.join(_Producer(item, self._called), None, weight)
            self._blocked += 1
        elif admission.add(item, key, weight) == DISPLACED:
            self._note_displaced(DISPLACED, item)

    def _note_displaced(self, number: int, item: int) -> None:
        """An item was displaced by one that arrives."""
        self._displacements.append(Displacement(self._times[self._arrived], item))

    # Calls end.

    def _end_calls(self, now: float) -> None:
        self._waits = 0
        calls = self._calls
        while calls and calls[0][0] <= now:
            _, _, batch, attempts, size = heapq.heappop(calls)
            verdict = self._sink.verdict(attempts.attempt if attempts else 1, size)
            if attempts is not None or verdict is not None:
                attempts = attempts or self._core.attempts(batch, has_handler=True)
                self._go_on(batch, attempts, verdict, now)
            else:
                batch.returned()
                self._end_flush(batch, now)

    def _go_on(
        self, batch: Batch[int], attempts: Attempts[int], verdict: Verdict | None, now: float
    ) -> None:
        """Another call of a flush has ended in which not all went well."""
        if verdict is None:
            attempts.returned(now)
        else:
            attempts.raised(RuntimeError("a simulated failure"), now, may_ask=True)
            attempts.judged(verdict)
        if attempts.next is None:
            self._correct(batch, now)
            self._end_flush(batch, now)
        else:
            self._core.starts.join(_Retry(attempts, self._let_go), attempts, now)

    def _correct(self, batch: Batch[int], now: float) -> None:
        """A flush did not end with its first call, as it was written down when it started."""
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

    # Time comes.

    def _tick(self, now: float) -> None:
        policy, partition = self._first_to_tick()
        self._batcher.tick(now)
        self._told.append((now, "tick", 0, 0, policy.decision, partition))
        self._waits = self._waits + 1 if isinstance(policy.decision, Wait) else 0
        if self._waits > BROKEN_PROMISES * max(1, self._batcher.partitions):
            name = type(policy.copy).__name__
            raise PolicyError(f"the policy {name} answered {self._waits} ticks in a row with Wait")

    def _first_to_tick(self) -> tuple[RunningPolicy, Hashable]:
        """The policy whose time comes first, and the key of its partition."""
        return self._policy, None

    def _expect_call(self) -> None:
        """The time has come at which a call may start, as the throttle has told."""
        self._waits += 1
        if self._waits > BROKEN_PROMISES:
            raise PolicyError(f"the throttle let no call start {self._waits} times in a row")

    # A pass.

    def _pass(self, now: float) -> bool:
        """Start retries and the flush that is due, or let producers in; return whether it has."""
        self._now = now
        batch = self._core.next_flush(self._clock)
        if self._batcher.stopped is not None:
            self._check()
        has_retried = self._call_again(now)
        if batch is not None:
            self._start(batch, now)
            return True
        return has_retried or (self._always_asks and self._let_in(now))

    def _call_again(self, now: float) -> bool:
        """Make the calls that were let go; return whether there are any."""
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
        """Call flush_fn; return when that ends."""
        self._waits = 0
        ended = now + self._sink.seconds(size)
        heapq.heappush(self._calls, (ended, batch.first, batch, attempts, size))
        return ended

    def _let_in(self, now: float) -> bool:
        """Producers that are called come in, or go away if it is too late."""
        self._core.respond()
        came = 0
        for producer in self._called:
            self._core.admission.waitlist.leave(producer)
            if not self._core.ending.begun:
                self._buffer.append(producer.item)
                came += 1
        self._called.clear()
        self._arrive(now)
        return came > 0

    def _check(self) -> None:
        """Raise what policy or throttle has done; after another failure nobody comes any more."""
        outcome = self._core.ending.outcome()
        if isinstance(outcome, PolicyError):
            raise outcome
        self._arrived = len(self._times) - 1
