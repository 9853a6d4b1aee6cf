"""What the command line says, and to whom.

Nobody may be listening: a closed pipe is no reason to fail, since the work is done all the same.
A result that cannot be written for another reason, say a full disk, is one; so is one for which
there is no standard output.
"""

import os
import sys

import click

REPORTED = 10


class Mistake(click.ClickException):
    """The caller's mistake, in one line; nothing was done."""

    exit_code = 2


def say(result: str) -> bool:
    """Print a line to standard output; return whether all is well, and complain if not."""
    if sys.stdout is None:
        complain("cannot write to standard output: it is closed")
        return False
    try:
        click.echo(result)
    except BrokenPipeError:
        _hush(sys.stdout.fileno())
    except OSError as error:
        _hush(sys.stdout.fileno())
        complain(f"cannot write to standard output: {error.strerror}")
        return False
    return True


def complain(trouble: str) -> None:
    """Print a line to standard error."""
    try:
        click.echo(trouble, err=True)
    except OSError:
        _hush(sys.stderr.fileno())


class Complaints:
    """Complains of the first REPORTED of a kind, and once that it does so no more."""

    def __init__(self, kind: str) -> None:
        self.count = 0
        self._kind = kind

    def complain(self, trouble: str) -> None:
        """Count one, and print it to standard error unless that has been done often enough."""
        self.count += 1
        if self.count <= REPORTED:
            complain(trouble)
        elif self.count == REPORTED + 1:
            complain(f"further {self._kind} are not reported")


def _hush(fd: int) -> None:
    """Let what is still buffered for a reader that is gone end in nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)
