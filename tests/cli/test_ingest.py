"""``ingest``, called in this process: files, pipes and a terminal, signals and failures."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Self

import attrs
import pytest

from flushq import Decision, Flush, FlushFailed, FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.ingest import ingest as command
from flushq.cli.ingestion import Ingestion
from flushq.cli.reading import Row
from flushq.cli.table import Table
from tests.cli.support import (
    Write,
    assert_accounted,
    complaints,
    figures,
    flushes,
    ingest,
    numbered,
    piped,
    standard_input,
    stored,
)

pytestmark = pytest.mark.usefixtures("here")

_write = Table.write


class Locked(FlushPolicy):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


@attrs.define
class Tiring(FlushPolicy):
    """Raises at some event, the second time."""

    event: str
    error: BaseException = attrs.field(factory=lambda: ArithmeticError("no idea"))
    events: int = 0
    max_records: int | None = 2

    def hear(self, event: str) -> None:
        """Raise if it is the second of these."""
        self.events += event == self.event
        if self.events == 2:
            raise self.error

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Hear of it."""
        self.hear("flush_started")
        return super().flush_started(now, count, weight)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Hear of it."""
        self.hear("flush_done")
        return super().flush_done(now, count, seconds, error)

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


class Uncopied(Locked):
    """Leaves the program when it is copied."""

    def __deepcopy__(self, memo: object) -> Self:
        """Leave, as if all were well."""
        sys.exit(0)


class Unseen:
    """Leaves the program when it is shown."""

    def __repr__(self) -> str:
        """Leave, as if all were well."""
        sys.exit(0)


HEAVY = IntervalPolicy(1.0, max_weight=5)
LOCKED = Locked()
STARTING = Tiring("flush_started")
ENDING = Tiring("flush_done")
UNCOPIED = Uncopied()
UNSEEN = Unseen()
LEAVING_AT_START = Tiring("flush_started", SystemExit(0))
LEAVING_AT_END = Tiring("flush_done", SystemExit())


def test_files() -> None:
    """Files are stored line by line, in order, with their names and line numbers."""
    Path("one").write_bytes(b"a\r\n\nlast")
    Path("two").write_text("{}\n")

    result = ingest("one", "./two")

    assert 0 == result.exit_code
    assert [("one", 1, "a"), ("one", 2, ""), ("one", 3, "last"), ("./two", 1, "{}")] == stored(
        Path("events.db")
    )
    assert re.fullmatch(
        r"lines 4, lines/s \d+, batches 1, mean batch 4\.0, waiting 0, flushes 1 \(1 drain\)\n",
        result.stdout,
    )
    assert "" == result.stderr


def test_where() -> None:
    """The database and the table are where they are said to be."""
    result = ingest(numbered("x", 3), "--db", "other.db", "--table", 'weird "name"; drop')

    assert 0 == result.exit_code
    assert [("x", 1, "1"), ("x", 2, "2"), ("x", 3, "3")] == stored(
        Path("other.db"), 'weird "name"; drop'
    )
    assert not Path("events.db").exists()


@pytest.mark.parametrize(
    ("policy", "batches"), [("interval:2.0,500", 5), ("interval:inf,1000", 3), ("natural:400", 6)]
)
def test_policy(policy: str, batches: int) -> None:
    """The policy decides on the batches; the default is interval:2.0,500."""
    found = figures(ingest(numbered("x", 2100), "--policy", policy))

    assert (2100, batches, batches) == (found["lines"], found["batches"], found["flushes"])
    assert "interval:2.0,500" == next(
        option.default for option in command.params if option.name == "policy"
    )


def test_reasons() -> None:
    """The summary tells why the flushes were: here there is room for one batch, and it is full."""
    policy = ("--policy", "interval:inf,10", "--max-queue-size", "10")

    assert "3 (2 full, 1 drain)" == flushes(ingest(numbered("x", 25), *policy))


def test_live(writing: Callable[[Write], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The live figures tell of the flushes that have ended, and what became of their lines."""
    looks: list[Callable[[], Mapping[str, str]]] = []
    seen: list[tuple[str | None, ...]] = []

    def shown_live(look: Callable[[], Mapping[str, str]]) -> AbstractContextManager[None]:
        looks.append(look)
        return nullcontext()

    async def write(table: Table, rows: list[Row]) -> None:
        found = looks[0]()
        seen.append(tuple(found.get(name) for name in ("lines", "batches", "flushes")))
        await _write(table, rows)

    monkeypatch.setattr("flushq.cli.ingestion.shown_live", shown_live)
    writing(write)

    ingest(numbered("x", 25), "--policy", "interval:inf,10", "--max-queue-size", "10")

    assert [("0", "0", None), ("10", "1", "1 (1 full)"), ("20", "2", "2 (2 full)")] == seen


def test_nothing_to_read() -> None:
    """Of no lines there are no flushes."""
    result = ingest(numbered("x", 0))

    assert 0 == result.exit_code
    assert "lines 0, lines/s 0, batches 0, mean batch 0.0, waiting 0\n" == result.stdout


def test_running_twice() -> None:
    """Running twice stores twice."""
    ingest(numbered("x", 2))
    ingest("x")

    assert ["1", "2", "1", "2"] == [body for _, _, body in stored(Path("events.db"))]


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_pipe(arguments: list[str]) -> None:
    """Without FILE, or as -, standard input is read: a pipe until its writers leave."""
    with piped() as pipe:
        os.write(pipe, b"a\nb\n")
        writer = threading.Thread(target=standard_input_ends, args=(pipe,))
        writer.start()
        result = ingest(*arguments)
        writer.join()

    assert 0 == result.exit_code
    assert [("-", 1, "a"), ("-", 2, "b")] == stored(Path("events.db"))


def standard_input_ends(pipe: int) -> None:
    """Close the writing end of a pipe, but keep its number in use."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, pipe)
    os.close(nowhere)


def test_a_regular_file_as_standard_input() -> None:
    """Standard input may be a regular file."""
    fd = os.open(numbered("x", 2), os.O_RDONLY)
    with standard_input(fd):
        assert 0 == ingest("-").exit_code
    os.close(fd)

    assert [("-", 1, "1"), ("-", 2, "2")] == stored(Path("events.db"))


def test_a_terminal() -> None:
    """A terminal is read if asked for, until the end is typed; unasked it is a mistake."""
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"hello\n\x04")
    with standard_input(terminal):
        mistake = ingest()
        result = ingest("-")
    os.close(keyboard)
    os.close(terminal)

    assert 2 == mistake.exit_code
    assert ["Error: name a FILE, or - to read from this terminal"] == complaints(mistake)
    assert 0 == result.exit_code
    assert [("-", 1, "hello")] == stored(Path("events.db"))


# The caller's mistakes.


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gone"], "cannot read 'gone': No such file or directory"),
        (["x", "gone"], "cannot read 'gone': No such file or directory"),
        (["."], "cannot read '.': Is a directory"),
        (
            ["x", "--policy", "often"],
            "Invalid value for '--policy': bad policy 'often': it must be",
        ),
        (["x", "--policy", f"{__name__}:LOCKED"], "cannot make a deep copy of the policy <tests"),
        (
            ["x", "--policy", f"{__name__}:UNSEEN"],
            f"Invalid value for '--policy': bad policy '{__name__}:UNSEEN': the policy raised Sys",
        ),
        (["x", "--policy", f"{__name__}:UNCOPIED"], "the policy raised SystemExit(0)"),
        (["x", "--policy", f"{__name__}:HEAVY"], "max_weight=5 needs weigh, a function of the"),
        (["x", "--table", ""], "Invalid value for '--table': '' cannot be the name of a table"),
        (["x", "--table", "a\0"], "Invalid value for '--table': 'a\\x00' cannot be the name of a"),
        (["x", "--dedupe", ""], "Invalid value for '--dedupe': the name of a field is not empty"),
        (["x", "--retries", "-1"], "Invalid value for '--retries': -1 is not in the range x>=0"),
        (["x", "--retries", "0.5"], "Invalid value for '--retries': '0.5' is not a valid integer"),
        (["x", "--dead-letter", ""], "cannot append to '': No such file or directory"),
        (["x", "--dead-letter", "."], "cannot append to '.': Is a directory"),
        (["x", "--dead-letter", "gone/d"], "cannot append to 'gone/d': No such file or directory"),
        (["x", "--dead-letter", "/dev/null"], "cannot append to '/dev/null': Invalid argument"),
        (["x", "--dead-letter", "./x"], "'x' cannot be the dead-letter file too"),
        (["x", "--dead-letter", "events.db"], "'events.db' cannot be the dead-letter file too"),
        (["x", "--max-queue-size", "0"], "Invalid value for '--max-queue-size': 0 is not in"),
        (["x", "--max-queue-size", "1.5"], "Invalid value for '--max-queue-size': '1.5' is not"),
        (
            ["x", "--max-shutdown-wait", "-1"],
            "Invalid value for '--max-shutdown-wait': -1.0 is not",
        ),
        (["x", "--max-shutdown-wait", "nan"], "max_shutdown_wait must be at least 0, not nan"),
        (["x", "--db", "."], "cannot open table 'events' of database '.': unable to open database"),
        (["x", "--db", "x"], "cannot open table 'events' of database 'x': file is not a database"),
    ],
)
def test_a_mistake(arguments: list[str], complaint: str) -> None:
    """A mistake is told in one line, exit code 2, before anything is written."""
    numbered("x", 100)

    result = ingest(*arguments)

    assert 2 == result.exit_code
    assert [f"Error: {complaint}"] == [line[: 7 + len(complaint)] for line in complaints(result)]
    assert "" == result.stdout
    assert [Path("x")] == list(Path().iterdir())


# Lines that cannot be stored.


def test_bad_lines() -> None:
    """Bad lines are skipped and counted, the first ten told; the good ones are stored.

    That no more are told is said once, and only if there are more.
    """
    Path("x").write_bytes(b"good\n" + b"\xff\n" * 12 + b"fine\n")

    result = ingest("x")

    assert 1 == result.exit_code
    assert [("x", 1, "good"), ("x", 14, "fine")] == stored(Path("events.db"))
    assert 12 == figures(result)["skipped"]
    *told, more = complaints(result)
    assert [f"skipped line {number} of 'x': not UTF-8:" for number in range(2, 12)] == [
        line[: line.index(" 'utf-8'")] for line in told
    ]
    assert "further skipped lines are not reported" == more

    Path("ten").write_bytes(b"\xff\n" * 10)
    assert [str(number) for number in range(1, 11)] == [
        line.split()[2] for line in complaints(ingest("ten"))
    ]


def test_dedupe() -> None:
    """With --dedupe lines with the same value in the field are dropped, lines without skipped."""
    Path("x").write_text('{"id": 1}\nno\n{"id": 2}\n{"a": 3}\n{"id": 1, "a": 4}\n')

    result = ingest("x", "--dedupe", "id")

    assert 1 == result.exit_code
    assert [("x", 1, '{"id": 1}'), ("x", 3, '{"id": 2}')] == stored(Path("events.db"))
    assert [
        "skipped line 2 of 'x': not JSON (Expecting value at column 1): 'no'",
        "skipped line 4 of 'x': lacks the field 'id': '{\"a\": 3}'",
    ] == complaints(result)
    assert (2, 1, 2) == tuple(figures(result)[name] for name in ("lines", "duplicates", "skipped"))


def test_duplicates_of_what_is_lost() -> None:
    """A duplicate of a line that was never written is a duplicate all the same."""
    Path("x").write_text('{"id": 1}\n' * 3)

    result = ingest("x", "--dedupe", "id", "--max-shutdown-wait", "0")

    assert 1 == result.exit_code
    assert (2, 1) == (figures(result)["duplicates"], figures(result)["not stored"])


def test_duplicates_are_no_failure() -> None:
    """Duplicates alone leave the exit code at 0."""
    Path("x").write_text('{"id": 1}\n' * 1000)

    result = ingest("x", "--dedupe", "id")

    assert 0 == result.exit_code
    assert 1000 == figures(result)["lines"] + figures(result)["duplicates"]


def table_with(body: str, *statements: str) -> None:
    """Make the table with such a column for the body, and execute statements."""
    columns = f"id INTEGER PRIMARY KEY, source TEXT, line INTEGER, {body}"
    with closing(sqlite3.connect("events.db", isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE events ({columns})")
        for statement in statements:
            connection.execute(statement)


IGNORANT = "CREATE TRIGGER guard BEFORE INSERT ON events WHEN NEW.body LIKE '%bad%'"


@pytest.mark.parametrize(
    ("body", "statements"),
    [
        ("body TEXT UNIQUE ON CONFLICT IGNORE", ["INSERT INTO events (body) VALUES ('bad')"]),
        ("body TEXT", [f"{IGNORANT} BEGIN SELECT RAISE(IGNORE); END"]),
    ],
)
def test_ignored_lines(body: str, statements: list[str]) -> None:
    """Lines that the table ignores, as its owner has asked, are told, and are no failure."""
    table_with(body, *statements)
    Path("x").write_text("a\nbad\nc\n")

    result = ingest("x")

    assert (0, "") == (result.exit_code, result.stderr)
    assert [("x", 1, "a"), ("x", 3, "c")] == stored(Path("events.db"))[-2:]
    assert "mean batch 2.0, waiting 0, ignored 1, flushes 1 (1 drain)\n" in result.stdout
    assert 2 == figures(result)["lines"]


def test_what_becomes_of_lines(read_lines: list[int]) -> None:
    """Ignored lines, duplicates, dead letters and lines without a key add up with the others."""
    table_with(
        "body TEXT, CHECK (body NOT LIKE '%worse%')",
        f"{IGNORANT} BEGIN SELECT RAISE(IGNORE); END",
    )
    kinds = ("good", "bad", "worse", "bad")
    lines = [f'{{"id": "{kind} {number}"}}\n' for number in range(20) for kind in kinds]
    Path("x").write_text("".join([*lines, "no\n"]))

    result = ingest("x", "--dedupe", "id", "--dead-letter", "dead", "--policy", "interval:inf,500")

    assert 1 == result.exit_code
    assert_accounted(result, read_lines)
    fates = ("lines", "ignored", "duplicates", "dead letters", "skipped")
    assert (20, 20, 20, 20, 1) == tuple(figures(result)[fate] for fate in fates)


def test_a_file_that_vanishes(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that has vanished when its turn comes is reported; the others are stored."""
    numbered("x", 2)

    code = Ingestion(["gone", "x"], Table("events.db", "events"), NaturalPolicy()).run_alone()

    assert 1 == code
    assert "cannot read 'gone': No such file or directory\n" == capsys.readouterr().err
    assert 2 == len(stored(Path("events.db")))


# Signals.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal(writing: Callable[[Write], None], number: signal.Signals, code: int) -> None:
    """A signal ends the reading, of an idle pipe too; what was read is stored."""

    async def write(table: Table, rows: list[Row]) -> None:
        if not table.stored:
            signal.raise_signal(number)
        await _write(table, rows)

    writing(write)
    with piped() as pipe:
        os.write(pipe, b"a\nb\nc\nunfinished")
        result = ingest("-", "--policy", "natural:1")

    assert code == result.exit_code
    assert [("-", 1, "a"), ("-", 2, "b"), ("-", 3, "c")] == stored(Path("events.db"))
    assert (3, 0) == (figures(result)["lines"], figures(result)["waiting"])
    assert "" == result.stderr


def test_a_signal_while_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a signal that came before the first line nothing is read."""
    prepare = Table._prepare  # noqa: SLF001 - what takes time in opening

    async def interrupted(table: Table, deadline: float) -> None:
        signal.raise_signal(signal.SIGTERM)
        await prepare(table, deadline)

    monkeypatch.setattr(Table, "_prepare", interrupted)

    result = ingest(numbered("x", 10))

    assert 143 == result.exit_code
    assert 0 == figures(result)["lines"]


@pytest.mark.parametrize("size", ["1", "10000"])
def test_a_second_signal(
    writing: Callable[[Write], None], read_lines: list[int], size: str
) -> None:
    """A second signal ends the writing too; the summary comes all the same, and adds up.

    With room for one line it comes while lines are still put into the queue, else in the drain.
    """

    async def write(table: Table, rows: list[Row]) -> None:
        if table.stored >= 20:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0)
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        await _write(table, rows)

    writing(write)

    result = ingest(numbered("x", 5000), "--policy", "natural:10", "--max-queue-size", size)

    assert 143 == result.exit_code
    assert figures(result)["lines"] >= 20
    assert complaints(result)[0].startswith("stopped by SIGTERM: ")
    assert_accounted(result, read_lines)


def test_a_limit_after_a_signal(writing: Callable[[Write], None], read_lines: list[int]) -> None:
    """The writing after a signal takes no longer than --max-shutdown-wait."""

    async def write(table: Table, rows: list[Row]) -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    writing(write)

    result = ingest(numbered("x", 1000), "--max-shutdown-wait", "0.01", "--max-queue-size", "10")

    assert 143 == result.exit_code
    assert_accounted(result, read_lines)


def test_a_limit_after_the_last_line(read_lines: list[int]) -> None:
    """The writing after the last line takes no longer than --max-shutdown-wait, or fails."""
    result = ingest(numbered("x", 10), "--max-shutdown-wait", "0")

    assert 1 == result.exit_code
    assert ["not done 0.0 s after the last line: 0 lines stored, 10 not stored"] == complaints(
        result
    )
    assert_accounted(result, read_lines)


# Failures under way.


def test_a_failure(writing: Callable[[Write], None], read_lines: list[int]) -> None:
    """When a write fails nothing more is read, and it is told what was stored and what was not."""

    async def write(table: Table, rows: list[Row]) -> None:
        if table.stored == 30:
            raise sqlite3.OperationalError("database or disk is full")
        await _write(table, rows)

    writing(write)

    result = ingest(numbered("x", 100_000), "--policy", "natural:10")

    assert 1 == result.exit_code
    assert sum(read_lines) < 100_000
    assert complaints(result)[0].startswith(
        "cannot write to table 'events' of database 'events.db': database or disk is full: 30 lines"
    )
    assert_accounted(result, read_lines)


def test_a_failure_while_idle(writing: Callable[[Write], None]) -> None:
    """A failure is noticed while a pipe says nothing."""

    async def write(table: Table, rows: list[Row]) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    writing(write)
    with piped() as pipe:
        os.write(pipe, b"a\n")
        result = ingest("-", "--policy", "natural")

    assert 1 == result.exit_code
    assert ["0 lines stored, 1 not stored"] == [
        line.rpartition(": ")[2] for line in complaints(result)
    ]


def test_a_failure_after_a_signal(writing: Callable[[Write], None]) -> None:
    """A failure counts for more than a signal."""

    async def write(table: Table, rows: list[Row]) -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        raise sqlite3.OperationalError("disk I/O error")

    writing(write)

    assert 1 == ingest(numbered("x", 1)).exit_code


@pytest.mark.parametrize(
    ("lines", "policy", "told"),
    [
        (9, "STARTING", "in flush_started: 2 lines stored, 7 not stored"),
        (9, "ENDING", "in flush_done: 4 lines stored, 5 not stored"),
        (4, "ENDING", "in flush_done: 4 lines stored, 0 not stored"),
    ],
)
def test_a_policy_that_raises(lines: int, policy: str, told: str) -> None:
    """A failure of someone's policy is one line, exit code 1, though all lines may be stored."""
    result = ingest(numbered("x", lines), "--policy", f"{__name__}:{policy}")

    assert 1 == result.exit_code
    assert [f"the policy Tiring raised ArithmeticError('no idea') {told}"] == complaints(result)
    assert_accounted(result, [lines])


@pytest.mark.parametrize(
    ("lines", "policy", "told"),
    [
        (9, "LEAVING_AT_START", "SystemExit(0): 2 lines stored, 7 not stored"),
        (9, "LEAVING_AT_END", "SystemExit(): 4 lines stored, 5 not stored"),
        (4, "LEAVING_AT_END", "SystemExit(): 4 lines stored, 0 not stored"),
    ],
)
def test_a_policy_that_leaves(lines: int, policy: str, told: str) -> None:
    """A policy that would end the program as if all were well is a failure, as one that raises."""
    result = ingest(numbered("x", lines), "--policy", f"{__name__}:{policy}")

    assert 1 == result.exit_code
    assert [f"the policy raised {told}"] == complaints(result)
    assert_accounted(result, [lines])


def test_the_unforeseen(
    writing: Callable[[Write], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that nobody foresaw is not hidden; the summary comes all the same."""

    async def write(table: Table, rows: list[Row]) -> None:
        raise ZeroDivisionError

    writing(write)
    numbered("x", 3)
    work = Ingestion(["x"], Table("events.db", "events"), NaturalPolicy())

    with pytest.raises(FlushFailed) as failed:
        asyncio.run(work.run())

    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert capsys.readouterr().out.endswith("waiting 0, not stored 3, flushes 1 (1 natural)\n")
