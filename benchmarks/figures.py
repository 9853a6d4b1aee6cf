"""The figures that are computed from the samples of a row, and their verdicts: pure functions.

A sample is the number that one candidate gives in one round, mostly in seconds per item. The
candidates of a row take turns, so the samples of one round are taken shortly one after another. A
ratio is computed from the samples of one round; the value of a figure is the median over the
rounds. So if the machine becomes slower, this slows down both sides of a ratio.
"""

import enum
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence

import attrs

Samples = Mapping[str, Sequence[float]]


class Verdict(enum.Enum):
    """The verdict on a figure, as the table shows it."""

    GOAL = "goal"
    BAR = "ok"
    SHOWN = ""
    MISSED = "MISSED"
    MISSING = "missing"
    FAILED = "FAILED"


@attrs.frozen
class Limits:
    """The limits for the value of a figure.

    Attributes:
        sign: The sign between the value and the limits, ``<=`` or ``>=``.
        keeps: The comparison that this sign stands for.
        bar: The limit that must hold.
        goal: The limit that should hold; None: there is only the bar.
    """

    sign: str
    keeps: Callable[[float, float], bool]
    bar: float
    goal: float | None = None

    def verdict(self, value: float) -> Verdict:
        """Return the verdict: whether a value meets the goal, only the bar, or neither."""
        if not self.keeps(value, self.bar):
            return Verdict.MISSED
        met = self.goal is not None and self.keeps(value, self.goal)
        return Verdict.GOAL if met else Verdict.BAR


def at_most(bar: float, goal: float | None = None) -> Limits:
    """Return limits for a value: it must be at most ``bar``, and should be at most ``goal``."""
    return Limits("<=", operator.le, bar, goal)


def at_least(bar: float, goal: float | None = None) -> Limits:
    """Return limits for a value: it must be at least ``bar``, and should be at least ``goal``."""
    return Limits(">=", operator.ge, bar, goal)


Read = Callable[[float, Sequence[float]], float]


@attrs.frozen
class Figure:
    """A figure that is computed from the samples of a row, round by round.

    Attributes:
        text: The text of the figure in the table.
        of: The name of the candidate that the figure is about.
        to: The names of the candidates with which ``of`` is compared. Missing ones are left out.
        unit: The unit of the values.
        read: A function that computes the value of one round. It gets the sample of ``of`` and the
            samples of ``to``.
        limits: The limits for the median. None: the median is shown without a verdict.
    """

    text: str
    of: str
    to: tuple[str, ...]
    unit: str
    read: Read
    limits: Limits | None = None

    def values(self, samples: Samples) -> list[float]:
        """Return one value for each round, or an empty list if necessary samples are missing."""
        others = [samples[name] for name in self.to if name in samples]
        if self.of not in samples or (self.to and not others):
            return []
        rounds = zip(samples[self.of], *others, strict=True)
        return [self.read(own, theirs) for own, *theirs in rounds]


def time(of: str, *to: str, limits: Limits | None = None) -> Figure:
    """Return a figure: the time of the candidate ``of``, divided by the least time among ``to``."""
    text = f"{of} / {' or '.join(to)}"
    return Figure(text, of, to, "x", lambda own, others: own / min(others), limits)


def speed(of: str, to: str, limits: Limits | None = None) -> Figure:
    """Return a figure: the speed of the candidate ``of``, divided by the speed of ``to``."""
    text = f"speed of {of} / {to}"
    return Figure(text, of, (to,), "x", lambda own, others: others[0] / own, limits)


def spread(of: str, *to: str, limits: Limits | None = None) -> Figure:
    """Return a figure: the largest sample among the candidates, divided by the smallest one."""
    text = f"largest / smallest: {', '.join((of, *to))}"
    return Figure(
        text, of, to, "x", lambda own, others: max(own, *others) / min(own, *others), limits
    )


def amount(of: str, unit: str, limits: Limits | None = None) -> Figure:
    """Return a figure: the sample of the candidate ``of``, compared with no other candidate."""
    return Figure(of, of, (), unit, lambda own, _: own, limits)


@attrs.frozen
class Measured:
    """The measurements of a row.

    Attributes:
        samples: For each measured candidate, one number per round.
        missing: For each candidate that is not available, the reason.
        failed: For each candidate that is available and gave no number, the reason.
    """

    samples: Samples
    missing: Mapping[str, str]
    failed: Mapping[str, str]


@attrs.frozen
class Finding:
    """The result of a figure.

    Attributes:
        figure: The figure.
        value: The median over the rounds; None if there are no samples, or a candidate failed.
        noise: Half the distance between the first and the third quartile of the values of the
            rounds, divided by their median. 0 if there is no value.
        verdict: The verdict on the value.
        why: The reason why there is no value; empty if there is one.
    """

    figure: Figure
    value: float | None
    noise: float
    verdict: Verdict
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether the run may succeed: False if a bar was missed, or if a candidate failed."""
        return self.verdict not in {Verdict.MISSED, Verdict.FAILED}


def find(figure: Figure, measured: Measured) -> Finding:
    """Return the result of a figure for the measurements of its row."""
    values = figure.values(measured.samples)
    names = (figure.of, *figure.to)
    failures = [f"{name}: {measured.failed[name]}" for name in names if name in measured.failed]
    if failures:
        return Finding(figure, None, 0, Verdict.FAILED, "; ".join(failures))
    if not values:
        reasons = [f"{name}: {why}" for name, why in measured.missing.items() if name in names]
        return Finding(figure, None, 0, Verdict.MISSING, "; ".join(reasons))
    value = statistics.median(values)
    verdict = Verdict.SHOWN if figure.limits is None else figure.limits.verdict(value)
    return Finding(figure, value, _noise(values), verdict)


def _noise(values: Sequence[float]) -> float:
    if len(values) == 1:
        return 0
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return (third - first) / 2 / median
