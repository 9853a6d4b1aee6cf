"""What is read off the samples of a row, and whether it holds: pure functions of numbers.

A sample is what one process measured in one round: seconds an item, mostly. The candidates of a
row take turns, so the samples of one round lie close together in time, and a ratio is taken within
its round before the median is taken over the rounds: a machine whose speed drifts slows down both
sides of each of them.
"""

import enum
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence

import attrs

Samples = Mapping[str, Sequence[float]]


class Verdict(enum.Enum):
    """What is to be said of a figure, as the table shows it."""

    GOAL = "goal"
    BAR = "ok"
    SHOWN = ""
    MISSED = "MISSED"
    MISSING = "missing"
    FAILED = "FAILED"


@attrs.frozen
class Limit:
    """What a figure should keep to.

    Attributes:
        sign: How a value that keeps to it compares with it.
        keeps: The comparison that the sign stands for.
        bar: What must hold.
        goal: What ought to hold; None: no more than the bar.
    """

    sign: str
    keeps: Callable[[float, float], bool]
    bar: float
    goal: float | None = None

    def verdict(self, value: float) -> Verdict:
        """Whether a value keeps to the goal, to the bar, or to neither."""
        if not self.keeps(value, self.bar):
            return Verdict.MISSED
        met = self.goal is not None and self.keeps(value, self.goal)
        return Verdict.GOAL if met else Verdict.BAR


def at_most(bar: float, goal: float | None = None) -> Limit:
    """Less is better."""
    return Limit("<=", operator.le, bar, goal)


def at_least(bar: float, goal: float | None = None) -> Limit:
    """More is better."""
    return Limit(">=", operator.ge, bar, goal)


Read = Callable[[float, Sequence[float]], float]


@attrs.frozen
class Figure:
    """Something that is read off the samples of a row, round by round.

    Attributes:
        text: What it is.
        of: The candidate that it is about.
        to: Those that it is compared with; one that is missing does not count.
        unit: What its values are counted in.
        read: The value of a round, of the sample of the one and of those of the others.
        limit: What the median should keep to; None: it is only shown.
    """

    text: str
    of: str
    to: tuple[str, ...]
    unit: str
    read: Read
    limit: Limit | None = None

    def values(self, samples: Samples) -> list[float]:
        """One value a round; none if the samples to make it of are missing."""
        others = [samples[name] for name in self.to if name in samples]
        if self.of not in samples or (self.to and not others):
            return []
        rounds = zip(samples[self.of], *others, strict=True)
        return [self.read(own, theirs) for own, *theirs in rounds]


def time(of: str, *to: str, limit: Limit | None = None) -> Figure:
    """How many times as long it takes as the other, or as the fastest of several."""
    text = f"{of} / {' or '.join(to)}"
    return Figure(text, of, to, "x", lambda own, others: own / min(others), limit)


def speed(of: str, to: str, limit: Limit | None = None) -> Figure:
    """How many times as much it gets done in the same time as the other."""
    text = f"speed of {of} / {to}"
    return Figure(text, of, (to,), "x", lambda own, others: others[0] / own, limit)


def spread(of: str, *to: str, limit: Limit | None = None) -> Figure:
    """The largest divided by the smallest: 1 where all are the same."""
    text = f"largest / smallest: {', '.join((of, *to))}"
    return Figure(
        text, of, to, "x", lambda own, others: max(own, *others) / min(own, *others), limit
    )


def amount(of: str, unit: str, limit: Limit | None = None) -> Figure:
    """The number itself."""
    return Figure(of, of, (), unit, lambda own, _: own, limit)


@attrs.frozen
class Measured:
    """What a row gave.

    Attributes:
        samples: One number a round, for each candidate that could be measured.
        missing: Why others are missing.
        failed: Why others, that were there, gave no number.
    """

    samples: Samples
    missing: Mapping[str, str]
    failed: Mapping[str, str]


@attrs.frozen
class Finding:
    """A figure, its value, and whether it holds.

    Attributes:
        figure: The figure.
        value: The median over the rounds; None if there is none.
        noise: Half the distance of the quartiles, as a share of the value.
        verdict: What is to be said of it.
        why: Why there is no value.
    """

    figure: Figure
    value: float | None
    noise: float
    verdict: Verdict
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether it speaks against nothing. A peer that is missing does not."""
        return self.verdict not in {Verdict.MISSED, Verdict.FAILED}


def find(figure: Figure, measured: Measured) -> Finding:
    """Read a figure off what was measured."""
    values = figure.values(measured.samples)
    names = (figure.of, *figure.to)
    failures = [f"{name}: {measured.failed[name]}" for name in names if name in measured.failed]
    if failures:
        return Finding(figure, None, 0, Verdict.FAILED, "; ".join(failures))
    if not values:
        reasons = [f"{name}: {why}" for name, why in measured.missing.items() if name in names]
        return Finding(figure, None, 0, Verdict.MISSING, "; ".join(reasons))
    value = statistics.median(values)
    verdict = Verdict.SHOWN if figure.limit is None else figure.limit.verdict(value)
    return Finding(figure, value, _noise(values), verdict)


def _noise(values: Sequence[float]) -> float:
    if len(values) == 1:
        return 0
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return (third - first) / 2 / median
