"""simulate() with partitions: each has a copy of the policy, and all share a line for slots."""

from collections.abc import Callable, Hashable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.errors import PolicyError
from flushq.outcomes import Drop, Fail, Split, Verdict
from flushq.policies import IntervalPolicy, NaturalPolicy, PausePolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.simulation import Event, SimulatedFlush, Trace, simulate
from tests.strategies import (
    Echoing,
    FrozenEchoPolicy,
    Refusal,
    flush_fails,
    policies,
    workloads,
)


def test_partitions_by_hand() -> None:
    """Items of one instant are one event for each partition; ticks come after them."""
    trace = simulate(
        IntervalPolicy(10, 2), [0, 0, 0, 10], 5, weights=[1, 2, 3, 4], partitions="abac"
    )
    expected = [
        Event(0, "item_added", 2, 4, Flush("full"), "a"),
        Event(0, "item_added", 1, 2, Wait(10), "b"),
        Event(0, "flush_started", 2, 4, Wait(), "a"),
        Event(5, "flush_done", 2, 0, Wait(), "a"),
        Event(10, "item_added", 1, 4, Wait(20), "c"),
        Event(10, "tick", 0, 0, Flush("age"), "b"),
        Event(10, "flush_started", 1, 2, Wait(), "b"),
        Event(15, "flush_done", 1, 0, Wait(), "b"),
        Event(20, "tick", 0, 0, Flush("age"), "c"),
        Event(20, "flush_started", 1, 4, Wait(), "c"),
        Event(25, "flush_done", 1, 0, Wait(), "c"),
    ]
    assert expected == [*trace.events]
    assert (
        SimulatedFlush(0, 5, 2, "full", 0, partition="a"),
        SimulatedFlush(10, 15, 1, "age", 0, partition="b"),
        SimulatedFlush(20, 25, 1, "age", 10, partition="c"),
    ) == trace.flushes


class Late(FlushPolicy):
    """A policy that flushes one item after the other when the oldest is ten seconds old."""

    def decide(self, now: float) -> Decision:
        """Flush one item that is ten seconds old, or wait."""
        due = self.queue.oldest + 10
        return Flush("late", up_to=1) if due <= now else Wait(due)


@pytest.mark.parametrize(("limit", "keys"), [(1, "ab"), (2, "ab"), (None, "ab"), (None, "aa")])
def test_all_whose_time_comes_stand_in_line_before_a_flush_starts(
    limit: int | None, keys: str
) -> None:
    """A partition that starts a flush goes behind them; it gets a slot that they leave free."""
    trace = simulate(
        Late(),
        [0, 0, 0],
        5,
        partitions=f"a{keys}",
        max_in_flight=2,
        max_in_flight_per_partition=limit,
    )
    assert [(10, keys[0]), (10, keys[1]), (15, "a")] == [
        (flush.started, flush.partition) for flush in trace.flushes
    ]


def without_end(fails: Callable[[int, int], Verdict | None]) -> Callable[[int, int], Any]:
    """Return the same failures, but with Drop in place of Fail and Split."""

    def still_fails(attempt: int, size: int) -> Verdict | None:
        verdict = fails(attempt, size)
        return Drop() if isinstance(verdict, Fail | Split) else verdict

    return still_fails


def learns_nothing(policy: FlushPolicy) -> bool:
    """Return whether a policy keeps no state: it loses nothing when its partition is removed."""
    return not isinstance(policy, Echoing | FrozenEchoPolicy | PausePolicy)


def part_of(trace: Trace, key: Hashable) -> tuple[list[SimulatedFlush], list[Event]]:
    """Return the flushes and events of one partition."""
    return (
        [attrs.evolve(each, partition=None) for each in trace.flushes if each.partition == key],
        [attrs.evolve(each, partition=None) for each in trace.events if each.partition == key],
    )


@given(data=st.data(), workload=workloads(), limit=st.integers(1, 2))
def test_where_slots_abound_a_partition_is_a_queue_of_its_own(
    data: st.DataObject, workload: tuple[Any, list[Any], list[Any]], limit: int
) -> None:
    """With enough slots, the part of a partition is the trace of its items alone."""
    unit, times, weights = workload
    policy = data.draw(policies(unit).filter(learns_nothing))
    keys = data.draw(st.lists(st.integers(0, 2), min_size=len(times), max_size=len(times)))
    fails = data.draw(st.none() | flush_fails(unit).map(without_end))

    def run(of: set[int], **options: Any) -> Trace:
        chosen = [at for at, key in enumerate(keys) if key in of]
        return simulate(
            policy,
            [times[at] for at in chosen],
            lambda size: (1 + size) * unit,
            weights=[weights[at] for at in chosen],
            flush_fails=fails,
            **options,
        )

    together = run(
        {0, 1, 2}, partitions=keys, max_in_flight=3 * limit, max_in_flight_per_partition=limit
    )
    alone = [run({key}, max_in_flight=limit) for key in range(3)]
    assert [part_of(trace, None) for trace in alone] == [part_of(together, key) for key in range(3)]
    assert sum(trace.stranded for trace in alone) == together.stranded


@attrs.define
class Patient(FlushPolicy):
    """A policy that asks for a tick every second, and flushes after more than ten."""

    looks: int = attrs.field(default=0, init=False)

    def tick(self, now: float) -> Decision:
        """Count the ticks."""
        self.looks += 1
        return super().tick(now)

    def decide(self, now: float) -> Decision:
        """Flush after more than ten ticks."""
        return Flush() if self.looks > 10 else Wait(now + 1)


def test_each_partition_may_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of ticks in a row grows with the number of partitions."""
    monkeypatch.setattr("flushq.simulation.driver.MOST_BROKEN_PROMISES", 10)
    trace = simulate(Patient(), [0, 0], 1, partitions="ab", max_in_flight=2)
    assert [11, 11] == [flush.started for flush in trace.flushes]
    monkeypatch.setattr("flushq.simulation.driver.MOST_BROKEN_PROMISES", 9)
    message = "the policy Patient returned Wait for 19 ticks in a row"
    with pytest.raises(PolicyError, match=message):
        simulate(Patient(), [0, 0], 1, partitions="ab")


class Fragile(NaturalPolicy):
    """A policy that cannot be copied once ``broken`` is set."""

    broken = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "Fragile":
        if self.broken:
            raise Refusal
        return Fragile()


def test_a_policy_that_cannot_be_copied_for_a_partition_ends_the_simulation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A policy that raises when it is copied for a partition is a PolicyError."""

    def break_it(size: int) -> float:
        monkeypatch.setattr(Fragile, "broken", True)
        return 1.0

    with pytest.raises(PolicyError, match=r"Fragile raised .* when it was copied"):
        simulate(Fragile(), [0, 1], break_it, partitions="ab")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"partitions": "a"}, ValueError, "there must be 2 partitions, one per arrival, but are 1"),
        (
            {"partitions": ["a", []]},
            TypeError,
            r"the partition of an item must be hashable, not \[\]",
        ),
        (
            {"max_in_flight_per_partition": 0},
            ValueError,
            "max_in_flight_per_partition must be at least 1, not 0",
        ),
    ],
)
def test_bad_arguments_are_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each arrival must have a key that can be hashed, and the limit must be at least 1."""
    arguments: dict[str, Any] = {"partitions": "ab", **change}
    with pytest.raises(error, match=f"^{message}$"):
        simulate(NaturalPolicy(), [0, 0], 1, **arguments)
