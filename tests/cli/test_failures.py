"""The handling of failed transactions: verdicts, dead letters, and tables that refuse lines."""

import asyncio
import contextvars
import errno
import json
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flushq import Drop, Fail, Failure, Retry, Split, Verdict
from flushq.cli import failures
from flushq.cli import table as tables
from flushq.cli.failures import CannotAppend, DeadLetterFile, FailureHandler
from flushq.cli.reading import Row
from flushq.cli.table import Table
from tests.cli.support import (
    COLUMNS,
    DATABASE,
    Writing,
    assert_accounted,
    bodies,
    complaints,
    figures,
    flushes,
    ingest,
    letters,
    numbered,
    stored,
)

pytestmark = pytest.mark.usefixtures("here")

DEAD = Path("dead.jsonl")
REFUSED = ValueError("too bad")

_write = Table.write


# The verdicts.


def error_of(code: int, text: str) -> sqlite3.Error:
    """Return an error with the code that SQLite would give it."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = code
    return error


REFUSAL = error_of(sqlite3.SQLITE_CONSTRAINT_TRIGGER, "no threes")
TROUBLE = error_of(sqlite3.SQLITE_FULL, "database or disk is full")


def failed(error: Exception, attempt: int = 1, lines: int = 4) -> Failure[Row]:
    """Return a failure of so many lines."""
    rows = [("x", number, "") for number in range(lines)]
    return Failure(rows, error, None, attempt, "age", 0.0)


@pytest.fixture
def judge() -> Iterator[Callable[..., Verdict]]:
    """Yield a handler with two retries and a dead-letter file, called within one flush."""
    flush = contextvars.copy_context()
    with DeadLetterFile(str(DEAD)) as dead_letter:
        handler = FailureHandler(2, dead_letter)
        yield lambda *failure: flush.run(handler, failed(*failure))


def test_a_refused_batch_is_retried_and_split_and_trouble_is_the_end_after_the_retries(
    judge: Callable[..., Verdict],
) -> None:
    """A part of a split batch is retried only in trouble; a refused line alone is a dead letter."""
    retries = [Retry(0.1), Retry(0.2)]
    assert [*retries, Fail()] == [judge(TROUBLE, number) for number in (1, 2, 3)]
    assert [*retries, Split()] == [judge(REFUSAL, number) for number in (1, 2, 3)]
    assert [*retries, Fail()] == [judge(TROUBLE, number, 1) for number in (1, 2, 3)]
    assert [] == letters(DEAD)
    assert [Split(), Drop()] == [judge(REFUSAL, 1, lines) for lines in (2, 1)]
    assert [("x", 0, "", "no threes")] == letters(DEAD)


def test_pauses_double_up_to_a_limit() -> None:
    """The pause before a retry doubles from 0.1 to 6.4 seconds, and then stays."""
    handler = FailureHandler(10**6)
    verdicts = [handler(failed(TROUBLE, attempt)) for attempt in (1, 2, 3, 6, 7, 8, 10**6)]
    assert [Retry(pause) for pause in (0.1, 0.2, 0.4, 3.2, 6.4, 6.4, 6.4)] == verdicts


def test_every_other_failure_is_the_end_at_once(judge: Callable[..., Verdict]) -> None:
    """The verdict is Fail for an unknown error, or without retries and a dead-letter file."""
    assert [Fail(), Fail()] == [judge(ZeroDivisionError()), judge(asyncio.CancelledError())]
    assert [Fail(), Fail()] == [FailureHandler()(failed(error)) for error in (REFUSAL, TROUBLE)]


# The dead-letter file.


def descriptors() -> set[str]:
    """Return the file descriptors that are open."""
    return {entry.name for entry in Path("/dev/fd").iterdir()}


def test_letters_are_appended_and_the_file_is_closed() -> None:
    """A letter is one line of ASCII, for any source, line number and body."""
    before = descriptors()
    rows = [("x", 1, "a"), ('"\\', 2, "é\u2028\0\r"), ("", 10**15, "")]
    for row in rows:
        with DeadLetterFile(str(DEAD)) as dead_letter:
            dead_letter.append(row, REFUSED)

    assert [(*row, "too bad") for row in rows] == letters(DEAD)
    assert (3, True) == (DEAD.read_bytes().count(b"\n"), DEAD.read_bytes().isascii())
    assert before == descriptors()


def test_a_letter_that_was_appended_is_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter is written whole and synced, even if the system writes only pieces of it."""
    write = os.write
    synced: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(DEAD.read_bytes()))

    with DeadLetterFile(str(DEAD)) as dead_letter:
        dead_letter.append(("x", 1, "a" * 100), REFUSED)
        assert [b"", DEAD.read_bytes()] == synced
    assert [("x", 1, "a" * 100, "too bad")] == letters(DEAD)


CANNOT_APPEND = r"^cannot append to dead-letter file 'dead\.jsonl': "


@pytest.mark.parametrize("broken", ["write", "fsync", "write ftruncate"])
def test_a_letter_without_room_is_taken_back(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """A letter that cannot be written or synced is cut off again, if truncating works."""
    write = os.write

    def full(fd: int, data: Any = b"") -> int:
        if isinstance(data, int) or len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) // 2])

    with DeadLetterFile(str(DEAD)) as dead_letter:
        dead_letter.append(("x", 1, ""), REFUSED)
        before = DEAD.read_bytes()
        for name in broken.split():
            monkeypatch.setattr(os, name, full)
        with pytest.raises(CannotAppend, match=f"{CANNOT_APPEND}No space left on "):
            dead_letter.append(("x", 2, ""), REFUSED)

    assert ("ftruncate" in broken) == (before != DEAD.read_bytes())


DEEP = "[" * 100_000
LETTER = '{"source": "x", "line": 3, "body": "c", "error": "too bad"}'


def test_letters_that_are_there_are_not_appended_again() -> None:
    """``load`` finds letters from a line on in each source; another body is another letter."""
    rows = [("x", 1, "a"), ("x", 2, "a"), ("y", 9, "a")]
    with DeadLetterFile(str(DEAD)) as dead_letter:
        for row in rows:
            dead_letter.append(row, REFUSED)
    with DEAD.open("a") as file:
        file.write('no letter\n{}\n[]\n\n{"source": "x", "line": "2", "body": ""}\n')
        file.write(f"{DEEP}\n")
    before = DEAD.read_text()

    with DeadLetterFile(str(DEAD)) as dead_letter:
        dead_letter.load({"x": 2})
        for row in (*rows, ("x", 2, "b")):
            dead_letter.append(row, ValueError("again"))

    appended = DEAD.read_text().removeprefix(before).splitlines()
    assert [("x", 1, "a"), ("y", 9, "a"), ("x", 2, "b")] == [
        tuple(json.loads(letter).values())[:3] for letter in appended
    ]


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ('{"s', ""),
        ('{"source": "x", "line": 2', ""),
        (LETTER[:-1], ""),
        (LETTER, LETTER),
        ("{} no", "{} no"),
        (DEEP, DEEP),
        ("", ""),
    ],
    ids=len,
)
def test_the_beginning_of_a_letter_is_cut_off(end: str, kept: str) -> None:
    """``load`` cuts off an unfinished letter at the end, but no whole letter or other text."""
    with DeadLetterFile(str(DEAD)) as dead_letter:
        dead_letter.append(("x", 1, "a"), REFUSED)
        before = DEAD.read_text()
        DEAD.write_text(before + end)
        dead_letter.load({})
    assert before + kept == DEAD.read_text()


def test_a_letter_begins_a_line() -> None:
    """A letter begins a new line, even after an unfinished letter that was not cut off."""
    for end in ("", LETTER[:5], f"{LETTER}\n"):
        DEAD.write_text(end)
        with DeadLetterFile(str(DEAD)) as dead_letter:
            dead_letter.append(("x", 3, "c"), REFUSED)
        assert [*end.splitlines(), LETTER] == DEAD.read_text().splitlines()


def test_letters_that_cannot_be_read() -> None:
    """``load`` raises CannotAppend if the file cannot be read, for example after its removal."""
    with DeadLetterFile(str(DEAD)) as dead_letter:
        DEAD.unlink()
        with pytest.raises(CannotAppend, match=f"{CANNOT_APPEND}No such file"):
            dead_letter.load({})


@pytest.mark.parametrize("read", [False, True])
def test_a_named_pipe_is_refused(*, read: bool) -> None:
    """A named pipe, with a reader or without, is refused as the file: it cannot be synced."""
    os.mkfifo(DEAD)
    reader = os.open(DEAD, os.O_RDONLY | os.O_NONBLOCK) if read else os.dup(0)
    before = descriptors()
    with pytest.raises(CannotAppend, match=CANNOT_APPEND):
        DeadLetterFile(str(DEAD)).__enter__()
    assert before == descriptors()
    os.close(reader)


# Ingestions into tables that refuse lines.


def prepare(*statements: str) -> None:
    """Execute statements in the database over another connection."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refusing(condition: str, *statements: str) -> None:
    """Make a table that refuses lines for which a condition is false, and execute statements."""
    prepare(f"CREATE TABLE events ({COLUMNS}, CHECK ({condition}))", *statements)


UNIQUE = "UNIQUE constraint failed"
COPY = "CREATE TRIGGER copy AFTER INSERT ON events WHEN NEW.line = 3"
GUARD = "CREATE TRIGGER guard BEFORE INSERT ON events WHEN NEW.body = '3' BEGIN SELECT RAISE"


@pytest.mark.parametrize(
    ("hindrance", "error"),
    [
        (f"{GUARD}(ABORT, 'no threes'); END", "no threes"),
        (f"{GUARD}(FAIL, 'no threes'); END", "no threes"),
        (f"{GUARD}(ROLLBACK, 'no threes'); END", "no threes"),
        ("CREATE UNIQUE INDEX i ON events (iif(line = 3, 2, line))", f"{UNIQUE}: index 'i'"),
        ("CREATE INDEX i ON events (json(iif(body = '3', '{', body)))", "malformed JSON"),
        (f"{COPY} BEGIN INSERT INTO others VALUES ('no'); END", "datatype mismatch"),
    ],
)
def test_a_constraint_may_refuse_a_line(hindrance: str, error: str) -> None:
    """A line that a trigger or an index refuses is a dead letter; the other lines are stored."""
    refusing("1", "CREATE TABLE others (id INTEGER PRIMARY KEY)", hindrance)

    result = ingest(numbered("x", 5), "--dead-letter", DEAD)

    assert (1, "1 (1 drain)") == (result.exit_code, flushes(result))
    assert [f"refused line 3 of 'x': {error}"] == complaints(result)
    assert ["1", "2", "4", "5"] == bodies()
    assert [("x", 3, "3", error)] == letters(DEAD)


@pytest.mark.parametrize("seed", range(4))
def test_any_lines_may_be_bad(read_lines: list[int], seed: int) -> None:
    """Whichever lines are bad, they are dead letters; the others are stored, in order."""
    chance = random.Random(seed)
    bad = sorted(chance.sample(range(1, 61), chance.choice([1, 2, 7, 40, 60])))
    refusing(f"line NOT IN ({', '.join(map(str, bad))})")
    policy = f"natural:{chance.choice([1, 7, 60])}"

    result = ingest(numbered("x", 60), "--dead-letter", DEAD, "--policy", policy)

    assert bad == [line for _, line, _, _ in letters(DEAD)]
    assert (len(bad) > 10) == ("further dead letters are not reported" in complaints(result))
    assert sorted({*range(1, 61)} - {*bad}) == [line for _, line, _ in stored()]
    assert 1 == result.exit_code
    assert_accounted(result, read_lines)


def test_each_line_is_counted_once(read_lines: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is counted in one figure, although the dead-letter file gets full midway."""
    ignoring = "WHEN NEW.line = 5 BEGIN SELECT RAISE(IGNORE); END"
    refusing("line NOT IN (4, 8)", f"CREATE TRIGGER i BEFORE INSERT ON events {ignoring}")
    ids = [1, 1, "no", *range(4, 20)]
    Path("x").write_text("".join(f'{{"id": {number}}}\n' for number in ids))
    write, room = os.write, iter([True])

    def limited(fd: int, data: bytes) -> int:
        if b'"error"' in data and not next(room, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(os, "write", limited)

    result = ingest("x", "--dedupe", "id", "--dead-letter", DEAD)

    assert 1 == result.exit_code
    assert [1, 6, 7] == [line for _, line, _ in stored()]
    assert [4] == [line for _, line, _, _ in letters(DEAD)]
    names = ("lines", "ignored", "duplicates", "skipped", "dead letters", "not stored")
    assert (3, 1, 1, 1, 1, 12) == tuple(figures(result)[name] for name in names)
    assert complaints(result)[-1].startswith("cannot append to dead-letter file 'dead.jsonl': No")
    assert_accounted(result, read_lines)


# Retries.


NO_THREES = f"{GUARD}(ABORT, 'no threes'); END"

Tries = Callable[..., list[int]]


@pytest.fixture
def note_tries(writing: Writing, monkeypatch: pytest.MonkeyPatch) -> Tries:
    """Return a function that makes the table refuse the body 3, and returns a list of tries.

    The list gets the number of lines of each try to write. ``after`` has functions to call after
    failed tries, by their numbers; ``pause`` is the first pause before a retry, in seconds.
    """

    def note_tries(after: dict[int, Callable[[], object]], pause: float = 0.0) -> list[int]:
        monkeypatch.setattr(failures, "FIRST_PAUSE", pause)
        refusing("1", NO_THREES)
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

    return note_tries


def drop_guard() -> None:
    """Drop the trigger, so that the table accepts the body 3."""
    prepare("DROP TRIGGER guard")


def test_a_batch_is_stored_when_the_reason_of_its_failure_has_gone(note_tries: Tries) -> None:
    """Each retry is reported, and no line is lost."""
    tries = note_tries({3: drop_guard})

    result = ingest(numbered("x", 5), "--retries", "3", "--dead-letter", DEAD)

    assert (0, [5, 5, 5, 5]) == (result.exit_code, tries)
    assert (["1", "2", "3", "4", "5"], []) == (bodies(), letters(DEAD))
    found = figures(result)
    assert (5, 1, "1 (1 drain)") == (found["lines"], found["batches"], flushes(result))
    assert ["cannot write a batch: no threes; trying again in 0 s"] * 3 == complaints(result)


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_opening_is_tried_again_too(monkeypatch: pytest.MonkeyPatch, resume: list[str]) -> None:
    """Opening the table is retried; after the last retry the exit code is 2. Nothing is read."""
    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.0)
    monkeypatch.setattr(failures, "FIRST_PAUSE", 0.0)
    with closing(sqlite3.connect(DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = ingest(numbered("x", 5), "--retries", "2", *resume)
    assert (2, "") == (result.exit_code, result.stdout)
    trouble = "cannot open table 'events' of database 'events.db': database is locked"
    assert [*[f"{trouble}; trying again in 0 s"] * 2, f"Error: {trouble}"] == complaints(result)


@pytest.mark.parametrize("retries", [0, 12])
def test_the_last_retry_is_the_end(note_tries: Tries, read_lines: list[int], retries: int) -> None:
    """After the last retry the ingestion ends; only the first ten retries are reported."""
    tries = note_tries({})

    result = ingest(numbered("x", 5), "--retries", str(retries))

    assert (1, [5] * (1 + retries)) == (result.exit_code, tries)
    *told, end = complaints(result)
    assert ["further retries are not reported"] * (retries > 10) == told[10:]
    assert end.endswith("of database 'events.db': no threes: 0 lines stored, 5 not stored")
    assert_accounted(result, read_lines)


def test_the_parts_of_a_batch_are_tried_once(note_tries: Tries) -> None:
    """The parts of a split batch are not retried, to save time; the next batch is retried."""
    tries = note_tries({})
    policy = ("--policy", "natural:4", "--max-queue-size", "4")
    Path("x").write_text("1\n2\n3\n4\n" * 2)
    result = ingest("x", "--retries", "2", "--dead-letter", DEAD, *policy)
    assert [4, 4, 4, 2, 2, 1, 1] * 2 == tries
    assert (6, 2) == (figures(result)["lines"], figures(result)["dead letters"])


SENDING: list[asyncio.Future[None]] = []


async def send(numbers: Sequence[signal.Signals]) -> None:
    """Send signals, each in another iteration of the event loop."""
    for number in numbers:
        await asyncio.sleep(0)
        signal.raise_signal(number)


def signals(*numbers: signal.Signals) -> Callable[[], None]:
    """Return a function that sends signals during the pause that follows."""
    return lambda: SENDING.append(asyncio.ensure_future(send(numbers)))


def test_a_signal_in_a_pause_ends_the_reading(note_tries: Tries, read_lines: list[int]) -> None:
    """After the signal the lines that were already read are retried, and stored."""
    tries = note_tries({1: signals(signal.SIGTERM), 9: drop_guard})

    result = ingest(
        numbered("x", 100_000), "--retries", "9", "--policy", "natural:5", "--max-queue-size", "5"
    )

    assert (143, [5] * 10) == (result.exit_code, tries[:10])
    assert sum(read_lines) < 100_000
    assert sum(read_lines) == figures(result)["lines"] == len(stored())
    assert_accounted(result, read_lines)


def test_a_second_signal_ends_pause_and_writing(note_tries: Tries, read_lines: list[int]) -> None:
    """Every line that was read is accounted for; a line that was not tried is no dead letter."""
    tries = note_tries({3: signals(signal.SIGINT, signal.SIGTERM)}, pause=3600.0)

    result = ingest(
        *(numbered("x", 1000), "--retries", "1", "--dead-letter", DEAD),
        *("--policy", "natural:1", "--max-queue-size", "1"),
    )

    assert (130, [1, 1, 1]) == (result.exit_code, tries)
    assert (["1", "2"], []) == (bodies(), letters(DEAD))
    told, end = complaints(result)
    assert "cannot write a batch: no threes; trying again in 3600 s" == told
    assert end.startswith("stopped by SIGINT: 2 lines stored, ")
    assert_accounted(result, read_lines)
