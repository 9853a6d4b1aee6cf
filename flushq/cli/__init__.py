"""``python -m flushq …``: the command line, with one file for each command.

Results go to standard output, everything else (errors, the live display) to standard error. The
exit code is 0 for success, 2 if the command could not start (nothing was done), 1 if it failed
later, and 128 plus the number of the signal if a signal ended the command. Only ``work`` differs: a
signal is the normal way to end ``work``, so its exit code is 0 after one signal.
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
    """A group of commands. It reports a ClickException, and exits with the exception's code."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments that come before the name of the command."""
        with exiting_on_failure():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; if an argument is wrong, report only the error, not the usage line."""
        with exiting_on_failure():
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                error.ctx = None
                raise


@click.group(cls=Commands, example="python -m flushq ingest app.log --db events.db")
@click.version_option(__version__, prog_name="flushq")
def main() -> None:
    """Store lines or messages in batches, or compare the policies that decide when to write."""


main.add_command(ingest)
main.add_command(simulate)
main.add_command(work)

# The commands report all losses, so the log messages of their queues are not shown.
logging.getLogger("flushq").addHandler(logging.NullHandler())

__all__ = ["main"]
