"""What the lab found, as a table, as JSON and as a picture: a row for each policy.

The picture has three columns. On the left is the whole run, in many short intervals: the longest
queue, and the mean batch. In the middle is a closer look at a dozen flushes. On the right is the
share of the items that were done within a time. The whole runs share their axes, and so do the
times, so that policies are compared at a glance.
"""

import bisect
import io
import json
import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from flushq.cli.lab import Run

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
WIDTH = 160

INTERVALS = 200
FLUSHES_SEEN = 12
POINTS = 500
TITLES = (
    "the whole run: longest queue (blue), mean batch (orange)",
    "a closer look: queue (blue), flushes (orange)",
    "latency: share of items done within",
)
_QUEUE, _FLUSH = "#4c72b0", "#dd8452"


def as_table(runs: Sequence[Run]) -> str:
    """All runs as a table, as text."""
    table = Table("policy", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    special = _special(runs[0])
    titles = "flushes", "mean", "largest", *special, *SHARES, "busy", "cost", "x least cost"
    for title in titles:
        table.add_column(title, justify="right")
    table.add_column("why it flushed")
    for run in runs:
        table.add_row(*_row(run))
    page = io.StringIO()
    Console(file=page, width=WIDTH, markup=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def as_json(runs: Sequence[Run]) -> str:
    """The same figures, not rounded, as a JSON array of objects."""
    return json.dumps([_figures(run) for run in runs], indent=2)


def _row(run: Run) -> list[str]:
    figures = _figures(run)
    why = [f"{reason} {count}" for reason, count in run.reasons.items()]
    if run.trace.stranded:
        why.append(f"{run.trace.stranded} items never")
    if run.trace.refused:
        why.append(f"{run.trace.refused} items refused")
    return [
        run.policy,
        str(figures["flushes"]),
        f"{figures['mean_batch']:.1f}",
        str(figures["largest_batch"]),
        *map(str, _special(run).values()),
        *(_seconds(run.latency(share)) for share in SHARES.values()),
        f"{run.busy:.0%}",
        f"{run.cost:.6g}",
        "-" if run.ratio is None else f"{run.ratio:.2f}",
        ", ".join(why),
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
        **_special(run),
    }


def _special(run: Run) -> dict[str, int]:
    """The figures that there are only with a limit, and only with failures."""
    figures: dict[str, int] = {}
    if run.setting.max_queue_size is not None:
        figures |= {"blocked": run.trace.blocked}
    if run.setting.failures is not None:
        figures |= {"dropped": run.trace.dropped}
    return figures


def _seconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def save_plot(runs: Sequence[Run], path: str) -> None:
    """Draw the runs into a PNG file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - it is large, and may be missing

    figure = Figure(figsize=(15, 1 + 2.3 * len(runs)), layout="constrained")
    axes = figure.subplots(len(runs), 3, squeeze=False, width_ratios=[4, 4, 3])
    for run, (whole, piece, latencies) in zip(runs, axes, strict=True):
        whole.sharex(axes[0][0])
        latencies.sharex(axes[0][2])
        times, lengths = queue_lengths(run)
        _draw_whole(whole, run, times, lengths)
        _draw_piece(piece, run, times, lengths)
        _draw_latencies(latencies, run)
    longest = max((run.latencies[-1] for run in runs if run.latencies), default=0)
    axes[0][2].set_xlim(0, 1.3 * longest or 1)  # with room for what is written there
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=10)
    figure.savefig(path, format="png", dpi=100)


def queue_lengths(run: Run) -> tuple[list[float], list[int]]:
    """When the number of waiting items changes, and to what: arrivals, and starts of flushes."""
    changes = [(time, 1) for time in run.setting.arrivals]
    changes += [(flush.started, -flush.size) for flush in run.trace.flushes]
    changes.sort(key=lambda change: (change[0], change[1] < 0))
    return [time for time, _ in changes], list(accumulate(change for _, change in changes))


def in_intervals(
    times: Sequence[float], values: Sequence[float], edges: Sequence[float]
) -> list[Sequence[float]]:
    """The values at times from each edge to the next, the last edge included."""
    cuts = [bisect.bisect_left(times, edge) for edge in edges[:-1]] + [len(times)]
    return [values[first:end] for first, end in pairwise(cuts)]


def piece_of(run: Run) -> tuple[float, float]:
    """A piece of time, about the middle of the flushes, with a dozen of them."""
    starts = [flush.started for flush in run.trace.flushes] or [run.setting.arrivals[0]]
    first = max(0, (len(starts) - FLUSHES_SEEN) // 2)
    last = min(first + FLUSHES_SEEN, len(starts) - 1)
    return starts[first], max(starts[last], math.nextafter(starts[first], math.inf))


def _draw_whole(axis: Any, run: Run, times: Sequence[float], lengths: Sequence[int]) -> None:
    width = (times[-1] - times[0]) / INTERVALS
    edges = [times[0] + number * width for number in range(INTERVALS + 1)]
    longest = [max(inside, default=math.nan) for inside in in_intervals(times, lengths, edges)]
    starts = [flush.started for flush in run.trace.flushes]
    batches = [
        sum(inside) / len(inside) if inside else math.nan
        for inside in in_intervals(starts, run.sizes, edges)
    ]
    axis.fill_between(edges[:-1], longest, step="post", color=_QUEUE, alpha=0.5, linewidth=0)
    axis.plot(edges[:-1], batches, color=_FLUSH, marker=".", markersize=2, linewidth=1)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("items")
    axis.text(0.01, 0.95, run.policy, transform=axis.transAxes, va="top", weight="bold")


def _draw_piece(axis: Any, run: Run, times: Sequence[float], lengths: Sequence[int]) -> None:
    start, end = piece_of(run)
    first, last = bisect.bisect_left(times, start), bisect.bisect(times, end)
    axis.step(times[first:last], lengths[first:last], where="post", color=_QUEUE, linewidth=1)
    seen = [flush for flush in run.trace.flushes if start <= flush.started <= end]
    axis.vlines(
        [flush.started for flush in seen], 0, [flush.size for flush in seen], _FLUSH, linewidth=2
    )
    axis.set_ylim(bottom=0)


def _draw_latencies(axis: Any, run: Run) -> None:
    shares = [number / POINTS for number in range(POINTS + 1)]
    axis.plot([run.latency(share) for share in shares], shares, color=_QUEUE)
    for share in (0.5, 0.99):
        axis.plot(run.latency(share), share, marker="o", color=_FLUSH)
        axis.annotate(
            f"  p{share * 100:.0f} {run.latency(share):.3g} s",
            (run.latency(share), share),
            fontsize=9,
            va="top",
        )
    axis.set_ylim(0, 1.05)
