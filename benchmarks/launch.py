"""Measuring a candidate once, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Unavailable(Exception):
    """What should be measured is not to be had, and why."""


class Failed(Exception):
    """What should be measured was there, and gave no number."""


def environment(home: Path) -> dict[str, str]:
    """The environment of a process that imports from a folder first, and our code after it."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (home, ROOT)))}


def launch(path: str, home: Path, loop: str, extra: Mapping[str, str]) -> float:
    """Measure the candidate ``module:name``, whose product is in the folder ``home``.

    Raises:
        Failed: The process ended with an error; what it said last.
    """
    program = [sys.executable, "-P", "-m", "benchmarks.worker", path, loop, str(home)]
    env = environment(home) | dict(extra)
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2])
    return float(done.stdout)
