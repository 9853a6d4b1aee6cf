"""Checks of how the options of ``simulate`` are combined: an option may need or exclude another."""

import click
from click.core import ParameterSource

from flushq.cli.terminal import Mistake
from flushq.throttles import CircuitBreaker


def check_combination(ctx: click.Context) -> None:
    """Check that each given option has an effect, and that the given options fit together.

    Raises:
        Mistake: A given option has no effect. Or the command line has neither a FILE nor --rate, or
            it has both. Or --weight allows items that are heavier than --queue-weight.
    """
    _check_traffic(ctx)
    _check_needed(ctx, ("retry", "attempts"), ("fail_rate",), "calls that fail")
    _check_needed(ctx, ("queue_weight",), ("weight",), "the weights of items")
    _check_needed(ctx, ("when_full",), ("queue_size", "queue_weight"), "full queues")
    if isinstance(ctx.params["throttle"], CircuitBreaker) and not _given(ctx, "fail_rate"):
        raise Mistake("a breaker is about calls that fail: it needs --fail-rate")
    if ctx.params["queue_weight"] is not None:
        _check_weights(ctx.params["weight"], ctx.params["queue_weight"])


def _check_traffic(ctx: click.Context) -> None:
    traffic = _given(ctx, "file", "rate")
    if not traffic:
        raise Mistake("the traffic is missing: name a FILE with arrivals or give a --rate")
    if traffic == ["file", "rate"]:
        raise Mistake("name a FILE with arrivals or give a --rate, not both")
    draws = _given(ctx, "fail_rate", "weight")
    of_model = _given(ctx, "seconds", *([] if draws else ["seed"]), "partitions", "skew")
    if traffic == ["file"] and of_model:
        why = "is about random arrivals (--rate)"
        raise Mistake(f"--{of_model[0]} {why}: it must not be given with a FILE")
    _check_needed(ctx, ("skew",), ("partitions",), "random partitions")


def _check_weights(mean: float, bound: float) -> None:
    heaviest = 2 * mean
    if bound < heaviest:
        raise Mistake(
            f"--queue-weight must be at least {heaviest:g}, not {bound:g}:"
            f" with --weight {mean:g}, one item may weigh up to {heaviest:g}"
        )


def _check_needed(
    ctx: click.Context, options: tuple[str, ...], needed: tuple[str, ...], about: str
) -> None:
    """Raise Mistake if any of the ``options`` is given, but none of the ``needed`` options is."""
    given = _given(ctx, *options)
    if given and not _given(ctx, *needed):
        missing = " or ".join(map(_shown, needed))
        raise Mistake(f"{_shown(given[0])} is about {about}: it needs {missing}")


def _given(ctx: click.Context, *names: str) -> list[str]:
    """Return those ``names`` that are given on the command line, in the order of ``names``."""
    return [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def _shown(name: str) -> str:
    return f"--{name.replace('_', '-')}"
