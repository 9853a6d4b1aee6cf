"""What the tests of several policies share: random arrivals and flushes, beside a plain list."""

from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import strategies as st

from flushq.policy import Decision, FlushPolicy, Wait, running_copy
from tests.strategies import GAPS

Steps = list[tuple[int, str, int]]

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
