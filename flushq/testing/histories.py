"""What can happen to a policy, as values, and the Hypothesis strategies that draw it.

A history is a list of steps. A step says how many units of time after the last one it happens. One
that cannot happen (a start while nothing waits, an end while nothing runs) does not, so every list
of steps is a history, and leaving out steps leaves one.

The times that the strategies draw are small multiples of a unit. With the default, or any other
int, power of two or Fraction, sums are exact and ties are frequent.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain

import attrs
from hypothesis import strategies as st

_DIGITS = 2**20
GAPS = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 8])
_CROWDS = st.sampled_from([12, 150])
UNITS = st.sampled_from([1.0, 0.125, 2.0**-10])


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
    """A flush starts: because the policy says Flush, or as if a caller asked for it.

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


def arrivals(unit: float = 0.125, *, max_size: int = 20) -> st.SearchStrategy[list[float]]:
    """Times at which items arrive, in seconds, not decreasing; several may arrive at one time."""
    return st.lists(GAPS, max_size=max_size).map(
        lambda gaps: [steps * unit for steps in accumulate(gaps)]
    )


def bursts(
    unit: float = 0.125, *, max_size: int = 10
) -> st.SearchStrategy[list[tuple[float, int]]]:
    """Times at which items arrive, increasing, and how many of them at each."""
    gaps = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 5)), max_size=max_size)
    return gaps.map(
        lambda gaps: [
            (steps * unit, count)
            for steps, (_, count) in zip(accumulate(gap for gap, _ in gaps), gaps, strict=True)
        ]
    )


def flush_durations(unit: float = 0.125) -> st.SearchStrategy[float]:
    """How long a flush takes, in seconds; perhaps no time at all."""
    return st.integers(0, 8).map(lambda steps: steps * unit)


def slots() -> st.SearchStrategy[int]:
    """How many flushes may run at a time: from one to three."""
    return st.integers(1, 3)


def histories(*, max_steps: int = 15) -> st.SearchStrategy[History]:
    """Whole histories, for ``check_history``: of single steps, and of whole flushes in a row.

    A history of n steps has n / 3 flushes at most, each of an arrival, a start and an end.
    """
    weights = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
    arrive = st.builds(Arrive, GAPS, weights)
    start = st.builds(Start, GAPS, st.none() | st.integers(1, 5))
    finish = st.builds(Finish, GAPS, st.integers(0, 2), st.booleans())
    crowd = st.builds(Arrive, GAPS, _CROWDS.map(lambda count: (1,) * count))
    step = st.one_of(arrive, st.just(Due()), crowd, start, finish, st.builds(Pass, GAPS))
    begun = st.tuples(arrive, start)
    before = st.just(()) | begun | begun | begun  # mostly; what is not needed is left out
    ended = st.tuples(before, finish).map(lambda both: (*both[0], both[1]))
    part = st.tuples(step) | begun | ended
    few = st.lists(part, max_size=max_steps)
    many = st.lists(part, min_size=max_steps // 2, max_size=max_steps)
    return st.builds(History, slots(), UNITS, (few | many).map(partial(_steps, max_steps)))


def _steps(most: int, parts: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    return tuple(chain.from_iterable(parts))[:most]
