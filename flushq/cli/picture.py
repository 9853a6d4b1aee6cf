"""The picture of the results of the lab: a row for each policy, with the same scales in all rows.

The left column shows the whole run, divided into short intervals: for each interval, the maximum
and the mean number of waiting items. The middle column shows a part of the run (the same seconds
for all policies): the number of waiting items, and the size of each flush. The right column shows,
for each latency, the share of the delivered items whose latency was not longer. If there are
partitions, the right column has a curve for the slowest partition, and a curve for all others.
"""

import bisect
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from itertools import accumulate, pairwise
from typing import Any

import attrs

from flushq.cli.lab import Run, Setting, quantile
from flushq.cli.report import duration, reasons_text
from flushq.cli.terminal import counted

INSTANT = 1e-6
INTERVALS = 120
POINTS = 100
SHARES = (0.5, 0.99)

# All sizes are in inches. The page: its width, and the space above and below all rows. A row: its
# height, and the height of the text at its top. The columns: the left edge and the width of each.
_WIDTH, _TOP, _BOTTOM = 12.0, 1.05, 0.55
_ROW, _TEXT = 1.6, 0.5
_COLUMNS = ((0.6, 4.1), (5.3, 3.5), (9.5, 2.3))

_INK, _FLUSH, _MEAN, _MOST = "#222222", "#8f3500", "#86a5cd", "#d6e0ee"  # from dark to light
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "svg.hashsalt": "flushq",  # the same runs always make the same file
    "svg.fonttype": "none",
    "text.parse_math": False,
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor"], _INK),
    **dict.fromkeys(["xtick.color", "ytick.color"], _INK),
}
_STEPS = [1, 2, 5, 10]
_DAY = 86_400.0


@attrs.frozen
class Steps:
    """The number of waiting items over time: from ``times[i]`` on, ``levels[i]`` items wait."""

    times: Sequence[float]
    levels: Sequence[int]

    def between(self, start: float, end: float) -> "Steps":
        """Return the steps from ``start`` to ``end``; ``end`` is in ``times``, but has no level."""
        first, last = bisect.bisect(self.times, start), bisect.bisect_left(self.times, end)
        levels = [self.levels[first - 1] if first else 0, *self.levels[first:last]]
        return Steps([start, *self.times[first:last], end], levels)

    @property
    def most(self) -> int:
        """The highest level."""
        return max(self.levels)

    @property
    def mean(self) -> float:
        """The mean level over time; only for steps that :meth:`between` has made."""
        seconds = [later - earlier for earlier, later in pairwise(self.times)]
        area = sum(level * time for level, time in zip(self.levels, seconds, strict=True))
        return area / sum(seconds)


@attrs.frozen
class Scales:
    """The scales that all rows share.

    Attributes:
        whole: The start and the end of the left column (the whole run), in seconds.
        part: The start and the end of the middle column (a part of the run), in seconds.
        latency: The start and the end of the latency axis of the right column, in seconds.
        most: The greatest number of waiting items in any run.
    """

    whole: tuple[float, float]
    part: tuple[float, float]
    latency: tuple[float, float]
    most: int


def save_picture(runs: Sequence[Run], path: str) -> None:
    """Draw the runs into an SVG file if the path ends with ``.svg``, else into a PNG file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    height = _TOP + len(runs) * _ROW + _BOTTOM
    kind = "svg" if path.lower().endswith(".svg") else "png"
    with import_module("matplotlib").rc_context(_STYLE):
        figure = _matplotlib("figure").Figure(figsize=(_WIDTH, height), facecolor="white")
        _draw(figure, runs)
        figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)


def steps_of(run: Run) -> Steps:
    """Return how many items waited at each time, including items whose producers waited in line.

    An item waits from its arrival until its flush starts, or until it is displaced or refused.
    Items are refused only at the time of the last arrival, because the queue is closed then.
    """
    came = Counter(run.setting.arrivals)
    came[run.setting.arrivals[-1]] -= run.trace.refused
    came.subtract(each.now for each in run.trace.displacements)
    changes = [*came.items()]
    changes += [(flush.started, -flush.size) for flush in run.trace.flushes]
    changes.sort(key=lambda change: (change[0], change[1] < 0))
    return Steps([time for time, _ in changes], [*accumulate(change for _, change in changes)])


def scales_of(runs: Sequence[Run], steps: Sequence[Steps]) -> Scales:
    """Return the scales that fit all runs."""
    first = min(0.0, runs[0].setting.arrivals[0])
    last = max(each.times[-1] for each in steps)
    whole = first, last if last - first > INSTANT else first + 1.0
    latencies = [run.latency(share) for run in runs for share in (0, 1)]
    seen = [latency for latency in latencies if latency > 0] or [1.0]
    return Scales(
        whole=whole,
        part=_middle_part(runs, *whole),
        latency=(min(seen) / 1.5, max(seen) * 1.5),
        most=max(each.most for each in steps),
    )


def _middle_part(runs: Sequence[Run], first: float, last: float) -> tuple[float, float]:
    """Return the start and the end, in seconds, of a part of the runs around the middle arrival.

    The part has about 12 flushes of the run that flushes most often. If the run that flushes least
    often might have no flush in such a part, the part is longer. A longer part has at most about
    100 flushes of the run that flushes most often.
    """
    gaps = [(last - first) / max(1, len(run.sizes)) for run in runs]
    seconds = max(12 * min(gaps), min(1.5 * max(gaps), 100 * min(gaps)))
    arrivals = runs[0].setting.arrivals
    start = max(first, min(arrivals[len(arrivals) // 2] - seconds / 2, last - seconds))
    return start, min(last, start + seconds)


def traffic_text(setting: Setting) -> str:
    """Return the title: how many items arrived, in how many partitions and how fast."""
    arrivals = setting.arrivals
    came = counted(len(arrivals), "item")
    if setting.partitions is not None:
        came += f" of {counted(len({*setting.partitions}), 'partition')}"
    seconds = arrivals[-1] - arrivals[0]
    if not seconds:
        return came
    return f"{came} in {duration(seconds)}, {len(arrivals) / seconds:.3g} a second on average"


def sink_text(setting: Setting) -> str:
    """Return a line about the sink and the costs; add a line if there are limits or failures."""
    sink = setting.sink
    times = [duration(sink.fixed)] if sink.fixed or not sink.each else []
    times += [f"{duration(sink.each)} for each item"] if sink.each else []
    slots = f"; {setting.slots} flushes may run at a time" if setting.slots > 1 else ""
    flush, delay = setting.flush_cost, setting.delay_cost
    calls = (
        f"A call of the sink takes {' plus '.join(times)}{slots}. "
        f"Each call costs {flush:g}; each second that an item waits costs {delay:g}."
    )
    limits = []
    if setting.max_queue_size is not None:
        limits.append(f"The queue has room for {setting.max_queue_size:,} items.")
    if setting.max_queue_weight is not None:
        limits.append(f"The items in the queue weigh up to {setting.max_queue_weight:g}.")
    if setting.when_full != "wait":
        limits.append(f"A full queue displaces the {setting.when_full.removeprefix('drop_')} item.")
    if setting.failures is not None:
        limits.append(f"{100 * setting.failures.rate:.3g}% of calls fail.")
    return "\n".join([calls, " ".join(limits)]).rstrip()


def _draw(figure: Any, runs: Sequence[Run]) -> None:
    steps = [steps_of(run) for run in runs]
    scales = scales_of(runs, steps)
    rows = [_add_axes(figure, number, scales) for number in range(len(runs))]
    places = _Places(runs[0].setting.began)
    for (whole, part, latency), run, each in zip(rows, runs, steps, strict=True):
        _draw_whole(whole, run, each, scales, places)
        _draw_part(part, run, each, scales, places)
        _draw_latencies(latency, run, scales)
    for row in rows[:-1]:
        for axis in row:
            axis.set_xlabel("")
            axis.tick_params(labelbottom=False)
    _write_head(figure, runs[0].setting)


def _add_axes(figure: Any, row: int, scales: Scales) -> list[Any]:
    height = figure.get_figheight()
    bottom = (height - _TOP - (row + 1) * _ROW) / height
    axes = [
        figure.add_axes((left / _WIDTH, bottom, width / _WIDTH, (_ROW - _TEXT) / height))
        for left, width in _COLUMNS
    ]
    for axis in axes[:2]:
        axis.set_ylim(0, 1.05 * scales.most)
        axis.yaxis.set_major_locator(
            _matplotlib("ticker").MaxNLocator(4, steps=_STEPS, integer=True)
        )
    for axis in axes:
        axis.grid(axis="y")
    axes[0].set_ylabel("items")
    return axes


def _draw_whole(axis: Any, run: Run, steps: Steps, scales: Scales, places: "_Places") -> None:
    first, last = scales.whole
    edges = [first + (last - first) * number / INTERVALS for number in range(INTERVALS + 1)]
    parts = [steps.between(start, end) for start, end in pairwise(edges)]
    at = places.positions(edges)
    axis.stairs([part.most for part in parts], at, fill=True, color=_MOST)
    axis.stairs([part.mean for part in parts], at, fill=True, color=_MEAN)
    places.label_axis(axis, scales.whole)
    axis.set_title(_shortened(run.policy, 40), loc="left", weight="bold", fontsize=10)
    axis.set_title("" if run.ratio is None else f"{run.ratio:.2f} x least cost", loc="right")


def _draw_part(axis: Any, run: Run, steps: Steps, scales: Scales, places: "_Places") -> None:
    start, end = scales.part
    part = steps.between(start, end)
    axis.stairs(part.levels, places.positions(part.times), fill=True, color=_MEAN)
    seen = [flush for flush in run.trace.flushes if start <= flush.started <= end]
    at = places.positions([flush.started for flush in seen])
    axis.vlines(at, 0, [flush.size for flush in seen], _FLUSH, linewidth=1.2)
    places.label_axis(axis, scales.part)
    axis.set_title(_shortened(f"flushes: {reasons_text(run)}", 60), loc="left")


def _draw_latencies(axis: Any, run: Run, scales: Scales) -> None:
    least, greatest = scales.latency
    ticker = _matplotlib("ticker")
    axis.set_xscale("log")
    axis.set_xlim(least, greatest)
    subs = (1.0,) if greatest > 100 * least else (1.0, 3.0)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.xaxis.set_major_formatter(lambda seconds, _: duration(seconds))
    axis.set_ylim(0, 1.05)
    axis.set_yticks([0, *SHARES], ["0", *(f"{share:.0%}" for share in SHARES)])
    if not run.latencies:
        axis.set_title("nothing was delivered", loc="left")
        return
    if run.slowest is None:
        _draw_curve(axis, run.latencies, least, "-")
        texts = [f"{share:.0%} {duration(run.latency(share))}" for share in SHARES]
    else:
        slowest, others = run.slowest.latencies, run.slowest.others
        _draw_curve(axis, slowest, least, ":")
        if others:
            _draw_curve(axis, others, least, "-")
        times = [duration(quantile(latencies, SHARES[-1])) for latencies in (others, slowest)]
        texts = [f"{SHARES[-1]:.0%}: others {times[0]}", f"slowest {times[1]}"]
    axis.set_title(",  ".join(texts), loc="left")


def _draw_curve(axis: Any, latencies: Sequence[float], least: float, style: str) -> None:
    shares = [number / POINTS for number in range(POINTS + 1)]
    axis.plot(
        [max(least, quantile(latencies, share)) for share in shares], shares, style, color=_INK
    )
    axis.plot(
        [max(least, quantile(latencies, share)) for share in SHARES], SHARES, "o", color=_FLUSH
    )


def _write_head(figure: Any, setting: Setting) -> None:
    line, patch = _matplotlib("lines").Line2D, _matplotlib("patches").Patch
    height = figure.get_figheight()
    left = _COLUMNS[0][0] / _WIDTH
    figure.text(left, 1 - 0.25 / height, traffic_text(setting), fontsize=13, weight="bold")
    figure.text(left, 1 - 0.62 / height, sink_text(setting), verticalalignment="bottom")
    handles = [
        patch(color=_MOST, label="waiting items: maximum"),
        patch(color=_MEAN, label="waiting items: mean (left) or exact (middle)"),
        line([], [], color=_FLUSH, label="items of a flush"),
        line([], [], color=_FLUSH, marker="o", linestyle="", label="50% and 99% of the items"),
    ]
    if setting.partitions is not None:
        handles.append(line([], [], color=_INK, linestyle=":", label="the slowest partition"))
    figure.legend(
        handles=handles,
        ncols=len(handles),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        loc="upper left",
        bbox_to_anchor=(left, 1 - 0.68 / height),
    )
    titles = (
        "The whole run",
        "A closer look: the same part of all runs",
        "Items delivered within this time",
    )
    for (left, _), title in zip(_COLUMNS, titles, strict=True):
        figure.text(left / _WIDTH, 1 - (_TOP + 0.12) / height, title, style="italic")


@attrs.frozen
class _Places:
    """The positions of times on an axis; the axis has clock times if the traffic has dates."""

    began: datetime | None

    def positions(self, moments: Sequence[float]) -> list[float]:
        """Return the positions of times that are given in seconds."""
        if self.began is None:
            return list(moments)
        start = float(_matplotlib("dates").date2num(self.began))
        return [start + moment / _DAY for moment in moments]

    def label_axis(self, axis: Any, ends: tuple[float, float]) -> None:
        """Set the two ends of a time axis, which are given in seconds, and label the axis."""
        axis.set_xlim(*self.positions(ends))
        if self.began is None:
            axis.xaxis.set_major_locator(_matplotlib("ticker").MaxNLocator(6, steps=_STEPS))
            axis.set_xlabel("seconds")
            return
        dates = _matplotlib("dates")
        locator = dates.AutoDateLocator(self.began.tzinfo, minticks=3, maxticks=6)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, self.began.tzinfo))
        axis.set_xlabel(f"{self.began:%Z}")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _matplotlib(name: str) -> Any:
    """Import a module of matplotlib when it is needed: matplotlib is large, and may be missing."""
    return import_module(f"matplotlib.{name}")
