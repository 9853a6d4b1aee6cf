"""The command ``simulate``: it runs policies with the same traffic and compares them."""

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
    catching_system_exit,
    check_not_same_file,
    errors_as_messages,
    option_reader,
    parse_policy,
    parse_sink,
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
            "run this in the checkout of flushq: pip install '.[plot]'"
        )
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise Mistake(f"cannot write {path!r}: its directory does not exist")
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
    help="Random arrivals (a Poisson process) instead of a FILE: R items a second on average.",
)
@click.option(
    "--seconds",
    type=Number(0, LARGEST, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="How long the random arrivals last.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="The seed of all random numbers: arrivals, partitions, weights and failures.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, MOST_ITEMS),
    metavar="N",
    help="Give each random arrival one of N partitions.  [default: no partitions]",
)
@click.option(
    "--skew",
    type=Number(0, LARGEST),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Make partition k less frequent than partition 1, by the factor k ** S (Zipf's law).",
)
@click.option(
    "--sink",
    required=True,
    callback=option_reader(parse_sink),
    metavar="TEXT",
    help=f"How long a call of the sink with n items takes: {SINK_USAGE}, as in 0.02+0.0001n.",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="The number of flushes that may run at a time.",
)
@click.option(
    "--weight",
    type=Number(0, LARGEST, min_open=True),
    metavar="MEAN",
    help="Give items random weights from 0 to twice the MEAN (a uniform distribution).",
)
@click.option(
    "--queue-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="The number of items that may wait.  [default: no limit]",
)
@click.option(
    "--queue-weight",
    type=Number(0, LARGEST, min_open=True),
    metavar="N",
    help="The weight that all waiting items may have together.  [default: no limit]",
)
@click.option(
    "--when-full",
    type=click.Choice(WHEN_FULL),
    default="wait",
    show_default=True,
    help="What a full queue does: let producers wait, or displace the oldest or the newest item.",
)
@click.option(
    "--drain",
    is_flag=True,
    help="Close the queue after the last arrival, and flush the items that still wait.",
)
@click.option(
    "--fail-rate",
    type=Number(0, 1),
    metavar="P",
    help="The probability that a call of the sink fails.  [default: no call fails]",
)
@click.option(
    "--retry",
    type=Number(0, LARGEST),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between a failed call and its retry.",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, MOST_ATTEMPTS),
    default=3,
    show_default=True,
    metavar="N",
    help="The number of failed calls after which a batch is dropped.",
)
@click.option(
    "--throttle",
    callback=option_reader(parse_throttle),
    metavar="TEXT",
    help=f"When a call of the sink may start: {THROTTLE_USAGE}.  [default: at any time]",
)
@click.option(
    "--flush-cost",
    type=Number(0, LARGEST),
    default=1.0,
    show_default=True,
    metavar="A",
    help="The cost of each call of the sink, retries included.",
)
@click.option(
    "--delay-cost",
    type=Number(0, LARGEST),
    default=1.0,
    show_default=True,
    metavar="W",
    help="The cost of each second that an item waits for the start of its flush.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    callback=option_reader(_policies),
    default=DEFAULT_POLICIES,
    show_default=True,
    metavar="TEXT",
    help=f"A policy to try: {POLICY_USAGE}. You can give this option many times.",
)
@click.option("--json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--plot",
    callback=_picture,
    metavar="FILE",
    help="Draw a picture of the runs into FILE.svg or FILE.png.",
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
    """Run policies with the same traffic, in virtual time, and compare the policies.

    The traffic is a FILE (- for standard input) or random (--rate). Each line of a FILE has the
    time of one arrival, in seconds or ISO 8601 (UTC if the line has no time zone). A tab and the
    partition key of the item may follow. The sink stands for your flush_fn: each flush calls the
    sink once, and once more for each retry.

    The command prints one row for each policy: the number of flushes, the mean and the largest
    batch size, the latencies (from the arrival of an item to the end of its flush), how busy the
    slots were, the cost of calls and delays, this cost divided by the least possible cost, and the
    reasons of the flushes. The least possible cost is the cost of the best schedule. This schedule
    knows all arrivals in advance, and always has a free slot. If the policy limits the number of
    items in a batch (RECORDS), the schedule has the same limit.

    Some options add columns. --queue-size and --queue-weight add the number of producers that
    waited in line for room ("blocked"). With --when-full drop_oldest or drop_newest, they add the
    number of displaced items instead. --fail-rate adds the number of dropped items. Partitions add
    the p99 latency (the 99% quantile) of the slowest partition, and the p99 latency of all other
    partitions together.

    You can use a policy of your own. MODULE:NAME is the policy NAME in a module that Python can
    import. MODULE:NAME(0.2, most=5) is the policy that the class or function NAME makes with these
    arguments. The arguments must be literals.
    """
    check_combination(ctx)
    if plot is not None and file is not None:
        check_not_same_file("--plot", plot, file.name)
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
    with errors_as_messages():
        traffic = _model(rate, seconds, seed, partitions, skew) if rate else _read(file)
        if weight is not None:
            weights = model_weights(len(traffic.arrivals), weight, seed)
            traffic = traffic._replace(weights=weights)
        with catching_system_exit(click.ClickException):
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
