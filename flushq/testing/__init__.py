"""The laws that every policy or throttle must keep, and functions that check these laws in tests.

This package needs Hypothesis (``pip install '.[testing]'``).

>>> from flushq import NaturalPolicy
>>> from flushq.testing import check_policy
>>> check_policy(NaturalPolicy(max_records=100), max_batch=100)

:func:`check_policy` runs a policy with random histories (sequences of events). If the policy breaks
a law, the function raises :class:`LawBroken`. This error shows, event by event, the smallest
history that was found to break the law. :func:`check_throttle` does the same with a throttle. In
your own tests, you can also use the Hypothesis strategies that draw the histories.
"""

try:
    from flushq.testing.checks import check_history, check_policy
except ModuleNotFoundError as error:
    raise ImportError(
        f"flushq.testing needs {error.name}, which is not installed; "
        "run this in the checkout of flushq: pip install '.[testing]'"
    ) from error
from flushq.testing.histories import (
    Arrive,
    Due,
    Finish,
    History,
    Pass,
    Start,
    Step,
    arrivals,
    bursts,
    flush_durations,
    histories,
    slots,
)
from flushq.testing.laws import LAWS, LawBroken
from flushq.testing.ratios import CostRatio, FlushesRatio, LatencyRatio, Ratio
from flushq.testing.throttle_checks import check_throttle, check_throttle_history
from flushq.testing.throttle_histories import (
    Burst,
    Call,
    ThrottleHistory,
    ThrottleStep,
    throttle_histories,
)
from flushq.testing.throttle_laws import THROTTLE_LAWS, ThrottleLawBroken

__all__ = [
    "LAWS",
    "THROTTLE_LAWS",
    "Arrive",
    "Burst",
    "Call",
    "CostRatio",
    "Due",
    "Finish",
    "FlushesRatio",
    "History",
    "LatencyRatio",
    "LawBroken",
    "Pass",
    "Ratio",
    "Start",
    "Step",
    "ThrottleHistory",
    "ThrottleLawBroken",
    "ThrottleStep",
    "arrivals",
    "bursts",
    "check_history",
    "check_policy",
    "check_throttle",
    "check_throttle_history",
    "flush_durations",
    "histories",
    "slots",
    "throttle_histories",
]
