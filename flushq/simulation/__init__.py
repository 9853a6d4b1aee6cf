"""Policies in virtual time, on the core that decides in production: see :func:`simulate`."""

import math
import sys
from collections.abc import Iterable

from flushq.arguments import check_finite
from flushq.core.core import Core
from flushq.core.displacing import WhenFull
from flushq.policy import FlushPolicy
from flushq.simulation.driver import BROKEN_PROMISES, Simulation
from flushq.simulation.sink import MOST_ATTEMPTS, FlushFails, FlushSeconds, Sink
from flushq.simulation.trace import Event, SimulatedFlush, Trace

__all__ = [
    "BROKEN_PROMISES",
    "MOST_ATTEMPTS",
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
    max_queue_size: int | None = None,
    max_queue_weight: float | None = None,
    when_full: WhenFull = "wait",
    drain: bool = False,
    flush_fails: FlushFails | None = None,
) -> Trace:
    """Run a copy of the policy over the arrivals, in virtual time, to the end.

    Args:
        policy: The policy; it is not changed.
        arrivals: The times at which items arrive, in seconds, not decreasing.
        flush_seconds: How long a call of flush_fn takes: a number, or a function of the number of
            its items.
        max_in_flight: How many flushes may run at a time.
        weights: The weight of each item; needed for a policy with ``max_weight``.
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

    Returns:
        The trace. Without ``drain`` nothing is flushed at the end just because it is the end. A
        ``Fail()`` ends the queue and is not raised: the trace tells what was lost.

    Raises:
        ItemTooLarge: An item weighs more than the policy's ``max_weight``, or ``max_queue_weight``.
        PolicyError: The policy raised, or gave an answer that is not a decision, or answered more
            than 10,000 ticks in a row with Wait: it may never flush.
        TypeError, ValueError: An argument, or what a function has returned, is not what it must be;
            or ``flush_fails`` answered 10,000 calls with the same items with Retry: they may never
            end.
    """
    times = _times(arrivals)
    masses = None if weights is None else list(weights)
    if masses is not None:
        if len(masses) != len(times):
            raise ValueError(f"there are {len(times)} arrivals but {len(masses)} weights")
    elif getattr(policy, "max_weight", None) is not None:
        raise TypeError(f"the max_weight of {policy!r} needs weights, one for each arrival")
    if not isinstance(drain, bool):
        raise TypeError(f"drain must be a bool, not {drain!r}")
    core: Core[int] = Core(
        policy,
        weigh=None if masses is None else lambda item: masses[item],
        max_queue_size=max(1, len(times)) if max_queue_size is None else max_queue_size,
        max_queue_weight=max_queue_weight,
        when_full=when_full,
        max_in_flight=max_in_flight,
        burst=math.inf,
    )
    is_bounded = max_queue_size is not None or max_queue_weight is not None
    sink = Sink(flush_seconds, flush_fails)
    return Simulation(core, times, sink, is_bounded=is_bounded).run(drain=drain)


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
