"""What all commands share: how they are explained, and what they write, and where to.

A closed pipe is not a failure, since the work is done all the same. A result that cannot be written
for another reason (the disk is full, there is no standard output) is a failure.
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
    """The user made a mistake in the call, told in one line; nothing was done."""

    exit_code = 2


class Command(click.Command):
    """A command whose help begins with an example, a line that can be copied."""

    def __init__(self, *args: Any, example: str, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._example = example

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example before the text; it is not wrapped."""
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{self._example}\n")
        super().format_help_text(ctx, formatter)


def say(result: str) -> bool:
    """Print a line to standard output; return whether that went well, and complain if not."""
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
    """End the program at a mistake or another failure, even if nobody can be told of it.

    Raises:
        SystemExit: A failure was met; this has its exit code.
    """
    try:
        yield
    except click.ClickException as failure:
        _tell(failure.show)
        sys.exit(failure.exit_code)


class Complaints:
    """Reports the first REPORTED troubles of a kind, and then, once, that it reports no more."""

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

    def start_anew(self) -> None:
        """Report again: these troubles are over, and what comes is another one."""
        self.count = 0


def counted(number: int, noun: str) -> str:
    """So many of something: ``1 line``, ``2,000 lines``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def how_far(share: float | None, seconds: float) -> dict[str, str]:
    """Tell, by name, how much is done, and how long the rest will take at the same speed.

    Args:
        share: Which share of the work is done. None: nobody knows, and nothing is told.
        seconds: How long that has taken.
    """
    if share is None:
        return {}
    left = timedelta(seconds=round(seconds / share - seconds)) if share else "-"
    return {"done": f"{share:.0%}", "time left": str(left)}


@contextmanager
def shown_live(look: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Show figures, by name, while they change, if standard error is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    with Live(get_renderable=lambda: _table(look()), console=Console(stderr=True), transient=True):
        yield


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show how far a long run has come, if standard error is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def shown_task(progress: Progress, text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a part of the work while it is done; yields what takes how many items were done."""
    task = progress.add_task(text, total=total)
    yield partial(progress.advance, task)
    progress.update(task, total=total or 1, completed=total or 1)


def _table(figures: Mapping[str, str]) -> Table:
    table = Table(*figures)
    table.add_row(*figures.values())
    return table


def _tell(speak: Callable[[], None]) -> None:
    """Write to standard error if there is one; click would write to standard output instead."""
    if sys.stderr is None:
        return
    try:
        speak()
    except OSError:
        _hush(sys.stderr.fileno())


def _hush(fd: int) -> None:
    """Discard what is still buffered for a reader that is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)
