"""Type checkers find no errors in flushq, and infer the expected types in a user's code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_CODE = Path(__file__).with_name("user_code.py")

MYPY = [sys.executable, "-m", "mypy", "--strict"]
PYRIGHT = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]

BROKEN = {
    "Batched(by_mapping, POLICY), Batched[int, str]": "Batched(by_order, POLICY), str",
    "await queue.enqueue(1)": "await queue.enqueue('1')",
    "assert_type(failure.items, list[str])": "assert_type(failure.items, list[int])",
}
"""Lines of the user's code, and wrong lines that replace them."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_flushq_and_its_user(checker: list[str], tmp_path: Path) -> None:
    """Each checker finds the errors of BROKEN in the changed copy, and no others.

    A ``type: ignore`` without an error is an error, too.
    """
    source = USER_CODE.read_text()
    lines = set()
    for right, wrong in BROKEN.items():
        assert 1 == source.count(right)
        lines.add(source[: source.index(right)].count("\n") + 1)
        source = source.replace(right, wrong)
    changed = tmp_path / "changed.py"
    changed.write_text(source)

    done = subprocess.run(
        [*checker, ROOT / "flushq", USER_CODE, changed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode
    faults = re.findall(r"^ *(\S+\.py):(\d+):.* error", done.stdout, re.MULTILINE)
    assert lines == {int(line) for _, line in faults}, done.stdout + done.stderr
    assert {"changed.py"} == {Path(path).name for path, _ in faults}, done.stdout
