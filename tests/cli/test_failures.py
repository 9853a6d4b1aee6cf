"""What is done when a transaction fails: verdicts, and whole ingestions into tables that refuse."""

import asyncio
import contextvars
import errno
import math
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from flushq import Drop, Fail, Failure, Retry, Split, Verdict
from flushq.cli import failures
from flushq.cli.failures import DeadLetter, FailureHandler
from flushq.cli.reading import Row
from flushq.cli.table import Table
from tests.cli.support import (
    Write,
    assert_accounted,
    complaints,
    figures,
    flushes,
    ingest,
    letters,
    numbered,
    piped,
    stored,
)

pytestmark = pytest.mark.usefixtures("here")

COLUMNS = "id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT"
DATABASE = Path("events.db")
DEAD = Path("dead.jsonl")

_write = Table.write


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between retries take no time."""
    monkeypatch.setattr(failures, "FIRST_PAUSE", 0.0)


@pytest.fixture
def in_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause before a retry takes longer than any test."""
    monkeypatch.setattr(failures, "FIRST_PAUSE", 3600.0)


def prepare(*statements: str) -> None:
    """Execute statements in the database, from outside."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refusing(condition: str) -> None:
    """Make a table that refuses what does not meet a condition."""
    prepare(f"CREATE TABLE events ({COLUMNS}, CHECK ({condition}))")


def trigger(action: str) -> None:
    """Make a table, and a trigger on it that stands in the way of the body 3."""
    prepare(
        f"CREATE TABLE events ({COLUMNS})",
        "CREATE TRIGGER guard BEFORE INSERT ON events WHEN NEW.body = '3' "
        f"BEGIN SELECT RAISE({action}, 'no threes'); END",
    )


# The verdicts.


REFUSAL = sqlite3.IntegrityError("no threes")
REFUSAL.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_TRIGGER
TROUBLE = sqlite3.OperationalError("database or disk is full")
TROUBLE.sqlite_errorcode = sqlite3.SQLITE_FULL


def failed(error: Exception, attempt: int = 1, lines: int = 4) -> Failure[Row]:
    """A failure of so many lines."""
    rows = [("x", number, "") for number in range(lines)]
    return Failure(rows, error, None, attempt, "age", 0.0)


@pytest.fixture
def judge() -> Iterator[Callable[..., Verdict]]:
    """A handler with two retries and a dead-letter file, in one flush."""
    flush = contextvars.copy_context()
    with DeadLetter(str(DEAD)) as dead_letter:
        handler = FailureHandler(2, dead_letter)
        yield lambda *failure: flush.run(handler, failed(*failure))


def test_a_refusal(judge: Callable[..., Verdict]) -> None:
    """A batch with a refused line is tried again, then split; its parts are not tried again."""
    verdicts = [judge(REFUSAL, 1), judge(REFUSAL, 2), judge(REFUSAL, 3)]

    assert [Retry(0.1), Retry(0.2), Split()] == verdicts
    assert Split() == judge(REFUSAL, 1, 2)
    assert Drop() == judge(REFUSAL, 1, 1)
    assert [("x", 0, "", "no threes")] == letters(DEAD)


def test_trouble(judge: Callable[..., Verdict]) -> None:
    """A batch that the database is in no state to take is tried again, and then it is the end."""
    assert [Retry(0.1), Retry(0.2), Fail()] == [judge(TROUBLE, number) for number in (1, 2, 3)]
    assert [] == letters(DEAD)


def test_trouble_with_a_part(judge: Callable[..., Verdict]) -> None:
    """Of trouble the parts of a split batch have retries of their own."""
    assert Split() == judge(REFUSAL, 3)

    assert [Retry(0.1), Retry(0.2), Fail()] == [judge(TROUBLE, number, 1) for number in (1, 2, 3)]


def test_the_next_batch() -> None:
    """That one batch was split is forgotten with it."""
    with DeadLetter(str(DEAD)) as dead_letter:
        handler = FailureHandler(1, dead_letter)
        for _ in range(2):
            flush = contextvars.copy_context()
            assert Retry(0.1) == flush.run(handler, failed(REFUSAL, 1))
            assert Split() == flush.run(handler, failed(REFUSAL, 2))


def test_pauses() -> None:
    """The pauses double, from 0.1 to 6.4 seconds, and stay there."""
    handler = FailureHandler(10**6)

    verdicts = [handler(failed(TROUBLE, attempt)) for attempt in (*range(1, 9), 10**6)]

    pauses = [verdict.after for verdict in verdicts if isinstance(verdict, Retry)]
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 6.4, 6.4] == pauses


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
def test_the_unforeseen(judge: Callable[..., Verdict], error: Exception) -> None:
    """What is no error of the database is the end at once."""
    assert Fail() == judge(error)


def test_without_anything() -> None:
    """Without retries and a dead-letter file every failure is the end."""
    assert [Fail(), Fail()] == [FailureHandler()(failed(error)) for error in (REFUSAL, TROUBLE)]


# One bad line.


def test_one_bad_line(read_lines: list[int]) -> None:
    """One line that the table refuses costs nothing else, and few transactions."""
    refusing("body <> '137'")

    result = ingest(numbered("x", 500), "--dead-letter", DEAD, "--policy", "interval:inf,500")

    assert 1 == result.exit_code
    assert [n for n in range(1, 501) if n != 137] == [line for _, line, _ in stored(DATABASE)]
    assert [("x", 137, "137", "CHECK constraint failed: body <> '137'")] == letters(DEAD)
    found = figures(result)
    assert (499, 1) == (found["lines"], found["dead letters"])
    assert "1 (1 full)" == flushes(result)
    assert found["batches"] <= math.ceil(math.log2(500))
    assert ["refused line 137 of 'x': CHECK constraint failed: body <> '137'"] == complaints(result)
    assert_accounted(result, read_lines)


@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
def test_a_trigger(action: str) -> None:
    """A trigger may refuse a line, in whatever way."""
    trigger(action)

    result = ingest(numbered("x", 5), "--dead-letter", DEAD)

    assert 1 == result.exit_code
    assert ["1", "2", "4", "5"] == [body for _, _, body in stored(DATABASE)]
    assert [("x", 3, "3", "no threes")] == letters(DEAD)


@pytest.mark.parametrize(
    ("hindrance", "error"),
    [
        ("CREATE INDEX ids ON events (json_extract(body, '$.id'))", "malformed JSON"),
        (
            (
                "CREATE TRIGGER copy AFTER INSERT ON events WHEN NEW.line = 2 "
                "BEGIN INSERT INTO others VALUES (NEW.body); END"
            ),
            "datatype mismatch",
        ),
    ],
)
def test_what_follows(hindrance: str, error: str) -> None:
    """So may whatever follows from a line: an index on an expression, a copy in another table."""
    prepare(
        f"CREATE TABLE events ({COLUMNS})",
        "CREATE TABLE others (id INTEGER PRIMARY KEY)",
        hindrance,
    )
    Path("x").write_text('{"id": 1}\nno\n{"id": 2}\n')

    result = ingest("x", "--dead-letter", DEAD)

    assert 1 == result.exit_code
    assert [1, 3] == [line for _, line, _ in stored(DATABASE)]
    assert [("x", 2, "no", error)] == letters(DEAD)


LONG = "x" * 1001
TOO_BIG = "string or blob too big"


class Cramped(sqlite3.Connection):
    """A connection whose SQLite takes no line above 1000 bytes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)


class Narrow(sqlite3.Connection):
    """A connection whose SQLite cannot be handed a line above 1000 bytes, as one above 2 GiB."""

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        """Insert rows up to one that is too long."""
        return super().executemany(statement, map(handed, rows))


def handed(row: Row) -> Row:
    """Hand over a row as it is, unless it is too long."""
    if len(row[2]) > 1000:
        raise OverflowError("string longer than INT_MAX bytes")
    return row


@pytest.fixture(params=[Cramped, Narrow])
def room_for_lines(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Have lines of at most 1000 bytes, in either way."""
    monkeypatch.setattr(aiosqlite, "connect", partial(aiosqlite.connect, factory=request.param))


@pytest.mark.usefixtures("room_for_lines")
def test_a_line_that_is_too_long(read_lines: list[int]) -> None:
    """A line that is longer than SQLite takes is a dead letter, and costs nothing else."""
    Path("x").write_text(f"1\n2\n{LONG}\n4\n")

    result = ingest("x", "--dead-letter", DEAD)

    assert 1 == result.exit_code
    assert ["1", "2", "4"] == [body for _, _, body in stored(DATABASE)]
    assert [("x", 3, LONG, TOO_BIG)] == letters(DEAD)
    assert [f"refused line 3 of 'x': {TOO_BIG}"] == complaints(result)
    assert_accounted(result, read_lines)


@pytest.mark.usefixtures("room_for_lines")
def test_a_line_that_is_too_long_and_no_dead_letter_file(read_lines: list[int]) -> None:
    """Without a dead-letter file a line that is too long ends it, as any refused line does."""
    Path("x").write_text(f"1\n2\n{LONG}\n4\n")

    result = ingest("x", "--policy", "natural:2", "--max-queue-size", "2")

    assert 1 == result.exit_code
    assert ["1", "2"] == [body for _, _, body in stored(DATABASE)]
    [complaint] = complaints(result)
    assert complaint.endswith(f"'events.db': {TOO_BIG}: 2 lines stored, 2 not stored")
    assert_accounted(result, read_lines)


@pytest.mark.parametrize("seed", range(6))
def test_any_bad_lines(read_lines: list[int], seed: int) -> None:
    """Whichever lines are bad, they are dead letters, the others are stored, all in order."""
    chance = random.Random(seed)
    bad = sorted(chance.sample(range(1, 61), chance.choice([1, 2, 7, 40, 60])))
    refusing(f"line NOT IN ({', '.join(map(str, bad))})")
    size = chance.choice([1, 7, 60])

    result = ingest(
        numbered("x", 60), "--dead-letter", DEAD, "--policy", f"natural:{size}", "--retries", "0"
    )

    assert bad == [line for _, line, _, _ in letters(DEAD)]
    assert sorted({*range(1, 61)} - {*bad}) == [line for _, line, _ in stored(DATABASE)]
    assert 1 == result.exit_code
    assert_accounted(result, read_lines)


def test_many_bad_lines() -> None:
    """The first ten are told; what the file held stays."""
    refusing("line > 12")
    ingest(numbered("old", 1), "--dead-letter", DEAD)

    result = ingest(numbered("x", 13), "--dead-letter", DEAD)

    assert 12 == figures(result)["dead letters"]
    assert ["old", *["x"] * 12] == [source for source, _, _, _ in letters(DEAD)]
    *told, more = complaints(result)
    assert [str(number) for number in range(1, 11)] == [line.split()[2] for line in told]
    assert "further dead letters are not reported" == more


def test_no_dead_letter_file(read_lines: list[int]) -> None:
    """Without a dead-letter file a refused line ends it."""
    refusing("line < 15")

    result = ingest(numbered("x", 1000), "--policy", "natural:10", "--max-queue-size", "10")

    assert 1 == result.exit_code
    assert 10 == figures(result)["lines"]
    assert_accounted(result, read_lines)


@pytest.fixture
def room_for_letters(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the disk full after so many letters."""
    write = os.write

    def prepare(count: int) -> None:
        def limited(fd: int, data: bytes) -> int:
            nonlocal count
            if b'"error"' in data:
                count -= 1
                if count < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(fd, data)

        monkeypatch.setattr(os, "write", limited)

    return prepare


def test_a_full_dead_letter_file(
    room_for_letters: Callable[[int], None], read_lines: list[int]
) -> None:
    """When a letter cannot be written it is the end; its line is counted as not stored."""
    refusing("line NOT IN (5, 15)")
    room_for_letters(1)

    result = ingest(
        numbered("x", 1000), "--dead-letter", DEAD, "--policy", "natural:1", "--max-queue-size", "1"
    )

    assert 1 == result.exit_code
    assert [5] == [line for _, line, _, _ in letters(DEAD)]
    found = figures(result)
    assert (13, 1) == (found["lines"], found["dead letters"])
    assert sum(read_lines) < 1000
    assert complaints(result)[-1].startswith(
        "cannot append to 'dead.jsonl': No space left on device: 13 lines stored, "
    )
    assert_accounted(result, read_lines)


def test_everything_at_once(room_for_letters: Callable[[int], None], read_lines: list[int]) -> None:
    """Lines that are stored, duplicates, skipped, dead letters and lost: each is counted once."""
    refusing("line <> 4")
    prepare(
        "CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.line >= 7 "
        "BEGIN SELECT RAISE(ABORT, 'a full letter box'); END"
    )
    lines = ['{"id": 1}', '{"id": 1}', "no", *(f'{{"id": {number}}}' for number in range(4, 20))]
    Path("x").write_text("".join(f"{line}\n" for line in lines))
    room_for_letters(1)

    result = ingest("x", "--dedupe", "id", "--dead-letter", DEAD)

    assert 1 == result.exit_code
    assert [1, 5, 6] == [line for _, line, _ in stored(DATABASE)]
    assert [4] == [line for _, line, _, _ in letters(DEAD)]
    found = figures(result)
    names = ("lines", "duplicates", "skipped", "dead letters", "not stored")
    assert (3, 1, 1, 1, 13) == tuple(found[name] for name in names)
    assert_accounted(result, read_lines)


# Trouble with the database.


def note_tries(
    writing: Callable[[Write], None], after: dict[int, Callable[[], object]]
) -> list[int]:
    """Note how many lines each try to write has, and do something after some that failed."""
    tries: list[int] = []

    async def write(table: Table, rows: list[Row]) -> None:
        tries.append(len(rows))
        try:
            await _write(table, rows)
        except sqlite3.Error:
            after.get(len(tries), lambda: None)()
            raise

    writing(write)
    return tries


@pytest.mark.usefixtures("at_once")
def test_retries(writing: Callable[[Write], None]) -> None:
    """A batch that failed is tried again, and stored when the reason has gone; nothing is lost."""
    trigger("ABORT")
    tries = note_tries(writing, {3: lambda: prepare("DROP TRIGGER guard")})

    result = ingest(numbered("x", 5), "--retries", "3", "--dead-letter", DEAD)

    assert 0 == result.exit_code
    assert [5, 5, 5, 5] == tries
    assert ["1", "2", "3", "4", "5"] == [body for _, _, body in stored(DATABASE)]
    assert [] == letters(DEAD)
    assert "1 (1 drain)" == flushes(result)
    assert (5, 1) == (figures(result)["lines"], figures(result)["batches"])
    assert ["cannot write: no threes; trying again in 0 s"] * 3 == complaints(result)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("retries", [0, 1, 12])
def test_retries_in_vain(
    writing: Callable[[Write], None], read_lines: list[int], retries: int
) -> None:
    """After the last retry it is the end; the first ten retries are told."""
    trigger("ABORT")
    tries = note_tries(writing, {})

    result = ingest(numbered("x", 5), "--retries", str(retries))

    assert 1 == result.exit_code
    assert [5] * (1 + retries) == tries
    *told, end = complaints(result)
    more = ["further retries are not reported"] * (retries > 10)
    assert ["cannot write: no threes; trying again in 0 s"] * min(retries, 10) + more == told
    assert end == (
        "cannot write to table 'events' of database 'events.db': no threes: "
        "0 lines stored, 5 not stored"
    )
    assert_accounted(result, read_lines)


@pytest.mark.usefixtures("at_once")
def test_retries_of_a_refused_line(writing: Callable[[Write], None]) -> None:
    """The parts of a batch that was split are not tried again, which would take long."""
    trigger("ABORT")
    tries = note_tries(writing, {})

    result = ingest(numbered("x", 8), "--retries", "2", "--dead-letter", DEAD)

    assert [8, 8, 8, 4, 2, 2, 1, 1, 4] == tries
    assert (7, 1) == (figures(result)["lines"], figures(result)["dead letters"])


def limit_size(monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
    """Have the database full at so many pages."""
    prepare_table = Table._prepare  # noqa: SLF001 - the connection is there, nothing is written

    async def limited(table: Table, deadline: float) -> None:
        await prepare_table(table, deadline)
        await table._execute(deadline, f"PRAGMA max_page_count = {pages}")  # noqa: SLF001 - as above

    monkeypatch.setattr(Table, "_prepare", limited)


@pytest.mark.usefixtures("at_once")
def test_a_full_database(
    writing: Callable[[Write], None], monkeypatch: pytest.MonkeyPatch, read_lines: list[int]
) -> None:
    """A full database refuses no line: after the retries it is the end, and no dead letter."""
    limit_size(monkeypatch, 4)
    tries = note_tries(writing, {})
    Path("x").write_text("".join(f"{number:0100}\n" for number in range(1000)))

    result = ingest(
        *("x", "--policy", "interval:inf,50", "--max-queue-size", "50"),
        *("--retries", "2", "--dead-letter", DEAD),
    )

    assert 1 == result.exit_code
    assert [] == letters(DEAD)
    assert figures(result)["batches"] + 3 == len(tries)
    assert figures(result)["lines"] > 0
    assert "database or disk is full" in complaints(result)[-1]
    assert sum(read_lines) < 1000
    assert_accounted(result, read_lines)


MISSING = "CREATE TRIGGER copy AFTER INSERT ON events BEGIN INSERT INTO others VALUES (1); END"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("DROP TABLE events", "no such table: events"),
        ("ALTER TABLE events RENAME TO others", "no such table: events"),
        (
            "ALTER TABLE events RENAME COLUMN body TO words",
            "table events has no column named body",
        ),
        (MISSING, "no such table: main.others"),
    ],
)
def test_a_table_that_takes_nothing_any_more(
    writing: Callable[[Write], None], read_lines: list[int], change: str, error: str
) -> None:
    """A table that is dropped or changed under way so that it takes no line refuses none.

    After the retries it is the end, and no dead letter.
    """
    tries: list[int] = []

    async def write(table: Table, rows: list[Row]) -> None:
        if len(tries) == 1:
            prepare(change)
        tries.append(len(rows))
        await _write(table, rows)

    writing(write)

    result = ingest(
        *(numbered("x", 1000), "--policy", "interval:inf,50", "--max-queue-size", "50"),
        *("--retries", "2", "--dead-letter", DEAD),
    )

    assert 1 == result.exit_code
    assert [] == letters(DEAD)
    assert [50] * 4 == tries
    assert sum(read_lines) < 1000
    *told, end = complaints(result)
    assert [f"cannot write: {error}; trying again in 0 s"] * 2 == told
    assert end == (
        f"cannot write to table 'events' of database 'events.db': {error}: "
        f"50 lines stored, {sum(read_lines) - 50} not stored"
    )
    assert (50, 1) == (figures(result)["lines"], figures(result)["batches"])


@pytest.mark.usefixtures("at_once")
def test_a_lock(writing: Callable[[Write], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is waited for in each try, and a retry follows if that was too short."""
    monkeypatch.setattr("flushq.cli.table.LOCK_SECONDS", 0.0)
    refusing("line > 0")
    other = sqlite3.connect(DATABASE, isolation_level=None)
    tries = note_tries(writing, {2: lambda: other.execute("ROLLBACK")})

    async def lock(table: Table) -> Table:
        opened = await enter(table)
        other.execute("BEGIN IMMEDIATE")
        return opened

    enter = Table.__aenter__
    monkeypatch.setattr(Table, "__aenter__", lock)
    result = ingest(numbered("x", 3), "--retries", "2", "--dead-letter", DEAD)
    other.close()

    assert 0 == result.exit_code
    assert [3, 3, 3] == tries
    assert 3 == len(stored(DATABASE))
    assert [] == letters(DEAD)


# Signals in the pause before a retry.


def signals(*numbers: signal.Signals) -> Callable[[], None]:
    """What sends signals, one after the other, in the pause that follows."""

    def send() -> None:
        loop = asyncio.get_running_loop()
        for turns, number in enumerate(numbers, 1):
            later(loop, turns, number)

    return send


def later(loop: asyncio.AbstractEventLoop, turns: int, number: signal.Signals) -> None:
    """Send a signal after so many turns of the loop, of which the first is in the pause."""
    if turns:
        loop.call_soon(later, loop, turns - 1, number)
    else:
        signal.raise_signal(number)


@pytest.mark.usefixtures("at_once")
def test_a_signal_in_a_pause(writing: Callable[[Write], None], read_lines: list[int]) -> None:
    """A signal ends the reading; what was read is tried again, and stored."""
    trigger("ABORT")
    tries = note_tries(
        writing, {1: signals(signal.SIGTERM), 9: lambda: prepare("DROP TRIGGER guard")}
    )

    result = ingest(
        numbered("x", 100_000), "--retries", "9", "--policy", "natural:5", "--max-queue-size", "5"
    )

    assert 143 == result.exit_code
    assert [5] * 10 == tries[:10]
    assert sum(read_lines) < 100_000
    assert sum(read_lines) == figures(result)["lines"] == len(stored(DATABASE))
    assert_accounted(result, read_lines)


@pytest.mark.usefixtures("in_an_hour")
def test_two_signals_in_a_pause(writing: Callable[[Write], None], read_lines: list[int]) -> None:
    """A second signal ends the pause, and the writing with it; what was read is accounted for."""
    trigger("ABORT")
    tries = note_tries(writing, {3: signals(signal.SIGINT, signal.SIGTERM)})

    result = ingest(
        *(numbered("x", 1000), "--retries", "1", "--dead-letter", DEAD),
        *("--policy", "natural:1", "--max-queue-size", "1"),
    )

    assert 130 == result.exit_code
    assert [1, 1, 1] == tries
    assert ["1", "2"] == [body for _, _, body in stored(DATABASE)]
    assert [] == letters(DEAD)
    told, end = complaints(result)
    assert "cannot write: no threes; trying again in 3600 s" == told
    assert end.startswith("stopped by SIGINT: 2 lines stored, ")
    assert_accounted(result, read_lines)


@pytest.mark.usefixtures("in_an_hour")
def test_a_limit_in_a_pause(read_lines: list[int]) -> None:
    """A pause takes no longer than --max-shutdown-wait after the last line."""
    trigger("ABORT")

    result = ingest(numbered("x", 5), "--retries", "1", "--max-shutdown-wait", "0.01")

    assert 1 == result.exit_code
    assert (0, 5) == (figures(result)["lines"], figures(result)["not stored"])
    assert_accounted(result, read_lines)


@pytest.mark.usefixtures("in_an_hour")
def test_a_limit_in_a_pause_after_a_signal(
    writing: Callable[[Write], None], read_lines: list[int]
) -> None:
    """A pause takes no longer than --max-shutdown-wait after a signal."""
    trigger("ABORT")
    note_tries(writing, {1: signals(signal.SIGTERM)})

    with piped() as pipe:
        os.write(pipe, b"1\n2\n3\n4\n5\n")
        result = ingest(
            *("-", "--policy", "interval:inf,5"),
            *("--retries", "1", "--max-shutdown-wait", "0.01"),
        )

    assert 143 == result.exit_code
    assert (0, 5) == (figures(result)["lines"], figures(result)["not stored"])
    assert_accounted(result, read_lines)
