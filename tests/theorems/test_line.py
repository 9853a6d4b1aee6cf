"""Partitions: which batches may start before a partition that is due, and its longest wait."""

import math
from collections.abc import Hashable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.cli.lab import Setting, Sink, quantile, run
from flushq.policies import NaturalPolicy
from flushq.policy import Flush
from flushq.simulation import Event, simulate
from tests.strategies import SLOTS, policies, workloads


def seconds_in_line(ahead: int, slots: int, flush_seconds: Any) -> Any:
    """Return the longest wait of a partition with so many partitions ahead of it in the line."""
    return math.ceil((ahead + 1) / slots) * flush_seconds


@attrs.define
class Place:
    """A place in line: the latest time of a start, and the partitions that may start before."""

    latest: Any
    ahead: set[Hashable]


class Judge:
    """A checker that follows the decisions of the policies, and asserts that the line is fair.

    Attributes:
        most_ahead: The largest number of partitions that were ahead of one that joined the line.
    """

    def __init__(self, slots: int, flush_seconds: Any) -> None:
        self._slots, self._flush_seconds = slots, flush_seconds
        self._line: dict[Hashable, Place] = {}
        self.most_ahead = 0

    def follow(self, event: Event) -> None:
        """Take the next event of a trace."""
        if event.name == "flush_started":
            self._start(event)
        if not isinstance(event.decision, Flush):
            self._leave(event.partition)
        elif event.partition not in self._line:
            latest = event.now + seconds_in_line(len(self._line), self._slots, self._flush_seconds)
            self.most_ahead = max(self.most_ahead, len(self._line))
            self._line[event.partition] = Place(latest, {*self._line})

    def _start(self, event: Event) -> None:
        assert event.now <= self._line.pop(event.partition).latest
        for place in self._line.values():
            place.ahead.remove(event.partition)

    def _leave(self, key: Hashable) -> None:
        self._line.pop(key, None)
        for place in self._line.values():
            place.ahead.discard(key)


@given(
    data=st.data(),
    workload=workloads(max_size=40),
    slots=SLOTS,
    limit=st.sampled_from([1, 2, None]),
    steps=st.integers(0, 9),
)
def test_one_batch_at_most_of_each_that_stood_in_line_before(
    data: st.DataObject,
    workload: tuple[Any, list[Any], list[Any]],
    slots: int,
    limit: int | None,
    steps: int,
) -> None:
    """Only partitions that joined earlier start first, one batch each; so the wait has a bound."""
    unit, times, weights = workload
    keys = data.draw(st.lists(st.integers(0, 5), min_size=len(times), max_size=len(times)))
    trace = simulate(
        data.draw(policies(unit)),
        times,
        steps * unit,
        weights=weights,
        partitions=keys,
        max_in_flight=slots,
        max_in_flight_per_partition=limit,
    )
    judge = Judge(slots, steps * unit)
    for event in trace.events:
        judge.follow(event)


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("ahead", [0, 1, 2, 3, 4])
def test_the_bounds_are_reached(slots: int, ahead: int) -> None:
    """The bound is reached if every slot was just taken and each partition ahead starts a batch."""
    keys = [f"flood {number}" for number in range(slots + ahead) for _ in range(9)] + ["one item"]
    trace = simulate(NaturalPolicy(1), [0] * len(keys), 10, partitions=keys, max_in_flight=slots)
    (at,) = (at for at, flush in enumerate(trace.flushes) if flush.partition == "one item")
    assert slots + ahead == at
    assert seconds_in_line(ahead, slots, 10) == trace.flushes[at].started


def test_what_is_not_true_without_partitions() -> None:
    """Without partitions an item waits for all items that came before it."""
    trace = simulate(NaturalPolicy(1), [0] * 19, 10)
    assert 18 * 10 == trace.flushes[-1].started


def test_a_flood_in_one_of_a_thousand_partitions() -> None:
    """In the lab the p99 of the others is within the bound; without partitions it is far beyond.

    Times are in milliseconds: each other partition has an item now and then.
    """
    items = [(50 * number, 1 + number % 999) for number in range(1_200)]
    items += [(10_000 + 5 * number // 2, 0) for number in range(2_000)]
    times, keys = zip(*sorted(items), strict=True)
    policy, sink = NaturalPolicy(20), Sink(20, 5)
    with_keys = Setting(times, sink, 1, 1, 1, partitions=keys)
    found, whole = (
        run("", policy, setting, lambda cap: 1, lambda size: None)
        for setting in (with_keys, attrs.evolve(with_keys, partitions=None))
    )
    judge = Judge(1, sink(20))
    for event in simulate(policy, times, sink, partitions=keys).events:
        judge.follow(event)
    bound = seconds_in_line(judge.most_ahead, 1, sink(20)) + sink(1)
    assert found.slowest is not None
    assert 0 == found.slowest.key
    assert quantile(found.slowest.others, 0.99) <= bound
    assert 5 * bound < whole.latency(0.99)
