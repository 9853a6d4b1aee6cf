"""What the tests of several policies share: random arrivals and flushes, beside a plain list."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from flushq.policy import Decision, FlushPolicy, QueueState, Wait, running_copy
from tests.strategies import GAPS

Steps = list[tuple[int, str, int]]
Waiting = Sequence[Any]

STEPS: st.SearchStrategy[Steps] = st.lists(
    st.tuples(GAPS, st.sampled_from(["arrive", "arrive", "flush"]), st.integers(1, 4))
)
"""How many units later, what happens, to how many items."""


def play(
    policy: FlushPolicy, steps: Iterable[tuple[int, str, int]], unit: Any
) -> Iterator[tuple[Any, list[Any], Decision]]:
    """Yield, after each step: when it is, when the items that wait arrived, and the decision."""
    policy = running_copy(policy, 1000)
    now, waiting = 0 * unit, []
    for gap, event, count in steps:
        now += gap * unit
        if event == "arrive":
            waiting += [now] * count
            yield now, waiting, policy.item_added(now, count)
        elif waiting:
            gone = min(count, len(waiting))
            del waiting[:gone]
            yield now, waiting, policy.flush_started(now, gone)


def due(decision: Decision, now: Any) -> Any:
    """When a decision wants a flush, at the latest."""
    return decision.until if isinstance(decision, Wait) else now


class Attentive(QueueState):
    """Counts how often it is asked for the arrivals."""

    asked = 0

    @property
    def arrivals(self) -> tuple[tuple[float, int], ...]:
        """Count, and answer."""
        type(self).asked += 1
        return super().arrivals


def times_asked(policy: FlushPolicy, items: int) -> int:
    """How often a policy asks for the arrivals while so many items are flushed, batch by batch."""
    assert policy.max_records is not None
    object.__setattr__(policy, "queue", Attentive(items))
    Attentive.asked = 0
    for now in range(items):
        policy.item_added(now)
    while policy.queue.pending:
        policy.flush_started(items, min(policy.max_records, policy.queue.pending))
    assert math.inf == policy.queue.oldest
    return Attentive.asked
