"""``python -m flushq ingest`` as a process of its own: what only a process can show."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.support import PATIENCE, bodies, eventually, stored

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(here: Path) -> Iterator[Start]:
    """Starts ``python -m flushq ingest`` from a shell, with pipes to and from it."""
    processes: list[subprocess.Popen[str]] = []
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]

    def start(*arguments: str, shell: str = 'exec "$@"') -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["sh", "-c", shell, "sh", sys.executable, "-m", "flushq", "ingest", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=here,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
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


def say(process: subprocess.Popen[str], text: str) -> None:
    """Write to the standard input of a process, at once."""
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


def test_a_pipe_that_stays_open_is_stored_in_time_and_does_not_hang_the_exit(start: Start) -> None:
    """Each line is stored when its time has come; a signal ends the process."""
    process = start("-", "--policy", "interval:0.01,500")
    for count in (1, 2, 3):
        say(process, f"line {count}\n")
        eventually(lambda count=count: len(bodies()) == count)  # type: ignore[misc]  # no type for a default
    assert process.poll() is None

    process.send_signal(signal.SIGTERM)

    assert 143 == process.wait(PATIENCE)
    out, err = process.communicate()
    assert out.startswith("lines 3, lines/s ")
    assert ("", ["line 1", "line 2", "line 3"]) == (err, bodies())


FULL = "cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("redirection", "file", "code", "stored_lines", "complaint"),
    [
        ("> /dev/full", "x", 1, ["a"], FULL),
        ("<&- >&- 2>&-", "x", 1, ["a"], ""),
        ("<&- 2>&-", "x", 0, ["a"], ""),
        ("<&-", "-", 2, [], "Error: cannot read '-': Bad file descriptor\n"),
        ("2> /dev/full", "gone", 2, [], ""),
    ],
)
def test_streams_that_are_full_or_closed(
    start: Start, redirection: str, file: str, code: int, stored_lines: list[str], complaint: str
) -> None:
    """Without a standard input there is nothing to read; without a standard error all is well.

    Figures that cannot be written are a failure, though the lines are stored.
    """
    Path("x").write_text("a\n")

    process = start(file, shell=f'exec "$@" {redirection}')
    _, err = process.communicate(timeout=PATIENCE)

    assert (code, complaint, stored_lines) == (process.returncode, err, bodies())


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.long
def test_a_million_lines_are_stored_in_bounded_memory(start: Start) -> None:
    """They are stored in order."""
    Path("x").write_text("".join(f"{number}\n" for number in range(1, 1_000_001)))

    # Measured from a small process: a child begins with the peak of the one that it is forked from.
    process = start("x", shell=f'"$1" -c "{MEASURE}" "$@"')
    out, _ = process.communicate()

    assert 0 == process.returncode
    assert int(out.splitlines()[-1]) < 120 * 1024
    found = stored()
    assert 1_000_000 == len(found)
    assert all(line == int(body) == number for number, (_, line, body) in enumerate(found, 1))
