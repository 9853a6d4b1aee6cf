"""``ingest``, called in this process: files, pipes and a terminal, signals and failures."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Self

import attrs
import pytest

from flushq import Decision, FlushFailed, IntervalPolicy, NaturalPolicy
from flushq.cli.ingestion import Figures, Ingestion
from flushq.cli.reading import Row
from flushq.cli.table import Table
from tests.cli.support import (
    COLUMNS,
    DATABASE,
    Write,
    Writing,
    assert_accounted,
    bodies,
    complaints,
    figures,
    ingest,
    numbered,
    piped,
    standard_input,
    stored,
)

pytestmark = pytest.mark.usefixtures("here")


_write = Table.write


def test_all_figures_are_in_one_line() -> None:
    """The line has a rate and a mean; counts such as duplicates or skipped are omitted if 0."""
    assert "lines 0, lines/s 0, batches 0, mean batch 0.0, waiting 0" == str(Figures())
    lines = Figures(1000, 4.0, 3, 7, duplicates=1, ignored=5, skipped=2, dead=4, lost=3)
    assert (
        "lines 1000, lines/s 250, batches 3, mean batch 333.3, waiting 7, "
        "duplicates 1, ignored 5, skipped 2, dead letters 4, not stored 3, "
        "flushes 12 (8 full, 3 age, 1 drain)"
    ) == str(attrs.evolve(lines, flushes={"full": 8, "age": 3, "drain": 1}))


def acting(lines: int, *acts: signal.Signals | Exception) -> Write:
    """Return a write that stores so many lines; then it raises the errors and signals, or hangs."""

    async def write(table: Table, rows: list[Row]) -> None:
        if table.stored < lines:
            await _write(table, rows)
            return
        for act in acts:
            if isinstance(act, Exception):
                raise act
            signal.raise_signal(act)
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    return write


# Sources and destinations.


def test_files_are_stored_line_by_line() -> None:
    """The lines are stored in order, with sources and numbers, in the table that the call names."""
    Path("one").write_bytes(b"a\r\n\nlast")
    Path("two").write_text("{}\n")

    result = ingest("one", "./two", "--db", "other.db", "--table", 'weird "name"; drop')

    assert (0, "") == (result.exit_code, result.stderr)
    found = stored(Path("other.db"), 'weird "name"; drop')
    assert [("one", 1, "a"), ("one", 2, ""), ("one", 3, "last"), ("./two", 1, "{}")] == found
    assert not DATABASE.exists()
    assert re.fullmatch(
        r"lines 4, lines/s \d+, batches 1, mean batch 4\.0, waiting 0, flushes 1 \(1 drain\)\n",
        result.stdout,
    )


@pytest.mark.parametrize(("option", "batches"), [("--policy=natural:400", 6), ("--retries=0", 5)])
def test_the_policy_decides_on_the_batches(option: str, batches: int) -> None:
    """The default policy is interval:2.0,500."""
    found = figures(ingest(numbered("x", 2100), option))
    assert (2100, batches, batches) == (found["lines"], found["batches"], found["flushes"])


def test_live_figures(writing: Writing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live figures count ended flushes and their lines, and show the share that is done."""
    looks: list[Callable[[], Mapping[str, str]]] = []
    seen: list[tuple[str | None, ...]] = []

    def shown_live(look: Callable[[], Mapping[str, str]]) -> AbstractContextManager[None]:
        looks.append(look)
        return nullcontext()

    async def write(table: Table, rows: list[Row]) -> None:
        await asyncio.sleep(0)  # a report is told after the next flush has begun
        found = looks[0]()
        seen.append(tuple(found.get(name) for name in ("lines", "batches", "done", "flushes")))
        await _write(table, rows)

    monkeypatch.setattr("flushq.cli.ingestion.shown_live", shown_live)
    writing(write)

    ingest(numbered("x", 25), "--policy", "interval:inf,10", "--max-queue-size", "10")

    assert [
        ("0", "0", "0%", None),
        ("10", "1", "40%", "1 (1 full)"),
        ("20", "2", "80%", "2 (2 full)"),
    ] == seen


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_pipe_is_read_until_its_writers_leave(arguments: list[str]) -> None:
    """Without a FILE, or with -, standard input is read."""
    reading, writing = os.pipe()
    os.write(writing, b"a\nb\n")
    os.close(writing)
    with standard_input(reading):
        result = ingest(*arguments)
    os.close(reading)

    assert 0 == result.exit_code
    assert [("-", 1, "a"), ("-", 2, "b")] == stored()


def test_a_terminal_is_read_only_if_asked_for() -> None:
    """With - a terminal is read until the end of input is typed; without, it is refused."""
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"hello\n\x04")
    with standard_input(terminal):
        mistake = ingest()
        result = ingest("-")
    os.close(keyboard)
    os.close(terminal)

    assert 2 == mistake.exit_code
    assert ["Error: give a FILE to read, or - to read from this terminal"] == complaints(mistake)
    assert (0, [("-", 1, "hello")]) == (result.exit_code, stored())


# Mistakes in the call.


class Uncopied(NaturalPolicy):
    """A policy that exits the program when it is copied."""

    def __deepcopy__(self, memo: object) -> Self:
        """Exit with code 0."""
        sys.exit(0)


HEAVY = IntervalPolicy(1.0, max_weight=5)
UNCOPIED = Uncopied()
INVALID = "Invalid value for "


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("x gone", "cannot read 'gone': No such file or directory"),
        (".", "cannot read '.': Is a directory"),
        ("x --policy often", f"{INVALID}'--policy': bad policy 'often': there is no policy"),
        (f"x --policy {__name__}:UNCOPIED", "the policy raised SystemExit(0)"),
        (f"x --policy {__name__}:HEAVY", "max_weight=5 needs weigh, a function that"),
        ("x --table sqlite_x", f"{INVALID}'--table': 'sqlite_x' cannot be the name of a table"),
        ("x --dedupe=", f"{INVALID}'--dedupe': the name of a field must not be empty"),
        ("x --retries -1", f"{INVALID}'--retries': -1 is not in the range x>=0"),
        ("x --dead-letter=", "cannot append to dead-letter file '': No such file or directory"),
        ("x --dead-letter .", "cannot append to dead-letter file '.': Is a directory"),
        ("x --dead-letter /dev/null", "cannot append to dead-letter file '/dev/null': Invalid arg"),
        ("x --dead-letter ./x", "--dead-letter must not be the same file as 'x'"),
        ("x --dead-letter events.db", "--dead-letter must not be the same file as 'events.db'"),
        ("x --max-queue-size 0", f"{INVALID}'--max-queue-size': 0 is not in"),
        ("x --max-shutdown-wait -1", f"{INVALID}'--max-shutdown-wait': -1.0 is not"),
        ("x --max-shutdown-wait nan", "max_shutdown_wait must be at least 0, not nan"),
        ("x --db x", "cannot open table 'events' of database 'x': file is not a database"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_written(arguments: str, complaint: str) -> None:
    """A mistake is reported in one line, the exit code is 2, and no file is made."""
    numbered("x", 100)

    result = ingest(*arguments.split())

    assert (2, "") == (result.exit_code, result.stdout)
    assert [f"Error: {complaint}"] == [line[: 7 + len(complaint)] for line in complaints(result)]
    assert [Path("x")] == list(Path().iterdir())


# Lines that are not stored.


def test_bad_lines_are_skipped() -> None:
    """The first ten skipped lines are reported, and good lines before and after are stored."""
    Path("x").write_bytes(b"good\n" + b"\xff\n" * 11 + b"fine\n")

    result = ingest("x")

    assert (1, 11) == (result.exit_code, figures(result)["skipped"])
    assert [("x", 1, "good"), ("x", 13, "fine")] == stored()
    assert complaints(result)[0].startswith("skipped line 2 of 'x': not UTF-8: 'utf-8'")
    assert "further skipped lines are not reported" == complaints(result)[10]


def test_duplicates_are_dropped_and_lines_without_a_key_skipped() -> None:
    """A line without a key makes the exit code 1; a duplicate or an ignored line does not."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        connection.execute(f"CREATE TABLE events ({COLUMNS} UNIQUE ON CONFLICT IGNORE)")
    Path("x").write_text('{"id": 1}\nno\n{"id": 2}\n{"a": 3}\n{"id": 1, "a": 4}\n')
    Path("y").write_text('{"id": 1}\n{"id": 1}\n')

    result = ingest("x", "--dedupe", "id")

    assert 1 == result.exit_code
    assert [("x", 1, '{"id": 1}'), ("x", 3, '{"id": 2}')] == stored()
    assert [
        "skipped line 2 of 'x': not JSON (Expecting value at column 1): 'no'",
        "skipped line 4 of 'x': lacks the field 'id': '{\"a\": 3}'",
    ] == complaints(result)
    assert (2, 1, 2) == tuple(figures(result)[name] for name in ("lines", "duplicates", "skipped"))
    result = ingest("y", "--dedupe", "id")
    assert (0, "") == (result.exit_code, result.stderr)
    assert "waiting 0, duplicates 1, ignored 1, flushes 1 (1 drain)\n" in result.stdout


def test_a_file_that_has_vanished_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """The next file is stored although the first one cannot be read."""
    numbered("x", 2)
    work = Ingestion(["gone", "x"], Table("events.db", "events"), NaturalPolicy())
    assert 1 == work.run_alone()
    assert "cannot read 'gone': No such file or directory\n" == capsys.readouterr().err
    assert 2 == len(stored())


# Signals.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal(writing: Writing, number: signal.Signals, code: int) -> None:
    """A signal stops the reading, even of an idle pipe; the lines that were read are stored."""

    async def write(table: Table, rows: list[Row]) -> None:
        if not table.stored:
            signal.raise_signal(number)
        await _write(table, rows)

    writing(write)
    with piped() as pipe:
        os.write(pipe, b"a\nb\nc\nunfinished")
        result = ingest("-", "--policy", "natural:1")

    assert (code, "", ["a", "b", "c"]) == (result.exit_code, result.stderr, bodies())
    assert (3, 0) == (figures(result)["lines"], figures(result)["waiting"])


def test_after_a_signal_while_opening_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal during the opening of the table ends the ingestion; the summary is printed."""
    prepare = Table._prepare  # noqa: SLF001 - what takes time in opening

    async def interrupted(table: Table, deadline: float) -> None:
        signal.raise_signal(signal.SIGTERM)
        await prepare(table, deadline)

    monkeypatch.setattr(Table, "_prepare", interrupted)
    result = ingest(numbered("x", 10))
    assert (143, 0) == (result.exit_code, figures(result)["lines"])


CANNOT_WRITE = "cannot write to table 'events' of database 'events.db': full"
TWO = [signal.SIGTERM, signal.SIGINT]
LIMITED = "--max-shutdown-wait=0.01"
TOO_LATE = "the writing did not end within 0.01 s after the reading"
ENDS = {
    "a second signal while reading": ("--max-queue-size=1", 20, TWO, 143, "stopped by SIGTERM"),
    "a second signal in the drain": ("--retries=0", 20, TWO, 143, "stopped by SIGTERM"),
    "a limit after a signal": (LIMITED, 0, [signal.SIGTERM], 143, "stopped by SIGTERM"),
    "a limit after the last line": (LIMITED, 0, [], 1, TOO_LATE),
    "a failure": ("--max-queue-size=99", 30, [sqlite3.OperationalError("full")], 1, CANNOT_WRITE),
}


@pytest.mark.parametrize(("option", "lines", "acts", "code", "told"), ENDS.values(), ids=ENDS)
def test_what_ends_the_writing(
    writing: Writing,
    read_lines: list[int],
    option: str,
    lines: int,
    acts: list[signal.Signals | Exception],
    code: int,
    told: str,
) -> None:
    """When the writing ends early the summary is printed, and says what was stored and what not."""
    writing(acting(lines, *acts))
    result = ingest(numbered("x", 900), "--policy", "natural:10", option)
    assert code == result.exit_code
    assert complaints(result)[0].startswith(f"{told}: {lines} lines stored, ")
    assert told != CANNOT_WRITE or sum(read_lines) < 900
    assert_accounted(result, read_lines)


@pytest.mark.parametrize("signals", [[], [signal.SIGTERM]], ids=["alone", "after a signal"])
def test_a_failure_while_idle(writing: Writing, signals: list[signal.Signals]) -> None:
    """A failed write is noticed while the pipe is idle; the exit code is 1, even after a signal."""
    writing(acting(0, *signals, sqlite3.OperationalError("disk I/O error")))
    with piped() as pipe:
        os.write(pipe, b"a\n")
        result = ingest("-", "--policy", "natural")
    assert 1 == result.exit_code
    assert complaints(result)[0].endswith(": 0 lines stored, 1 not stored")


@attrs.define
class Raising(NaturalPolicy):
    """A policy that raises an error when a flush has ended."""

    error: BaseException = attrs.field(kw_only=True)

    def flush_done(self, now: float, *facts: Any) -> Decision:
        """Raise the error."""
        raise self.error


RAISING = Raising(2, error=ArithmeticError("no idea"))
LEAVING = Raising(2, error=SystemExit(0))


@pytest.mark.parametrize(("lines", "lost"), [(9, 7), (2, 0)])
@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("RAISING", "the policy Raising raised ArithmeticError('no idea') in flush_done"),
        ("LEAVING", "the policy raised SystemExit(0)"),
    ],
)
def test_a_policy_that_raises(policy: str, told: str, lines: int, lost: int) -> None:
    """The error is reported in one line and the exit code is 1, even if all lines are stored."""
    result = ingest(numbered("x", lines), "--policy", f"{__name__}:{policy}")
    assert (1, [f"{told}: 2 lines stored, {lost} not stored"]) == (
        result.exit_code,
        complaints(result),
    )
    assert_accounted(result, [lines])


def test_an_unforeseen_error(writing: Writing, capsys: pytest.CaptureFixture[str]) -> None:
    """An unforeseen error is raised, and the summary is printed all the same."""
    writing(acting(0, ZeroDivisionError()))
    numbered("x", 3)
    with pytest.raises(FlushFailed) as failed:
        asyncio.run(Ingestion(["x"], Table("events.db", "events"), NaturalPolicy()).run())
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert capsys.readouterr().out.endswith("waiting 0, not stored 3, flushes 1 (1 natural)\n")
