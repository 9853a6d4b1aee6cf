"""The lab: a policy at work on some traffic and a sink, and what came of it in figures."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random

import attrs

from flushq import Drop, FlushPolicy, Retry, Verdict
from flushq.cli.sink_text import Sink
from flushq.offline import least_cost
from flushq.simulation import FlushFails, Trace, simulate

Progress = Callable[[int], None]
"""Told of items that are handed over; of fewer than none, if they come back to be retried."""

LeastCost = Callable[[int | None], float]
"""The least cost of any schedule with such a cap."""


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
        """The verdicts on all calls of a run: the first ones, the second ones, … are the same."""
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
        max_queue_size: How many items may wait. None: there is no limit.
        drain: Whether the queue is closed after the last arrival.
        failures: How the sink fails. None: it does not.
        began: The date of second 0. None: the traffic has no dates.
    """

    arrivals: Sequence[float]
    sink: Sink
    slots: int
    flush_cost: float
    delay_cost: float
    max_queue_size: int | None = None
    drain: bool = False
    failures: Failures | None = None
    began: datetime | None = None

    def least_cost(self, max_records: int | None) -> float:
        """The least cost of any schedule with this cap, even if a slot is always free."""
        return least_cost(
            self.arrivals,
            flush_cost=self.flush_cost,
            delay_cost=self.delay_cost,
            max_records=max_records,
        )


@attrs.frozen
class Run:
    """What a policy did.

    Attributes:
        policy: Its text.
        setting: With what.
        trace: Its flushes, without the events, which would fill the memory.
        latencies: How long each delivered item took from its arrival to the end of its flush, in
            seconds, the shortest first.
        least: The least cost of any schedule.
    """

    policy: str
    setting: Setting
    trace: Trace
    latencies: Sequence[float]
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
        arrivals, flushes = self.setting.arrivals, self.trace.flushes
        flushed = sum(flush.size for flush in flushes)
        delays = sum(flush.size * flush.started for flush in flushes) - sum(arrivals[:flushed])
        calls = sum(flush.attempts for flush in flushes)
        return self.setting.flush_cost * calls + self.setting.delay_cost * delays

    @property
    def ratio(self) -> float | None:
        """The cost as a multiple of the least; None if an item is left, or nothing costs."""
        left = self.trace.stranded or self.trace.refused
        return None if left or not self.least else self.cost / self.least

    def latency(self, share: float) -> float:
        """The latency that this share of the delivered items did not exceed; NaN without any."""
        if not self.latencies:
            return math.nan
        return self.latencies[max(0, math.ceil(share * len(self.latencies)) - 1)]


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
    latencies, first = [], 0
    for flush in trace.flushes:
        times = setting.arrivals[first : first + flush.size]
        latencies += [flush.ended - time for time in times if flush.delivered]
        first += flush.size
    lean = attrs.evolve(trace, events=())
    return Run(text, setting, lean, sorted(latencies), least(policy.max_records))


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
        max_queue_size=setting.max_queue_size,
        drain=setting.drain,
        flush_fails=flush_fails if fails else None,
    )
