"""What an optimal schedule would have cost: the least that any policy could, knowing the future.

Three optima, for the three things that the policies that ship promise to keep small. Items are
flushed in order of arrival, which loses nothing unless they have weights. Times are only added,
multiplied by counts and compared: with ints and Fractions a result is exact.

Theory of operation. Cost and latency are dynamic programs over the prefixes of the arrivals: the
best way to flush the first ``end`` items is the best way to flush the first ``start`` of them, for
some ``start``, and then the rest in one batch.

* *Cost.* A batch may as well start at its last arrival. The cost of a batch is a Monge array: if
  a later start of the batch is better for one end, it is better for all ends that follow. So the
  starts that are best for some end to come stand in a queue, in order, each from the end at which
  it overtakes the one before it; that end is found by bisection. n items take n log n steps.
* *Count.* The more a batch takes the better: from its oldest item on, all that age and caps allow.
  Ages and weights are summed as a queue does it, so floats tie where they do there. n steps.
* *Latency.* All flushes take equally long and start as early as they can, on the slot that is
  free first. A prefix can be flushed in several ways of which none is better than another in
  everything: the latency so far and the times at which slots become free. All of these are kept.
  They are few for a few items; for many they may be many.
"""

import bisect
import math
import operator
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate, pairwise

_Way = tuple[float, ...]
"""The latency so far, and when the slots become free, in order."""


def least_cost(
    arrivals: Iterable[float],
    *,
    flush_cost: float,
    delay_cost: float = 1,
    max_records: int | None = None,
) -> float:
    """The least cost of flushing all items, if a flush can start at any time.

    Args:
        arrivals: When the items arrive, in seconds, not decreasing.
        flush_cost: What a flush costs.
        delay_cost: What each second costs that an item waits for the start of its flush.
        max_records: The most items in a batch. None: no cap.

    Returns:
        ``flush_cost`` times the number of flushes plus ``delay_cost`` times the sum of the delays,
        in an optimal schedule. 0 without items.

    Raises:
        ValueError: The arrivals decrease, a number is not finite, a cost is negative, or the cap
            is below 1.
    """
    times = _ordered(arrivals)
    _check_finite("flush_cost", flush_cost)
    _check_finite("delay_cost", delay_cost)
    most = _most("max_records", max_records)
    if not flush_cost:
        return 0  # each item at once
    times = [time - times[0] for time in times]  # far from 0 the sums of floats would lose more
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
    """The least number of flushes for an age and caps, if a flush can start at any time.

    Of all schedules in order of arrival: packing weights in another order may need fewer. A batch
    closes at the sum of its oldest arrival and the age, also where floats round it.

    Args:
        arrivals: When the items arrive, in seconds, not decreasing.
        max_wait_seconds: The longest that an item may wait for the start of its flush.
        max_records: The most items in a batch. None: no cap.
        weights: What the items weigh; as many as arrivals. None: nothing.
        max_weight: The most weight in a batch. None: no cap.

    Raises:
        ValueError: The arrivals decrease, an arrival or a weight is not finite, a cap is below 1,
            an age or a weight is negative, there are more or fewer weights than arrivals, or an
            item is too heavy.
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
    """The least possible maximum of the times from an item's arrival to the end of its flush.

    For a few dozen items: how long it takes may grow quickly with their number.

    Args:
        arrivals: When the items arrive, in seconds, not decreasing.
        flush_seconds: How long every flush takes.
        max_in_flight: How many flushes may run at a time.
        max_records: The most items in a batch. None: no cap.

    Returns:
        Seconds. 0 without items.

    Raises:
        ValueError: The arrivals decrease, a time is not finite, the duration is negative, or a
            number is below 1.
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
    """Where the last batch of each prefix best starts, of the starts known so far."""

    def __init__(self, items: int, cost: Callable[[int, int], float]) -> None:
        self._ends = range(items + 1)
        self._cost = cost
        self._queue: deque[tuple[int, int]] = deque()

    def add(self, start: int) -> None:
        """Learn of a further start: it is later than all others, and before all ends to come."""
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
        """The best start for this end; ends are asked for in order."""
        queue = self._queue
        while len(queue) > 1 and queue[1][1] <= end:
            queue.popleft()
        return queue[0][0]

    def _beats(self, start: int, rival: int, end: int) -> bool:
        return self._cost(start, end) <= self._cost(rival, end)

    def _overtakes(self, start: int, rival: int, end: int) -> int:
        """The first end after this one for which ``start`` beats an earlier rival."""
        beats, step = partial(self._beats, start, rival), 1
        while end + step in self._ends and not beats(end + step):
            step *= 2
        return bisect.bisect(self._ends[: end + step], 0, lo=end + step // 2, key=beats)


def _flushed(way: _Way, oldest: float, newest: float, seconds: float) -> _Way:
    """A way to flush some items, after one more batch. Batches end in the order of their starts."""
    latency, first_free, *free = way
    ended = max(newest, first_free) + seconds
    return max(latency, ended - oldest), *free, ended


def _undominated(ways: Iterable[_Way]) -> list[_Way]:
    """Those ways than which no other is at least as good in everything."""
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
