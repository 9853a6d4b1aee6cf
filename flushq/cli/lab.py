"""The lab: a policy at work on some traffic and a sink, and the figures of that.

Traffic is when items arrive, from a file or from a model.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from random import Random

import attrs

from flushq import Drop, FlushPolicy, Retry, Verdict
from flushq.offline import least_cost
from flushq.simulation import FlushFails, Trace, simulate

MOST_ITEMS = 10_000_000
BYTE_ORDER_MARK = "\ufeff"
DATE = "an ISO 8601 time"

Progress = Callable[[int], None]
"""Told how many items are handed over; a negative number, if they come back to be retried."""

LeastCost = Callable[[int | None], float]
"""The least cost of any schedule with such a cap."""


def read_arrivals(lines: Iterable[str]) -> tuple[list[float], datetime | None]:
    """Read the time in each line: seconds, or ISO 8601 (of UTC unless it says otherwise).

    Empty lines are left out. The result is in seconds since the first time, with the date of that
    time, in UTC, if it has one.

    Raises:
        ValueError: A line is not a time, or of another kind than those above, or earlier; the
            message has the number of the line. Or there are no times.
    """
    times: list[float] = []
    kinds: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(BYTE_ORDER_MARK).strip()
        if text:
            kind, time = _read_time(text, number)
            kinds.add(kind)
            if len(kinds) > 1:
                raise ValueError(f"line {number}: {text!r} is {kind}, unlike what is above")
            if times and time < times[-1]:
                raise ValueError(f"line {number}: {text!r} is earlier than what is above")
            times.append(time)
    if not times:
        raise ValueError("there are no arrivals")
    began = datetime.fromtimestamp(times[0], UTC) if kinds == {DATE} else None
    return [time - times[0] for time in times], began


def model_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Draw a Poisson process: so many items a second on average, for so long; always the same.

    Raises:
        ValueError: These are too many, or there are none.
    """
    if rate * seconds > MOST_ITEMS:
        raise ValueError(f"about {rate * seconds:.0f} items are more than {MOST_ITEMS}")
    times = list(takewhile(lambda time: time < seconds, _poisson(rate, Random(seed))))
    if not times:
        raise ValueError("there are no arrivals")
    return times


def _poisson(rate: float, random: Random) -> Iterable[float]:
    time = 0.0
    while True:
        time += random.expovariate(rate)
        yield time


def _read_time(text: str, number: int) -> tuple[str, float]:
    """Return the kind of time that a text is, and the time."""
    for kind, read in (("a number of seconds", float), (DATE, _read_date)):
        try:
            time = read(text)
        except ValueError:
            continue
        if abs(time) < float("inf"):
            return kind, time
    raise ValueError(f"line {number}: {text!r} is neither seconds nor an ISO 8601 time")


def _read_date(text: str) -> float:
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


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
