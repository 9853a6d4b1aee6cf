"""``ingest --resume`` continues an ingestion that ended early, and stores every line once."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from flushq.cli.ingestion import Ingestion
from flushq.cli.reading import Start
from tests.cli.support import (
    COLUMNS,
    DATABASE,
    PATIENCE,
    Stored,
    complaints,
    figures,
    ingest,
    numbered,
    stored,
)

pytestmark = pytest.mark.usefixtures("here")

DEAD = Path("dead.jsonl")
IGNORING = "BEFORE INSERT ON events WHEN NEW.body = 'ignored' BEGIN SELECT RAISE(IGNORE); END"


def execute(*statements: str) -> None:
    """Execute statements in the database over another connection."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refusing() -> None:
    """Make a table that refuses some lines and ignores others."""
    execute(
        f"CREATE TABLE events ({COLUMNS}, CHECK (body NOT LIKE 'bad%'))",
        f"CREATE TRIGGER ignoring {IGNORING}",
    )


# Killed ingestions.

CALL = "one two --dead-letter dead.jsonl --policy interval:inf,4 --max-queue-size 4"
KEPT = [("one", line, str(line)) for line in (1, 2, 4, 7, 8)]
KEPT += [("two", line, str(line)) for line in (1, 3, 4, 5)]
REFUSED = [("one", 3, "bad"), ("one", 9, "bad"), ("one", 10, "bad"), ("two", 2, "bad")]
REFUSED += [("two", 7, "bad")]


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.long)])
def test_every_line_is_stored_once_whenever_the_process_is_killed(here: Path, step: int) -> None:
    """After two kills at any moments each line is stored once, and each letter is written once."""
    refusing()
    Path("one").write_bytes(b"1\n2\nbad\n4\nignored\n\xff\n7\n8\nbad\nbad")
    Path("two").write_bytes(b"1\nbad\n3\n4\n5\nignored\nbad\n")

    process = subprocess.run(
        [sys.executable, "-m", "tests.cli.killing", str(step), *CALL.split()],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=PATIENCE if step > 1 else None,
    )

    found = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(found) > 100 / step
    assert len({each["first"] for each in found}) > 3
    for each in found:
        assert KEPT == [tuple(row) for row in each["stored"]]
        assert REFUSED == [tuple(letter[:3]) for letter in each["letters"]]


# Resumed ingestions.


def test_each_file_goes_on_behind_its_last_stored_line() -> None:
    """A file without stored lines is read from its start; lines in other tables do not count."""
    Path("lf").write_bytes(b"a\nb\n")
    Path("crlf").write_bytes(b"a\r\n\r\r\n")
    Path("open").write_bytes(b"a\r")
    assert "" == ingest("lf", "--table", "others").stderr
    ingest("lf", "crlf", "open")
    for name in ("lf", "crlf"):
        with Path(name).open("ab") as file:
            file.write(b"c\n")
    numbered("new", 1)

    result = ingest("new", "open", "crlf", "lf", "--resume")

    assert (0, 3) == (result.exit_code, figures(result)["lines"])
    assert [("new", 1, "1"), ("crlf", 3, "c"), ("lf", 3, "c")] == stored()[5:]
    assert [
        "'open' is resumed at line 2",
        "'crlf' is resumed at line 3",
        "'lf' is resumed at line 3",
    ] == complaints(result)


@pytest.mark.parametrize(
    ("stored_text", "text"),
    [
        ("old 1\nold 2\n", "a new line, and a longer one\n"),
        ("old 1\nold 2", "old 1\nold 2\nnew\n"),
    ],
)
def test_a_file_that_changes_before_its_turn(
    stored_text: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed file is not read from the middle of a line; the other files are read."""
    Path("x").write_text(stored_text)
    ingest("x")
    start_at = Ingestion.start_at

    def change(ingestion: Ingestion, starts: Mapping[str, Start]) -> None:
        Path("x").write_text(text)
        start_at(ingestion, starts)

    monkeypatch.setattr(Ingestion, "start_at", change)
    result = ingest("x", numbered("y", 1), "--resume")

    assert (1, [("y", 1, "1")]) == (result.exit_code, stored()[2:])
    assert [
        "'x' is resumed at line 3",
        "cannot read 'x': its last stored line has changed",
    ] == complaints(result)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("-", "'-': only files can be resumed"),
        ("pipe", "'pipe': only files can be resumed"),
        ("x x", "'x': it is named twice"),
        ("empty", "'empty': it has 0 lines, but line 9 is stored already"),
        ("shorter", "'shorter': it has 1 line, but line 2 is stored already"),
        ("other", "'other': its line 1 is 'a', but the stored line is 'A'"),
        ("other2", "'other2': its line 2 is '\\udcff', but the stored line is '\ufffd'"),
    ],
)
def test_where_to_resume_a_source_may_not_be_known(call: str, complaint: str) -> None:
    """A source that cannot be resumed is a mistake: nothing is stored, and the exit code is 2."""
    os.mkfifo("pipe")
    for name in ("empty", "-"):
        Path(name).touch()
    Path("other2").write_bytes(b"a\n\xff\n")
    for name in ("x", "y", "shorter", "other"):
        Path(name).write_bytes(b"a\n")
    rows: list[Stored] = [("empty", 9, ""), ("shorter", 2, ""), ("other", 1, "A")]
    rows += [("other2", 2, "\ufffd")]
    execute(f"CREATE TABLE events ({COLUMNS})")
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.executemany("INSERT INTO events (source, line, body) VALUES (?, ?, ?)", rows)

    result = ingest("y", *call.split(), "--resume")

    assert (2, "") == (result.exit_code, result.stdout)
    assert [f"Error: cannot resume {complaint}"] == complaints(result)
    assert rows == stored()


def test_a_table_that_cannot_be_read_is_a_mistake() -> None:
    """A stored text that is not UTF-8 makes the exit code 2, with one line that names the table."""
    execute(
        f"CREATE TABLE events ({COLUMNS})",
        "INSERT INTO events VALUES (1, 'x', 1, CAST(x'ff' AS TEXT))",
    )
    result = ingest(numbered("x", 2), "--resume")
    assert (2, 1) == (result.exit_code, result.stderr.count("\n"))
    assert result.stderr.startswith("Error: cannot read table 'events' of database 'events.db': ")


def test_lines_that_are_not_stored_are_tried_again() -> None:
    """Lines that were refused or ignored are tried again, and stored if the table accepts them."""
    refusing()
    Path("x").write_text("a\nbad\nignored\n")
    call = ("x", "--resume", "--dead-letter", DEAD)
    ingest(*call)
    before = DEAD.read_text()

    again = ingest(*call)

    assert (1, before) == (again.exit_code, DEAD.read_text())
    names = ("lines", "ignored", "dead letters")
    assert (0, 1, 1) == tuple(figures(again)[name] for name in names)
    execute("DROP TRIGGER ignoring")
    ingest(*call)
    assert [("x", 1, "a"), ("x", 3, "ignored")] == stored()
