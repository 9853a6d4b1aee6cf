"""The pages are right: every example runs, every link has a target, and the pages are short.

One page, the reference, is written by `tests.reference`. Each example is a whole program and runs
alone, in an empty folder.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from sybil import Example, Sybil
from sybil.parsers.rest import PythonCodeBlockParser

from tests.reference import PAGE as REFERENCE
from tests.reference import reference

ROOT = Path(__file__).parents[1]
README = ROOT / "README.rst"
OTHERS = (
    "flushq/bounds.rst",
    "flushq/partitions.rst",
    "flushq/streams.rst",
    "flushq/policies/README.rst",
    "flushq/throttles/README.rst",
    "flushq/threads/README.rst",
    "flushq/cli/README.rst",
    "flushq/cli/work.rst",
    "tests/README.rst",
    "tests/contract/README.rst",
    "tests/recipes/README.rst",
    "tests/recipes/services.rst",
    "benchmarks/README.rst",
)
PAGES = [README, *(ROOT / page for page in OTHERS)]
COMMANDS = [
    "pip install '.[cli]' && python -m flushq ingest README.rst --db events.db",
    "pip install -e '.[test]' && python -m pytest",
]
COLUMNS = 96  # the columns of a line of code, less the indentation in a page


def examples_of(page: Path) -> list[Example]:
    """Return the examples of a page, in order."""
    return list(Sybil([PythonCodeBlockParser()]).parse(page).examples())


def links_of(page: Path) -> list[Path]:
    """Return the files that the links and pictures of a page point to."""
    text = page.read_text()
    links = re.findall(r"`[^`<]*<([^`>]*)>`__", text)
    pictures = re.findall(r"^\.\. image:: (.*)$", text, re.MULTILINE)
    return [(page.parent / target.partition("#")[0]).resolve() for target in links + pictures]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as rendered."""
    headings = re.findall(r"^(.+)\n(?:=+|-+|~+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def page_name(page: Path) -> str:
    """Return the name of a page in the name of a test."""
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=page_name)
each_example = pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=f"{page_name(page)}-line-{example.line}")
        for page in PAGES
        for example in examples_of(page)
    ],
)


@pytest.fixture(autouse=True)
def _retries_at_once() -> Iterator[None]:
    """Let stamina retry without waiting."""
    with stamina.set_testing(True, attempts=5):
        yield


@each_example
def test_an_example_runs_alone(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example is a whole program, and runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    example.namespace.clear()
    example.namespace["__name__"] = "__main__"
    example.evaluate()


@each_page
def test_examples_are_formatted(page: Path, tmp_path: Path) -> None:
    """Each example is formatted like ruff would format it."""
    for example in examples_of(page):
        (tmp_path / f"line_{example.line}.py").write_text(example.parsed.rstrip() + "\n")
    command = [sys.executable, "-m", "ruff", "format", "--line-length", str(COLUMNS), "--diff"]
    assert 0 == subprocess.run([*command, tmp_path], check=False).returncode


@pytest.mark.parametrize("page", [*PAGES, REFERENCE], ids=page_name)
def test_a_link_leads_somewhere(page: Path) -> None:
    """The file that a page links to exists."""
    assert [] == [link for link in links_of(page) if not link.exists()]


@each_page
def test_a_link_leads_to_a_section(page: Path) -> None:
    """The section that a page links to exists in the other page."""
    for target, anchor in re.findall(r"<([^`>#]*)#([^`>]*)>`__", page.read_text()):
        assert anchor in anchors_of(page.parent / target)


def test_the_first_page_leads_to_all_others() -> None:
    """The README at the top links to every other page."""
    assert {*PAGES, REFERENCE} - {README} <= set(links_of(README))


@each_page
def test_a_page_is_short(page: Path) -> None:
    """The first page has at most 250 lines and 2,000 words; each other has fewer than 200 lines."""
    text = page.read_text()
    most = 250 if page == README else 199
    assert len(text.splitlines()) <= most
    assert page != README or len(text.split()) < 2000


def test_the_reference_is_current() -> None:
    """The reference matches the docstrings; if not, run ``python -m tests.reference``."""
    assert reference() == REFERENCE.read_text()


def test_each_point_of_the_contract_has_its_tests() -> None:
    """The numbers of the points are the numbers in the names of the test files."""
    points = re.findall(r"^(\d+)\. ", (ROOT / "tests" / "README.rst").read_text(), re.MULTILINE)
    files = {path.name.split("_")[1] for path in (ROOT / "tests/contract").glob("test_[0-9]*.py")}
    assert [f"{int(point):02}" for point in points] == sorted(files)


@pytest.mark.parametrize(("letter", "last"), [("P", 12), ("B", 5), ("M", 4), ("H", 6)])
def test_each_point_with_a_letter_has_its_tests(letter: str, last: int) -> None:
    """The points are numbered, and their page names exactly the files that exist."""
    page = (ROOT / "tests" / "contract" / "README.rst").read_text()
    numbers = re.findall(rf"^\*\*{letter}(\d+)\.", page, re.MULTILINE)
    assert [str(number) for number in range(1, last + 1)] == numbers
    name = f"test_{letter.lower()}"
    files = [path.name for path in sorted((ROOT / "tests/contract").glob(f"{name}[0-9_]*.py"))]
    assert files == re.findall(rf"^``({name}[0-9_]\w+\.py)``$", page, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=["ingest", "test"])
def test_the_commands_to_try_are_printed(command: str) -> None:
    """The README prints each command to try once, on a line of its own."""
    lines = [line.strip().removeprefix("$ ") for line in README.read_text().splitlines()]
    assert 1 == lines.count(command)


@each_page
def test_the_name_on_the_index_is_never_installed(page: Path) -> None:
    """No command installs flushq from the index, which has another project of this name."""
    install = r"^ .*pip install (?:-\S+ )*'?flushq\b.*"
    assert [] == re.findall(install, page.read_text(), re.MULTILINE)


def test_the_name_on_the_index_is_warned_of() -> None:
    """The README warns that the index has another project of this name."""
    assert "**Warning:** ``pip install flushq`` installs another project" in README.read_text()
