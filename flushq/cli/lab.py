"""The lab: a policy at work on some traffic and a sink, and what came of it in figures."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from flushq import FlushPolicy
from flushq.cli.sink_text import Sink
from flushq.offline import least_cost
from flushq.simulation import Trace, simulate

Progress = Callable[[int], None]
"""Told of items that were flushed."""

LeastCost = Callable[[int | None], float]
"""The least cost of any schedule with such a cap."""


@attrs.frozen
class Setting:
    """What is the same for all policies.

    Attributes:
        arrivals: When the items arrive, in seconds; at least one.
        sink: How long a flush takes.
        slots: How many may run at a time.
        flush_cost: What a flush costs.
        delay_cost: What a second costs that an item waits for the start of its flush.
    """

    arrivals: Sequence[float]
    sink: Sink
    slots: int
    flush_cost: float
    delay_cost: float

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
        latencies: How long each flushed item took from its arrival to the end of its flush, in
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
        worked = sum(flush.ended - flush.started for flush in flushes)
        return worked / (span * self.setting.slots) if span else 0.0

    @property
    def cost(self) -> float:
        """The price of all flushes, and of what the flushed items waited for their start."""
        arrivals, flushes = self.setting.arrivals, self.trace.flushes
        flushed = sum(flush.size for flush in flushes)
        delays = sum(flush.size * flush.started for flush in flushes) - sum(arrivals[:flushed])
        return self.setting.flush_cost * len(flushes) + self.setting.delay_cost * delays

    @property
    def ratio(self) -> float | None:
        """The cost as a multiple of the least; None if an item is left, or nothing costs."""
        return None if self.trace.stranded or not self.least else self.cost / self.least

    def latency(self, share: float) -> float:
        """The latency that this share of the flushed items did not exceed; NaN without any."""
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

    def flush_seconds(size: int) -> float:
        progress(size)
        return setting.sink(size)

    arrivals = setting.arrivals
    trace = simulate(policy, arrivals, flush_seconds, max_in_flight=setting.slots)
    latencies, first = [], 0
    for flush in trace.flushes:
        latencies += [flush.ended - time for time in arrivals[first : first + flush.size]]
        first += flush.size
    lean = attrs.evolve(trace, events=())
    return Run(text, setting, lean, sorted(latencies), least(policy.max_records))
