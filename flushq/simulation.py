"""A policy in virtual time: the same Batcher that runs in production, fed from a list.

Theory of operation. Three things can happen next: a flush ends, items arrive, or the time comes
that the policy asked for. The simulation goes to the earliest of these, lets all that happens at
that instant happen (flushes end, then items arrive, all of them in one event), and starts the
flushes that are due by then. So an arrival exactly at a deadline joins the batch. The policy's time
comes only if nothing else happens then: each event has asked the policy already. Times are only
added and compared: with ints and Fractions a trace is exact.
"""

import heapq
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import starmap
from typing import overload

import attrs

from flushq.arguments import check_finite
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.errors import PolicyError
from flushq.policy import Decision, Flush, FlushPolicy, Wait

FlushSeconds = float | Callable[[int], float]

BROKEN_PROMISES = 10_000
"""How many ticks in a row may be answered with Wait."""


@attrs.frozen
class SimulatedFlush:
    """One flush of a trace.

    Attributes:
        started: When it started, in seconds.
        ended: When it ended.
        size: How many items it took.
        reason: Why it was started.
        oldest: When the oldest of its items arrived.
    """

    started: float
    ended: float
    size: int
    reason: str
    oldest: float


@attrs.frozen
class Event:
    """One event that the policy was told, and its answer.

    Attributes:
        now: When, in seconds.
        name: ``item_added``, ``flush_started``, ``flush_done`` or ``tick``.
        count: How many items it was about; 0 for a tick.
        weight: What they weigh together; 0 for flush_done and tick.
        decision: What the policy answered.
    """

    now: float
    name: str
    count: int
    weight: float
    decision: Decision


_Facts = tuple[float, str, int, float, Decision]


@attrs.frozen(eq=False, repr=False)
class _Events(Sequence[Event]):
    """Events like a tuple of them; but each is made when it is read, and most never are."""

    _told: list[_Facts]

    def __len__(self) -> int:
        return len(self._told)

    def __iter__(self) -> Iterator[Event]:
        return starmap(Event, self._told)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        if isinstance(index, slice):
            return tuple(starmap(Event, self._told[index]))
        return Event(*self._told[index])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Events):
            return self._told == other._told
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


@attrs.frozen
class Trace:
    """What a policy did with a sequence of arrivals.

    Attributes:
        flushes: Every flush, in the order in which they started.
        events: Every event that the policy was told, with its decision.
        stranded: How many items are left with nothing scheduled to flush them.
    """

    flushes: tuple[SimulatedFlush, ...]
    events: Sequence[Event]
    stranded: int


def simulate(
    policy: FlushPolicy,
    arrivals: Iterable[float],
    flush_seconds: FlushSeconds,
    *,
    max_in_flight: int = 1,
    weights: Iterable[float] | None = None,
) -> Trace:
    """Run a copy of the policy over the arrivals, in virtual time, to the end.

    Args:
        policy: The policy; it is not changed.
        arrivals: The times at which items arrive, in seconds, not decreasing.
        flush_seconds: How long a flush takes: a number, or a function of the number of its items.
        max_in_flight: How many flushes may run at a time.
        weights: The weight of each item; needed for a policy with ``max_weight``.

    Returns:
        The trace. Nothing is flushed at the end just because it is the end.

    Raises:
        ItemTooLarge: An item weighs more than the policy's ``max_weight``.
        PolicyError: The policy raised, or answered what is no decision, or answered more than
            10,000 ticks in a row with Wait: it may never flush.
        TypeError, ValueError: An argument is not what it must be.
    """
    times = _times(arrivals)
    masses = None if weights is None else list(weights)
    if masses is not None:
        if len(masses) != len(times):
            raise ValueError(f"{len(times)} arrivals need as many weights, not {len(masses)}")
    elif getattr(policy, "max_weight", None) is not None:
        raise TypeError(f"the max_weight of {policy!r} needs weights, one for each arrival")
    weigh = None if masses is None else lambda item: masses[item]
    batcher: Batcher[int] = Batcher(policy, None, weigh, max_in_flight)
    return _Simulation(batcher, times, flush_seconds).run()


class _Simulation:
    def __init__(
        self, batcher: Batcher[int], times: Sequence[float], flush_seconds: FlushSeconds
    ) -> None:
        batcher.start()
        if not callable(flush_seconds):
            _check_duration(flush_seconds)
        self._batcher = batcher
        self._times = [*times, math.inf]
        self._flush_seconds = flush_seconds
        self._arrived = 0
        self._waits = 0
        self._running: list[tuple[float, int, Batch[int]]] = []
        self._flushes: list[SimulatedFlush] = []
        self._told: list[_Facts] = []

    def run(self) -> Trace:
        batcher, times, running = self._batcher, self._times, self._running
        while True:
            end = running[0][0] if running else math.inf
            arrival, wake = times[self._arrived], batcher.wake_at
            now = min(wake, arrival, end)
            if now == math.inf:
                return Trace(tuple(self._flushes), _Events(self._told), len(batcher.buffer))
            if end == now:
                self._end_flushes(now)
            if arrival == now:
                self._arrive(now)
            if wake < end and wake < arrival:
                self._tick(now)
            else:
                self._waits = 0
            if isinstance(batcher.decision, Flush):
                self._start_flushes(now)

    def _end_flushes(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            _, _, batch = heapq.heappop(self._running)
            self._batcher.end_flush(batch, now)
            self._record(now, "flush_done", batch.count)

    def _arrive(self, now: float) -> None:
        first, times, buffer = self._arrived, self._times, self._batcher.buffer
        while times[self._arrived] == now:
            buffer.append(self._arrived)
            self._arrived += 1
        weight = buffer.fresh_weight
        self._batcher.announce(now)
        self._record(now, "item_added", self._arrived - first, weight)

    def _tick(self, now: float) -> None:
        self._batcher.tick(now)
        self._record(now, "tick", 0)
        self._waits = self._waits + 1 if isinstance(self._batcher.decision, Wait) else 0
        if self._waits > BROKEN_PROMISES:
            name = type(self._batcher.policy).__name__
            raise PolicyError(f"the policy {name} answered {self._waits} ticks in a row with Wait")

    def _start_flushes(self, now: float) -> None:
        while (due := self._batcher.due()) and (batch := self._batcher.start_flush(due, now)):
            batch.call(())
            self._record(now, "flush_started", batch.count, batch.weight)
            ended = now + self._seconds(batch.count)
            heapq.heappush(self._running, (ended, batch.first, batch))
            self._flushes.append(
                SimulatedFlush(now, ended, batch.count, batch.reason, batch.oldest)
            )
        self._check()

    def _seconds(self, size: int) -> float:
        if not callable(self._flush_seconds):
            return self._flush_seconds
        seconds = self._flush_seconds(size)
        _check_duration(seconds)
        return seconds

    def _record(self, now: float, name: str, count: int, weight: float = 0) -> None:
        if self._batcher.stopped is not None:
            self._check()
        self._told.append((now, name, count, weight, self._batcher.decision))

    def _check(self) -> None:
        failure = self._batcher.failure
        if failure is not None:
            error = failure.kind(failure.message or "")
            raise error from failure.cause


def _times(arrivals: Iterable[float]) -> list[float]:
    times = list(arrivals)
    earlier: float = -sys.float_info.max
    for later in times:
        if type(later) is not float or not earlier <= later < math.inf:
            check_finite("an arrival", later, least=-math.inf)
            if later < earlier:
                raise ValueError(f"arrivals must not decrease: {later!r} comes after {earlier!r}")
        earlier = later
    return times


def _check_duration(seconds: object) -> None:
    check_finite("flush_seconds", seconds, least=0)
