"""The best schedules in hindsight: what a policy could achieve if it knew all arrivals.

There are three optima: the least cost, the least count of flushes and the least latency. The bounds
that the policies of flushq promise are multiples of these optima. Items are flushed in order of
arrival. Without weights, no other order is better. If the arguments are ints and Fractions, a
result is exact: times are added, subtracted, multiplied and compared, but never divided.

Theory of operation. Cost and latency are computed by dynamic programs over the prefixes of the
arrivals. The best way to flush the first ``end`` items has two steps: flush the first ``start`` of
them in the best way, and then flush the others in one batch. The best ``start`` must be found.

* *Cost.* The best time to flush a batch is the arrival of its last item. The costs of the batches
  are a Monge array: if the larger of two values of ``start`` is better for one ``end``, this value
  is better for every larger ``end``, too. So a deque holds, in order, each ``start`` that is best
  for some ``end`` that is still to come. Each ``start`` in the deque has a first ``end`` for which
  it is better than the ``start`` before it. Bisection finds this ``end``. n items take n log n
  steps.
* *Count.* A batch should take as many items as the age limit and the caps allow. Times and weights
  are added in the same order as in a queue, so floats are rounded in the same way. n items take n
  steps.
* *Latency.* It is assumed that all flushes take the same time. A batch is flushed as soon as its
  last item has arrived and a slot is free, on the slot that becomes free first. There may be
  several Pareto-optimal ways to flush a prefix. These ways differ in the greatest latency so far
  and in the times at which slots become free. All of them are kept. For a few items there are few
  ways, but for many items there may be many ways.
"""

import bisect
import math
import operator
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate, pairwise

_Way = tuple[float, ...]
"""One way to flush a prefix: the greatest latency, then the times at which slots become free."""


def least_cost(
    arrivals: Iterable[float],
    *,
    flush_cost: float,
    delay_cost: float = 1,
    max_records: int | None = None,
) -> float:
    """Return the least cost of flushing all items, if a flush can start at any time.

    Args:
        arrivals: The times at which the items arrive, in seconds, not decreasing.
        flush_cost: The cost of one flush.
        delay_cost: The cost of each second that an item waits for the start of its flush.
        max_records: The most items in a batch. None: no cap.

    Returns:
        ``flush_cost`` times the number of flushes, plus ``delay_cost`` times the sum of the delays,
        in an optimal schedule. 0 if there are no items.

    Raises:
        ValueError: The arrivals decrease, an arrival or a cost is not finite, a cost is negative,
            or ``max_records`` is below 1.
    """
    times = _ordered(arrivals)
    _check_finite("flush_cost", flush_cost)
    _check_finite("delay_cost", delay_cost)
    most = _most("max_records", max_records)
    if not flush_cost:
        return 0  # flush each item as soon as it arrives
    times = [time - times[0] for time in times]  # sums of large floats would lose more digits
    nothing: float = 0
    sums = list(accumulate(times, initial=nothing))
    least: list[float] = [nothing]

    def cost(start: int, end: int) -> float:
        if end - start > most:
            return math.inf
        delays = (end - start) * times[end - 1] - (sums[end] - sums[start])
        return least[start] + flush_cost + delay_cost * delays

    starts = _Starts(len(times), cost)
    for end in range(1, len(times) + 1):
        starts.add(end - 1)
        least.append(cost(starts.best(end), end))
    return least[-1]


def fewest_flushes(
    arrivals: Iterable[float],
    *,
    max_wait_seconds: float = math.inf,
    max_records: int | None = None,
    weights: Iterable[float] | None = None,
    max_weight: float | None = None,
) -> int:
    """Return the least number of flushes for all items, within an age limit and caps.

    A flush can start at any time. Batches take items in order of arrival, although with weights
    another order may need fewer batches. The newest item in a batch must not arrive later than the
    arrival of the oldest item plus ``max_wait_seconds``. With floats this sum is rounded.

    Args:
        arrivals: The times at which the items arrive, in seconds, not decreasing.
        max_wait_seconds: The longest time that an item may wait for the start of its flush.
        max_records: The most items in a batch. None: no cap.
        weights: The weights of the items, one for each arrival. None: the items have no weight.
        max_weight: The most weight in a batch. None: no cap.

    Raises:
        ValueError: The arrivals decrease, an arrival or a weight is not finite, ``max_records`` is
            below 1, ``max_wait_seconds`` or a weight is negative, there are more or fewer weights
            than arrivals, or an item weighs more than ``max_weight``.
    """
    times = _ordered(arrivals)
    masses: list[float] = [0] * len(times) if weights is None else list(weights)
    _check("max_wait_seconds", max_wait_seconds, 0)
    most = _most("max_records", max_records)
    heaviest = math.inf if max_weight is None else max_weight
    fewest = size = 0
    weight: float = 0
    closes = -math.inf
    for time, mass in zip(times, masses, strict=True):
        _check_finite("a weight", mass)
        if not mass <= heaviest:
            raise ValueError(f"an item of weight {mass!r} is too heavy: max_weight is {heaviest!r}")
        if time > closes or size + 1 > most or weight + mass > heaviest:
            fewest, size, weight = fewest + 1, 0, 0
            closes = time + max_wait_seconds if max_wait_seconds < math.inf else math.inf
        size += 1
        weight += mass
    return fewest


def least_latency(
    arrivals: Iterable[float],
    flush_seconds: float,
    *,
    max_in_flight: int = 1,
    max_records: int | None = None,
) -> float:
    """Return the greatest latency of an item in the best schedule.

    The latency of an item is the time from its arrival to the end of its flush. The best schedule
    is the one in which the greatest latency is as small as possible. Use this function for a few
    dozen items: its running time may grow quickly with the number of items.

    Args:
        arrivals: The times at which the items arrive, in seconds, not decreasing.
        flush_seconds: The duration of every flush, in seconds.
        max_in_flight: The most flushes that may run at a time.
        max_records: The most items in a batch. None: no cap.

    Returns:
        The greatest latency, in seconds. 0 if there are no items.

    Raises:
        ValueError: The arrivals decrease, an arrival or ``flush_seconds`` is not finite,
            ``flush_seconds`` is negative, or ``max_in_flight`` or ``max_records`` is below 1.
    """
    times = _ordered(arrivals)
    _check_finite("flush_seconds", flush_seconds)
    _check("max_in_flight", max_in_flight, 1)
    most = _most("max_records", max_records)
    ways: list[list[_Way]] = [[(0, *[-math.inf] * max_in_flight)]]
    for end, newest in enumerate(times, 1):
        starts = range(int(max(0, end - most)), end)
        flushed = {
            _flushed(way, times[start], newest, flush_seconds)
            for start in starts
            for way in ways[start]
        }
        ways.append(_undominated(flushed))
    return min(ways[-1])[0]


class _Starts:
    """The values that ``start`` may have; :meth:`best` returns the best one for an ``end``."""

    def __init__(self, items: int, cost: Callable[[int, int], float]) -> None:
        self._ends = range(items + 1)
        self._cost = cost
        self._queue: deque[tuple[int, int]] = deque()

    def add(self, start: int) -> None:
        """Add a value of ``start``, which must be larger than all values that were added before.

        After this, ``best`` must only be called with an ``end`` that is larger than this value.
        """
        queue, since = self._queue, start + 1
        while queue:
            rival, rivals_end = queue[-1]
            if not self._beats(start, rival, max(since, rivals_end)):
                since = self._overtakes(start, rival, max(since, rivals_end))
                break
            queue.pop()
        if since in self._ends:
            queue.append((start, since))

    def best(self, end: int) -> int:
        """Return the best ``start`` for ``end``; ``end`` must not decrease from call to call."""
        queue = self._queue
        while len(queue) > 1 and queue[1][1] <= end:
            queue.popleft()
        return queue[0][0]

    def _beats(self, start: int, rival: int, end: int) -> bool:
        return self._cost(start, end) <= self._cost(rival, end)

    def _overtakes(self, start: int, rival: int, end: int) -> int:
        """Return the first ``end`` above the given one for which ``start`` beats ``rival``.

        If there is none, return the number of items plus 1.
        """
        beats, step = partial(self._beats, start, rival), 1
        while end + step in self._ends and not beats(end + step):
            step *= 2
        return bisect.bisect(self._ends[: end + step], 0, lo=end + step // 2, key=beats)


def _flushed(way: _Way, oldest: float, newest: float, seconds: float) -> _Way:
    """Return ``way`` with one more batch, which is flushed on the slot that becomes free first."""
    latency, first_free, *free = way
    ended = max(newest, first_free) + seconds
    return max(latency, ended - oldest), *free, ended


def _undominated(ways: Iterable[_Way]) -> list[_Way]:
    """Return the Pareto-optimal ways: those that no other way equals or beats in all numbers."""
    kept: list[_Way] = []
    for way in sorted(ways):
        if not any(all(map(operator.le, better, way)) for better in kept):
            kept.append(way)
    return kept


def _ordered(arrivals: Iterable[float]) -> list[float]:
    times = list(arrivals)
    for time in times:
        if not -math.inf < time < math.inf:
            raise ValueError(f"an arrival must be finite, not {time!r}")
    for earlier, later in pairwise(times):
        if later < earlier:
            raise ValueError(f"arrivals must not decrease: {later!r} comes after {earlier!r}")
    return times


def _most(name: str, cap: int | None) -> float:
    if cap is None:
        return math.inf
    _check(name, cap, 1)
    return cap


def _check(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")


def _check_finite(name: str, value: float) -> None:
    _check(name, value, 0)
    if value == math.inf:
        raise ValueError(f"{name} must be finite, not {value!r}")
