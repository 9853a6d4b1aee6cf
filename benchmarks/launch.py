"""The function that measures a candidate once, in a new process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Unavailable(Exception):
    """A peer or a server cannot be installed or started; the message says why."""


class Failed(Exception):
    """A candidate was available, but gave no number; the message says why."""


def environment(home: Path) -> dict[str, str]:
    """Return the environment for a process that imports from ``home`` first, then from ROOT."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (home, ROOT)))}


def launch(path: str, home: Path, loop: str, extra: Mapping[str, str]) -> float:
    """Measure the candidate ``path`` once; the package that it measures is in the folder ``home``.

    Raises:
        Failed: The process ended with an error; the message is the last line of its error output.
    """
    program = [sys.executable, "-P", "-m", "benchmarks.worker", path, loop, str(home)]
    env = environment(home) | dict(extra)
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2])
    return float(done.stdout)
