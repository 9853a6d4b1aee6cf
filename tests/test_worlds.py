"""The scenarios pass in every world of `tests.worlds`, and each world has its own loop."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import worlds
from tests.virtual import VirtualLoop

ROOT = Path(__file__).parents[1]


def run_scenarios(world: str, *options: str, timeless: Path | None = None) -> tuple[int, str]:
    """Run the scenarios in a world, and return the exit code and the output of pytest."""
    not_theirs = ("PYTEST_", "COVERAGE_")  # measuring coverage takes twice as long
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(not_theirs)
    }
    environment["FLUSHQ_WORLD"] = world
    if timeless is not None:
        environment["FLUSHQ_TIMELESS"] = str(timeless)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *options),
            *("tests/contract", "tests/test_worlds.py"),
        ],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=250,  # less than pytest's own limit, which would not show this output
        check=False,
    )
    return done.returncode, done.stdout


def assert_holds(world: str, least: int, timeless: Path | None = None) -> None:
    """Assert that at least ``least`` scenarios pass in a world, and print the counts."""
    code, said = run_scenarios(world, "--tb=short", timeless=timeless)
    assert 0 == code, said
    passed = re.search(r"^(\d+) passed, \d+ deselected in ", said, re.MULTILINE)
    assert passed, said
    assert least <= int(passed[1]), said
    sys.stdout.write("".join(re.findall(r"^(?:left out|\d+ passed).*\n", said, re.MULTILINE)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("world", "least"),
    [
        pytest.param(
            "eager",
            700,
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="Python 3.11 has no eager tasks"
            ),
        ),
        ("debug", 700),
        ("solipsism", 650),
        ("looptime", 650),
    ],
)
def test_the_scenarios_hold(world: str, least: int) -> None:
    """All scenarios pass in the world, except the few that are marked ``not_in`` it."""
    assert_holds(world, least)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run on Windows")
def test_the_scenarios_that_need_no_clock_hold_on_uvloop(tmp_path: Path) -> None:
    """Scenarios that pass on a virtual loop whose clock never moves also pass on uvloop."""
    timeless = tmp_path / "timeless.txt"
    code, said = run_scenarios("probe", "--tb=no", timeless=timeless)
    assert code in {0, 1}, said  # 1: the scenarios that need a clock fail
    assert_holds("uvloop", 350, timeless)


SIGNS: dict[str, Callable[[asyncio.AbstractEventLoop], object]] = {
    "virtual": lambda loop: type(loop) is VirtualLoop and not loop.get_debug(),
    "probe": lambda loop: isinstance(loop, worlds.ProbeLoop),
    "eager": lambda loop: loop.get_task_factory() is vars(asyncio)["eager_task_factory"],
    "debug": lambda loop: isinstance(loop, VirtualLoop) and loop.get_debug(),
    "solipsism": lambda loop: type(loop).__module__.startswith("async_solipsism"),
    "looptime": lambda loop: hasattr(loop, "looptime_on"),
    "uvloop": lambda loop: any(base.__module__ == "uvloop" for base in type(loop).__mro__),
}


async def test_the_running_loop_is_that_of_the_world() -> None:
    """A test runs on the loop of the current world."""
    assert worlds.LOOPS.keys() == SIGNS.keys()
    assert SIGNS[worlds.NAME](asyncio.get_running_loop())
