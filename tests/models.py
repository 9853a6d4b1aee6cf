"""Naive models to compare results with, and helpers that examine a policy or a trace."""

import copy
import heapq
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

from flushq.policy import FlushPolicy
from flushq.simulation import Trace


def exact(numerator: int, denominator: int) -> Any:
    """Return a Fraction, typed as Any because type checkers do not accept it as a float."""
    return Fraction(numerator, denominator)


def state_of(policy: FlushPolicy) -> Any:
    """Return a copy of all attributes of a policy, its facts included; equal states are equal."""
    return copy.deepcopy(object.__getstate__(policy))


def twin(policy: FlushPolicy) -> FlushPolicy:
    """Return a deep copy of a running policy, with the same facts."""
    clone = copy.deepcopy(policy)
    object.__setattr__(clone, "queue", copy.deepcopy(policy.queue))
    return clone


def cap(limit: float | None) -> float:
    """Return a cap as a number: inf if there is no cap."""
    return math.inf if limit is None else limit


def cut_size(
    weights: Sequence[float], up_to: int | None, max_records: int | None, max_weight: float | None
) -> int:
    """Return the length of the longest batch within all limits, by trying all lengths."""
    most = min(cap(up_to), cap(max_records))
    return max(
        size
        for size in range(len(weights) + 1)
        if size <= most and sum(weights[:size]) <= cap(max_weight)
    )


def cheapest(times: Sequence[Any], flush: Any, delay: Any, max_records: int | None) -> Any:
    """Return the least cost of flushes and delays over all FIFO partitions, by a recurrence."""
    least: list[Any] = [0]
    for end in range(1, len(times) + 1):
        least.append(
            min(
                least[start]
                + flush
                + delay * sum(times[end - 1] - time for time in times[start:end])
                for start in range(end)
                if end - start <= cap(max_records)
            )
        )
    return least[-1]


def least_flushes(
    times: Sequence[float],
    weights: Sequence[float],
    max_wait: float,
    max_records: int | None,
    max_weight: float | None,
) -> int:
    """Return the least number of FIFO batches within an age and caps, by dynamic programming."""

    def fits(first: int, end: int) -> bool:
        return (
            times[end - 1] - times[first] <= max_wait
            and end - first <= cap(max_records)
            and sum(weights[first:end]) <= cap(max_weight)
        )

    least = [0]
    for end in range(1, len(times) + 1):
        least.append(min(least[first] + 1 for first in range(end) if fits(first, end)))
    return least[-1]


def least_latency(times: Sequence[Any], seconds: Any, slots: int, max_records: int | None) -> Any:
    """Return the least possible maximum latency, completion minus arrival, over FIFO partitions."""
    n = len(times)
    latencies = []
    for ends in product([False, True], repeat=n - 1):
        bounds = [0, *(i for i, end in enumerate(ends, 1) if end), n]
        batches = [times[first:end] for first, end in pairwise(bounds)]
        if max(map(len, batches)) <= cap(max_records):
            latencies.append(_max_latency(batches, seconds, slots))
    return min(latencies)


def _max_latency(batches: Sequence[Sequence[Any]], seconds: Any, slots: int) -> Any:
    """Return the maximum latency of the batches; each starts at its last arrival or a free slot."""
    free = [-math.inf] * slots
    latency: Any = 0
    for batch in batches:
        ended = max(batch[-1], free[0]) + seconds
        heapq.heapreplace(free, ended)
        latency = max(latency, ended - batch[0])
    return latency


def running_at(trace: Trace, time: float) -> int:
    """Return how many flushes of a trace run just after ``time``."""
    return sum(flush.started <= time < flush.ended for flush in trace.flushes)


def always_busy(trace: Trace, since: float, until: float, slots: int) -> bool:
    """Return whether every slot was taken from ``since`` to just before ``until``."""
    ends = (flush.ended for flush in trace.flushes if since < flush.ended < until)
    return since >= until or all(running_at(trace, time) == slots for time in (since, *ends))
