"""Shared by the tests of several policies: random arrivals and flushes, and a list as a model."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from flushq.policy import Decision, Flush, FlushPolicy, Wait, running_copy
from tests.models import cap
from tests.strategies import GAPS

Steps = list[tuple[int, str, int]]

STEPS: st.SearchStrategy[Steps] = st.lists(
    st.tuples(GAPS, st.sampled_from(["arrive", "arrive", "flush"]), st.integers(1, 4))
)
"""The steps: after how many units, what happens, to how many items."""


def play(policy: FlushPolicy, steps: Steps, unit: Any) -> Iterator[tuple[Any, list[Any], Decision]]:
    """Yield the time, the arrivals of the waiting items, and the decision, after each step."""
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


def check_due(
    policy: FlushPolicy, steps: Steps, unit: Any, due: Callable[[Any, list[Any]], Any]
) -> None:
    """Assert that the policy flushes a batch that is not full at the time that ``due`` returns."""
    for now, waiting, decision in play(policy, steps, unit):
        if waiting and len(waiting) < cap(policy.max_records):
            asked = decision.until if isinstance(decision, Wait) else now
            assert math.isclose(max(due(now, waiting), now), asked, abs_tol=1e-9)
        else:
            assert (Flush("full") if waiting else Wait()) == decision
