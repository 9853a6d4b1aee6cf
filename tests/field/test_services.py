"""The recipes for services, in the servers that run them."""

import asyncio
import json
import re
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import attrs
import httpx
import pytest

from tests.field.conftest import RECIPES, Start, ended
from tests.field.servers import PATIENCE, Postgres, eventually, until
from tests.test_readme import examples_of

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

EVENTS = [{"id": f"{number:02}", "body": f"body {number}"} for number in range(50)]

FASTAPI = """
import sys
import uvicorn
sys.path.insert(0, sys.argv[1])
uvicorn.run("service:app", fd=int(sys.argv[2]))
"""

PAGE = """
import sys
import uvicorn
sys.path[:0] = [sys.argv[1], "."]
uvicorn.run("events:app", fd=int(sys.argv[2]))
"""

AIOHTTP = """
import socket
import sys
from aiohttp import web
sys.path.insert(0, sys.argv[1])
from aiohttp_service import make_app
web.run_app(make_app(), sock=socket.socket(fileno=int(sys.argv[2])))
"""


@attrs.frozen
class Service:
    """A service that runs.

    Attributes:
        process: Its process.
        database: The file of its database.
        socket: The path of the socket that it listens at.
    """

    process: subprocess.Popen[str]
    database: Path
    socket: str

    def client(self) -> httpx.AsyncClient:
        """A client of the service."""
        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        return httpx.AsyncClient(transport=transport, base_url="http://service", timeout=PATIENCE)

    async def stop(self) -> tuple[int, str]:
        """Ask it to end, and return how it did and what it said."""
        self.process.send_signal(signal.SIGTERM)
        return await self.end()

    async def end(self) -> tuple[int, str]:
        """Wait for its end, and return how it ended and what it said."""
        _, said, code = await ended(self.process)
        return code, said

    def left(self) -> list[list[str]]:
        """What it has kept for the next start, in order."""
        events: list[list[str]] = json.loads(Path(f"{self.database}.left").read_text())
        return events

    def stored(self) -> list[tuple[str, str]]:
        """All that is stored, in order."""
        with closing(sqlite3.connect(self.database)) as connection:
            rows: list[tuple[str, str]] = connection.execute(
                "SELECT * FROM events ORDER BY id"
            ).fetchall()
            return rows


Restart = Callable[[], Service]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket at which a client may knock before the service is there."""
    with (
        tempfile.TemporaryDirectory(prefix="flushq-") as folder,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        listening.bind(f"{folder}/socket")
        listening.listen()
        yield listening


@pytest.fixture(params=[FASTAPI, AIOHTTP], ids=["fastapi", "aiohttp"])
def restart(
    request: pytest.FixtureRequest, start: Start, listening: socket.socket, tmp_path: Path
) -> Restart:
    """Starts each of the services, as often as it is called, with the same database."""

    def serve() -> Service:
        database, fd = tmp_path / "events.db", listening.fileno()
        process = start("-c", request.param, RECIPES, str(fd), pass_fds=[fd], EVENTS=str(database))
        return Service(process, database, listening.getsockname())

    return serve


@pytest.fixture
def service(restart: Restart) -> Service:
    """Each of the services."""
    return restart()


fastapi_alone = pytest.mark.parametrize("restart", [FASTAPI], indirect=True, ids=["fastapi"])


async def test_what_was_taken_is_stored_at_the_end(service: Service) -> None:
    """SIGTERM drains: what was answered with 202 a moment before is stored."""
    async with service.client() as client:
        answers = [await client.post("/events", json=event) for event in EVENTS]
    assert {202} == {answer.status_code for answer in answers}

    code, _ = await service.stop()

    assert code in {0, -signal.SIGTERM}
    assert [(event["id"], event["body"]) for event in EVENTS] == service.stored()


async def ordered(client: httpx.AsyncClient, order: dict[str, str]) -> httpx.Response:
    """The answer to an order that waits no longer, as it may while the disk is slow."""
    while (answer := await client.post("/orders", json=order)).status_code == 202:
        pass
    return answer


@fastapi_alone
async def test_an_order_is_stored_before_the_answer(service: Service) -> None:
    """What was answered with 201 survives whatever comes."""
    async with service.client() as client:
        answer = await ordered(client, EVENTS[0])
        service.process.kill()

    assert 201 == answer.status_code
    assert [("00", "body 0")] == service.stored()


async def test_a_service_that_fails_later_ends(restart: Restart) -> None:
    """If what was answered with 202 cannot be stored it ends with 1; the next one stores it."""
    service = restart()
    async with service.client() as client:
        await client.get("/")
        with closing(sqlite3.connect(service.database)) as connection:
            connection.execute("DROP TABLE events")
        answer = await client.post("/events", json=EVENTS[0])

    assert 202 == answer.status_code
    code, said = await service.end()
    assert 1 == code
    assert "no such table" in said
    assert [["00", "body 0"]] == service.left()

    service = restart()
    async with service.client() as client:
        await client.get("/")
    assert [("00", "body 0")] == service.stored()
    assert [] == service.left()
    await service.stop()


NO_JSON = [b"", b"{", b"\xff", b"[" * 200_000]
NO_EVENTS = [*NO_JSON, b"[]", b'"id"', b"null", b'{"id": "1"}', b'{"id": 1, "body": "a"}']


async def test_what_is_not_an_event(service: Service) -> None:
    """A request that makes no sense is the client's mistake, and does no harm to others."""
    async with service.client() as client:
        answers = [
            await client.post("/events", content=content, headers={"Content-Type": kind})
            for content in NO_EVENTS
            for kind in ("application/json", "application/json; charset=nonsense")
        ]
        await client.post("/events", json=EVENTS[0])

    assert {answer.status_code for answer in answers} <= {400, 422}
    await service.stop()
    assert [("00", "body 0")] == service.stored()


@fastapi_alone
async def test_an_order_that_is_refused(service: Service) -> None:
    """To send it again would not help: it is answered with 422, and the service goes on."""
    async with service.client() as client:
        await ordered(client, EVENTS[0])
        with closing(sqlite3.connect(service.database)) as connection:
            connection.execute("CREATE UNIQUE INDEX bodies ON events (body)")
        answers = [
            await ordered(client, {"id": "refused", "body": "body 0"}),
            await ordered(client, EVENTS[1]),
        ]

    assert [422, 201] == [answer.status_code for answer in answers]
    await service.stop()
    assert [("00", "body 0"), ("01", "body 1")] == service.stored()


@pytest.mark.long
async def test_a_service_ends_within_its_grace_period(service: Service) -> None:
    """SIGTERM ends it though its database stays locked, and it says what it could not store."""
    async with service.client() as client:
        await client.post("/events", json=EVENTS[0])
        await asyncio.to_thread(eventually, lambda: [("00", "body 0")] == service.stored())
        with closing(sqlite3.connect(service.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await client.post("/events", json=EVENTS[1])
            started = time.monotonic()
            code, said = await service.stop()

    assert 10 <= time.monotonic() - started < 30
    assert 1 == code
    assert re.search(r"ShutdownTimeout: .* \(0 undelivered, 1 in doubt\)", said)
    assert [["01", "body 1"]] == service.left()


async def fetched(database: str, statement: str) -> list[str]:
    """The first column of what a statement gives, from PostgreSQL."""
    connection = await asyncpg.connect(database)
    try:
        return [row[0] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_the_service_on_the_page(
    start: Start, listening: socket.socket, postgres_server: Postgres, database: str, tmp_path: Path
) -> None:
    """It outlives its database, buries what that refuses, and keeps what it could not store."""
    (tmp_path / "events.py").write_text(examples_of(RECIPES / "services.rst")[0].parsed)
    fd = listening.fileno()
    process = start("-c", PAGE, RECIPES, str(fd), pass_fds=[fd], DATABASE=database)
    service = Service(process, tmp_path / "unused", listening.getsockname())
    events = [{"id": "poison", "body": "\0"}, *EVENTS]

    async def all_are_stored() -> bool:
        return len(await fetched(database, "SELECT id FROM events")) == len(EVENTS)

    async with service.client() as client:
        await client.get("/")
        await asyncio.to_thread(postgres_server.kill)
        answers = [await client.post("/events", json=event) for event in events]
        await asyncio.to_thread(postgres_server.start)
        await until(all_are_stored)
        await fetched(database, "DROP TABLE events")
        answers.append(await client.post("/events", json={"id": "late", "body": ""}))
        code, said = await service.end()

    assert {202} == {answer.status_code for answer in answers}
    assert ["('poison', '\\x00')"] == await fetched(database, "SELECT item FROM dead_letters")
    assert 1 == code
    assert "Application shutdown failed" in said
    assert [["late", ""]] == json.loads((tmp_path / "left.json").read_text())
