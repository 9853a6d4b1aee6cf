"""The driver and the simulation make the same flushes: times, sizes, reasons.

Ties apart: where an arrival, the end of a flush and a deadline fall on the same instant, a loop
runs them in an order of its own. (Items that arrive at the same instant are no tie.) All times are
dyadic, so that every sum is exact, and each kind of time has a last digit of its own.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from unittest import mock

import attrs
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from flushq import Flush, FlushPolicy, FlushQueue, Wait
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.simulation import SimulatedFlush, Trace, simulate
from tests.strategies import SLOTS, arrivals, policies
from tests.virtual import now, run, virtual_loop

FlushSeconds = Callable[[int], float]

UNIT = 0.125
POLICIES = policies(UNIT * 65 / 64)
WEIGHT = st.integers(0, 4).map(lambda weight: weight * UNIT)


@st.composite
def flush_seconds(draw: st.DrawFn) -> FlushSeconds:
    """How long a flush takes, by its size."""
    start, item = draw(st.integers(0, 20)), draw(st.integers(0, 3))
    return lambda size: UNIT * (start + item * size + 1 / 1024)


def ties(trace: Trace) -> bool:
    """Whether an arrival, the end of a flush or a deadline falls on the same instant."""
    happens = [each.now for each in trace.events if each.name in {"item_added", "flush_done"}]
    waits = (each.decision for each in trace.events if isinstance(each.decision, Wait))
    deadlines = {wait.until for wait in waits}
    return max(Counter(happens).values(), default=0) > 1 or not deadlines.isdisjoint(happens)


@contextmanager
def watched_batches() -> Iterator[list[Batch[int]]]:
    """Collect every batch that any batcher starts."""
    batches: list[Batch[int]] = []
    start_flush = Batcher.start_flush

    def watched_start(self: Batcher[int], due: Flush, now: float) -> Batch[int] | None:
        batch = start_flush(self, due, now)
        batches.extend([] if batch is None else [batch])
        return batch

    with mock.patch.object(Batcher, "start_flush", watched_start):
        yield batches


async def sleep_until(time: float) -> None:
    """Wait until exactly this time."""
    reached = asyncio.get_running_loop().create_future()
    virtual_loop().call_at(time, reached.set_result, None)
    await reached


@attrs.frozen
class Case:
    """A policy, what arrives, and how long flushes take on how many slots."""

    policy: FlushPolicy
    times: list[float]
    weights: list[float]
    seconds: FlushSeconds
    slots: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Cases, most of them without ties."""
    times = draw(arrivals(UNIT, max_size=40))
    weights = draw(st.lists(WEIGHT, min_size=len(times), max_size=len(times)))
    return Case(draw(POLICIES), times, weights, draw(flush_seconds()), draw(SLOTS))


async def drive(case: Case, close_at: float) -> list[SimulatedFlush]:
    """Run a queue and return the flushes that it makes before it is closed."""
    ends: dict[int, float] = {}

    async def sink(batch: list[int]) -> None:
        await asyncio.sleep(case.seconds(len(batch)))
        ends[batch[0]] = now()

    queue = FlushQueue[int](
        sink, case.policy, weigh=case.weights.__getitem__, max_in_flight=case.slots
    )
    with watched_batches() as batches:
        async with queue:
            for time, items in groupby(range(len(case.times)), case.times.__getitem__):
                await sleep_until(time)
                for item in items:
                    await queue.enqueue(item)
            await sleep_until(close_at)
            made = list(batches)
    return [
        SimulatedFlush(batch.started, ends[batch.first], batch.count, batch.reason, batch.oldest)
        for batch in made
    ]


def check(case: Case) -> None:
    """Compare the driver with the simulation, unless there are ties."""
    trace = simulate(
        case.policy, case.times, case.seconds, max_in_flight=case.slots, weights=case.weights
    )
    assume(not ties(trace))
    for flush in trace.flushes:
        event(flush.reason)
    close_at = max((each.now for each in trace.events), default=0.0) + 1.0
    assert list(trace.flushes) == run(drive, case, close_at)


@settings(max_examples=300)
@given(case=cases())
def test_the_driver_makes_the_flushes_of_the_simulation(case: Case) -> None:
    """Up to the close, the driver flushes when and what and why the simulation does."""
    check(case)


@pytest.mark.long
@settings(max_examples=10_000)
@given(case=cases())
def test_the_driver_makes_them_in_ten_thousand_cases(case: Case) -> None:
    """Up to the close, the driver flushes when and what and why the simulation does, always."""
    check(case)
