"""``python -m flushq …``: the command line, with one file for each command.

Results go to standard output, everything else (errors, the live display) to standard error. The
exit code is 0 for success, 2 if the command could not start (nothing was done), 1 for a failure
during the work, and 128 plus the number of the signal after a signal. The exception is ``work``: a
signal is the normal way to end it, so its exit code is 0 after one signal.
"""

import logging
from typing import Any

import click

from flushq import __version__
from flushq.cli.ingest import ingest
from flushq.cli.simulate import simulate
from flushq.cli.terminal import Command, exiting_on_failure
from flushq.cli.work import work


class Commands(Command, click.Group):
    """A group of commands that report a mistake in one line and exit with its exit code."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments that come before the name of a command of the group."""
        with exiting_on_failure():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a usage error is reported without the usage line of the command."""
        with exiting_on_failure():
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                error.ctx = None
                raise


@click.group(cls=Commands, example="python -m flushq ingest app.log --db events.db")
@click.version_option(__version__, prog_name="flushq")
def main() -> None:
    """Commands that run a batching queue for asyncio on real input."""


main.add_command(ingest)
main.add_command(simulate)
main.add_command(work)

# The commands themselves report the losses that a queue logs.
logging.getLogger("flushq").addHandler(logging.NullHandler())

__all__ = ["main"]
