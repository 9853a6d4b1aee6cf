"""Policies in virtual time, on the core that decides in production: see :func:`simulate`."""

import math
import sys
from collections.abc import Hashable, Iterable
from typing import TypeVar

from flushq.arguments import check_finite
from flushq.core.core import Core
from flushq.core.displacing import WhenFull
from flushq.policy import FlushPolicy
from flushq.simulation.driver import BROKEN_PROMISES, Simulation
from flushq.simulation.partitioned import PartitionedSimulation
from flushq.simulation.sink import MOST_ATTEMPTS, FlushFails, FlushSeconds, Sink
from flushq.simulation.trace import Displacement, Event, SimulatedFlush, Trace
from flushq.throttles import Throttle

T = TypeVar("T")

__all__ = [
    "BROKEN_PROMISES",
    "MOST_ATTEMPTS",
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
    """Run a copy of the policy over the arrivals, in virtual time, to the end.

    Args:
        policy: The policy; it is not changed.
        arrivals: The times at which items arrive, in seconds, not decreasing.
        flush_seconds: How long a call of flush_fn takes: a number, or a function of the number of
            its items.
        max_in_flight: How many flushes may run at a time.
        weights: The weight of each item; needed for a policy with ``max_weight``.
        partitions: The key of the partition of each item. None: there are no partitions. The calls
            of all partitions take the same time and fail in the same way.
        max_in_flight_per_partition: How many flushes of one partition may run at a time. None: no
            limit of its own.
        max_queue_size: How many items may wait. The producer of one that finds no room stands in
            line, and its age counts from the time at which it comes in. None: there is no limit.
        max_queue_weight: What the items that wait may weigh together; it needs weights. None: there
            is no limit.
        when_full: What happens to an item that finds no room, as of a FlushQueue: "wait",
            "drop_oldest" or "drop_newest".
        drain: Whether the queue is closed once all has happened that happens at the time of the
            last arrival.
        flush_fails: A function of the attempt (how many times these items have been handed over
            together) and of the number of items, that is asked at the end of each call of
            flush_fn. It answers with None if the call succeeds; else the call fails, and the answer
            is the verdict of the failure handler. None: all calls succeed.
        throttle: When a call of flush_fn may start; a deep copy is run. None: at any time.

    Returns:
        The trace. Without ``drain`` nothing is flushed at the end just because it is the end. A
        ``Fail()`` ends the queue and is not raised: the trace tells what was lost.

    Raises:
        ItemTooLarge: An item weighs more than the policy's ``max_weight``, or ``max_queue_weight``.
        PolicyError: The policy raised, or gave an answer that is not a decision, or answered more
            than 10,000 ticks in a row with Wait (for each partition): it may never flush. Or the
            throttle raised, or gave an answer that is not a time, or let no call start more than
            10,000 times in a row when it had told.
        TypeError, ValueError: An argument, or what a function has returned, is not what it must be;
            or ``flush_fails`` answered 10,000 calls with the same items with Retry: they may never
            end.
    """
    times = _times(arrivals)
    masses = _one_for_each(times, weights, "weights")
    keys = _one_for_each(times, partitions, "partitions")
    if masses is None and getattr(policy, "max_weight", None) is not None:
        raise TypeError(f"the max_weight of {policy!r} needs weights, one for each arrival")
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
        raise ValueError(f"there are {len(times)} arrivals but {len(listed)} {of}")
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
