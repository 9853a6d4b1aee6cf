"""``python -m flushq work``: what it refuses at the start, in one line and with exit code 2."""

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
    """The servers, and a stream that is not there yet."""

    nats_url: str
    database: str
    stream: str

    def work(self, *options: str, **others: str) -> Result:
        """Start a worker, which is a mistake, with these servers or others."""
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
        """Make the stream and the consumer."""

        async def add() -> None:
            async with await nats.connect(self.nats_url) as connection:
                manager = connection.jetstream()
                await manager.add_stream(name=self.stream, subjects=[self.stream])
                await manager.add_consumer(self.stream, config)

        asyncio.run(add())


@pytest.fixture
def place(nats_server: Nats, database: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A new database, and the name of a new stream; nobody waits long for a server."""
    monkeypatch.setattr(jetstream, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "SECONDS", 0.5)
    return Place(nats_server.url, database, f"WORK{next(_numbers)}")


def assert_told(result: Result, told: str) -> None:
    """It is one line, and the exit code is 2."""
    assert (2, "") == (result.exit_code, result.stdout)
    assert [f"Error: {told}"] == [line[: 7 + len(told)] for line in complaints(result)][-1:]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            "id text, body text",
            "there is no unique or exclusion constraint matching the ON CONFLICT",
        ),
        ("id text PRIMARY KEY", 'column "body" of relation "events" does not exist'),
        (
            "id text PRIMARY KEY, body text, day date NOT NULL, hour int NOT NULL",
            "columns other than id and body must allow NULL or have a default: 'day', 'hour'",
        ),
    ],
)
def test_a_table_of_another_shape(place: Place, columns: str, told: str) -> None:
    """It cannot be written to, or not so that an id is there once."""
    place.execute(f"CREATE TABLE events ({columns})")
    assert_told(place.work(), f"cannot open table 'events': {told}")


def test_a_table_with_more_columns(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It will do if they need not be given: only the consumer is refused here."""
    columns = "number bigint GENERATED ALWAYS AS IDENTITY, id text UNIQUE, body text, at date"
    place.execute(f"CREATE TABLE events ({columns}, day date NOT NULL DEFAULT current_date)")
    assert_told(place.work(stream="a.b"), "cannot use stream 'a.b': ")


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
    """A message must be asked for, and acknowledged by itself."""
    place.add_consumer(config)
    assert_told(place.work(), "cannot use consumer 'workers': it must be a pull consumer with ack")


def test_a_consumer_that_cannot_be_made(place: Place) -> None:
    """The stream allows none, or the name is not one."""
    result = CliRunner().invoke(main, ["work", place.nats_url, place.stream, "a b", place.database])
    assert_told(result, "cannot use consumer 'a b': ")


@pytest.mark.parametrize(
    ("server", "told"),
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
def test_a_server_that_cannot_be_reached(place: Place, server: dict[str, str], told: str) -> None:
    """No part of a password is told."""
    result = place.work(**server)
    assert_told(result, told)
    assert "hu" not in result.stderr


def test_a_server_that_says_nothing(place: Place) -> None:
    """It is not waited for."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        told = "cannot open table 'events': PostgreSQL cannot be reached: it does not answer"
        assert_told(place.work(database=f"postgresql://me@127.0.0.1:{port}/db"), told)
        told = "cannot connect to NATS: "
        assert_told(place.work(nats_url=f"nats://127.0.0.1:{port}"), told)


def test_a_port_that_is_taken(place: Place) -> None:
    """Nobody could watch this worker."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        assert_told(place.work("--port", port), f"cannot serve at port {port} of 127.0.0.1: ")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--rate", "10"), "Invalid value for '--rate': bad rate '10': it must be N/SECONDS"),
        (("--rate", "0/1"), "Invalid value for '--rate': bad rate '0/1': calls must be at least 1"),
        (("--table", "a."), "Invalid value for '--table': 'a.' cannot be the name of a table"),
        (("--table", "\0"), r"Invalid value for '--table': '\x00' cannot be the name of a table"),
        (("--partition-by", "id"), "Invalid value for '--partition-by': 'id' is not 'subject'."),
    ],
)
def test_options(place: Place, option: tuple[str, str], told: str) -> None:
    """A mistake in one is told."""
    assert_told(place.work(*option), told)
