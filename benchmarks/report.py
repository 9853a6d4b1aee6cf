"""The table: for each row its text, a line for each figure, and the medians of the candidates."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.figures import Finding, Measured, Verdict
from benchmarks.rows import Row

_LINE = "  {:45} {:>9} {:>6}  {:>9} {:>6}  {:7}  {}"
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"))


def heading() -> str:
    """Return the line with the names of the columns."""
    return _LINE.format("figure", "median", "noise", "bar", "goal", "verdict", "").rstrip()


def lines(
    row: Row, measured: Measured, findings: Sequence[Finding], before: Mapping[str, float]
) -> Iterator[str]:
    """Yield the lines of a row; ``before`` maps texts of figures to values in the saved run."""
    yield f"{row.name}: {row.text}"
    for finding in findings:
        yield _line(finding, before.get(finding.figure.text)).rstrip()
    yield "  " + ", ".join(
        _candidate(candidate.name, measured, row.unit) for candidate in row.candidates
    )


def summary(findings: Sequence[Finding]) -> str:
    """Return a line that says, for each verdict, how many figures got it."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(
        f"{counts[verdict]} {text}"
        for verdict, text in (
            (Verdict.GOAL, "at the goal"),
            (Verdict.BAR, "within the bar"),
            (Verdict.MISSED, "missed"),
            (Verdict.FAILED, "failed"),
            (Verdict.MISSING, "missing"),
        )
    )


def with_prefix(value: float, unit: str) -> str:
    """Return a number of seconds or bytes as a text with its unit, such as ``1.5 us``."""
    for scale, prefix in _PREFIXES:
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value * 1e9:.3g} n{unit}"


def _line(finding: Finding, before: float | None) -> str:
    figure, limits = finding.figure, finding.figure.limits
    bar = "" if limits is None else f"{limits.sign} {limits.bar:g}{figure.unit}"
    goal = "" if limits is None or limits.goal is None else f"{limits.goal:g}{figure.unit}"
    verdict = finding.verdict.value
    if finding.value is None:
        return _LINE.format(figure.text, "", "", bar, goal, verdict, finding.why)
    value = f"{finding.value:#.3g}{figure.unit}"
    change = "" if before is None else f"was {before:#.3g} ({finding.value / before - 1:+.0%})"
    return _LINE.format(figure.text, value, f"{finding.noise:.0%}", bar, goal, verdict, change)


def _candidate(name: str, measured: Measured, unit: str) -> str:
    if name in measured.samples:
        return f"{name} {with_prefix(statistics.median(measured.samples[name]), unit)}"
    return f"{name} {'failed' if name in measured.failed else 'missing'}"
