"""Options and what they take: what is wrong with one is a mistake in the call."""

import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from flushq.cli.sources import STANDARD_INPUT

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


class Input(click.File):
    """A file to read, or standard input, if there is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Open it; a standard input that is closed cannot be."""
        if value == STANDARD_INPUT and sys.stdin is None:
            self.fail(f"{value!r}: standard input is closed", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A float within bounds, which NaN is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; NaN is no number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number
