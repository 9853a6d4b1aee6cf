"""What can happen to a policy, as values: a history is a list of steps.

A step says how many units of time after the last one it happens. One that cannot happen (a start
while nothing waits, an end while nothing runs) does not, so every list of steps is a history, and
leaving out steps leaves one.
"""

import math

import attrs

_DIGITS = 2**20


@attrs.frozen
class Arrive:
    """Items arrive, all at one time.

    Args:
        after: How many units later.
        weights: What each weighs, in quarters of what a batch may weigh (4 without a cap).
    """

    after: int
    weights: tuple[int, ...]


@attrs.frozen
class Start:
    """A flush starts: because the policy says Flush, or as if somebody asked for it.

    Args:
        after: How many units later.
        up_to: How many items it takes at most, if the policy does not say fewer. None: what the
            policy says and the caps allow.
    """

    after: int
    up_to: int | None


@attrs.frozen
class Finish:
    """A flush ends.

    Args:
        after: How many units later.
        which: Which of those that run, counted from the first that started, and round again.
        failed: Whether flush_fn raised.
    """

    after: int
    which: int
    failed: bool


@attrs.frozen
class Pass:
    """Time passes, and the policy is told.

    Args:
        after: How many units later.
    """

    after: int


@attrs.frozen
class Due:
    """The time comes that the policy has asked for with Wait."""


Step = Arrive | Start | Finish | Pass | Due


@attrs.frozen
class History:
    """A queue's life.

    Args:
        slots: How many flushes may run at a time.
        unit: The unit of time, in seconds.
        steps: What happens, in order. At the end the time that the policy has asked for last comes.
    """

    slots: int
    unit: float
    steps: tuple[Step, ...]


def quarter_of(max_weight: float | None) -> float:
    """A quarter of what a batch may weigh, rounded down to so few digits that sums are exact."""
    if max_weight is None or max_weight == math.inf:
        return 1
    digits, exponent = math.frexp(max_weight / 4)
    return math.ldexp(math.floor(digits * _DIGITS) / _DIGITS, exponent)
