"""``python -m flushq ingest``: lines of files and pipes, through a queue, into SQLite."""

import asyncio
import sys
from collections.abc import Callable
from typing import TypeVar

import click

from flushq import FlushPolicy
from flushq.cli import sources
from flushq.cli.console import Mistake
from flushq.cli.ingestion import Ingestion
from flushq.cli.keys import JsonField
from flushq.cli.policy_text import USAGE, parse_policy
from flushq.cli.table import CannotOpen, Table, check_name

T = TypeVar("T")


def _by(read: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str], T]:
    """Read an option by a function whose ValueError says what is wrong."""

    def callback(ctx: click.Context, param: click.Parameter, text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def _json_field(ctx: click.Context, param: click.Parameter, name: str | None) -> JsonField | None:
    return None if name is None else JsonField(name)


def _sources(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names and sources.is_terminal():
        raise Mistake("name a FILE, or - to read from this terminal")
    names = names or (sources.STANDARD_INPUT,)
    for name in names:
        try:
            sources.check(name)
        except OSError as error:
            raise Mistake(f"cannot read {name!r}: {error.strerror}") from None
    return names


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", callback=_sources)
@click.option("--db", default="events.db", show_default=True, metavar="PATH", help="The database.")
@click.option(
    "--table",
    default="events",
    show_default=True,
    metavar="NAME",
    callback=_by(check_name),
    help="The table, under any name; it is made if it is not there.",
)
@click.option(
    "--policy",
    callback=_by(parse_policy),
    default="interval:2.0,500",
    show_default=True,
    metavar="TEXT",
    help=f"When to write a batch: {USAGE}.",
)
@click.option(
    "--dedupe",
    "dedupe_key",
    metavar="FIELD",
    callback=_json_field,
    help="Take each line as a JSON object, and drop those with the same value in this field.",
)
@click.option(
    "--max-queue-size",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="How many lines may wait; when so many do, reading waits.",
)
@click.option(
    "--max-shutdown-wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long writing may go on after the last line or a signal.  [default: no limit]",
)
def ingest(
    *,
    files: tuple[str, ...],
    db: str,
    table: str,
    policy: FlushPolicy,
    dedupe_key: JsonField | None,
    max_queue_size: int,
    max_shutdown_wait: float | None,
) -> None:
    """Read lines and store them in an SQLite database.

    Lines are read from each FILE in turn, a named pipe as well, or from standard input (-, or no
    FILE and a pipe), and go through a queue into the table events(id, source, line, body), one
    transaction a batch. A line is UTF-8 and ends with LF or CRLF, which is not stored; an empty
    line is a line. Its number counts from 1 in each source.

    A line that is not UTF-8 is skipped; so is one that is no JSON object or lacks the field, with
    --dedupe. The first ten are reported. --dedupe looks at what is waiting in the queue, not at
    the table: a line whose like has been written already is written again. And running twice
    stores twice.

    SIGINT or SIGTERM ends the reading; what was read is stored. A line whose end has not come is
    not read yet. A second signal ends the writing too. What is counted as stored is on the disk.

    At the end a line with the figures is printed. The exit code is 0 if every line was stored, 1 if
    not, 2 for a mistake in the call, when nothing was read, and 130 or 143 after a signal.
    """
    try:
        ingestion = Ingestion(
            files,
            Table(db, table),
            policy,
            dedupe_key=dedupe_key,
            max_queue_size=max_queue_size,
            max_shutdown_wait=max_shutdown_wait,
        )
        sys.exit(asyncio.run(ingestion.run()))
    except (CannotOpen, ValueError) as error:
        raise Mistake(str(error)) from None
