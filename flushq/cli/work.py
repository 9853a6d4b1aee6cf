"""``python -m flushq work``: the command that stores messages of NATS JetStream in PostgreSQL."""

import asyncio
import sys

import click

from flushq.cli.extras import PACKAGES, check_installed
from flushq.cli.params import option_reader
from flushq.cli.table import CannotStart
from flushq.cli.terminal import Command, Mistake
from flushq.cli.throttling import parse_rate
from flushq.cli.urls import check_nats_url, check_url
from flushq.throttles import RateLimit

SUBJECT = "subject"
IN_FLIGHT = 4


def _check_table(name: str) -> str:
    if "\0" in name or not all(name.split(".", 1)):
        raise ValueError(
            f"{name!r} cannot be the name of a table: "
            "it must be NAME or SCHEMA.NAME, without a NUL character"
        )
    name.encode()
    return name


@click.command(
    cls=Command,
    example="python -m flushq work nats://nats:4222 LINES workers postgresql://db/app --port 8080",
)
@click.argument("nats_url", callback=option_reader(check_nats_url))
@click.argument("stream")
@click.argument("consumer")
@click.argument("postgres_url", callback=option_reader(check_url))
@click.option(
    "--table",
    default="events",
    show_default=True,
    metavar="NAME",
    callback=option_reader(_check_table),
    help="The table for the messages, NAME or SCHEMA.NAME; it is created if it does not exist.",
)
@click.option(
    "--id-from",
    metavar="HEADER",
    help="The name of the header that contains the id of a message.  "
    "[default: the id is STREAM:NUMBER]",
)
@click.option(
    "--partition-by",
    type=click.Choice([SUBJECT]),
    help=f"Store up to {IN_FLIGHT} batches at the same time; all messages of a batch have the same "
    "subject.",
)
@click.option(
    "--rate",
    "throttle",
    metavar="N/SECONDS",
    callback=option_reader(parse_rate),
    help="Start at most N transactions in any period of SECONDS.  [default: no limit]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Serve /health and /metrics by HTTP at this port; 0: at a free port.  [default: no HTTP]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address for --port; 0.0.0.0 means all addresses of this machine.",
)
@click.option(
    "--max-shutdown-wait",
    type=click.FloatRange(min=0),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest time for storing the remaining messages after a signal.",
)
def work(
    *,
    nats_url: str,
    stream: str,
    consumer: str,
    postgres_url: str,
    table: str,
    id_from: str | None,
    partition_by: str | None,
    throttle: RateLimit | None,
    port: int | None,
    host: str,
    max_shutdown_wait: float,
) -> None:
    """Store the messages of a JetStream consumer in PostgreSQL.

    Start as many workers as you need, on any machines, with the same arguments. You can stop or
    kill any worker: each message that can be stored is stored exactly once. A worker acknowledges a
    message after the transaction that stored it. A message that is not acknowledged is delivered
    again. If the message is stored already, the table ignores it, because its id is a unique key.
    The stream, the consumer and the table (with the columns id and body) are created if they do not
    exist.

    After SIGINT or SIGTERM, the worker stores and acknowledges the messages that it has received,
    and ends. While a server is unreachable, the worker waits. A message that the table refuses is
    reported, and is not delivered again; the worker continues. If the table cannot be written to at
    all, or the consumer was deleted, the worker ends.

    At the end, the worker prints one line that says how many messages were stored, for example. The
    exit code is 0 after a signal. It is 1 if the worker ended without a signal, did not store all
    received messages in time, or cannot print the line. It is 2 if an argument is wrong, or a
    server, the table or the port cannot be used at the start. It is 130 or 143 after a second
    signal.
    """
    check_installed("work", *PACKAGES)
    from flushq.cli.messages import IdOf  # noqa: PLC0415 - it needs nats-py
    from flushq.cli.postgres import PostgresTable  # noqa: PLC0415 - it needs asyncpg
    from flushq.cli.working import Source, Work  # noqa: PLC0415 - it needs both

    in_flight = 1 if partition_by is None else IN_FLIGHT
    running = Work(
        Source(nats_url, stream, consumer),
        PostgresTable(postgres_url, table, connections=in_flight),
        id_of=IdOf(id_from),
        by_subject=partition_by == SUBJECT,
        max_in_flight=in_flight,
        throttle=throttle,
        address=None if port is None else (host, port),
        max_shutdown_wait=max_shutdown_wait,
    )
    try:
        sys.exit(asyncio.run(running.run()))
    except CannotStart as error:
        raise Mistake(str(error)) from None
