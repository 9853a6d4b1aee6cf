"""What the command line says, and to whom.

Nobody may be listening: a closed pipe is no reason to fail, since the work is done all the same.
A result that cannot be written for another reason, say a full disk, is one; so is one for which
there is no standard output.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    _tell(lambda: click.echo(trouble, err=True))


@contextmanager
def told() -> Iterator[None]:
    """Let a mistake, or another failure of a command, end the program, whether it is heard or not.

    Raises:
        SystemExit: This is the end, with the exit code of the failure.
    """
    try:
        yield
    except click.ClickException as failure:
        _tell(failure.show)
        sys.exit(failure.exit_code)


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


def _tell(speak: Callable[[], None]) -> None:
    """Speak to standard error; click would take standard output for one that is closed."""
    if sys.stderr is None:
        return
    try:
        speak()
    except OSError:
        _hush(sys.stderr.fileno())


def _hush(fd: int) -> None:
    """Let what is still buffered for a reader that is gone end in nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)
