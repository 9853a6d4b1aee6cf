"""The checks of the options of ``simulate``: some need another one, some exclude each other."""

import click
from click.core import ParameterSource

from flushq.cli.terminal import Mistake
from flushq.throttles import CircuitBreaker


def check_combination(ctx: click.Context) -> None:
    """Raise Mistake unless every option that the call names has an effect.

    Raises:
        Mistake: An option has no effect; or the call has neither a FILE nor a --rate, or has both;
            or one item may weigh more than all waiting items may weigh together.
    """
    _check_traffic(ctx)
    _check_needed(ctx, ("retry", "attempts"), ("fail_rate",), "calls that fail")
    _check_needed(ctx, ("queue_weight",), ("weight",), "the weights of items")
    _check_needed(ctx, ("when_full",), ("queue_size", "queue_weight"), "a queue that is full")
    if isinstance(ctx.params["throttle"], CircuitBreaker) and not _given(ctx, "fail_rate"):
        raise Mistake("a breaker needs --fail-rate: it is about calls that fail")
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
        why = "it is about the random arrivals of --rate"
        raise Mistake(f"--{of_model[0]} must not be given with a FILE: {why}")
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
    """Raise Mistake if the call names one of the options but none of the options that it needs."""
    given = _given(ctx, *options)
    if given and not _given(ctx, *needed):
        missing = " or ".join(map(_shown, needed))
        raise Mistake(f"{_shown(given[0])} needs {missing}: it is about {about}")


def _given(ctx: click.Context, *names: str) -> list[str]:
    """Return those of the parameters that the call gives, in this order."""
    return [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def _shown(name: str) -> str:
    return f"--{name.replace('_', '-')}"
