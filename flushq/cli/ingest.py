"""``python -m flushq ingest``: lines of files and pipes, through a queue, to SQLite or a stream."""

import asyncio
import sys
from contextlib import nullcontext

import click
from click.core import ParameterSource

from flushq import FlushPolicy
from flushq.cli.extras import check_installed
from flushq.cli.failures import CannotAppend, DeadLetter, FailureHandler
from flushq.cli.ingestion import Ingestion
from flushq.cli.params import POLICY_USAGE, by, check_apart, parse_policy, reported, staying
from flushq.cli.reading import BEGINNING, STANDARD_INPUT, check_source, is_terminal, shown
from flushq.cli.resuming import CannotResume, find_starts
from flushq.cli.sink import Sink
from flushq.cli.table import CannotOpen, JsonField, Table, check_name
from flushq.cli.terminal import Command, Mistake
from flushq.cli.urls import check_nats_url


def _json_field(name: str | None) -> JsonField | None:
    return None if name is None else JsonField(name)


def _sources(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names and is_terminal():
        raise Mistake("name a FILE, or - to read from this terminal")
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
    """The stream that the lines go to; no option of a database may be given."""
    given = click.get_current_context().get_parameter_source
    for name in ("db", "table", "resume"):
        if given(name) is not ParameterSource.DEFAULT:
            raise Mistake(f"--{name} is of a database, and not for --to-stream")
    check_installed("--to-stream", "nats")
    from flushq.cli.publishing import Publisher  # noqa: PLC0415 - it needs nats-py

    return Publisher(*to_stream)


@click.command(
    cls=Command,
    example="tail -f app.log | python -m flushq ingest - --db events.db --policy interval:2.0,500",
)
@click.argument("files", nargs=-1, metavar="[FILE]...", callback=_sources)
@click.option("--db", default="events.db", show_default=True, metavar="PATH", help="The database.")
@click.option(
    "--table",
    default="events",
    show_default=True,
    metavar="NAME",
    callback=by(check_name),
    help="The table, under any name; it is made if it is not there.",
)
@click.option(
    "--to-stream",
    nargs=2,
    metavar="NATS_URL STREAM",
    callback=by(_check_stream),
    help="Publish the lines to a stream of NATS JetStream, and not to a database.",
)
@click.option(
    "--policy",
    callback=by(parse_policy),
    default="interval:2.0,500",
    show_default=True,
    metavar="TEXT",
    help=f"When to write a batch: {POLICY_USAGE}.",
)
@click.option(
    "--dedupe",
    "dedupe_key",
    metavar="FIELD",
    callback=by(_json_field),
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
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="How often a batch that failed is tried again, and the opening of the database: "
    "after 0.1 s, 0.2 s, ... 6.4 s.",
)
@click.option(
    "--dead-letter",
    metavar="FILE",
    help="Append lines that the table refuses to this file, and go on.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where an earlier call has ended: in each FILE behind its last stored line.",
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
    """Read lines and store them in an SQLite database.

    Lines are read from each FILE in turn, a named pipe as well, or from standard input (-, or no
    FILE and a pipe), and go through a queue into the table events(id, source, line, body), one
    transaction a batch. A line is UTF-8 and ends with LF or CRLF, which is not stored; an empty
    line is a line. Its number counts from 1 in each source.

    A line that is not UTF-8 is skipped; so is, with --dedupe, one that is not a JSON object or
    lacks the field. --dedupe looks at what is waiting in the queue, not at the table: a line whose
    like has been written already is written again. And running twice stores twice.

    With --resume, each FILE is read from behind its last line that is in the table. So, at whatever
    moment an earlier call was killed, every line is stored once. A pipe cannot be resumed.

    A batch that cannot be written, after --retries, ends it; for a locked database each try waits
    4 seconds. With --dead-letter, a batch with lines that the table refuses (by a constraint, a
    trigger, an index) is split until each of them is alone. It is appended to the file, as a JSON
    object with source, line, body and error, synced, and counted; all others are stored. A database
    that is locked, full, broken or without the table refuses no line: it ends the ingestion all the
    same. A line that the table ignores (ON CONFLICT IGNORE, RAISE(IGNORE)) is not stored, and
    counted as ignored.

    With --to-stream, each line is published to the first subject of the stream, which is made if it
    is not there, with an id. So running twice within the duplicate window of the stream stores
    once, and counts the lines that the stream had already as ignored; but for standard input and
    pipes. "python -m flushq work" brings the lines into PostgreSQL, on as many machines as needed.

    SIGINT or SIGTERM ends the reading; what was read is stored, with the retries that it takes. A
    line whose end has not come is not read yet. A second signal ends the writing too. What is
    counted as stored is on the disk.

    Of skipped lines, dead letters and retries the first ten are reported. At the end a line with
    the figures is printed; its flushes are the batches as the policy cut them, by reason. The exit
    code is 0 if every line was stored, a duplicate or ignored, 1 if not (a dead letter is not
    stored) or if the figures cannot be written, 2 for a mistake in the call, when nothing was read,
    and 130 or 143 after a signal.
    """
    if dead_letter is not None:
        check_apart("--dead-letter", dead_letter, db, *files)
    letters = None if dead_letter is None else DeadLetter(dead_letter)
    handler = FailureHandler(retries, letters)
    stored = Table(db, table, handler.retry_after)
    with reported(), staying(Mistake):
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
    except (CannotOpen, CannotAppend, CannotResume) as error:
        raise Mistake(str(error)) from None


def _resume(
    ingestion: Ingestion, files: tuple[str, ...], table: Table, letters: DeadLetter | None
) -> None:
    """Have an ingestion begin behind what is stored, and know the letters of what follows."""
    starts = asyncio.run(find_starts(files, table))
    ingestion.start_at(starts)
    if letters is not None:
        letters.recall({shown(file): starts.get(file, BEGINNING).line for file in files})
