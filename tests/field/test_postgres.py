"""The PostgreSQL recipe, and what a real server does to it."""

import asyncio
import gc
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import quote

import asyncpg
import postgres
import postgres_failures
import pytest

from flushq import Failure, FlushFailed, FlushQueue, NaturalPolicy, Verdict
from tests.contract.support import steps
from tests.field.conftest import Run, ended
from tests.field.proxy import Proxy, proxied
from tests.field.servers import PATIENCE, Postgres, until

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

ROWS = [(f"{number:04}", f"body {number}") for number in range(2000)]

FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
SHUTDOWN = b"E" + (4 + len(FIELDS)).to_bytes(4) + FIELDS

TWO_DISKS = """
    CREATE TABLE events (id text PRIMARY KEY, body text) PARTITION BY RANGE (id);
    CREATE TABLE roomy PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('1550');
    CREATE TABLE small PARTITION OF events FOR VALUES FROM ('1550') TO (MAXVALUE)"""


def excuse(caplog: pytest.LogCaptureFixture) -> None:
    """Forget what asyncpg has logged of connections that were lost, and logs of its garbage."""
    gc.collect()
    caplog.clear()


class Judge:
    """The failure handler of the recipe, and what it has seen.

    Attributes:
        seen: Set when a flush has failed.
        errors: Why.
    """

    def __init__(self) -> None:
        self.seen = asyncio.Event()
        self.errors: list[BaseException] = []

    async def __call__(self, failure: Failure[postgres.Row]) -> Verdict:
        """As the recipe does."""
        self.errors.append(failure.error)
        self.seen.set()
        return await postgres_failures.judge(postgres_failures.tell, failure)


@asynccontextmanager
async def loading(
    url: str, judge: Judge, command_timeout: float = PATIENCE
) -> AsyncIterator[FlushQueue[postgres.Row]]:
    """A queue of rows, after the half of them has been stored."""
    async with postgres.connect(url, command_timeout) as pool:
        store = partial(postgres.store, pool)
        async with FlushQueue(store, NaturalPolicy(max_records=100), on_failure=judge) as queue:
            for row in ROWS[:1000]:
                await queue.enqueue(row)
            await queue.flush()
            yield queue


@asynccontextmanager
async def loading_through_proxy(
    server: Postgres, url: str, judge: Judge
) -> AsyncIterator[tuple[FlushQueue[postgres.Row], Proxy]]:
    """A queue as of `loading`, and the proxy through which it reaches the server."""
    socket = ".s.PGSQL.5432"
    with tempfile.TemporaryDirectory(prefix="flushq-") as folder:
        async with (
            proxied(server.folder / socket, Path(folder, socket)) as proxy,
            loading(url.replace(str(server.folder), folder), judge) as queue,
        ):
            yield queue, proxy


async def stored(url: str) -> list[postgres.Row]:
    """All that is in the table, in order."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch("SELECT * FROM events ORDER BY id")]
    finally:
        await connection.close()


async def test_the_program(run: Run, database: str, tmp_path: Path) -> None:
    """The lines of a file are rows of a table, and loading them again changes nothing."""
    file = tmp_path / "lines"
    file.write_text("".join(f"line {number}\n" for number in range(1, 12_001)))

    for name in "lines", file:
        end = await ended(run("postgres.py", database, name))
        assert ("12000 lines are stored\n", "", 0) == end

    rows = await stored(database)
    assert {(f"{file}:{number}", f"line {number}") for number in range(1, 12_001)} == set(rows)
    assert 12_000 == len(rows)


async def test_a_password_of_odd_characters(
    run: Run, postgres_server: Postgres, database: str, tmp_path: Path
) -> None:
    """A password lets in if it is quoted; a wrong one is not told."""
    administrator = await asyncpg.connect(database)
    schema = await administrator.fetchval("SELECT current_schema()")
    await administrator.execute("CREATE ROLE guest LOGIN PASSWORD 'a@/:5?#%é'")
    await administrator.execute(f"GRANT ALL ON SCHEMA {schema} TO guest")
    postgres_server.demand_password("guest")
    (tmp_path / "lines").write_text("line 1\n")

    async def load(password: str) -> tuple[str, str, int]:
        url = database.replace("postgres@", f"guest:{password}@")
        return await ended(run("postgres.py", url, "lines"))

    async def is_refused() -> bool:
        out, err, _ = await load("other")
        return "password authentication failed" in err and "other" not in out + err

    await until(is_refused)
    assert ("1 lines are stored\n", "", 0) == await load(quote("a@/:5?#%é", safe=""))
    await administrator.execute("DROP OWNED BY guest")
    await administrator.execute("DROP ROLE guest")
    await administrator.close()


async def test_the_program_tells_what_it_takes(run: Run, database: str) -> None:
    """Called in another way it shows how, and does nothing."""
    out, err, code = await ended(run("postgres.py", database))
    assert ("", 1) == (out, code)
    assert "python tests/recipes/postgres.py postgresql://user@host/database FILE" in err


async def test_a_line_that_is_refused(run: Run, database: str, tmp_path: Path) -> None:
    """It is named, whichever constraint refuses it, all others are stored, and the exit code is 1.

    The table may be there already, and who may write to it need not have the right to make one.
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


async def test_a_url_that_cannot_be_read_is_not_used() -> None:
    """It is refused before anybody complains of a part of its password."""
    with pytest.raises(ValueError, match=r"^a URL cannot be read: quote its password"):
        postgres.connect("postgresql://user:sec/ret@host/database")


async def test_stopped_and_continued(
    postgres_server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for a server that does not answer is stored once when it does."""
    judge = Judge()
    async with loading(database, judge, command_timeout=2.0) as queue:
        postgres_server.send(signal.SIGSTOP)
        try:
            for row in ROWS[1000:]:
                await queue.enqueue(row)
            await asyncio.wait_for(judge.seen.wait(), PATIENCE)
        finally:
            postgres_server.send(signal.SIGCONT)

    assert ROWS == await stored(database)
    assert isinstance(judge.errors[0], TimeoutError)
    excuse(caplog)


async def test_killed_and_started_again(
    postgres_server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was under way when the server was killed is stored once when it is back."""
    judge = Judge()
    async with loading(database, judge) as queue:
        other = await asyncpg.connect(database)
        await other.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE")  # what comes waits for it
        for row in ROWS[1000:]:
            await queue.enqueue(row)
        await asyncio.to_thread(postgres_server.kill)
        other.terminate()
        try:
            await asyncio.wait_for(judge.seen.wait(), PATIENCE)
        finally:
            await asyncio.to_thread(postgres_server.start)

    assert ROWS == await stored(database)
    excuse(caplog)


async def test_killed_before_a_burial(
    postgres_server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be buried while the server is away is buried when it is back."""
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

        handler = partial(postgres_failures.judge, bury)
        store, policy = partial(postgres.store, pool), NaturalPolicy(max_records=100)
        async with FlushQueue(store, policy, on_failure=handler) as queue:
            for row in [("poison", "\0"), *ROWS]:
                await queue.enqueue(row)
        letters = await pool.fetch("SELECT id FROM dead_letters")

    assert ROWS == await stored(database)
    assert [("poison",)] == [tuple(letter) for letter in letters]
    excuse(caplog)


async def test_a_burial_that_is_refused(database: str) -> None:
    """What can never be buried ends the queue, and is not lost; the error tells why."""

    async def bury(row: postgres.Row, error: BaseException) -> None:
        raise asyncpg.UndefinedTableError("there is no table of dead letters")

    handler = partial(postgres_failures.judge, bury)
    async with postgres.connect(database) as pool:
        queue = FlushQueue(partial(postgres.store, pool), NaturalPolicy(), on_failure=handler)
        with pytest.raises(FlushFailed) as caught:
            async with queue:
                await queue.enqueue(("1", "\0"))

    assert [("1", "\0")] == queue.in_doubt
    assert isinstance(caught.value.__cause__, asyncpg.CharacterNotInRepertoireError)
    assert "there is no table of dead letters" in caught.value.__cause__.__notes__[0]


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
    """Wherever a connection is cut, what it stored or did not store is stored once."""
    judge = Judge()
    async with loading_through_proxy(postgres_server, database, judge) as (queue, proxy):
        proxy.cut(**moment)
        for row in ROWS[1000:]:
            await queue.enqueue(row)

    assert 1 == proxy.cuts
    assert ROWS == await stored(database)
    assert 1 == len(judge.errors)
    excuse(caplog)


async def test_a_connection_that_is_told_of_the_end(
    postgres_server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that shuts down says so on idle connections: what they are used for is stored once.

    asyncpg, which has read of the end and not come to it, takes that for a mistake of its own.
    """
    judge = Judge()
    async with loading_through_proxy(postgres_server, database, judge) as (queue, proxy):
        proxy.say(SHUTDOWN)
        await steps(3)  # it is read
        for row in ROWS[1000:]:
            await queue.enqueue(row)

    assert ROWS == await stored(database)
    assert [asyncpg.InternalClientError] == [type(error) for error in judge.errors]
    excuse(caplog)


async def test_a_full_disk(postgres_server: Postgres, database: str) -> None:
    """Batches that find no room wait, all of their rows, and are stored once when there is some."""
    administrator = await asyncpg.connect(database)
    await administrator.execute(TWO_DISKS)
    file = await administrator.fetchval("SELECT pg_relation_filepath('small')")
    postgres_server.fill_disk_of(file)
    judge = Judge()
    async with loading(database, judge) as queue:
        for row in ROWS[1000:]:
            await queue.enqueue(row)
        await asyncio.wait_for(judge.seen.wait(), PATIENCE)
        while_full = await stored(database)
        await administrator.execute("VACUUM FULL small")  # into a new file, where there is room
    await administrator.close()

    assert ROWS[: len(while_full)] == while_full
    assert 1000 <= len(while_full) < 1550
    assert ROWS == await stored(database)
    assert {asyncpg.DiskFullError} == {type(error) for error in judge.errors}
    assert len(ROWS) == queue.stats().delivered


REFUSALS = """
    CREATE TABLE events (id text PRIMARY KEY, body text CHECK (body <> 'body 1234'));
    CREATE INDEX ON events (body);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF new.id = '1888' THEN RAISE EXCEPTION 'no'; END IF; RETURN new; END $$;
    CREATE TRIGGER refusal BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()"""


async def test_a_row_that_is_refused(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that a constraint, the type, an index or a trigger refuses are found, and no others."""
    connection = await asyncpg.connect(database)
    await connection.execute(REFUSALS)
    await connection.close()
    judge = Judge()
    too_large = "".join(map(chr, range(0x4E00, 0x4E00 + 4000)))
    bodies = {"1777": "\0", "1999": too_large}
    async with loading(database, judge) as queue:
        for name, body in ROWS[1000:]:
            await queue.enqueue((name, bodies.get(name, body)))

    refused = ["1234", "1777", "1888", "1999"]
    assert [row for row in ROWS if row[0] not in refused] == await stored(database)
    assert refused == sorted(
        re.findall(r"^refused: \('(\d+)'", capsys.readouterr().err, re.MULTILINE)
    )
    assert len(judge.errors) <= 4 * (2 * 7 + 1)


async def test_a_table_that_does_not_fit(database: str) -> None:
    """What is wrong with every row ends the queue: none is dropped, and none is tried for ever."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE events (id int PRIMARY KEY)")
    await connection.close()
    async with postgres.connect(database) as pool:
        queue = FlushQueue(partial(postgres.store, pool), NaturalPolicy(), on_failure=Judge())
        with pytest.raises(FlushFailed) as caught:
            async with queue:
                await queue.enqueue(("1", "body"))

    assert [("1", "body")] == caught.value.in_doubt
    assert isinstance(caught.value.__cause__, asyncpg.SyntaxOrAccessError)
