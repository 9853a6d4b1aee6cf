"""The README keeps its word: every example in it runs, in order, in one namespace.

An example that cannot run is left out in the open, with its reason:

    .. skip: next "it needs a server"
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from sybil import Example, Sybil
from sybil.parsers.rest import PythonCodeBlockParser, SkipParser

README = Path(__file__).parents[1] / "README.rst"
COMMANDS = [
    "pip install '.[cli]' && python -m flushq ingest README.rst --db events.db",
    "pip install -e '.[test]' && python -m pytest",
]


def _examples() -> list[Example]:
    document = Sybil([PythonCodeBlockParser(), SkipParser()]).parse(README)
    document.namespace["__name__"] = "__main__"
    return list(document.examples())


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the examples a folder for their files, the same for all of them."""
    with contextlib.chdir(tmp_path_factory.mktemp("readme")):
        yield


@pytest.fixture(scope="module", autouse=True)
def _retries_at_once() -> Iterator[None]:
    """Have stamina retry without waiting."""
    with stamina.set_testing(True, attempts=5):
        yield


@pytest.mark.parametrize("example", _examples(), ids=lambda example: f"line-{example.line}")
def test_example(example: Example) -> None:
    """Each example of the README runs after those before it."""
    example.evaluate()


def test_no_example_is_left_out_without_a_reason() -> None:
    """Each skip marker in the README tells why."""
    assert [] == re.findall(r"^\.\. skip: (?:next|start) *$", README.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=["ingest", "test"])
def test_the_commands_to_try_are_printed(command: str) -> None:
    """The README prints each command of "Try it" once, on a line of its own."""
    lines = [line.strip().removeprefix("$ ") for line in README.read_text().splitlines()]
    assert 1 == lines.count(command)


def test_the_name_on_the_index_is_never_installed() -> None:
    """The README installs flushq from the checkout only: the index has another project's."""
    assert "pip install flushq" not in README.read_text()
