"""The lab: a policy at work on some traffic and a sink, and the figures of that."""

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
"""Told how many items are handed over; a negative number, if they come back to be retried."""

LeastCost = Callable[[int | None], float]
"""The least cost of any schedule with such a cap."""

WhenFull = Literal["wait", "drop_oldest", "drop_newest"]
"""What happens to an item that finds no room, as of a FlushQueue."""

WHEN_FULL: Sequence[WhenFull] = get_args(WhenFull)


@attrs.frozen
class Sink:
    """How long a flush takes.

    Attributes:
        fixed: Seconds for a flush, however small.
        each: Seconds for each item in it.
    """

    fixed: float
    each: float

    def __call__(self, size: int) -> float:
        """How long a flush of so many items takes, in seconds."""
        return self.fixed + self.each * size


@attrs.frozen
class Failures:
    """How a sink fails, and what is done then.

    Attributes:
        rate: The probability that a call fails.
        seed: Which calls these are.
        pause: Seconds after which a call is made again.
        attempts: How many calls are made with a batch before it is dropped.
    """

    rate: float
    seed: int
    pause: float
    attempts: int

    def draw(self) -> FlushFails:
        """The verdicts on the calls of a run, in order; they are the same in each run."""
        random = Random(f"the failures of {self.seed}")  # other numbers than those of the traffic

        def fails(attempt: int, size: int) -> Verdict | None:
            if random.random() >= self.rate:
                return None
            return Retry(self.pause) if attempt < self.attempts else Drop()

        return fails


@attrs.frozen
class Setting:
    """What is the same for all policies.

    Attributes:
        arrivals: When the items arrive, in seconds; at least one.
        sink: How long a flush takes.
        slots: How many may run at a time.
        flush_cost: What a flush costs.
        delay_cost: What a second costs that an item waits for the start of its flush.
        max_queue_size: How many items may wait. None: any number.
        max_queue_weight: What the items that wait may weigh together. None: any weight.
        when_full: What happens to an item that finds no room.
        drain: Whether the queue is closed after the last arrival.
        failures: How the sink fails. None: it does not.
        began: The date of second 0. None: the traffic has no dates.
        partitions: The key of the partition of each item. None: there are no partitions.
        weights: The weight of each item. None: none weighs anything.
        throttle: When a call of the sink may start. None: at any time.
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
        """Whether the queue may be full."""
        return self.max_queue_size is not None or self.max_queue_weight is not None

    def by_partition(self, displaced: Container[int] = ()) -> Mapping[Hashable, Sequence[float]]:
        """When the items of each partition arrive that are not displaced; None: no partitions."""
        times = defaultdict[Hashable, list[float]](list)
        keyed = zip(self.partitions or repeat(None), self.arrivals, strict=False)
        for item, (key, time) in enumerate(keyed):
            if item not in displaced:
                times[key].append(time)
        return times

    def least_cost(self, max_records: int | None) -> float:
        """The least cost of any schedule with this cap, even if a slot is always free."""
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
    """What this share of some latencies, the shortest first, did not exceed; NaN without any."""
    if not latencies:
        return math.nan
    return latencies[max(0, math.ceil(share * len(latencies)) - 1)]


@attrs.frozen
class Slowest:
    """The partition whose latency that 99 % of its items did not exceed is the longest.

    Attributes:
        key: Its key. None: nothing was delivered.
        latencies: Those of its items, the shortest first.
        others: Those of the items of all other partitions.
    """

    key: Hashable
    latencies: Sequence[float]
    others: Sequence[float]


@attrs.frozen
class Run:
    """What a policy did.

    Attributes:
        policy: Its text.
        setting: With what.
        trace: Its flushes, without the events, which would fill the memory.
        latencies: How long each delivered item took from its arrival to the end of its flush, in
            seconds, the shortest first.
        slowest: The slowest partition. None: there are no partitions.
        delays: How long all flushed items together waited for their start, in seconds.
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
        """The sizes of the batches, in order."""
        return [flush.size for flush in self.trace.flushes]

    @property
    def reasons(self) -> dict[str, int]:
        """How many flushes there were for each reason, the most frequent first."""
        return dict(Counter(flush.reason for flush in self.trace.flushes).most_common())

    @property
    def busy(self) -> float:
        """The share of its time that the sink was at work, from the first arrival to the end."""
        flushes = self.trace.flushes
        ended = max((flush.ended for flush in flushes), default=0)
        span = ended - self.setting.arrivals[0]
        worked = sum(flush.attempts * self.setting.sink(flush.size) for flush in flushes)
        return worked / (span * self.setting.slots) if span else 0.0

    @property
    def cost(self) -> float:
        """The price of all calls, and of what the flushed items waited for their start."""
        calls = sum(flush.attempts for flush in self.trace.flushes)
        return self.setting.flush_cost * calls + self.setting.delay_cost * self.delays

    @property
    def ratio(self) -> float | None:
        """The cost as a multiple of the least; None if an item is not flushed, or nothing costs."""
        left = self.trace.stranded or self.trace.refused or self.trace.displaced
        return None if left or not self.least else self.cost / self.least

    def latency(self, share: float) -> float:
        """The latency that this share of the delivered items did not exceed; NaN without any."""
        return quantile(self.latencies, share)


def run(
    text: str, policy: FlushPolicy, setting: Setting, least: LeastCost, progress: Progress
) -> Run:
    """Run a policy to the end of the traffic, and then ask for the least cost under its cap.

    Raises:
        PolicyError: It raised, or answered nonsense.
        TypeError, ValueError: It cannot be run: it has a ``max_weight``, say, for items that weigh
            nothing.
    """
    trace = _trace(policy, setting, progress)
    latencies, delays = _latencies(trace, setting)
    lean = attrs.evolve(trace, events=())
    slowest = None if setting.partitions is None else _slowest(latencies)
    every = sorted(chain.from_iterable(latencies.values()))
    return Run(text, setting, lean, every, slowest, delays, least(policy.max_records))


def _latencies(trace: Trace, setting: Setting) -> tuple[dict[Hashable, list[float]], float]:
    """The latencies in each partition, and how long all together waited for their start."""
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
