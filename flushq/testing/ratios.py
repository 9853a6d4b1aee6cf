"""How many times the optimum a policy spends: the promises that can be checked against offline.py.

A ratio is measured by simulation, of items without weight: the policy has no ``max_weight``. The
optimum has the policy's ``max_records``.
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
    """A bound on what a policy spends, as a multiple of what an optimal schedule would."""

    @property
    def bound(self) -> float:
        """The most that the ratio may be."""
        ...  # pragma: no cover - a protocol has no code

    @property
    def scale(self) -> float:
        """A time, in seconds, at which arrivals are apart when it is hard to decide."""
        ...  # pragma: no cover - a protocol has no code

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """The ratio for these arrivals, at least one of them. inf if an item is left."""
        ...  # pragma: no cover - a protocol has no code


@attrs.frozen
class CostRatio:
    """Flushes and waiting together, each at its price, if a flush can start whenever it is due.

    Args:
        bound: The most that the ratio may be.
        item_seconds: What a flush costs, in seconds that an item waits.

    Raises:
        TypeError, ValueError: The bound is not a number of at least 0, or the price is not finite
            and above 0.
    """

    bound: float
    item_seconds: float

    def __attrs_post_init__(self) -> None:
        _check(self.bound, "item_seconds", self.item_seconds)

    @property
    def scale(self) -> float:
        """What an item may wait for the price of a flush."""
        return self.item_seconds

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """The cost of the policy as a multiple of the least cost."""
        trace = simulate(policy, arrivals, 0)
        delays = sum(flush.size * flush.started for flush in trace.flushes) - sum(arrivals)
        cost = self.item_seconds * len(trace.flushes) + delays
        least = least_cost(arrivals, flush_cost=self.item_seconds, max_records=policy.max_records)
        return math.inf if trace.stranded else cost / least


@attrs.frozen
class FlushesRatio:
    """The number of flushes for an age, if a flush can start whenever it is due.

    Args:
        bound: The most that the ratio may be.
        max_wait_seconds: The age, in seconds; a policy that lets an item wait longer has no ratio.

    Raises:
        TypeError, ValueError: The bound is not a number of at least 0, or the age is not finite
            and above 0.
    """

    bound: float
    max_wait_seconds: float

    def __attrs_post_init__(self) -> None:
        _check(self.bound, "max_wait_seconds", self.max_wait_seconds)

    @property
    def scale(self) -> float:
        """The age."""
        return self.max_wait_seconds

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """The flushes of the policy as a multiple of the fewest."""
        trace = simulate(policy, arrivals, 0)
        late = any(flush.started > flush.oldest + self.max_wait_seconds for flush in trace.flushes)
        fewest = fewest_flushes(
            arrivals, max_wait_seconds=self.max_wait_seconds, max_records=policy.max_records
        )
        return math.inf if late or trace.stranded else len(trace.flushes) / fewest


@attrs.frozen
class LatencyRatio:
    """The longest time from an item's arrival to the end of its flush, if all take equally long.

    Args:
        bound: The most that the ratio may be.
        flush_seconds: How long every flush takes.
        max_in_flight: How many may run at a time.

    Raises:
        TypeError, ValueError: The bound or the number is not what it must be, or the duration is
            not finite and above 0.
    """

    bound: float
    flush_seconds: float
    max_in_flight: int = 1

    def __attrs_post_init__(self) -> None:
        _check(self.bound, "flush_seconds", self.flush_seconds)
        check_count("max_in_flight", self.max_in_flight)

    @property
    def scale(self) -> float:
        """How long a flush takes."""
        return self.flush_seconds

    def measure(self, policy: FlushPolicy, arrivals: Sequence[float]) -> float:
        """The longest latency of the policy as a multiple of the least that is possible."""
        slots = self.max_in_flight
        trace = simulate(policy, arrivals, self.flush_seconds, max_in_flight=slots)
        latency = max((flush.ended - flush.oldest for flush in trace.flushes), default=0)
        least = least_latency(
            arrivals, self.flush_seconds, max_in_flight=slots, max_records=policy.max_records
        )
        return math.inf if trace.stranded else latency / least


def _check(bound: float, name: str, seconds: float) -> None:
    """Refuse a bound that is not a number of at least 0, and a time not finite and above 0."""
    check_number("bound", bound, least=0)
    check_duration(name, seconds)
