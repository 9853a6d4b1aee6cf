"""``python -m flushq simulate``: policies on traffic, in virtual time, compared."""

import sys
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import click

from flushq import FlushPolicy
from flushq.cli.combinations import check_combination
from flushq.cli.lab import WHEN_FULL, Failures, Run, Setting, Sink, WhenFull, run
from flushq.cli.params import (
    LARGEST,
    POLICY_USAGE,
    SINK_USAGE,
    Input,
    Number,
    by,
    check_apart,
    parse_policy,
    parse_sink,
    reported,
    staying,
)
from flushq.cli.picture import save_picture
from flushq.cli.report import as_json, as_table
from flushq.cli.signals import interruptible
from flushq.cli.terminal import Command, Mistake, say, shown_progress, shown_task
from flushq.cli.throttling import THROTTLE_USAGE, parse_throttle
from flushq.cli.traffic import (
    MOST_ITEMS,
    Traffic,
    model_arrivals,
    model_partitions,
    model_weights,
    read_traffic,
)
from flushq.simulation import MOST_ATTEMPTS
from flushq.throttles import Throttle

DEFAULT_POLICIES = ("interval:1.0,500", "natural", "budget:1.0", "pause")


def _policies(texts: tuple[str, ...]) -> list[tuple[str, FlushPolicy]]:
    return [(text, parse_policy(text)) for text in texts]


def _picture(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    if path is not None and find_spec("matplotlib") is None:
        raise Mistake(
            "--plot needs matplotlib, which is not installed; "
            "in the checkout of flushq: pip install '.[plot]'"
        )
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise Mistake(f"cannot write {path!r}: there is no such directory")
    if path is not None and Path(path).is_dir():
        raise Mistake(f"cannot write {path!r}: it is a directory")
    return path


@click.command(
    cls=Command,
    example="python -m flushq simulate --rate 200 --sink 0.02+0.0001n --policy natural",
)
@click.argument("file", required=False, type=Input())
@click.option(
    "--rate",
    type=Number(0, LARGEST, min_open=True),
    metavar="R",
    help="Instead of a FILE: a Poisson process of so many items a second.",
)
@click.option(
    "--seconds",
    type=Number(0, LARGEST, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="How long it lasts.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Which one of them, which calls fail, and what items weigh.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, MOST_ITEMS),
    metavar="N",
    help="Of how many partitions its items are.  [default: there are no partitions]",
)
@click.option(
    "--skew",
    type=Number(0, LARGEST),
    default=0.0,
    show_default=True,
    metavar="S",
    help="How unequal these are: the k-th is k ** S times less frequent than the first (Zipf).",
)
@click.option(
    "--sink",
    required=True,
    callback=by(parse_sink),
    metavar="TEXT",
    help=f"How long a flush of n items takes: {SINK_USAGE}; 0.02+0.0001n, say.",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many flushes may run at a time.",
)
@click.option(
    "--weight",
    type=Number(0, LARGEST, min_open=True),
    metavar="MEAN",
    help="The mean weight of an item: from 0 to twice that, all equally likely.",
)
@click.option(
    "--queue-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many items may wait.  [default: no limit]",
)
@click.option(
    "--queue-weight",
    type=Number(0, LARGEST, min_open=True),
    metavar="N",
    help="What the items that wait may weigh together.  [default: no limit]",
)
@click.option(
    "--when-full",
    type=click.Choice(WHEN_FULL),
    default="wait",
    show_default=True,
    help="Whether producers wait in line for a full queue, or which items it gives up.",
)
@click.option(
    "--drain", is_flag=True, help="Close the queue after the last arrival: flush what is left."
)
@click.option(
    "--fail-rate",
    type=Number(0, 1),
    metavar="P",
    help="The probability that a call of the sink fails.  [default: none fails]",
)
@click.option(
    "--retry",
    type=Number(0, LARGEST),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long after a call that failed it is made again.",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, MOST_ATTEMPTS),
    default=3,
    show_default=True,
    metavar="N",
    help="How many calls are made with a batch before it is dropped.",
)
@click.option(
    "--throttle",
    callback=by(parse_throttle),
    metavar="TEXT",
    help=f"When a call of the sink may start: {THROTTLE_USAGE}.  [default: at any time]",
)
@click.option(
    "--flush-cost",
    type=Number(0, LARGEST),
    default=1.0,
    show_default=True,
    metavar="A",
    help="What a flush costs, and each further call of it.",
)
@click.option(
    "--delay-cost",
    type=Number(0, LARGEST),
    default=1.0,
    show_default=True,
    metavar="W",
    help="What each second costs that an item waits for the start of its flush.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    callback=by(_policies),
    default=DEFAULT_POLICIES,
    show_default=True,
    metavar="TEXT",
    help=f"A policy to try, any number of times: {POLICY_USAGE}.",
)
@click.option("--json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--plot",
    callback=_picture,
    metavar="FILE",
    help="Draw what happened: FILE.svg or FILE.png.",
)
@click.pass_context
def simulate(
    ctx: click.Context,
    *,
    file: TextIO | None,
    rate: float | None,
    seconds: float,
    seed: int,
    partitions: int | None,
    skew: float,
    sink: Sink,
    slots: int,
    weight: float | None,
    queue_size: int | None,
    queue_weight: float | None,
    when_full: WhenFull,
    drain: bool,
    fail_rate: float | None,
    retry: float,
    attempts: int,
    throttle: Throttle | None,
    flush_cost: float,
    delay_cost: float,
    policies: list[tuple[str, FlushPolicy]],
    json: bool,
    plot: str | None,
) -> None:
    """Try policies on traffic, in virtual time, and compare them.

    The traffic is in a FILE (- for standard input), one arrival a line, in seconds or ISO 8601 (UTC
    where a line does not say otherwise), and after a tab, if there is one, the key of a partition;
    or it is a model (--rate). For each policy a row is printed: its flushes, the mean and the
    largest batch; how long the items took, from arrival to the end of their flush; how busy the
    sink was; what flushes and waiting cost; how many times the least cost that is, of any schedule
    that knows the future, has the same RECORDS and always a free slot; and why it flushed. With
    --queue-size or --queue-weight also how many producers were blocked: they stood in line for
    room; or how many items were displaced, if --when-full says that none stands in line; with
    --fail-rate how many were dropped; with partitions the p99 of the slowest one, and of all
    others.

    A policy of your own is MODULE:NAME, an object in a module that can be imported, or
    MODULE:NAME(0.2, most=5), what a class or a function in it makes of literal arguments.
    """
    check_combination(ctx)
    if plot is not None and file is not None:
        check_apart("--plot", plot, file.name)
    setting = partial(
        Setting,
        sink=sink,
        slots=slots,
        flush_cost=flush_cost,
        delay_cost=delay_cost,
        max_queue_size=queue_size,
        max_queue_weight=queue_weight,
        when_full=when_full,
        drain=drain,
        throttle=throttle,
        failures=None if fail_rate is None else Failures(fail_rate, seed, retry, attempts),
    )
    with reported():
        traffic = _model(rate, seconds, seed, partitions, skew) if rate else _read(file)
        if weight is not None:
            weights = model_weights(len(traffic.arrivals), weight, seed)
            traffic = traffic._replace(weights=weights)
        with staying(click.ClickException):
            runs = _run_all(policies, setting(**traffic._asdict()))
    said = say(as_json(runs) if json else as_table(runs))
    if plot is not None:
        _draw(runs, plot)
    sys.exit(0 if said else 1)


def _model(rate: float, seconds: float, seed: int, partitions: int | None, skew: float) -> Traffic:
    arrivals = model_arrivals(rate, seconds, seed)
    if partitions is None:
        return Traffic(arrivals)
    return Traffic(arrivals, partitions=model_partitions(len(arrivals), partitions, skew, seed))


def _read(file: TextIO | None) -> Traffic:
    assert file is not None
    try:
        return read_traffic(file)
    except (ValueError, OSError) as error:
        raise Mistake(f"cannot read arrivals from {file.name!r}: {error}") from None


def _run_all(policies: list[tuple[str, FlushPolicy]], setting: Setting) -> list[Run]:
    runs = []
    with interruptible(), shown_progress() as progress:

        @cache
        def least(cap: int | None) -> float:
            with shown_task(progress, "the optimum", None):
                return setting.least_cost(cap)

        for text, policy in policies:
            with shown_task(progress, text, len(setting.arrivals)) as advance:
                runs.append(run(text, policy, setting, least, advance))
    return runs


def _draw(runs: list[Run], path: str) -> None:
    try:
        save_picture(runs, path)
    except OSError as error:
        raise click.ClickException(f"cannot write {path!r}: {error.strerror}") from None
