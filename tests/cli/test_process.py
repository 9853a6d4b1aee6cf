"""``python -m flushq ingest`` as a process: what cannot be tested within this process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import PATIENCE, bodies, stored

pytestmark = pytest.mark.usefixtures("here")


def run(
    file: str, shell: str, seconds: float | None = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m flushq ingest`` from a shell."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", "flushq", "ingest", file],
        capture_output=True,
        check=False,
        text=True,
        timeout=seconds,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


FULL = "cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("redirection", "file", "code", "stored_lines", "complaint"),
    [
        ("> /dev/full", "x", 1, ["a"], FULL),
        ("<&- >&- 2>&-", "x", 1, ["a"], ""),
        ("<&- 2>&-", "x", 0, ["a"], ""),
        ("<&-", "-", 2, [], "Error: cannot read '-': Bad file descriptor\n"),
    ],
)
def test_streams_that_are_full_or_closed(
    redirection: str, file: str, code: int, stored_lines: list[str], complaint: str
) -> None:
    """Figures that cannot be written are a failure, although the lines are stored."""
    Path("x").write_text("a\n")
    process = run(file, f'exec "$@" {redirection}')
    assert (code, complaint, stored_lines) == (process.returncode, process.stderr, bodies())


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.long
def test_a_million_lines_are_stored_in_bounded_memory() -> None:
    """A million lines are stored in order, in less than 120 MiB."""
    Path("x").write_text("".join(f"{number}\n" for number in range(1, 1_000_001)))

    # Measured from a small process: the peak of a child is at first the peak of its parent.
    process = run("x", f'"$1" -c "{MEASURE}" "$@"', seconds=None)

    assert 0 == process.returncode
    assert int(process.stdout.splitlines()[-1]) < 120 * 1024
    found = stored()
    assert 1_000_000 == len(found)
    assert all(line == int(body) == number for number, (_, line, body) in enumerate(found, 1))
