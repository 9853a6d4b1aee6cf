"""Commands that need the extra ``worker``, where a package of it is missing."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from flushq.cli import extras, main
from flushq.cli.extras import PACKAGES

URL = "nats://127.0.0.1:1"
WORK = ["work", URL, "LINES", "workers", "postgresql://"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("module", "call"),
    [("nats", ["ingest", "x", "--to-stream", URL, "LINES"]), *((each, WORK) for each in PACKAGES)],
)
def test_without_the_extra_one_line_tells_what_to_do(
    monkeypatch: pytest.MonkeyPatch, module: str, call: list[str]
) -> None:
    """The message names the missing package and the command to install it; the exit code is 2."""
    Path("x").write_text("a\n")
    monkeypatch.setattr(extras, "find_spec", lambda name: name != module and find_spec(name))
    who = "work" if call is WORK else "--to-stream"
    result = CliRunner().invoke(main, call)
    assert (2, "") == (result.exit_code, result.stdout)
    assert (
        f"Error: {who} needs {PACKAGES[module]}, which is not installed; "
        "run this in the checkout of flushq: pip install '.[worker]'\n"
    ) == result.stderr
