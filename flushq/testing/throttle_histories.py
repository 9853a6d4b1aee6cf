"""What can happen to a throttle, as values, and the Hypothesis strategy that draws it.

As for policies, a step that cannot happen (a call while the throttle is not ready, an end while no
call runs) does not, so every list of steps is a history. Times are small multiples of a unit.
"""

import attrs
from hypothesis import strategies as st

from flushq.testing.histories import GAPS, UNITS, Due, Finish, Pass


@attrs.frozen
class Call:
    """A call starts, if the throttle is ready.

    Args:
        after: How many units later.
        count: How many items it has; each weighs 1.
    """

    after: int
    count: int


@attrs.frozen
class Burst:
    """Calls with one item each start at one time, while the throttle is ready, and end at once.

    Args:
        after: How many units later.
        failed: For each call, in the order of their ends: whether flush_fn raised.
    """

    after: int
    failed: tuple[bool, ...]


ThrottleStep = Call | Burst | Finish | Pass | Due


@attrs.frozen
class ThrottleHistory:
    """What a throttle goes through.

    Args:
        unit: The unit of time, in seconds.
        steps: What happens, in order; :class:`Due` is the time that ready_at has answered last. At
            the end that time comes.
    """

    unit: float
    steps: tuple[ThrottleStep, ...]


def throttle_histories(*, max_steps: int = 15) -> st.SearchStrategy[ThrottleHistory]:
    """Whole histories, for ``check_throttle_history``."""
    call = st.builds(Call, GAPS, st.integers(1, 4))
    finish = st.builds(Finish, GAPS, st.integers(0, 2), st.booleans())
    burst = st.builds(Burst, GAPS, st.lists(st.booleans(), min_size=1, max_size=4).map(tuple))
    step = st.one_of(call, st.just(Due()), finish, burst, st.builds(Pass, GAPS))
    few = st.lists(step, max_size=max_steps)
    many = st.lists(step, min_size=max_steps // 2, max_size=max_steps)
    return st.builds(ThrottleHistory, UNITS, (few | many).map(tuple))
