"""The results of the lab as a table or as JSON: one row or one object for each policy."""

import io
import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from flushq.cli.lab import Run, Slowest, quantile
from flushq.cli.terminal import counted

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
WIDTH = 200


def as_table(runs: Sequence[Run]) -> str:
    """Return a table of all runs as text."""
    table = Table("policy", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    optional = _optional_figures(runs[0])
    latencies = [*SHARES] if runs[0].slowest is None else [*SHARES, "others p99", "slowest p99"]
    titles = "flushes", "mean", "largest", *optional, *latencies, "busy", "cost", "x least cost"
    for title in titles:
        table.add_column(title, justify="right")
    table.add_column("why it flushed")
    for run in runs:
        table.add_row(*_row(run))
    page = io.StringIO()
    Console(file=page, width=WIDTH, markup=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def as_json(runs: Sequence[Run]) -> str:
    """Return the figures of all runs, not rounded, as a JSON array of objects."""
    return json.dumps([_figures(run) for run in runs], indent=2)


def reasons_text(run: Run) -> str:
    """Return each reason with its number of flushes, as text.

    The numbers of items that still waited at the end, and of refused items, follow if not 0.
    """
    counts = [f"{reason} {count}" for reason, count in run.reasons.items()]
    if run.trace.stranded:
        counts.append(f"{counted(run.trace.stranded, 'item')} not flushed")
    if run.trace.refused:
        counts.append(f"{counted(run.trace.refused, 'item')} refused")
    return ", ".join(counts)


def duration(seconds: float) -> str:
    """Return a duration as text with three significant digits, in s, or in ms if it is below 1 s.

    NaN gives ``-``.
    """
    if math.isnan(seconds):
        return "-"
    rounded = float(f"{seconds:.3g}")
    return f"{rounded:.15g} s" if rounded >= 1 else f"{rounded * 1000:.3g} ms"


def _row(run: Run) -> list[str]:
    figures = _figures(run)
    return [
        run.policy,
        str(figures["flushes"]),
        f"{figures['mean_batch']:.1f}",
        str(figures["largest_batch"]),
        *map(str, _optional_figures(run).values()),
        *_latencies(run),
        f"{run.busy:.0%}",
        f"{run.cost:.6g}",
        "-" if run.ratio is None else f"{run.ratio:.2f}",
        reasons_text(run),
    ]


def _figures(run: Run) -> dict[str, Any]:
    sizes = run.sizes
    return {
        "policy": run.policy,
        "items": len(run.setting.arrivals),
        "stranded": run.trace.stranded,
        "flushes": len(sizes),
        "mean_batch": sum(sizes) / len(sizes) if sizes else 0.0,
        "largest_batch": max(sizes, default=0),
        "latency_seconds": {
            name: run.latency(share) if run.latencies else None for name, share in SHARES.items()
        },
        "busy": run.busy,
        "cost": run.cost,
        "least_cost": run.least,
        "ratio": run.ratio,
        "reasons": run.reasons,
        **_optional_figures(run),
        **_slowest(run),
    }


def _latencies(run: Run) -> list[str]:
    latencies = [duration(run.latency(share)) for share in SHARES.values()]
    if run.slowest is None:
        return latencies
    others, slowest = (duration(quantile(each, 0.99)) for each in _others_and_slowest(run.slowest))
    key = f" ({_short(str(run.slowest.key))})" if run.slowest.latencies else ""
    return [*latencies, others, slowest + key]


def _short(text: str) -> str:
    return text if len(text) <= 16 else f"{text[:13]}..."


def _slowest(run: Run) -> dict[str, Any]:
    """Return the figures of the slowest partition, or {} if there are no partitions."""
    if run.slowest is None:
        return {}
    others, slowest = (
        quantile(each, 0.99) if each else None for each in _others_and_slowest(run.slowest)
    )
    return {"slowest": {"partition": run.slowest.key, "p99": slowest, "others_p99": others}}


def _others_and_slowest(slowest: Slowest) -> tuple[Sequence[float], Sequence[float]]:
    """Return the latencies of all other partitions, and those of the slowest partition."""
    return slowest.others, slowest.latencies


def _optional_figures(run: Run) -> dict[str, int]:
    """Return the figures that are shown only if the queue is bounded, or if calls may fail."""
    figures: dict[str, int] = {}
    if run.setting.is_bounded and run.setting.when_full == "wait":
        figures |= {"blocked": run.trace.blocked}
    elif run.setting.is_bounded:
        figures |= {"displaced": run.trace.displaced}
    if run.setting.failures is not None:
        figures |= {"dropped": run.trace.dropped}
    return figures
