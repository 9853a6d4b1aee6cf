"""What the command line says, and to whom.

Nobody may be listening: a closed pipe is no reason to fail, since the work is done all the same.
"""

import os
import sys

import click


class Mistake(click.ClickException):
    """The caller's mistake, in one line; nothing was done."""

    exit_code = 2


def say(result: str) -> None:
    """Print a line to standard output."""
    try:
        click.echo(result)
    except OSError:
        _hush(sys.stdout.fileno())


def complain(trouble: str) -> None:
    """Print a line to standard error."""
    try:
        click.echo(trouble, err=True)
    except OSError:
        _hush(sys.stderr.fileno())


def _hush(fd: int) -> None:
    """Let what is still buffered for a reader that is gone end in nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)
