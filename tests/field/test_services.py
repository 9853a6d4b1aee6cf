"""The recipes for services, run by real web servers."""

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
        process: The process.
        database: The file of the database.
        socket: The path of the socket at which the service listens.
    """

    process: subprocess.Popen[str]
    database: Path
    socket: str

    def client(self) -> httpx.AsyncClient:
        """Return a client of the service."""
        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        return httpx.AsyncClient(transport=transport, base_url="http://service", timeout=PATIENCE)

    async def stop(self) -> tuple[int, str]:
        """Send SIGTERM to the service, and return its exit code and standard error."""
        self.process.send_signal(signal.SIGTERM)
        return await self.end()

    async def end(self) -> tuple[int, str]:
        """Wait for the end of the service, and return its exit code and standard error."""
        _, err, code = await ended(self.process)
        return code, err

    def left(self) -> list[list[str]]:
        """Return the events that the service has kept for its next start, in order."""
        events: list[list[str]] = json.loads(Path(f"{self.database}.left").read_text())
        return events

    def stored(self) -> list[tuple[str, str]]:
        """Return all stored events, in order of their ids."""
        with closing(sqlite3.connect(self.database)) as connection:
            rows: list[tuple[str, str]] = connection.execute(
                "SELECT * FROM events ORDER BY id"
            ).fetchall()
            return rows


Restart = Callable[[], Service]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket to which a client can connect before the service runs."""
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
    """A function that starts a service, always with the same database."""

    def serve() -> Service:
        database, fd = tmp_path / "events.db", listening.fileno()
        process = start("-c", request.param, RECIPES, str(fd), pass_fds=[fd], EVENTS=str(database))
        return Service(process, database, listening.getsockname())

    return serve


@pytest.fixture
def service(restart: Restart) -> Service:
    """A running service."""
    return restart()


fastapi_alone = pytest.mark.parametrize("restart", [FASTAPI], indirect=True, ids=["fastapi"])


async def test_accepted_events_are_stored_at_the_end(service: Service) -> None:
    """SIGTERM drains: events that were answered with 202 just before are stored."""
    async with service.client() as client:
        answers = [await client.post("/events", json=event) for event in EVENTS]
    assert {202} == {answer.status_code for answer in answers}

    code, _ = await service.stop()

    assert code in {0, -signal.SIGTERM}
    assert [(event["id"], event["body"]) for event in EVENTS] == service.stored()


async def ordered(client: httpx.AsyncClient, order: dict[str, str]) -> httpx.Response:
    """Send an order until the answer is not 202, which may come while the disk is slow."""
    while (answer := await client.post("/orders", json=order)).status_code == 202:
        pass
    return answer


@fastapi_alone
async def test_an_order_is_stored_before_the_answer(service: Service) -> None:
    """An order that was answered with 201 is stored, even if the service is killed then."""
    async with service.client() as client:
        answer = await ordered(client, EVENTS[0])
        service.process.kill()

    assert 201 == answer.status_code
    assert [("00", "body 0")] == service.stored()


async def test_a_service_that_fails_later_ends(restart: Restart) -> None:
    """A service that cannot store an accepted event ends with 1; its next start stores it."""
    service = restart()
    async with service.client() as client:
        await client.get("/")
        with closing(sqlite3.connect(service.database)) as connection:
            connection.execute("DROP TABLE events")
        answer = await client.post("/events", json=EVENTS[0])

    assert 202 == answer.status_code
    code, err = await service.end()
    assert 1 == code
    assert "no such table" in err
    assert [["00", "body 0"]] == service.left()

    service = restart()
    async with service.client() as client:
        await client.get("/")
    assert [("00", "body 0")] == service.stored()
    assert [] == service.left()
    await service.stop()


NO_JSON = [b"", b"{", b"\xff", b"[" * 200_000]
NO_EVENTS = [*NO_JSON, b"[]", b'"id"', b"null", b'{"id": "1"}', b'{"id": 1, "body": "a"}']


async def test_requests_that_are_not_events(service: Service) -> None:
    """An invalid request is answered with 400 or 422, and valid events are stored."""
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
    """An order that SQLite refuses is answered with 422, and the next order is stored."""
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
    """SIGTERM ends a service although its database stays locked; the events left are kept."""
    async with service.client() as client:
        await client.post("/events", json=EVENTS[0])
        await asyncio.to_thread(eventually, lambda: [("00", "body 0")] == service.stored())
        with closing(sqlite3.connect(service.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await client.post("/events", json=EVENTS[1])
            started = time.monotonic()
            code, err = await service.stop()

    assert 10 <= time.monotonic() - started < 30
    assert 1 == code
    assert re.search(r"ShutdownTimeout: .* \(0 undelivered, 1 in doubt\)", err)
    assert [["01", "body 1"]] == service.left()


async def fetched(database: str, statement: str) -> list[str]:
    """Return the first column of the result of a PostgreSQL statement."""
    connection = await asyncpg.connect(database)
    try:
        return [row[0] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_the_service_on_the_page(
    start: Start, listening: socket.socket, postgres_server: Postgres, database: str, tmp_path: Path
) -> None:
    """The service survives a restart of PostgreSQL, buries refused events, and keeps the rest."""
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
        code, err = await service.end()

    assert {202} == {answer.status_code for answer in answers}
    assert ["('poison', '\\x00')"] == await fetched(database, "SELECT item FROM dead_letters")
    assert 1 == code
    assert "Application shutdown failed" in err
    assert [["late", ""]] == json.loads((tmp_path / "left.json").read_text())
