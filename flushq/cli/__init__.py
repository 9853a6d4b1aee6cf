"""``python -m flushq …``: the command line, with one file for each command.

Results go to standard output, everything else (errors, the live display) to standard error. The
exit code is 0 when all went well, 2 for a mistake in the call (nothing was done), 1 for a failure
under way, and after a signal 128 plus the number of the signal.
"""

import logging
from typing import Any

import click

from flushq import __version__
from flushq.cli.ingest import ingest
from flushq.cli.simulate import simulate
from flushq.cli.terminal import Command, told
from flushq.cli.work import work


class Commands(Command, click.Group):
    """A group whose commands report a mistake in one line, and end with its exit code."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read what comes before the command."""
        with told():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a usage error says what is wrong, and not how commands are called."""
        with told():
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                error.ctx = None
                raise


@click.group(cls=Commands, example="python -m flushq ingest app.log --db events.db")
@click.version_option(__version__, prog_name="flushq")
def main() -> None:
    """A batching queue for asyncio, at work on real input."""


main.add_command(ingest)
main.add_command(simulate)
main.add_command(work)

# The commands report themselves what a queue logs of its losses.
logging.getLogger("flushq").addHandler(logging.NullHandler())

__all__ = ["main"]
