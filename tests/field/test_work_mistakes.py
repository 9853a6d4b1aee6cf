"""``python -m flushq work``: mistakes that end it at the start, with one line and exit code 2."""

import asyncio
import socket
from contextlib import closing
from itertools import count

import asyncpg
import attrs
import nats
import pytest
from click.testing import CliRunner, Result
from nats.js.api import AckPolicy, ConsumerConfig

from flushq.cli import jetstream, main, postgres
from tests.cli.support import complaints
from tests.field.servers import Nats

_numbers = count(1)


@attrs.frozen
class Place:
    """The servers, and the name of a stream that does not exist yet."""

    nats_url: str
    database: str
    stream: str

    def work(self, *options: str, **others: str) -> Result:
        """Run a worker that must fail at its start, with these servers or others."""
        place = attrs.evolve(self, **others)
        call = ["work", place.nats_url, place.stream, "workers", place.database, *options]
        return CliRunner().invoke(main, call, catch_exceptions=False)

    def execute(self, statement: str) -> None:
        """Execute a statement in the database."""

        async def execute() -> None:
            connection = await asyncpg.connect(self.database)
            await connection.execute(statement)
            await connection.close()

        asyncio.run(execute())

    def add_consumer(self, config: ConsumerConfig) -> None:
        """Create the stream and the consumer."""

        async def add() -> None:
            async with await nats.connect(self.nats_url) as connection:
                manager = connection.jetstream()
                await manager.add_stream(name=self.stream, subjects=[self.stream])
                await manager.add_consumer(self.stream, config)

        asyncio.run(add())


@pytest.fixture
def place(nats_server: Nats, database: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A new database, and the name of a new stream; the timeouts for servers are short."""
    monkeypatch.setattr(jetstream, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "SECONDS", 0.5)
    return Place(nats_server.url, database, f"WORK{next(_numbers)}")


def assert_error(result: Result, text: str) -> None:
    """Check that the last error line begins with the text, and that the exit code is 2."""
    assert (2, "") == (result.exit_code, result.stdout)
    assert [f"Error: {text}"] == [line[: 7 + len(text)] for line in complaints(result)][-1:]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            "id text, body text",
            "there is no unique or exclusion constraint matching the ON CONFLICT",
        ),
        ("id text PRIMARY KEY", 'column "body" of relation "events" does not exist'),
        (
            "id text PRIMARY KEY, body text, day date NOT NULL, hour int NOT NULL",
            "these columns must allow NULL or have a default: 'day', 'hour'",
        ),
    ],
)
def test_a_table_of_another_shape(place: Place, columns: str, text: str) -> None:
    """A table is refused if the worker cannot write to it, or if an id could be stored twice."""
    place.execute(f"CREATE TABLE events ({columns})")
    assert_error(place.work(), f"cannot open table 'events': {text}")


def test_a_table_with_more_columns(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table may have more columns if they have values by default: the next check fails here."""
    columns = "number bigint GENERATED ALWAYS AS IDENTITY, id text UNIQUE, body text, at date"
    place.execute(f"CREATE TABLE events ({columns}, day date NOT NULL DEFAULT current_date)")
    assert_error(place.work(stream="a.b"), "cannot use stream 'a.b': ")


@pytest.mark.parametrize(
    "config",
    [
        ConsumerConfig(durable_name="workers", ack_policy=AckPolicy.NONE),
        ConsumerConfig(durable_name="workers", ack_policy=AckPolicy.ALL),
        ConsumerConfig(
            durable_name="workers", ack_policy=AckPolicy.EXPLICIT, deliver_subject="pushed"
        ),
    ],
    ids=["none", "all", "push"],
)
def test_a_consumer_of_another_kind(place: Place, config: ConsumerConfig) -> None:
    """A consumer must be a pull consumer with an acknowledgement for each message."""
    place.add_consumer(config)
    assert_error(place.work(), "cannot use consumer 'workers': it must be a pull consumer with ack")


def test_a_consumer_that_cannot_be_made(place: Place) -> None:
    """A consumer whose name is not valid is refused."""
    result = CliRunner().invoke(main, ["work", place.nats_url, place.stream, "a b", place.database])
    assert_error(result, "cannot use consumer 'a b': ")


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ({"nats_url": "nats://me:hush@127.0.0.1:1"}, "cannot connect to NATS: "),
        (
            {"nats_url": "http://me:hush@127.0.0.1"},
            "Invalid value for 'NATS_URL': a URL of NATS must begin with one of nats://",
        ),
        (
            {"nats_url": "nats://me:hu/sh@127.0.0.1"},
            "Invalid value for 'NATS_URL': the URL is not valid",
        ),
        (
            {"database": "postgresql://me:hush@127.0.0.1:1/db"},
            "cannot open table 'events': PostgreSQL ",
        ),
        (
            {"database": "postgres://me:hu@sh@h/db"},
            "Invalid value for 'POSTGRES_URL': the URL is not",
        ),
        ({"database": "http://me:hush@h/db"}, "cannot open table 'events': invalid DSN: "),
    ],
)
def test_a_server_that_cannot_be_reached(place: Place, server: dict[str, str], text: str) -> None:
    """The error for an unreachable server shows no part of a password."""
    result = place.work(**server)
    assert_error(result, text)
    assert "hu" not in result.stderr


def test_a_server_that_says_nothing(place: Place) -> None:
    """A server that accepts a connection, but sends nothing, is not waited for."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        text = "cannot open table 'events': PostgreSQL cannot be reached: it does not answer"
        assert_error(place.work(database=f"postgresql://me@127.0.0.1:{port}/db"), text)
        text = "cannot connect to NATS: "
        assert_error(place.work(nats_url=f"nats://127.0.0.1:{port}"), text)


def test_a_port_that_is_taken(place: Place) -> None:
    """A worker does not start if its port is taken."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        assert_error(place.work("--port", port), f"cannot serve at port {port} of 127.0.0.1: ")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--rate", "10"), "Invalid value for '--rate': bad rate '10': it must be N/SECONDS"),
        (("--rate", "0/1"), "Invalid value for '--rate': bad rate '0/1': calls must be at least 1"),
        (("--table", "a."), "Invalid value for '--table': 'a.' cannot be the name of a table"),
        (("--table", "\0"), r"Invalid value for '--table': '\x00' cannot be the name of a table"),
        (("--partition-by", "id"), "Invalid value for '--partition-by': 'id' is not 'subject'."),
    ],
)
def test_options(place: Place, option: tuple[str, str], text: str) -> None:
    """The error for an invalid option names the option."""
    assert_error(place.work(*option), text)
