"""Histories for the checks of throttles, and the Hypothesis strategy that draws histories.

A history is a list of steps. A step that cannot happen is skipped. A call cannot start while the
throttle is not ready, and cannot end while no call runs. So every list of steps is a valid history.
Times are small multiples of a unit.
"""

import attrs
from hypothesis import strategies as st

from flushq.testing.histories import GAPS, UNITS, Due, Finish, Pass


@attrs.frozen
class Call:
    """The start of a call. If the throttle is not ready, this step is skipped.

    Args:
        after: The time since the previous step, in units.
        count: The number of items of the call; each item weighs 1.
    """

    after: int
    count: int


@attrs.frozen
class Burst:
    """Calls that start at the same time, as many as the throttle allows; each call has one item.

    After all these calls have started, they end, still at the same time.

    Args:
        after: The time since the previous step, in units.
        failed: For each call, whether flush_fn raises. At most ``len(failed)`` calls start. They
            end in the order in which they started.
    """

    after: int
    failed: tuple[bool, ...]


ThrottleStep = Call | Burst | Finish | Pass | Due


@attrs.frozen
class ThrottleHistory:
    """The history of a throttle.

    Args:
        unit: The unit of time, in seconds.
        steps: The steps, in order. :class:`Due` is a pause until the time that ``ready_at``
            returned last. After the last of these steps comes another Due.
    """

    unit: float
    steps: tuple[ThrottleStep, ...]


def throttle_histories(*, max_steps: int = 15) -> st.SearchStrategy[ThrottleHistory]:
    """Draw histories for ``check_throttle_history``."""
    call = st.builds(Call, GAPS, st.integers(1, 4))
    finish = st.builds(Finish, GAPS, st.integers(0, 2), st.booleans())
    burst = st.builds(Burst, GAPS, st.lists(st.booleans(), min_size=1, max_size=4).map(tuple))
    step = st.one_of(call, st.just(Due()), finish, burst, st.builds(Pass, GAPS))
    few = st.lists(step, max_size=max_steps)
    many = st.lists(step, min_size=max_steps // 2, max_size=max_steps)
    return st.builds(ThrottleHistory, UNITS, (few | many).map(tuple))
