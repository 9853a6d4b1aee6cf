"""Type checkers find no fault with flushq, and see in a user's code what the user sees."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_CODE = Path(__file__).with_name("user_code.py")

MYPY = [sys.executable, "-m", "mypy", "--strict"]
PYRIGHT = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]

pytestmark = pytest.mark.long

checkers = pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])


def check(checker: list[str], *paths: Path) -> tuple[int, str]:
    """Return how a checker ended, and what it said."""
    done = subprocess.run(
        [*checker, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@checkers
def test_flushq_and_its_user(checker: list[str]) -> None:
    """There is no error in flushq, and none in code that uses it and says what it expects."""
    code, said = check(checker, ROOT / "flushq", USER_CODE)
    assert 0 == code, said


@checkers
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Batched(by_mapping, POLICY), Batched[int, str]", "Batched(by_order, POLICY), str"),
        ("await queue.enqueue(1)", "await queue.enqueue('1')"),
        ("assert_type(failure.items, list[str])", "assert_type(failure.items, list[int])"),
    ],
)
def test_an_expectation_that_fails(
    checker: list[str], right: str, wrong: str, tmp_path: Path
) -> None:
    """An expectation that is not met is an error, and so is an error that is not there."""
    changed = tmp_path / "changed.py"
    source = USER_CODE.read_text()
    assert 1 == source.count(right)
    changed.write_text(source.replace(right, wrong))
    line = source[: source.index(right)].count("\n") + 1

    code, said = check(checker, changed)

    assert 1 == code
    assert f"changed.py:{line}:" in said
