"""The parts that all commands share: their help, their output and their error messages.

If standard output is a pipe that its reader has closed, this is not a failure, because the command
has done its work. If a result cannot be written for another reason (full disk, no standard output),
this is a failure.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

REPORTED = 10


class Mistake(click.ClickException):
    """The error if a command cannot start: an argument is wrong, for example. Nothing was done."""

    exit_code = 2


class Command(click.Command):
    """A command whose help begins with an example: one line that the user can copy."""

    def __init__(self, *args: Any, example: str, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._example = example

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, without line breaks, and then the description of the command."""
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{self._example}\n")
        super().format_help_text(ctx, formatter)


def say(result: str) -> bool:
    """Print a line to standard output. If this fails, report the error and return False.

    If standard output is a pipe that its reader has closed, discard the line and return True.
    """
    if sys.stdout is None:
        complain("cannot write to standard output: it is closed")
        return False
    try:
        click.echo(result)
    except BrokenPipeError:
        _discard_output(sys.stdout.fileno())
    except OSError as error:
        _discard_output(sys.stdout.fileno())
        complain(f"cannot write to standard output: {error.strerror}")
        return False
    return True


def complain(message: str) -> None:
    """Print a line to standard error."""
    _tell(lambda: click.echo(message, err=True))


@contextmanager
def exiting_on_failure() -> Iterator[None]:
    """If the block raises a ClickException, print it to standard error and exit with its code.

    Raises:
        SystemExit: The block raised a ClickException.
    """
    try:
        yield
    except click.ClickException as failure:
        _tell(failure.show)
        sys.exit(failure.exit_code)


class Complaints:
    """A reporter of problems of one kind: it prints the first REPORTED problems, then one notice.

    Args:
        kind: The KIND in the notice "further KIND are not reported": a plural noun.
    """

    def __init__(self, kind: str) -> None:
        self.count = 0
        self._kind = kind

    def complain(self, problem: str) -> None:
        """Count a problem, and print it to standard error if it is one of the first REPORTED."""
        self.count += 1
        if self.count <= REPORTED:
            complain(problem)
        elif self.count == REPORTED + 1:
            complain(f"further {self._kind} are not reported")

    def start_anew(self) -> None:
        """Set the count to 0, so that new problems are reported again."""
        self.count = 0


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 line``, ``2,000 lines``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def progress_figures(share: float | None, seconds: float) -> dict[str, str]:
    """Return two figures, by name: the share that is done, and the time left at the speed so far.

    Args:
        share: The share of the work that is done, from 0 to 1. None: this share is unknown, and the
            result has no figures.
        seconds: The time since the start, in seconds.
    """
    if share is None:
        return {}
    left = timedelta(seconds=round(seconds / share - seconds)) if share else "-"
    return {"done": f"{share:.0%}", "time left": str(left)}


@contextmanager
def shown_live(look: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Show the current figures inside the block, if standard error is a terminal.

    Args:
        look: The function that returns the current figures, by name; a thread calls it.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    with Live(get_renderable=lambda: _table(look()), console=Console(stderr=True), transient=True):
        yield


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show progress bars inside the block, if standard error is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def shown_task(progress: Progress, text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, and yield the function that advances the bar by a number of items."""
    task = progress.add_task(text, total=total)
    yield partial(progress.advance, task)
    progress.update(task, total=total or 1, completed=total or 1)


def _table(figures: Mapping[str, str]) -> Table:
    table = Table(*figures)
    table.add_row(*figures.values())
    return table


def _tell(speak: Callable[[], None]) -> None:
    """Call ``speak``, which writes to standard error; if standard error is closed, do nothing.

    The reason is that click may write to standard output if standard error is closed.
    """
    if sys.stderr is None:
        return
    try:
        speak()
    except OSError:
        _discard_output(sys.stderr.fileno())


def _discard_output(fd: int) -> None:
    """Redirect ``fd`` to the null device, to discard the data that is still buffered."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)
