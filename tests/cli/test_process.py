"""``python -m flushq ingest`` as a process of its own."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.support import PATIENCE, count, eventually, letters, stored

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``python -m flushq ingest`` from a shell, by default with pipes to and from it."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str, shell: str = 'exec "$@"', stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["sh", "-c", shell, "sh", sys.executable, "-m", "flushq", "ingest", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=tmp_path,
            env=_environment(),
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _environment() -> dict[str, str]:
    """That of the tests, with their checkout, for a process that runs elsewhere."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def say(process: subprocess.Popen[str], text: str) -> None:
    """Write to the standard input of a process, at once."""
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


def test_a_line_is_stored_in_time(start: Start, tmp_path: Path) -> None:
    """Of a pipe that stays open each line is stored when its time has come."""
    database = tmp_path / "events.db"
    process = start("-", "--policy", "interval:0.01,500")

    for number in (1, 2, 3):
        say(process, f"line {number}\n")
        eventually(lambda number=number: count(database) == number)  # type: ignore[misc]  # no type for a default

    assert process.poll() is None
    assert [("-", number, f"line {number}") for number in (1, 2, 3)] == stored(database)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_idle_pipe_does_not_hang_the_exit(
    start: Start, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """After a signal the process ends, though the pipe that it reads stays open and idle."""
    process = start("-", "--policy", "natural")
    say(process, "a\n")
    eventually(lambda: count(tmp_path / "events.db") == 1)

    process.send_signal(number)

    assert code == process.wait(PATIENCE)
    out, err = process.communicate()
    assert out.startswith("lines 1, lines/s ")
    assert "" == err


def test_a_signal_drains(start: Start, tmp_path: Path) -> None:
    """What was read before a signal is stored after it, though its time has not come."""
    database = tmp_path / "events.db"
    process = start("-", "--policy", "interval:inf,2")
    say(process, "1\n2\n3\n")
    eventually(lambda: count(database) == 2)

    process.send_signal(signal.SIGTERM)

    assert 143 == process.wait(PATIENCE)
    assert ["1", "2", "3"] == [body for _, _, body in stored(database)]


def test_a_disk_that_is_full(start: Start) -> None:
    """When the database can grow no more it is told what was stored and what was not."""
    process = start("-", shell='ulimit -f 400; exec "$@"')

    out, err = process.communicate("".join(f"{number:0100}\n" for number in range(20_000)))

    assert 1 == process.returncode
    [complaint] = err.splitlines()
    assert complaint.startswith("cannot write to table 'events' of database 'events.db': ")
    assert complaint.endswith(" not stored")
    assert "not stored" in out


def execute(database: Path, statement: str) -> None:
    """Change a database from outside."""
    with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
        connection.execute(statement)


@pytest.fixture
def pausing(start: Start, tmp_path: Path) -> subprocess.Popen[str]:
    """A process that has stored two lines, read three more, and pauses before a retry."""
    database = tmp_path / "events.db"
    process = start("-", "--policy", "interval:inf,2", "--retries", "1000", "--dead-letter", "dead")
    say(process, "1\n2\n")
    eventually(lambda: count(database) == 2)
    execute(
        database,
        "CREATE TRIGGER guard BEFORE INSERT ON events WHEN NEW.line = 4 "
        "BEGIN SELECT RAISE(ABORT, 'not yet'); END",
    )
    say(process, "3\n4\n5\n")
    assert process.stderr is not None
    for pause in ("0.1", "0.2", "0.4"):
        assert f"cannot write: not yet; trying again in {pause} s\n" == process.stderr.readline()
    return process


def test_a_signal_in_a_retry_pause(pausing: subprocess.Popen[str], tmp_path: Path) -> None:
    """After a signal between two tries what was read is tried again, and stored."""
    pausing.send_signal(signal.SIGTERM)
    execute(tmp_path / "events.db", "DROP TRIGGER guard")

    assert 143 == pausing.wait(PATIENCE)
    out, err = pausing.communicate()
    assert ["1", "2", "3", "4", "5"] == [body for _, _, body in stored(tmp_path / "events.db")]
    assert out.startswith("lines 5, lines/s ")
    assert out.endswith("batches 3, mean batch 1.7, waiting 0, flushes 3 (2 full, 1 drain)\n")
    assert err.count("\n") == err.count("trying again in")


def test_a_second_signal_in_a_retry_pause(pausing: subprocess.Popen[str], tmp_path: Path) -> None:
    """A second signal between two tries ends it; nothing is put aside that was not tried."""
    pausing.send_signal(signal.SIGTERM)
    pausing.send_signal(signal.SIGINT)

    seen_first = signal.Signals(pausing.wait(PATIENCE) - 128)  # the system may hand over either
    assert seen_first in {signal.SIGINT, signal.SIGTERM}
    out, err = pausing.communicate()
    assert 2 == count(tmp_path / "events.db")
    assert [] == letters(tmp_path / "dead")
    assert out.startswith("lines 2, lines/s ")
    assert out.endswith("waiting 0, not stored 3, flushes 2 (2 full)\n")
    assert f"stopped by {seen_first.name}: 2 lines stored, 3 not stored" == err.splitlines()[-1]


def test_a_dead_letter_file_that_is_full(start: Start, tmp_path: Path) -> None:
    """A letter for which there is no room ends it, and leaves no trace in the file."""
    full = b"x" * (399 * 512)
    (tmp_path / "dead").write_bytes(full)
    execute(
        tmp_path / "events.db",
        "CREATE TABLE events "
        "(id INTEGER PRIMARY KEY, source TEXT, line INTEGER, body TEXT, CHECK (0))",
    )
    process = start("-", "--dead-letter", "dead", shell='ulimit -f 400; exec "$@"')

    _, err = process.communicate("x" * 1000)

    assert 1 == process.returncode
    assert "cannot append to 'dead': File too large: 0 lines stored, 1 not stored\n" == err
    assert full == (tmp_path / "dead").read_bytes()


def test_nobody_reads_the_summary(start: Start, tmp_path: Path) -> None:
    """If nobody reads the summary the lines are stored all the same, and nothing is said of it."""
    process = start("-")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    say(process, "a\n")
    process.stdin.close()

    assert "" == process.stderr.read()
    assert 0 == process.wait(PATIENCE)
    assert 1 == count(tmp_path / "events.db")


def test_no_room_for_the_summary(start: Start, tmp_path: Path) -> None:
    """If the summary cannot be written that is told, though the lines are stored."""
    process = start("-", shell='exec "$@" > /dev/full')

    out, err = process.communicate("a\n")

    assert (1, "") == (process.returncode, out)
    assert "cannot write to standard output: No space left on device\n" == err
    assert 1 == count(tmp_path / "events.db")


def test_closed_streams(start: Start, tmp_path: Path) -> None:
    """Without a standard input there is nothing to read, without a standard error all is well.

    Without a standard output the figures cannot be written, though the lines are stored.
    """
    (tmp_path / "x").write_text("a\n")
    closed = 'exec "$@" <&- >&- 2>&-'

    assert 2 == start(shell=closed).wait(PATIENCE)
    assert 1 == start("x", shell=closed).wait(PATIENCE)
    assert 0 == start("x", shell='exec "$@" <&- 2>&-').wait(PATIENCE)
    assert 2 == count(tmp_path / "events.db")


@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-"])
def test_nowhere_to_tell_a_mistake(start: Start, where: str) -> None:
    """A mistake ends with exit code 2, whether standard error is full or closed."""
    process = start("gone", shell=f'exec "$@" {where}')

    assert ("", "") == process.communicate(timeout=PATIENCE)
    assert 2 == process.returncode


def test_nowhere_to_write_the_summary(start: Start, tmp_path: Path) -> None:
    """If standard output is closed that is told, though the lines are stored."""
    process = start("-", shell='exec "$@" >&-')

    _, err = process.communicate("a\n")

    assert (1, "cannot write to standard output: it is closed\n") == (process.returncode, err)
    assert 1 == count(tmp_path / "events.db")


def test_a_terminal_shows_it_live(start: Start) -> None:
    """On a terminal the figures are shown while they change, and standard output stays clean."""
    screen, terminal = os.openpty()
    process = start("-", "--policy", "natural", stderr=terminal)
    os.close(terminal)
    say(process, "a\n")

    seen = b""
    while b"mean batch" not in seen:
        assert select.select([screen], [], [], PATIENCE)[0]
        seen += os.read(screen, 65_536)
    out, _ = process.communicate()
    os.close(screen)

    assert 0 == process.returncode
    assert out.startswith("lines 1, lines/s ")
    assert 1 == out.count("\n")


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.long
def test_a_million_lines(start: Start, tmp_path: Path) -> None:
    """A million lines are stored in order, in bounded memory."""
    source = tmp_path / "x"
    source.write_text("".join(f"{number}\n" for number in range(1, 1_000_001)))

    # Measured from a small process: a child begins with the peak of the one that it is forked from.
    process = start("x", shell=f'"$1" -c "{MEASURE}" "$@"')
    out, _ = process.communicate()

    assert 0 == process.returncode
    assert int(out.splitlines()[-1]) < 120 * 1024
    found = stored(tmp_path / "events.db")
    assert 1_000_000 == len(found)
    assert all(line == int(body) == number for number, (_, line, body) in enumerate(found, 1))
