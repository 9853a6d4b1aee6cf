"""The driver and the simulation make the same flushes: times, sizes, reasons and outcomes.

Ties are excluded: if an arrival, the end of a flush and a deadline fall on the same instant, the
order in which a loop runs them is not defined. (Items that arrive at the same instant are not a
tie.) All times are dyadic, so that every sum is exact, and each kind of time has a last digit of
its own.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import groupby
from typing import TypeVar

import attrs
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from flushq import (
    Failure,
    FlushFailed,
    FlushPolicy,
    FlushQueue,
    FlushReport,
    QueueClosed,
    Verdict,
    Wait,
)
from flushq.simulation import FlushFails, SimulatedFlush, Trace, simulate
from tests.strategies import SLOTS, Refusal, arrivals, flush_fails, policies
from tests.virtual import idle, run, virtual_loop

T = TypeVar("T")

FlushSeconds = Callable[[int], float]

UNIT = 0.125
POLICIES = policies(UNIT * 65 / 64)
WEIGHT = st.integers(0, 4).map(lambda weight: weight * UNIT)
NO_LIMIT = 1_000


@attrs.frozen
class Case:
    """A policy, the items, the duration of flushes, and the options of the queue."""

    policy: FlushPolicy
    times: list[float]
    weights: list[float]
    keys: list[int] | None
    limit: int | None
    seconds: FlushSeconds
    slots: int
    max_queue_size: int | None
    drain: bool
    fails: FlushFails


Outcome = tuple[list[SimulatedFlush], int, int]
"""The flushes, the number of undelivered items, and the number of refused items."""


@st.composite
def flush_seconds(draw: st.DrawFn) -> FlushSeconds:
    """Draw a function that returns the seconds of a flush of this size."""
    start, item = draw(st.integers(0, 20)), draw(st.integers(0, 3))
    return lambda size: UNIT * (start + item * size + 1 / 1024)


def never(attempt: int, size: int) -> None:
    """Return None: no attempt fails."""


def one_for_each(times: list[float], facts: st.SearchStrategy[T]) -> st.SearchStrategy[list[T]]:
    """Return a strategy of lists with one fact for each arrival."""
    return st.lists(facts, min_size=len(times), max_size=len(times))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a case, mostly without ties."""
    times = draw(arrivals(UNIT, max_size=40))
    return Case(
        policy=draw(POLICIES),
        times=times,
        weights=draw(one_for_each(times, WEIGHT)),
        keys=draw(st.none() | one_for_each(times, st.integers(0, 3))),
        limit=draw(st.sampled_from([1, 2, None])),
        seconds=draw(flush_seconds()),
        slots=draw(SLOTS),
        max_queue_size=draw(st.sampled_from([None, 1, 2, 3, 5])),
        drain=draw(st.booleans()),
        fails=draw(st.just(never) | flush_fails(UNIT)),
    )


def ties(case: Case, trace: Trace) -> bool:
    """Return whether two of arrival, end of a flush and deadline fall on the same instant."""
    ends = [each.now for each in trace.events if each.name == "flush_done"]
    waits = (each.decision for each in trace.events if isinstance(each.decision, Wait))
    deadlines = {wait.until for wait in waits}
    happens = [*set(case.times), *ends]
    return max(Counter(happens).values(), default=0) > 1 or not deadlines.isdisjoint(happens)


async def sleep_until(time: float) -> None:
    """Wait until exactly this time."""
    reached = asyncio.get_running_loop().create_future()
    virtual_loop().call_at(time, reached.set_result, None)
    await reached


class Sink:
    """A flush_fn and a failure handler that behave like the simulated ones of a case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._handed: Counter[tuple[int, ...]] = Counter()

    async def flush(self, items: list[int]) -> None:
        """Take as long as in the case, and raise if this attempt fails in the case."""
        await asyncio.sleep(self._case.seconds(len(items)))
        self._handed[tuple(items)] += 1
        if self._case.fails(self._handed[tuple(items)], len(items)) is not None:
            raise Refusal

    def judge(self, failure: Failure[int]) -> Verdict:
        """Return the verdict of the case."""
        verdict = self._case.fails(failure.attempt, len(failure.items))
        assert verdict is not None
        return verdict


async def drive(case: Case, close_at: float) -> Outcome:
    """Run a queue, and return its outcome before the close, or after it if the case drains."""
    sink = Sink(case)
    reports: list[FlushReport] = []
    queue = FlushQueue[int](
        sink.flush,
        case.policy,
        weigh=case.weights.__getitem__,
        max_queue_size=case.max_queue_size or NO_LIMIT,
        max_in_flight=case.slots,
        partition_key=None if case.keys is None else case.keys.__getitem__,
        max_in_flight_per_partition=case.limit,
        on_failure=sink.judge,
        on_report=reports.append,
    )
    producers: list[asyncio.Task[None]] = []
    with suppress(FlushFailed):
        async with queue:
            for time, items in groupby(range(len(case.times)), case.times.__getitem__):
                await sleep_until(time)
                producers += [asyncio.create_task(queue.enqueue(item)) for item in items]
            await (idle() if case.drain else sleep_until(close_at))
            made = reports if case.drain else list(reports)
            undelivered = queue.undelivered if case.drain else list(queue.undelivered)
    answers = await asyncio.gather(*producers, return_exceptions=True)
    refused = sum(isinstance(each, FlushFailed | QueueClosed) for each in answers)
    return in_order(map(flush_of, made)), len(undelivered), refused


def by_its_start(flush: SimulatedFlush) -> SimulatedFlush:
    """Return the flush with its other times relative to its start, like those of a report."""
    seconds, waited = flush.ended - flush.started, flush.started - flush.oldest
    return attrs.evolve(flush, ended=seconds, oldest=waited)


def flush_of(report: FlushReport) -> SimulatedFlush:
    """Return the flush of a report, in the terms of the simulation."""
    return SimulatedFlush(
        started=report.started,
        ended=report.seconds,
        size=report.count,
        reason=report.reason,
        oldest=report.waited,
        attempts=report.attempts,
        dropped=report.dropped,
        in_doubt=report.count - report.delivered - report.dropped,
        partition=report.partition,
    )


def in_order(flushes: Iterable[SimulatedFlush]) -> list[SimulatedFlush]:
    """Return the flushes sorted by all fields, since the order within one instant is unknown."""
    return sorted(flushes, key=attrs.astuple)


def check(case: Case) -> None:
    """Compare the driver with the simulation, unless there are ties."""
    trace = simulate(
        case.policy,
        case.times,
        case.seconds,
        max_in_flight=case.slots,
        weights=case.weights,
        partitions=case.keys,
        max_in_flight_per_partition=case.limit,
        max_queue_size=case.max_queue_size,
        drain=case.drain,
        flush_fails=case.fails,
    )
    assume(not ties(case, trace))
    for flush in trace.flushes:
        event(flush.reason if case.keys is None else f"{flush.reason} of a partition")
    for fact in ("blocked", "refused", "dropped", "lost", "undelivered"):
        if getattr(trace, fact):
            event(fact)
    close_at = max((each.now for each in trace.events), default=0.0) + 1.0
    flushes = in_order(map(by_its_start, trace.flushes))
    expected = flushes, trace.undelivered, trace.refused
    assert expected == run(drive, case, close_at)


@pytest.mark.parametrize("examples", [100, pytest.param(1_000, marks=pytest.mark.long)])
def test_the_driver_makes_the_flushes_of_the_simulation(examples: int) -> None:
    """The driver makes the flushes of the simulation, at the same times for the same reasons."""
    settings(max_examples=examples)(given(case=cases())(check))()
