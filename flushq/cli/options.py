"""Options whose text is read by a function: what is wrong with one is a mistake in the call."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

LARGEST = 1e12

Given = TypeVar("Given")
T = TypeVar("T")


def by(read: Callable[[Given], T]) -> Callable[[click.Context, click.Parameter, Given], T]:
    """Read an option by a function whose ValueError says what is wrong."""

    def callback(ctx: click.Context, param: click.Parameter, given: Given) -> T:
        try:
            return read(given)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


class Number(click.FloatRange):
    """A float within bounds, which NaN is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; NaN is no number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number
