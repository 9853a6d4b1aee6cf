"""Options whose text is read by a function: what is wrong with one is a mistake in the call."""

from collections.abc import Callable
from typing import TypeVar

import click

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
