"""Ratios: what a policy spends, as a multiple of the optimum that flushq.offline computes.

A ratio is measured in simulations of items without weights, so the policy must not have a
``max_weight``. The optimum has the same ``max_records`` as the policy.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import attrs

from flushq.arguments import check_count, check_duration, check_number
from flushq.offline import fewest_flushes, least_cost, least_latency
from flushq.policy import FlushPolicy
from flushq.simulation import simulate


class Ratio(Protocol):
    """A bound on what a policy spends, as a multiple of what an optimal schedule spends."""

    @property
    def bound(self) -> float:
        """The greatest ratio that is allowed."""
        ...  # pragma: no cover - a protocol has no code

    @property
    def scale(self) -> float:
        """A time in seconds: for arrivals this far apart, no policy can easily decide well."""
        ...  # pragma: no cover - a protocol has no code

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """Return the ratio for one or more arrivals; inf if items are never flushed."""
        ...  # pragma: no cover - a protocol has no code


@attrs.frozen
class CostRatio:
    """The cost of the policy's flushes and of the waiting, divided by the least possible cost.

    A flush takes no time here, so a slot is always free.

    Args:
        bound: The greatest ratio that is allowed.
        item_seconds: The cost of a flush, if an item that waits one second costs 1.

    Raises:
        TypeError, ValueError: ``bound`` is not a number of at least 0, or ``item_seconds`` is not a
            finite number above 0.
    """

    bound: float
    item_seconds: float

    def __attrs_post_init__(self) -> None:
        _check(self.bound, "item_seconds", self.item_seconds)

    @property
    def scale(self) -> float:
        """The time, in seconds, after which one waiting item has cost as much as one flush."""
        return self.item_seconds

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """Return the cost divided by the least possible cost; inf if items are never flushed."""
        trace = simulate(policy, arrivals, 0)
        delays = sum(flush.size * flush.started for flush in trace.flushes) - sum(arrivals)
        cost = self.item_seconds * len(trace.flushes) + delays
        least = least_cost(arrivals, flush_cost=self.item_seconds, max_records=policy.max_records)
        return math.inf if trace.stranded else cost / least


@attrs.frozen
class FlushesRatio:
    """The number of flushes of the policy, divided by the smallest possible number.

    The smallest possible number is that of a schedule in which no item waits longer than
    ``max_wait_seconds``. A flush takes no time here, so a slot is always free.

    Args:
        bound: The greatest ratio that is allowed.
        max_wait_seconds: The longest time that an item may wait, in seconds. If an item waits
            longer, the ratio is inf.

    Raises:
        TypeError, ValueError: ``bound`` is not a number of at least 0, or ``max_wait_seconds`` is
            not a finite number above 0.
    """

    bound: float
    max_wait_seconds: float

    def __attrs_post_init__(self) -> None:
        _check(self.bound, "max_wait_seconds", self.max_wait_seconds)

    @property
    def scale(self) -> float:
        """The longest time that an item may wait, in seconds."""
        return self.max_wait_seconds

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """Return the policy's number of flushes divided by the least possible number.

        The result is inf if an item waits too long or is never flushed.
        """
        trace = simulate(policy, arrivals, 0)
        late = any(flush.started > flush.oldest + self.max_wait_seconds for flush in trace.flushes)
        fewest = fewest_flushes(
            arrivals, max_wait_seconds=self.max_wait_seconds, max_records=policy.max_records
        )
        return math.inf if late or trace.stranded else len(trace.flushes) / fewest


@attrs.frozen
class LatencyRatio:
    """The longest latency of the policy, divided by that of the best schedule.

    The latency of an item is the time from its arrival to the end of its flush. The check assumes
    that all flushes take equally long.

    Args:
        bound: The greatest ratio that is allowed.
        flush_seconds: How long every flush takes, in seconds.
        max_in_flight: The number of flushes that may run at a time.

    Raises:
        TypeError, ValueError: An argument is not valid: ``bound`` must be a number of at least 0,
            ``flush_seconds`` a finite number above 0, and ``max_in_flight`` an int of at least 1.
    """

    bound: float
    flush_seconds: float
    max_in_flight: int = 1

    def __attrs_post_init__(self) -> None:
        _check(self.bound, "flush_seconds", self.flush_seconds)
        check_count("max_in_flight", self.max_in_flight)

    @property
    def scale(self) -> float:
        """The duration of a flush, in seconds."""
        return self.flush_seconds

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """Return the policy's longest latency divided by that of the best schedule.

        The result is inf if items are never flushed.
        """
        slots = self.max_in_flight
        trace = simulate(policy, arrivals, self.flush_seconds, max_in_flight=slots)
        latency = max((flush.ended - flush.oldest for flush in trace.flushes), default=0)
        least = least_latency(
            arrivals, self.flush_seconds, max_in_flight=slots, max_records=policy.max_records
        )
        return math.inf if trace.stranded else latency / least


def _check(bound: float, name: str, seconds: float) -> None:
    """Raise an error unless ``bound`` is at least 0 and ``seconds`` is finite and above 0."""
    check_number("bound", bound, least=0)
    check_duration(name, seconds)
