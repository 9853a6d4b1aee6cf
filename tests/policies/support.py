"""What the tests of several policies share: random arrivals and flushes, beside a plain list."""

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
"""How many units later, what happens, to how many items."""


def play(policy: FlushPolicy, steps: Steps, unit: Any) -> Iterator[tuple[Any, list[Any], Decision]]:
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


def check_due(
    policy: FlushPolicy, steps: Steps, unit: Any, due: Callable[[Any, list[Any]], Any]
) -> None:
    """While a batch is not full, the policy wants it when ``due``, by the arrivals, says so."""
    for now, waiting, decision in play(policy, steps, unit):
        if waiting and len(waiting) < cap(policy.max_records):
            asked = decision.until if isinstance(decision, Wait) else now
            assert math.isclose(max(due(now, waiting), now), asked, abs_tol=1e-9)
        else:
            assert (Flush("full") if waiting else Wait()) == decision
