"""Histories for the checks of policies, and the Hypothesis strategies that draw histories.

A history is a list of steps. Each step except Due has ``after``, the time since the previous step,
in units. A step that cannot happen is skipped. No flush can start while no item waits, or while no
slot is free. No flush can end while none runs. So every list of steps is a valid history, even if
steps were removed from the list.

The times that the strategies draw are small multiples of a unit. If the unit is an int, a Fraction
or a power of two (such as the default), sums of these times are exact, and two different sums often
have the same value.
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
    """The arrival of items, all at one time.

    Args:
        after: The time since the previous step, in units.
        weights: The weight of each item, in quarters of the ``max_weight`` of the policy. Without a
            finite ``max_weight``, these are the weights themselves.
    """

    after: int
    weights: tuple[int, ...]


@attrs.frozen
class Start:
    """The start of a flush, even if the policy did not answer Flush: a caller may ask for a flush.

    Args:
        after: The time since the previous step, in units.
        up_to: A limit on the number of items in the batch, in addition to the limits of the
            policy's answer and of the caps. None: no additional limit.
    """

    after: int
    up_to: int | None


@attrs.frozen
class Finish:
    """The end of a flush or, in the history of a throttle, of a call.

    Args:
        after: The time since the previous step, in units.
        which: The index of the flush or call that ends, modulo the number of those that run. The
            flush or call that started first has index 0.
        failed: Whether flush_fn raised.
    """

    after: int
    which: int
    failed: bool


@attrs.frozen
class Pass:
    """A pause without events. At the end of the pause, a policy gets a tick.

    Args:
        after: The time since the previous step, in units.
    """

    after: int


@attrs.frozen
class Due:
    """A pause until the time that the last answer named.

    A policy names this time with ``Wait(until)``, and gets a tick at this time. A throttle names
    this time with ``ready_at``.
    """


Step = Arrive | Start | Finish | Pass | Due


@attrs.frozen
class History:
    """The history of a queue.

    Args:
        slots: The number of flushes that may run at a time.
        unit: The unit of time, in seconds.
        steps: The steps, in order. After the last of these steps comes a :class:`Due`.
    """

    slots: int
    unit: float
    steps: tuple[Step, ...]


def quarter_of(max_weight: float | None) -> float:
    """Return a quarter of ``max_weight``, or 1 if there is no finite ``max_weight``.

    The quarter is rounded down to a few binary digits, so that sums of weights are exact.
    """
    if max_weight is None or max_weight == math.inf:
        return 1
    digits, exponent = math.frexp(max_weight / 4)
    return math.ldexp(math.floor(digits * _DIGITS) / _DIGITS, exponent)


def arrivals(unit: float = 0.125, *, max_size: int = 20) -> st.SearchStrategy[list[float]]:
    """Draw times, in seconds, at which items arrive. The times never decrease, but may be equal."""
    return st.lists(GAPS, max_size=max_size).map(
        lambda gaps: [steps * unit for steps in accumulate(gaps)]
    )


def bursts(
    unit: float = 0.125, *, max_size: int = 10
) -> st.SearchStrategy[list[tuple[float, int]]]:
    """Draw increasing times, in seconds, each with the number of items that arrive then."""
    gaps = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 5)), max_size=max_size)
    return gaps.map(
        lambda gaps: [
            (steps * unit, count)
            for steps, (_, count) in zip(accumulate(gap for gap, _ in gaps), gaps, strict=True)
        ]
    )


def flush_durations(unit: float = 0.125) -> st.SearchStrategy[float]:
    """Draw the duration of a flush, in seconds; it may be 0."""
    return st.integers(0, 8).map(lambda steps: steps * unit)


def slots() -> st.SearchStrategy[int]:
    """Draw how many flushes may run at a time: from 1 to 3."""
    return st.integers(1, 3)


def histories(*, max_steps: int = 15) -> st.SearchStrategy[History]:
    """Draw histories for ``check_history``, made of single steps and of whole flushes.

    A flush usually takes three steps: an arrival, a start and an end. So a history of n steps
    usually has at most n / 3 flushes.
    """
    weights = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
    arrive = st.builds(Arrive, GAPS, weights)
    start = st.builds(Start, GAPS, st.none() | st.integers(1, 5))
    finish = st.builds(Finish, GAPS, st.integers(0, 2), st.booleans())
    crowd = st.builds(Arrive, GAPS, _CROWDS.map(lambda count: (1,) * count))
    step = st.one_of(arrive, st.just(Due()), crowd, start, finish, st.builds(Pass, GAPS))
    begun = st.tuples(arrive, start)
    before = st.just(()) | begun | begun | begun  # mostly ``begun``; it can shrink to ()
    ended = st.tuples(before, finish).map(lambda both: (*both[0], both[1]))
    part = st.tuples(step) | begun | ended
    few = st.lists(part, max_size=max_steps)
    many = st.lists(part, min_size=max_steps // 2, max_size=max_steps)
    return st.builds(History, slots(), UNITS, (few | many).map(partial(_steps, max_steps)))


def _steps(most: int, parts: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    return tuple(chain.from_iterable(parts))[:most]
