"""Simulations of policies in virtual time, with the core of a real queue: :func:`simulate`."""

import math
import sys
from collections.abc import Hashable, Iterable
from typing import TypeVar

from flushq.arguments import check_finite, check_instance
from flushq.core.core import Core
from flushq.core.displacing import WhenFull
from flushq.policy import FlushPolicy
from flushq.simulation.driver import MOST_BROKEN_PROMISES, Simulation
from flushq.simulation.partitioned import PartitionedSimulation
from flushq.simulation.sink import MOST_ATTEMPTS, FlushFails, FlushSeconds, Sink
from flushq.simulation.trace import Displacement, Event, SimulatedFlush, Trace
from flushq.throttles import Throttle

T = TypeVar("T")

__all__ = [
    "MOST_ATTEMPTS",
    "MOST_BROKEN_PROMISES",
    "Displacement",
    "Event",
    "FlushFails",
    "FlushSeconds",
    "SimulatedFlush",
    "Trace",
    "simulate",
]


def simulate(
    policy: FlushPolicy,
    arrivals: Iterable[float],
    flush_seconds: FlushSeconds,
    *,
    max_in_flight: int = 1,
    weights: Iterable[float] | None = None,
    partitions: Iterable[Hashable] | None = None,
    max_in_flight_per_partition: int | None = 1,
    max_queue_size: int | None = None,
    max_queue_weight: float | None = None,
    when_full: WhenFull = "wait",
    drain: bool = False,
    flush_fails: FlushFails | None = None,
    throttle: Throttle | None = None,
) -> Trace:
    """Run a copy of the policy with these arrivals, in virtual time, until nothing more happens.

    Args:
        policy: The policy; it is not changed.
        arrivals: The times at which items arrive, in seconds, not decreasing.
        flush_seconds: How many seconds a call of flush_fn takes: a number, or a function that gets
            the number of items and returns the seconds.
        max_in_flight: The most flushes that may run at a time.
        weights: The weight of each item. Needed for a policy with ``max_weight`` and for
            ``max_queue_weight``.
        partitions: The partition key of each item. None: there are no partitions.
            ``flush_seconds`` and ``flush_fails`` are the same for all partitions.
        max_in_flight_per_partition: The most flushes of one partition that may run at a time. None:
            only ``max_in_flight`` counts.
        max_queue_size: The most items that may wait. None: no limit. If a producer must wait for
            room, the age of its item counts from the acceptance of the item.
        max_queue_weight: The most weight that the waiting items may have together. None: no limit.
        when_full: What a full queue does with a new item: "wait", "drop_oldest" or "drop_newest",
            as in a FlushQueue.
        drain: Whether to close the queue at the time of the last arrival, after all other events of
            that time.
        flush_fails: A function that decides at the end of each call of flush_fn whether this call
            fails. Its arguments are the number of the attempt (1 for the first call with these
            items) and the number of items. It returns None if the call succeeds, else the verdict
            of the failure handler. Without this function all calls succeed.
        throttle: The throttle, which decides when a call of flush_fn may start. The simulation uses
            a deep copy of it. None: a call may start at any time.

    Returns:
        The trace. Without ``drain``, items may be left that the policy never flushes.
        The verdict ``Fail()`` ends the queue without an exception: the trace counts the lost items.

    Raises:
        ItemTooLarge: An item weighs more than ``max_weight`` of the policy or ``max_queue_weight``.
        PolicyError: The policy or the throttle failed. The policy fails if it raises, if it returns
            an invalid decision, or if it returns Wait for more than 10,000 ticks in a row and so
            may never flush (with partitions: 10,000 times the number of partitions). The throttle
            fails if it raises, if it returns an invalid time, or if more than 10,000 times in a row
            no call can start at the time that it returned.
        TypeError, ValueError: An argument, or the value that a function returned, is invalid. Or
            ``flush_fails`` returned Retry for 10,000 calls with the same items, so the retries may
            never end.
    """
    times = _times(arrivals)
    masses = _one_for_each(times, weights, "weights")
    keys = _one_for_each(times, partitions, "partitions")
    check_instance("policy", policy, FlushPolicy)
    if masses is None and policy.max_weight is not None:
        raise TypeError(f"a policy with max_weight needs weights, one for each arrival: {policy!r}")
    if not isinstance(drain, bool):
        raise TypeError(f"drain must be a bool, not {drain!r}")
    core: Core[int] = Core(
        policy,
        weigh=None if masses is None else masses.__getitem__,
        partition_key=None if keys is None else keys.__getitem__,
        max_queue_size=max(1, len(times)) if max_queue_size is None else max_queue_size,
        max_queue_weight=max_queue_weight,
        when_full=when_full,
        max_in_flight=max_in_flight,
        max_in_flight_per_partition=max_in_flight_per_partition,
        throttle=throttle,
        burst=math.inf,
    )
    is_bounded = max_queue_size is not None or max_queue_weight is not None
    sink = Sink(flush_seconds, flush_fails)
    driver = Simulation if keys is None else PartitionedSimulation
    return driver(core, times, sink, is_bounded=is_bounded).run(drain=drain)


def _one_for_each(times: list[float], facts: Iterable[T] | None, of: str) -> list[T] | None:
    if facts is None:
        return None
    listed = list(facts)
    if len(listed) != len(times):
        raise ValueError(f"there must be {len(times)} {of}, one per arrival, but are {len(listed)}")
    return listed


def _times(arrivals: Iterable[float]) -> list[float]:
    times = list(arrivals)
    earlier: float = -sys.float_info.max
    for later in times:
        if type(later) is not float or not earlier <= later < math.inf:
            check_finite("an arrival", later, least=-math.inf)
            if later < earlier:
                raise ValueError(f"arrivals must not decrease: {later!r} comes after {earlier!r}")
        earlier = later
    return times
