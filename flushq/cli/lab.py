"""The lab: it simulates a policy with some traffic and a sink, and computes figures."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice, repeat
from random import Random
from typing import Literal, get_args

import attrs

from flushq import Drop, FlushPolicy, Retry, Verdict
from flushq.offline import least_cost
from flushq.simulation import FlushFails, Trace, simulate
from flushq.throttles import Throttle

Progress = Callable[[int], None]
"""A function that gets the number of items of a call; negative if they will be retried."""

LeastCost = Callable[[int | None], float]
"""A function that takes a cap on batches and returns the least cost of any schedule."""

WhenFull = Literal["wait", "drop_oldest", "drop_newest"]
"""What happens when an item finds no room: the same words as for a FlushQueue."""

WHEN_FULL: Sequence[WhenFull] = get_args(WhenFull)


@attrs.frozen
class Sink:
    """The time that a call of the sink takes.

    Attributes:
        fixed: The seconds for each call, whatever its size.
        each: The further seconds for each item of the call.
    """

    fixed: float
    each: float

    def __call__(self, size: int) -> float:
        """Return how long a call with this number of items takes, in seconds."""
        return self.fixed + self.each * size


@attrs.frozen
class Failures:
    """The failures of a sink, and the retries after them.

    Attributes:
        rate: The probability that a call fails.
        seed: The seed of the random numbers that decide which calls fail.
        pause: The seconds between a failed call and its retry.
        attempts: The number of failed calls after which a batch is dropped.
    """

    rate: float
    seed: int
    pause: float
    attempts: int

    def draw(self) -> FlushFails:
        """Return a function that draws the verdicts of one run: the same ones for each run."""
        random = Random(f"the failures of {self.seed}")  # not the random numbers of the traffic

        def fails(attempt: int, size: int) -> Verdict | None:
            if random.random() >= self.rate:
                return None
            return Retry(self.pause) if attempt < self.attempts else Drop()

        return fails


@attrs.frozen
class Setting:
    """The conditions that are the same for all policies.

    Attributes:
        arrivals: The times at which the items arrive, in seconds; at least one.
        sink: The time that a call of the sink takes.
        slots: The number of flushes that may run at a time.
        flush_cost: The cost of each call of the sink.
        delay_cost: The cost of each second that an item waits for the start of its flush.
        max_queue_size: The number of items that may wait. None: any number.
        max_queue_weight: The weight that all waiting items may have together. None: any weight.
        when_full: What happens when an item finds no room.
        drain: Whether the queue is closed after the last arrival.
        failures: The failures of the sink. None: no call fails.
        began: The date of second 0. None: the traffic has no dates.
        partitions: The partition key of each item. None: there are no partitions.
        weights: The weight of each item. None: the items have no weights.
        throttle: The throttle that decides when a call of the sink may start. None: at any time.
    """

    arrivals: Sequence[float]
    sink: Sink
    slots: int
    flush_cost: float
    delay_cost: float
    max_queue_size: int | None = None
    max_queue_weight: float | None = None
    when_full: WhenFull = "wait"
    drain: bool = False
    failures: Failures | None = None
    began: datetime | None = None
    partitions: Sequence[Hashable] | None = None
    weights: Sequence[float] | None = None
    throttle: Throttle | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether the queue has a limit, so that it can be full."""
        return self.max_queue_size is not None or self.max_queue_weight is not None

    def by_partition(self, displaced: Container[int] = ()) -> Mapping[Hashable, Sequence[float]]:
        """Return the arrival times of the items that are not displaced, by partition key.

        Without partitions the only key is None.
        """
        times = defaultdict[Hashable, list[float]](list)
        keyed = zip(self.partitions or repeat(None), self.arrivals, strict=False)
        for item, (key, time) in enumerate(keyed):
            if item not in displaced:
                times[key].append(time)
        return times

    def least_cost(self, max_records: int | None) -> float:
        """Return the least cost of any schedule with this cap, if a slot is always free."""
        costs = (
            least_cost(
                times,
                flush_cost=self.flush_cost,
                delay_cost=self.delay_cost,
                max_records=max_records,
            )
            for times in self.by_partition().values()
        )
        return sum(costs)


def quantile(latencies: Sequence[float], share: float) -> float:
    """Return the quantile of sorted latencies for this share; NaN if there are no latencies."""
    if not latencies:
        return math.nan
    return latencies[max(0, math.ceil(share * len(latencies)) - 1)]


@attrs.frozen
class Slowest:
    """The partition with the greatest p99 latency (the 0.99 quantile).

    Attributes:
        key: The key of the partition. None: no item was delivered.
        latencies: The latencies of its items, the shortest first.
        others: The latencies of the items of all other partitions, the shortest first.
    """

    key: Hashable
    latencies: Sequence[float]
    others: Sequence[float]


@attrs.frozen
class Run:
    """The results of one policy.

    Attributes:
        policy: The text that describes the policy.
        setting: The conditions of the run.
        trace: The trace without its events, which would take too much memory.
        latencies: The time of each delivered item from its arrival to the end of its flush, in
            seconds, the shortest first.
        slowest: The slowest partition. None: there are no partitions.
        delays: The sum of the times that the flushed items waited for the start of their flush,
            in seconds.
        least: The least cost of any schedule.
    """

    policy: str
    setting: Setting
    trace: Trace
    latencies: Sequence[float]
    slowest: Slowest | None
    delays: float
    least: float

    @property
    def sizes(self) -> list[int]:
        """The sizes of the batches, in the order of their starts."""
        return [flush.size for flush in self.trace.flushes]

    @property
    def reasons(self) -> dict[str, int]:
        """The number of flushes for each reason, the most frequent reason first."""
        return dict(Counter(flush.reason for flush in self.trace.flushes).most_common())

    @property
    def busy(self) -> float:
        """The share of the slots' time in which calls ran.

        This time is from the first arrival to the end of the last flush.
        """
        flushes = self.trace.flushes
        ended = max((flush.ended for flush in flushes), default=0)
        span = ended - self.setting.arrivals[0]
        worked = sum(flush.attempts * self.setting.sink(flush.size) for flush in flushes)
        return worked / (span * self.setting.slots) if span else 0.0

    @property
    def cost(self) -> float:
        """The cost of all calls, plus the cost of the delays of all flushed items."""
        calls = sum(flush.attempts for flush in self.trace.flushes)
        return self.setting.flush_cost * calls + self.setting.delay_cost * self.delays

    @property
    def ratio(self) -> float | None:
        """The cost divided by ``least``; None if an item was not flushed or ``least`` is 0."""
        left = self.trace.stranded or self.trace.refused or self.trace.displaced
        return None if left or not self.least else self.cost / self.least

    def latency(self, share: float) -> float:
        """Return this quantile of the latencies; NaN if no item was delivered."""
        return quantile(self.latencies, share)


def run(
    text: str, policy: FlushPolicy, setting: Setting, least: LeastCost, progress: Progress
) -> Run:
    """Simulate a policy to the end of the traffic, and get the least cost under its cap.

    Raises:
        PolicyError: The policy or the throttle raised, or gave an invalid answer.
        TypeError, ValueError: The policy cannot be run. It has, for example, a ``max_weight``, but
            the items have no weights.
    """
    trace = _trace(policy, setting, progress)
    latencies, delays = _latencies(trace, setting)
    lean = attrs.evolve(trace, events=())
    slowest = None if setting.partitions is None else _slowest(latencies)
    every = sorted(chain.from_iterable(latencies.values()))
    return Run(text, setting, lean, every, slowest, delays, least(policy.max_records))


def _latencies(trace: Trace, setting: Setting) -> tuple[dict[Hashable, list[float]], float]:
    """Return the latencies of each partition, and the sum of all waits for a flush to start."""
    latencies = defaultdict[Hashable, list[float]](list)
    displaced = {each.item for each in trace.displacements}
    coming = {key: iter(times) for key, times in setting.by_partition(displaced).items()}
    delays = 0.0
    for flush in trace.flushes:
        times = [*islice(coming[flush.partition], flush.size)]
        delays += flush.size * flush.started - sum(times)
        if flush.delivered:
            latencies[flush.partition] += [flush.ended - time for time in times]
    return latencies, delays


def _slowest(latencies: Mapping[Hashable, list[float]]) -> Slowest:
    for each in latencies.values():
        each.sort()
    key = max(latencies, key=lambda key: quantile(latencies[key], 0.99), default=None)
    others = (latency for other in latencies if other != key for latency in latencies[other])
    return Slowest(key, latencies.get(key, []), sorted(others))


def _trace(policy: FlushPolicy, setting: Setting, progress: Progress) -> Trace:
    fails = None if setting.failures is None else setting.failures.draw()

    def flush_seconds(size: int) -> float:
        progress(size)
        return setting.sink(size)

    def flush_fails(attempt: int, size: int) -> Verdict | None:
        verdict = None if fails is None else fails(attempt, size)
        if isinstance(verdict, Retry):
            progress(-size)
        return verdict

    return simulate(
        policy,
        setting.arrivals,
        flush_seconds,
        max_in_flight=setting.slots,
        partitions=setting.partitions,
        weights=setting.weights,
        max_queue_size=setting.max_queue_size,
        max_queue_weight=setting.max_queue_weight,
        when_full=setting.when_full,
        drain=setting.drain,
        throttle=setting.throttle,
        flush_fails=flush_fails if fails else None,
    )
