"""Files are in the right place, import only what they may, and give a reason for each noqa.

`MAY_IMPORT` has a row for each file and package of flushq. A file may import the rows that its row
names, the rows that those may import, and its own row; `__init__` stands for the public names.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TOP_LEVEL = {
    ".ci/run",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.rst",
    "LICENSE",
    "README.rst",
    "benchmarks",
    "flushq",
    "pyproject.toml",
    "tests",
}

# Each row may import the rows it names, and the rows that those may import. Low layers come first.
MAY_IMPORT: dict[str, set[str]] = {
    "arguments": set(),
    "errors": {"arguments"},
    "facts": {"arguments"},
    "policy": {"facts"},
    "policies": {"policy"},
    "throttles": {"arguments"},
    "outcomes": {"arguments"},
    "core.waiter": set(),
    "core.need": set(),
    "core.waitlist": {"core.waiter"},
    "core.losses": {"arguments"},
    "core.running_policy": {"policy"},
    "core.policy_template": {"core.running_policy"},
    "core.duplicates": {"arguments"},
    "core.caps": {"core.duplicates", "errors"},
    "core.merging": {"core.duplicates"},
    "core.waiting": {"core.caps", "core.merging"},
    "core.buffer": {"core.waiting"},
    "core.batch": {"outcomes", "core.running_policy"},
    "core.attempts": {"core.batch", "errors"},
    "core.account": {"core.attempts", "core.losses"},
    "core.batcher": {"core.account", "core.buffer", "core.running_policy"},
    "core.partition": {"core.running_policy"},
    "core.partition_heap": {"core.partition"},
    "core.partitioned_buffer": {"core.partition", "core.waiting"},
    "core.partition_line": {"core.batcher", "core.partition_heap", "core.partitioned_buffer"},
    "core.partitioned_batcher": {"core.partition_line", "core.policy_template"},
    "core.running_throttle": {"core.batch", "throttles"},
    "core.starts": {"core.attempts", "core.running_throttle", "core.waiter"},
    "core.receipts": {"core.attempts", "core.buffer", "core.waiter"},
    "core.fairness": {"core.batcher", "core.waitlist"},
    "core.admission": {"core.fairness", "core.need"},
    "core.displacing": {"core.admission", "core.receipts"},
    "core.barriers": {"core.batcher", "core.waiter"},
    "core.ending": {"core.batcher", "core.waiter"},
    "core.core": {
        "core.barriers",
        "core.displacing",
        "core.ending",
        "core.partitioned_batcher",
        "core.receipts",
        "core.starts",
    },
    "core.view": {"core.core"},
    "requests": {"outcomes", "errors"},
    "judging": {"outcomes"},
    "streams": {"core.core", "core.waiter"},
    "telling": {"core.core"},
    "inside": {"core.batcher"},
    "core": set(),
    "aio": {"core.view", "judging", "requests", "streams", "telling", "inside"},
    "threads": {"core.view", "judging", "requests", "streams", "telling", "inside"},
    "simulation": {"core.core"},
    "offline": set(),
    "testing": {"policy", "throttles", "simulation", "offline"},
    "__init__": {"policies", "aio"},
    "services": {"aio"},
    "cli": {"__init__", "simulation", "throttles", "offline"},
    "__main__": {"cli"},
}

OF_TYPE_CHECKERS = {"judging": {"typing_extensions"}}
DRIVER_ONLY = {"asyncio", "contextvars", "time", "random", "logging", "threading"}
DRIVERS = {"aio", "threads", "cli", "services"}
OF_BOTH_DRIVERS = {"telling": {"logging"}, "inside": {"contextvars"}}
OF_WORKERS = {"asyncpg", "nats", "prometheus_client"}
EXTRAS = {
    "testing": {"hypothesis"},
    "cli": {"click", "rich", "aiosqlite", "matplotlib"} | OF_WORKERS,
}

PACKAGES = {"flushq", "flushq.core"}


def row_of(module: str) -> str:
    """Return the row of the table for a module of flushq, given by its dotted name."""
    parts = module.split(".")[1:] or ["__init__"]
    is_core = parts[0] == "core" and parts[1:] not in ([], ["__init__"])
    return ".".join(parts[:2]) if is_core else parts[0]


def module_of(path: Path) -> str:
    """Return the dotted name of the module in a file; `__init__` is kept in it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def names_of(node: ast.ImportFrom, module: str) -> Iterator[str]:
    """Yield the full dotted names that a `from` import asks for."""
    above = module.split(".")[: -node.level] if node.level else []
    source = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        is_row = row_of(f"{source}.{alias.name}") in MAY_IMPORT and source in PACKAGES
        yield f"{source}.{alias.name}" if is_row else source


def imports(source: str, module: str) -> Iterator[str]:
    """Yield the dotted names of all modules that a source imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from names_of(node, module)


def reach(row: str) -> set[str]:
    """Return the rows that a row may import, itself included."""
    # The command line may import the public names, and nothing that those may import.
    below = set() if row == "cli" else MAY_IMPORT[row]
    return {row}.union(MAY_IMPORT[row], *map(reach, below))


def is_allowed(name: str, row: str) -> bool:
    """Return whether a row may import the module of this name."""
    top = name.partition(".")[0]
    if top == "flushq":
        return row_of(name) in reach(row)
    if top in DRIVER_ONLY:
        return row in DRIVERS or top in OF_BOTH_DRIVERS.get(row, set())
    others = EXTRAS.get(row, set()) | OF_TYPE_CHECKERS.get(row, set())
    return top in sys.stdlib_module_names | {"attr", "attrs"} | others


def violations(source: str, module: str) -> list[str]:
    """Return the names that the source of a module imports although it must not."""
    row = row_of(module)
    if row not in MAY_IMPORT:
        return [f"{module} is not in the table"]
    return [name for name in imports(source, module) if not is_allowed(name, row)]


def unexplained(source: str) -> list[str]:
    """Return the comments of a source that silence a tool without a reason."""
    comments = re.findall(r"# (?:type: ignore|noqa|pragma: no ).*", source)
    reasoned = re.compile(r"# (type: ignore\[.+?\]  #|noqa: [\w, ]+ -|pragma: no \w+ -) \S")
    return [comment for comment in comments if not reasoned.match(comment)]


def sources(*folders: str) -> list[Path]:
    """Return the Python files of these folders, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_a_file_imports_only_what_its_row_names() -> None:
    """Each file of flushq has a row in the table and imports only what the row allows."""
    found = {
        module_of(path): violations(path.read_text(), module_of(path)) for path in sources("flushq")
    }
    assert {} == {module: names for module, names in found.items() if names}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("flushq.policy", "from flushq.core.batch import Batch", ["flushq.core.batch"]),
        ("flushq.policy", "from . import offline, arguments", ["flushq.offline"]),
        ("flushq.policy", "import flushq.aio.queue as q", ["flushq.aio.queue"]),
        ("flushq.policy", "import flushq", ["flushq"]),
        ("flushq.policy", "import attrs, math, errno, flushq.arguments", []),
        ("flushq.policy", "from asyncio.events import Handle", ["asyncio.events"]),
        ("flushq.policy", "if TYPE_CHECKING:\n    import asyncio", ["asyncio"]),
        ("flushq.policy", "def now():\n    import time", ["time"]),
        ("flushq.policies.natural", "from ..outcomes import Drop", ["flushq.outcomes"]),
        ("flushq.core.core", "from . import waitlist, view", ["flushq.core.view"]),
        ("flushq.aio.queue", "import asyncio, logging, flushq.policy, flushq.core.core", []),
        ("flushq.threads.queue", "import threading, flushq.telling, flushq.inside", []),
        ("flushq.threads.queue", "from flushq.aio import calls", ["flushq.aio"]),
        ("flushq.inside", "import contextvars, threading", ["threading"]),
        ("flushq.__init__", "import flushq.threads", ["flushq.threads"]),
        ("flushq.testing", "import hypothesis, flushq.offline, flushq.core.core", []),
        ("flushq.__init__", "from flushq.simulation import simulate", ["flushq.simulation"]),
        ("flushq.cli.ingest", "import asyncio, click\nfrom flushq import FlushQueue", []),
        ("flushq.cli.ingest", "from flushq.aio.queue import FlushQueue", ["flushq.aio.queue"]),
        ("flushq.helpers", "", ["flushq.helpers is not in the table"]),
    ],
)
def test_the_checker_sees_every_way_to_import(
    module: str, source: str, expected: list[str]
) -> None:
    """An import that the table forbids is found, however and wherever it is written."""
    assert expected == violations(source, module)


@pytest.mark.parametrize("row", MAY_IMPORT)
def test_lower_files_never_import_higher_ones(row: str) -> None:
    """The table has no cycle: if a row may import another one, the other one may not import it."""
    assert not any(row in reach(below) for below in MAY_IMPORT[row])


def test_a_commit_is_checked_as_by_the_gate() -> None:
    """The hooks of pre-commit are the commands of .ci/run that check the lint and the types."""
    gate = (ROOT / ".ci/run").read_text()
    folders = " ".join(re.findall(r"folders\+?=\((.+?)\)", gate))
    lint_and_types = gate[gate.index("say lint") : gate.index("say documents")]
    commands = re.findall(r"within checks (.+)", lint_and_types.replace('"${folders[@]}"', folders))
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert commands == re.findall(r"^ +entry: (.+)$", hooks, re.MULTILINE)
    assert 3 == len(commands)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout knows its files")
def test_the_top_level_holds_nothing_else() -> None:
    """The top level of the repository has only the files and folders of the layout."""
    listing = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    files = {file if file in TOP_LEVEL else file.split("/")[0] for file in listing.splitlines()}
    assert set() == files - TOP_LEVEL


def test_what_silences_a_tool_tells_why() -> None:
    """Each comment that silences a type checker, a linter or the coverage gives a reason."""
    found = {
        module_of(path): unexplained(path.read_text())
        for path in sources("flushq", "tests", "benchmarks")
    }
    assert {} == {module: comments for module, comments in found.items() if comments}


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("type: ignore[misc]  # attrs adds it", True),
        ("noqa: S608 - the name is quoted", True),
        ("pragma: no cover - needs a terminal", True),
        ("type: ignore", False),
        ("type: ignore[misc]", False),
        ("noqa: S608", False),
        ("pragma: no branch", False),
    ],
)
def test_the_reason_stands_behind_the_comment(comment: str, *, expected: bool) -> None:
    """The reason follows the silencing comment on the same line, after a dash or a hash."""
    assert expected == (not unexplained(f"x = 1  # {comment}"))


@pytest.mark.parametrize(("folder", "most"), [("flushq", 350), ("tests/recipes", 80)])
def test_a_file_is_short(folder: str, most: int) -> None:
    """A file of the library or a recipe has at most its number of lines."""
    lengths = {module_of(path): len(path.read_text().splitlines()) for path in sources(folder)}
    assert {} == {module: lines for module, lines in lengths.items() if lines > most}
