"""``python -m flushq ingest``: the command that stores lines in SQLite or in a NATS stream."""

import asyncio
import sys
from contextlib import nullcontext

import click
from click.core import ParameterSource

from flushq import FlushPolicy
from flushq.cli.extras import check_installed
from flushq.cli.failures import CannotAppend, DeadLetterFile, FailureHandler
from flushq.cli.ingestion import Ingestion
from flushq.cli.params import (
    POLICY_USAGE,
    catching_system_exit,
    check_not_same_file,
    errors_as_messages,
    option_reader,
    parse_policy,
)
from flushq.cli.reading import BEGINNING, STANDARD_INPUT, check_source, is_terminal, shown
from flushq.cli.resuming import CannotResume, find_starts
from flushq.cli.sink import Sink
from flushq.cli.table import CannotStart, JsonField, Table, check_name
from flushq.cli.terminal import Command, Mistake
from flushq.cli.urls import check_nats_url


def _json_field(name: str | None) -> JsonField | None:
    return None if name is None else JsonField(name)


def _sources(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names and is_terminal():
        raise Mistake("give a FILE to read, or - to read from this terminal")
    names = names or (STANDARD_INPUT,)
    for name in names:
        try:
            check_source(name)
        except OSError as error:
            raise Mistake(f"cannot read {name!r}: {error.strerror}") from None
    return names


def _check_stream(named: tuple[str, str] | None) -> tuple[str, str] | None:
    return None if named is None else (check_nats_url(named[0]), named[1])


def _publisher(to_stream: tuple[str, str]) -> Sink:
    """Return a sink that publishes to the stream; raise Mistake if a database option is given."""
    given = click.get_current_context().get_parameter_source
    for name in ("db", "table", "resume"):
        if given(name) is not ParameterSource.DEFAULT:
            raise Mistake(f"--{name} must not be given with --to-stream, which uses no database")
    check_installed("--to-stream", "nats")
    from flushq.cli.publishing import Publisher  # noqa: PLC0415 - it needs nats-py

    return Publisher(*to_stream)


@click.command(
    cls=Command,
    example="tail -f app.log | python -m flushq ingest - --db events.db --policy interval:2.0,500",
)
@click.argument("files", nargs=-1, metavar="[FILE]...", callback=_sources)
@click.option(
    "--db",
    default="events.db",
    show_default=True,
    metavar="PATH",
    help="The file of the SQLite database; it is created if it does not exist.",
)
@click.option(
    "--table",
    default="events",
    show_default=True,
    metavar="NAME",
    callback=option_reader(check_name),
    help="The table for the lines; it is created if it does not exist.",
)
@click.option(
    "--to-stream",
    nargs=2,
    metavar="NATS_URL STREAM",
    callback=option_reader(_check_stream),
    help="Publish the lines to a stream of NATS JetStream; do not use a database.",
)
@click.option(
    "--policy",
    callback=option_reader(parse_policy),
    default="interval:2.0,500",
    show_default=True,
    metavar="TEXT",
    help=f"The flush policy, which decides when to write a batch: {POLICY_USAGE}.",
)
@click.option(
    "--dedupe",
    "dedupe_key",
    metavar="FIELD",
    callback=option_reader(_json_field),
    help="Parse each line as a JSON object. Drop the line if another line with the same value in "
    "FIELD waits in the queue.",
)
@click.option(
    "--max-queue-size",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="The largest number of lines that may wait in the queue. While N lines wait, the reading "
    "pauses.",
)
@click.option(
    "--max-shutdown-wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="The longest time for storing the waiting lines after the reading has ended.  "
    "[default: no limit]",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="If a batch cannot be written, or the database cannot be opened, try again up to N times: "
    "after pauses of 0.1 s, 0.2 s, 0.4 s and so on, up to 6.4 s.",
)
@click.option(
    "--dead-letter",
    metavar="FILE",
    help="If the table or the stream refuses a line, write a dead letter to this file, and "
    "continue.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an earlier run: read each FILE from the line after its last stored line.",
)
def ingest(
    *,
    files: tuple[str, ...],
    db: str,
    table: str,
    to_stream: tuple[str, str] | None,
    policy: FlushPolicy,
    dedupe_key: JsonField | None,
    max_queue_size: int,
    max_shutdown_wait: float | None,
    retries: int,
    dead_letter: str | None,
    resume: bool,
) -> None:
    """Read lines, and store them in SQLite or in a NATS stream.

    The command reads one FILE after the other. A FILE may be a named pipe, and - is standard input.
    Without any FILE, the command reads standard input. If this is a terminal, give - to read it.
    The lines go through a queue into the table events(id, source, line, body), in one transaction
    for each batch. A line must be UTF-8. It ends with LF or CRLF, which is not stored, or at the
    end of its FILE. Empty lines are stored, too. In each FILE, the lines are numbered from 1.

    A line that is not UTF-8 is skipped. With --dedupe, a line that is not a JSON object or lacks
    FIELD is skipped, too. --dedupe compares the value of FIELD with the values of the lines that
    wait in the queue, not with those in the table: a value that is in the table already can be
    stored again. If you run the command twice without --resume, all lines are stored twice.

    With --resume, the reading of each FILE starts after the last stored line of this FILE. So every
    line is stored once, even if an earlier run was killed. Standard input and named pipes cannot be
    resumed.

    If a batch cannot be written, and the retries do not help, the command ends. If the database is
    locked, each attempt waits up to 4 seconds for the lock.

    With --dead-letter, a batch with refused lines is split until each refused line is alone. (A
    table refuses a line by a constraint, a trigger or an index; a stream refuses a line that is too
    long.)
    The refused line is written to the dead-letter file, as a JSON object with source, line, body
    and error; the file is synced to the disk. All other lines are stored. If the database is
    locked, full or broken, or has lost the table, no line counts as refused: the command ends after
    the retries, even with --dead-letter. A line that the table ignores (ON CONFLICT IGNORE,
    RAISE(IGNORE)) is not stored, and is counted as ignored.

    With --to-stream, each line is published to the first subject of the stream. The stream is
    created if it does not exist. A line of a file has the same id in every run. So if you run the
    command twice within the duplicate window of the stream, each line is stored once, and the
    second run counts the line as ignored. The lines of standard input and of pipes have new ids in
    every run, so they are stored twice. "python -m flushq work" moves the lines from the stream to
    PostgreSQL; it can run on many machines.

    SIGINT or SIGTERM ends the reading; the lines that were read are stored, with retries if they
    are needed. A line whose end has not arrived is not read. A second signal ends the writing, too.
    Every line that is counted as stored is on the disk.

    The command reports the first ten skipped lines, the first ten dead letters and the first ten
    retries. At the end, it prints one line with the figures. The figure "flushes" is the number of
    flushes, in all and for each reason; a batch that was split is one flush.

    The exit code is 0 if every line was stored, was a duplicate or was ignored. It is 1 if a line
    ended in another way (as a dead letter, for example), if a file could not be read to its end, or
    if the figures cannot be written. It is 2 if an argument is wrong, or if a
    database, stream or dead-letter file cannot be opened; then no line was read. It is 130 or 143
    after SIGINT or SIGTERM.
    """
    if dead_letter is not None:
        check_not_same_file("--dead-letter", dead_letter, db, *files)
    letters = None if dead_letter is None else DeadLetterFile(dead_letter)
    handler = FailureHandler(retries, letters)
    stored = Table(db, table, handler.retry_after)
    with errors_as_messages(), catching_system_exit(Mistake):
        ingestion = Ingestion(
            files,
            stored if to_stream is None else _publisher(to_stream),
            policy,
            dedupe_key=dedupe_key,
            max_queue_size=max_queue_size,
            max_shutdown_wait=max_shutdown_wait,
            on_failure=handler,
        )
    try:
        with letters or nullcontext():
            if resume:
                _resume(ingestion, files, stored, letters)
            sys.exit(ingestion.run_alone())
    except (CannotStart, CannotAppend, CannotResume) as error:
        raise Mistake(str(error)) from None


def _resume(
    ingestion: Ingestion, files: tuple[str, ...], table: Table, letters: DeadLetterFile | None
) -> None:
    """Set where the reading of each file starts: after the last stored line of this file.

    The dead letters of the lines that will be read are loaded.
    """
    starts = asyncio.run(find_starts(files, table))
    ingestion.start_at(starts)
    if letters is not None:
        letters.load({shown(file): starts.get(file, BEGINNING).line for file in files})
