"""Which options of ``simulate`` go together, and which say nothing without another."""

import click
from click.core import ParameterSource

from flushq.cli.terminal import Mistake
from flushq.throttles import CircuitBreaker


def check_combination(ctx: click.Context) -> None:
    """Make sure that every option that the call names has something to say.

    Raises:
        Mistake: It has not; or the traffic is neither a FILE nor a model, or is both; or an item
            may weigh more than all that may wait.
    """
    _check_traffic(ctx)
    _check_needed(ctx, ("retry", "attempts"), ("fail_rate",), "calls that fail")
    _check_needed(ctx, ("queue_weight",), ("weight",), "the weights of items")
    _check_needed(ctx, ("when_full",), ("queue_size", "queue_weight"), "a queue that is full")
    if isinstance(ctx.params["throttle"], CircuitBreaker) and not _given(ctx, "fail_rate"):
        raise Mistake("a breaker is about calls that fail, and there is no --fail-rate")
    if ctx.params["queue_weight"] is not None:
        _check_weights(ctx.params["weight"], ctx.params["queue_weight"])


def _check_traffic(ctx: click.Context) -> None:
    traffic = _given(ctx, "file", "rate")
    if not traffic:
        raise Mistake("name a FILE with arrivals, or a --rate")
    if traffic == ["file", "rate"]:
        raise Mistake("name a FILE with arrivals or a --rate, not both")
    draws = _given(ctx, "fail_rate", "weight")
    of_model = _given(ctx, "seconds", *([] if draws else ["seed"]), "partitions", "skew")
    if traffic == ["file"] and of_model:
        raise Mistake(f"--{of_model[0]} is about the model of a --rate, and there is a FILE")
    _check_needed(ctx, ("skew",), ("partitions",), "the partitions of a model")


def _check_weights(mean: float, bound: float) -> None:
    heaviest = 2 * mean
    if bound < heaviest:
        raise Mistake(
            f"with --weight {mean:g} an item weighs up to {heaviest:g},"
            f" which is more than --queue-weight {bound:g}"
        )


def _check_needed(
    ctx: click.Context, options: tuple[str, ...], needed: tuple[str, ...], about: str
) -> None:
    """Make sure that none of the options is named without one of those that it needs."""
    given = _given(ctx, *options)
    if given and not _given(ctx, *needed):
        missing = " or ".join(map(_shown, needed))
        raise Mistake(f"{_shown(given[0])} is about {about}, and there is no {missing}")


def _given(ctx: click.Context, *names: str) -> list[str]:
    """Those of the parameters that the call names, in this order."""
    return [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def _shown(name: str) -> str:
    return f"--{name.replace('_', '-')}"
