"""The lab: it simulates a policy with some traffic and a sink, and computes latencies and costs.

The *sink* is a model of the place that ``flush_fn`` writes to, such as a database.
"""

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
"""A function that gets the number of items of each call of the sink when the call starts.

If the call fails and will be retried, the function gets the same number again, but negative.
"""

LeastCost = Callable[[int | None], float]
"""A function that returns the least cost of any schedule with this ``max_records``."""

WhenFull = Literal["wait", "drop_oldest", "drop_newest"]
"""What a full queue does when an item arrives: see ``when_full`` of FlushQueue."""

WHEN_FULL: Sequence[WhenFull] = get_args(WhenFull)


@attrs.frozen
class Sink:
    """A model of how long a call of the sink takes.

    Attributes:
        fixed: The seconds that a call takes in addition to the time for its items.
        each: The seconds that a call takes for each of its items.
    """

    fixed: float
    each: float

    def __call__(self, size: int) -> float:
        """Return how long a call with this number of items takes, in seconds."""
        return self.fixed + self.each * size


@attrs.frozen
class Failures:
    """A model of how often calls of the sink fail, and of how they are retried.

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
        """Return a function that decides at random which calls of one simulation fail.

        The returned function gives the verdict on a call: None if the call succeeds. With each
        function that ``draw`` returns, the same calls fail: for example, the third and the eighth.
        """
        random = Random(f"the failures of {self.seed}")  # independent of the traffic

        def fails(attempt: int, size: int) -> Verdict | None:
            if random.random() >= self.rate:
                return None
            return Retry(self.pause) if attempt < self.attempts else Drop()

        return fails


@attrs.frozen
class Setting:
    """The conditions of a simulation, which are the same for all policies.

    Attributes:
        arrivals: The times at which the items arrive, in seconds. There is at least one.
        sink: The model of how long a call of the sink takes.
        slots: The number of flushes that may run at a time.
        flush_cost: The cost of each call of the sink.
        delay_cost: The cost of each second that an item waits for the start of its flush.
        max_queue_size: The number of items that may wait. None: any number.
        max_queue_weight: The weight that all waiting items may have together. None: any weight.
        when_full: What a full queue does when an item arrives.
        drain: Whether the queue is closed after the last arrival.
        failures: The model of failed calls. None: no call fails.
        began: The date and time at second 0. None: the traffic has no dates.
        partitions: The partition key of each item. None: there are no partitions.
        weights: The weight of each item. None: the items have no weights.
        throttle: The throttle that decides when a call of the sink may start. None: calls may
            start at any time.
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
        """Whether the number or the weight of waiting items is limited."""
        return self.max_queue_size is not None or self.max_queue_weight is not None

    def by_partition(self, displaced: Container[int] = ()) -> Mapping[Hashable, Sequence[float]]:
        """Return, for each partition key, the arrival times of the items that are not displaced.

        Without partitions, the only key is None.

        Args:
            displaced: The indexes, in ``arrivals``, of the displaced items.
        """
        times = defaultdict[Hashable, list[float]](list)
        keyed = zip(self.partitions or repeat(None), self.arrivals, strict=False)
        for item, (key, time) in enumerate(keyed):
            if item not in displaced:
                times[key].append(time)
        return times

    def least_cost(self, max_records: int | None) -> float:
        """Return the least cost of any schedule with at most ``max_records`` items in each batch.

        These schedules may use any number of slots. Each batch has items of one partition only.
        """
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
    """Return a quantile of the sorted latencies; NaN if there are no latencies.

    Args:
        latencies: The latencies, the shortest first.
        share: At least this share of the latencies, 0 to 1, are not longer than the result. 0.5
            gives the median.
    """
    if not latencies:
        return math.nan
    return latencies[max(0, math.ceil(share * len(latencies)) - 1)]


@attrs.frozen
class Slowest:
    """The partition whose p99 latency (the 0.99 quantile) is the greatest.

    Attributes:
        key: The key of the partition. None: no item was delivered.
        latencies: The latencies of the delivered items of this partition, the shortest first.
        others: The latencies of the delivered items of all other partitions, the shortest first.
    """

    key: Hashable
    latencies: Sequence[float]
    others: Sequence[float]


@attrs.frozen
class Run:
    """The results of the simulation of one policy.

    Attributes:
        policy: The text that describes the policy.
        setting: The conditions of the simulation.
        trace: The trace of the simulation. Its events are left out, because they would take too
            much memory.
        latencies: The latencies of the delivered items, in seconds, the shortest first. A latency
            is the time from the arrival of an item to the end of its flush.
        slowest: The slowest partition. None: there are no partitions.
        delays: The sum of the delays of all flushed items, in seconds. A delay is the time from the
            arrival of an item to the start of its flush.
        least: The least cost of any schedule with the ``max_records`` of the policy.
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
        """The number of items of each flush, in the order in which the flushes started."""
        return [flush.size for flush in self.trace.flushes]

    @property
    def reasons(self) -> dict[str, int]:
        """The number of flushes for each reason, the most frequent reason first."""
        return dict(Counter(flush.reason for flush in self.trace.flushes).most_common())

    @property
    def busy(self) -> float:
        """The share of the run in which a slot was busy with calls, on average over all slots.

        The run begins at the first arrival and ends with the last flush.
        """
        flushes = self.trace.flushes
        ended = max((flush.ended for flush in flushes), default=0)
        span = ended - self.setting.arrivals[0]
        worked = sum(flush.attempts * self.setting.sink(flush.size) for flush in flushes)
        return worked / (span * self.setting.slots) if span else 0.0

    @property
    def cost(self) -> float:
        """The cost of all calls plus the cost of all delays."""
        calls = sum(flush.attempts for flush in self.trace.flushes)
        return self.setting.flush_cost * calls + self.setting.delay_cost * self.delays

    @property
    def ratio(self) -> float | None:
        """The cost divided by ``least``; None if an item was not flushed or ``least`` is 0."""
        left = self.trace.stranded or self.trace.refused or self.trace.displaced
        return None if left or not self.least else self.cost / self.least

    def latency(self, share: float) -> float:
        """Return the :func:`quantile` of the latencies for this share; NaN if there are none."""
        return quantile(self.latencies, share)


def run(
    text: str, policy: FlushPolicy, setting: Setting, least: LeastCost, progress: Progress
) -> Run:
    """Simulate a policy under the conditions of ``setting``, and return the results.

    Args:
        text: The text that describes the policy.
        policy: The policy; it is not changed.
        setting: The conditions of the simulation.
        least: A function that returns the least cost for the ``max_records`` of the policy.
        progress: A function that gets the number of items of each call; see :data:`Progress`.

    Raises:
        PolicyError: The policy or the throttle raised an error, or gave an invalid answer.
        TypeError, ValueError: The policy cannot be simulated. For example, the policy has a
            ``max_weight``, but the items have no weights.
    """
    trace = _trace(policy, setting, progress)
    latencies, delays = _latencies(trace, setting)
    lean = attrs.evolve(trace, events=())
    slowest = None if setting.partitions is None else _slowest(latencies)
    every = sorted(chain.from_iterable(latencies.values()))
    return Run(text, setting, lean, every, slowest, delays, least(policy.max_records))


def _latencies(trace: Trace, setting: Setting) -> tuple[dict[Hashable, list[float]], float]:
    """Return the latencies for each partition key, and the sum of all delays; see :class:`Run`."""
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
