"""The PostgreSQL recipe, with a real server that is killed and cut off."""

import asyncio
import gc
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import postgres
import postgres_failures
import pytest

from flushq import (
    Drop,
    Fail,
    Failure,
    FailureHandler,
    FlushQueue,
    NaturalPolicy,
    Retry,
    Split,
    Verdict,
)
from tests.field.conftest import Run, ended
from tests.field.proxy import proxied
from tests.field.servers import PATIENCE, Postgres

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

ROWS = [(f"{number:04}", f"body {number}") for number in range(2000)]


PASSING = [
    TimeoutError,
    asyncpg.InternalClientError,
    asyncpg.ConnectionFailureError,
    asyncpg.DeadlockDetectedError,
    asyncpg.DiskFullError,
    asyncpg.AdminShutdownError,
]
POISONED = [
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.CheckViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.RaiseError,
    UnicodeError,
]


def clear_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Remove the records of asyncpg about lost connections, also those from its finalizers."""
    gc.collect()
    caplog.clear()


class Judge:
    """The failure handler of the recipe, with a record of its calls.

    Attributes:
        seen: An event that is set when a flush has failed.
        errors: The errors of these flushes.
    """

    def __init__(self) -> None:
        self.seen = asyncio.Event()
        self.errors: list[BaseException] = []
        self._handle: FailureHandler[Any] = postgres_failures.handler(postgres_failures.tell)

    async def __call__(self, failure: Failure[postgres.Row]) -> Verdict:
        """Note the error, and return the verdict of the recipe."""
        self.errors.append(failure.error)
        self.seen.set()
        return await self._handle(failure)


@asynccontextmanager
async def loading(url: str, judge: Judge) -> AsyncIterator[FlushQueue[postgres.Row]]:
    """Yield a queue of rows after half of the rows were stored."""
    async with postgres.connect(url, PATIENCE) as pool:
        store = partial(postgres.store, pool)
        async with FlushQueue(store, NaturalPolicy(max_records=100), on_failure=judge) as queue:
            for row in ROWS[:1000]:
                await queue.enqueue(row)
            await queue.flush()
            yield queue


async def stored(url: str) -> list[postgres.Row]:
    """Return all rows of the table, in order of their ids."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch("SELECT * FROM events ORDER BY id")]
    finally:
        await connection.close()


async def test_the_program(run: Run, database: str, tmp_path: Path) -> None:
    """The lines of a file are stored, and a second run changes nothing."""
    file = tmp_path / "lines"
    file.write_text("".join(f"line {number}\n" for number in range(1, 12_001)))

    for name in "lines", file:
        end = await ended(run("postgres.py", database, name))
        assert ("12000 lines are stored\n", "", 0) == end

    rows = await stored(database)
    assert {(f"{file}:{number}", f"line {number}") for number in range(1, 12_001)} == set(rows)
    assert 12_000 == len(rows)


async def test_a_line_that_is_refused(run: Run, database: str, tmp_path: Path) -> None:
    """A line that a constraint refuses is printed, the others are stored, and the exit code is 1.

    The table exists already, and the user may write to it, but may not create tables.
    """
    administrator = await asyncpg.connect(database)
    schema = await administrator.fetchval("SELECT current_schema()")
    await administrator.execute(f"""
        CREATE TABLE events (id text PRIMARY KEY, body text UNIQUE);
        CREATE ROLE writer LOGIN;
        GRANT USAGE ON SCHEMA {schema} TO writer;
        GRANT SELECT, INSERT ON events TO writer""")
    file = tmp_path / "lines"
    file.write_text("one\ntwo\none\nth\0ree\n")
    writers_url = database.replace("postgres@", "writer@")
    out, err, code = await ended(run("postgres.py", writers_url, file))

    assert ("2 lines are stored\n", 1) == (out, code)
    assert {f"{file}:3", f"{file}:4"} == set(
        re.findall(r"^refused: \('(.*)', '", err, re.MULTILINE)
    )
    assert [(f"{file}:1", "one"), (f"{file}:2", "two")] == await stored(database)
    await administrator.execute("DROP OWNED BY writer")
    await administrator.execute("DROP ROLE writer")
    await administrator.close()


async def test_killed_and_started_again(
    postgres_server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that was being stored when the server was killed is stored once after its restart."""
    judge = Judge()
    async with loading(database, judge) as queue:
        other = await asyncpg.connect(database)
        await other.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE")  # later rows wait for it
        for row in ROWS[1000:]:
            await queue.enqueue(row)
        await asyncio.to_thread(postgres_server.kill)
        other.terminate()
        try:
            await asyncio.wait_for(judge.seen.wait(), PATIENCE)
        finally:
            await asyncio.to_thread(postgres_server.start)

    assert ROWS == await stored(database)
    clear_logs(caplog)


async def test_killed_before_a_burial(
    postgres_server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that cannot be buried while the server is down is buried after its restart."""
    burials = count()
    async with postgres.connect(database) as pool:
        await pool.execute("CREATE TABLE dead_letters (id text)")

        async def bury(row: postgres.Row, error: BaseException) -> None:
            dies = next(burials) == 0
            if dies:
                await asyncio.to_thread(postgres_server.kill)
            try:
                await pool.execute("INSERT INTO dead_letters VALUES ($1)", row[0])
            finally:
                if dies:
                    await asyncio.to_thread(postgres_server.start)

        handler = postgres_failures.handler(bury)
        store, policy = partial(postgres.store, pool), NaturalPolicy(max_records=100)
        async with FlushQueue(store, policy, on_failure=handler) as queue:
            for row in [("poison", "\0"), *ROWS]:
                await queue.enqueue(row)
        letters = await pool.fetch("SELECT id FROM dead_letters")

    assert ROWS == await stored(database)
    assert [("poison",)] == [tuple(letter) for letter in letters]
    clear_logs(caplog)


@pytest.mark.parametrize(
    "moment",
    [{"at_request": b"body 1500"}, {"at_request": b"COMMIT"}, {"at_answer": b"COMMIT"}],
    ids=["in-copy", "before-commit", "after-commit"],
)
async def test_a_connection_that_is_cut(
    postgres_server: Postgres,
    database: str,
    caplog: pytest.LogCaptureFixture,
    moment: dict[str, bytes],
) -> None:
    """Each row is stored once, at whichever moment a connection is cut."""
    judge, server, socket = Judge(), postgres_server.folder, ".s.PGSQL.5432"
    with tempfile.TemporaryDirectory(prefix="flushq-") as folder:
        async with (
            proxied(server / socket, Path(folder, socket)) as proxy,
            loading(database.replace(str(server), folder), judge) as queue,
        ):
            proxy.cut(**moment)
            for row in ROWS[1000:]:
                await queue.enqueue(row)

    assert 1 == proxy.cuts
    assert ROWS == await stored(database)
    assert 1 == len(judge.errors)
    clear_logs(caplog)


@pytest.mark.parametrize(
    ("kind", "together", "alone"),
    [
        *((kind, Retry(after=0.2), Retry(after=0.2)) for kind in PASSING),
        *((kind, Split(), Drop()) for kind in POISONED),
        (asyncpg.UndefinedTableError, Fail(), Fail()),
    ],
)
async def test_the_verdict_on_an_error(
    kind: type[Exception], together: Verdict, alone: Verdict
) -> None:
    """Temporary errors are retried, refused rows are found, and other errors end the queue."""
    two, one = (
        Failure(rows, kind("a failure"), None, attempt=2, reason="natural", seconds=0.0)
        for rows in (ROWS[:2], ROWS[:1])
    )
    handle: FailureHandler[Any] = postgres_failures.handler(postgres_failures.tell)
    assert (together, alone) == (await handle(two), await handle(one))
