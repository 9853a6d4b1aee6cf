"""The driver of a Core in virtual time.

Theory of operation. Three things can happen next: a call of flush_fn ends, items arrive, or the
time comes that the policy asked for. The simulation goes to the earliest of these and lets all that
happens at that instant happen: calls end, then items arrive, all of them in one event. Then the
flushes start that are due by then, and producers in line come in. So an arrival exactly at a
deadline joins the batch. The policy's time comes only if nothing else happens then: each event has
asked the policy already. Times are only added and compared: with ints and Fractions a trace is
exact.

The trace has the policy's answer to each event, so the policy is told of each by itself. The core
is asked for a flush only if there may be one: if the policy wants it, or if there may be a line or
a drain.
"""

import heapq
import math
from collections.abc import Sequence

import attrs

from flushq.core.attempts import Attempts, Call
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.errors import PolicyError
from flushq.outcomes import Retry, Verdict
from flushq.policy import Flush, Wait
from flushq.simulation.sink import Sink
from flushq.simulation.trace import Events, Facts, SimulatedFlush, Trace

BROKEN_PROMISES = 10_000
"""How many ticks in a row may be answered with Wait."""


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


_Call = tuple[float, int, Batch[int], Attempts[int] | None, int]
"""When it ends; the batch's first item, for their order; the batch, its attempts; the size."""


class Simulation:
    """The driver: it waits and keeps time by going to the next instant."""

    def __init__(
        self, core: Core[int], times: Sequence[float], sink: Sink, *, is_bounded: bool
    ) -> None:
        core.ending.start()
        self._core, self._batcher, self._buffer = core, core.batcher, core.buffer
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
        self._flushes: dict[int, SimulatedFlush] = {}
        self._told: list[Facts] = []

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
            displaced=self._batcher.displaced,
        )

    def _play(self, until: float) -> None:
        """Let happen what happens up to this time."""
        batcher, times, calls, never = self._batcher, self._times, self._calls, math.inf
        policy = batcher.policy
        while True:
            end = calls[0][0] if calls else never
            arrival, wake = times[self._arrived], batcher.wake_at
            now = min(wake, arrival, end)
            if now > until or now == never:
                return
            if end == now:
                self._end_calls(now)
            if arrival == now:
                self._arrive(now)
            if wake < end and wake < arrival:
                self._tick(now)
            else:
                self._waits = 0
            while self._always_asks or isinstance(policy.decision, Flush):
                if not self._pass(now):
                    break

    # Items come.

    def _arrive(self, now: float) -> None:
        """Take what arrives; tell the policy of it, and of what has come from the line."""
        times, item, policy = self._times, self._arrived, self._batcher.policy
        while times[item] == now:
            self._enter(item)
            item += 1
        self._arrived = item
        pending, weight = policy.pending, self._buffer.fresh_weight
        self._batcher.announce(now)
        if policy.pending > pending:
            self._record(now, "item_added", policy.pending - pending, weight)

    def _ask_for_room(self, item: int) -> None:
        admission, (key, weight) = self._core.admission, self._buffer.measure(item)
        if admission.must_wait(admission.need_of(item, key, weight)):
            admission.waitlist.join(_Producer(item, self._called), None, weight)
            self._blocked += 1
        else:
            admission.add(item, key, weight)

    # Calls end.

    def _end_calls(self, now: float) -> None:
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
            attempts.returned()
        else:
            attempts.raised(RuntimeError("a simulated failure"), now, may_ask=True)
            attempts.judged(verdict)
        if attempts.next is None:
            self._correct(batch, now)
            self._end_flush(batch, now)
        else:
            pause = verdict.after if isinstance(verdict, Retry) else 0
            attempts.paused()
            assert isinstance(attempts.next, Call)
            self._call(batch, attempts, len(attempts.next.items), now + pause)

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
        self._batcher.end_flush(batch, now)
        self._record(now, "flush_done", batch.count)

    # Time comes.

    def _tick(self, now: float) -> None:
        batcher = self._batcher
        batcher.tick(now)
        self._record(now, "tick", 0)
        self._waits = self._waits + 1 if isinstance(batcher.policy.decision, Wait) else 0
        if self._waits > BROKEN_PROMISES:
            name = type(batcher.policy.copy).__name__
            raise PolicyError(f"the policy {name} answered {self._waits} ticks in a row with Wait")

    # A pass.

    def _pass(self, now: float) -> bool:
        """Start the flush that is due, or let producers in; return whether there was any."""
        self._now = now
        batch = self._core.next_flush(self._clock)
        if batch is not None:
            self._start(batch, now)
            return True
        if self._batcher.stopped is not None:
            self._check()
        return self._always_asks and self._let_in(now)

    def _clock(self) -> float:
        return self._now

    def _start(self, batch: Batch[int], now: float) -> None:
        size = batch.count
        batch.call(())
        self._record(now, "flush_started", size, batch.weight)
        ended = self._call(batch, None, size, now)
        self._flushes[batch.first] = SimulatedFlush(now, ended, size, batch.reason, batch.oldest)

    def _call(
        self, batch: Batch[int], attempts: Attempts[int] | None, size: int, now: float
    ) -> float:
        """Call flush_fn; return when that ends."""
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

    def _record(self, now: float, name: str, count: int, weight: float = 0) -> None:
        if self._batcher.stopped is not None:
            self._check()
        self._told.append((now, name, count, weight, self._batcher.policy.decision))

    def _check(self) -> None:
        """Raise what the policy has done; after another failure nobody comes any more."""
        outcome = self._core.ending.outcome()
        if isinstance(outcome, PolicyError):
            raise outcome
        self._arrived = len(self._times) - 1
