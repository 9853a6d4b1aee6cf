"""T8 and T9: the end of the interpreter, forks, and dropped queues, in processes."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAMS = {
    "returns": ["never started", "of a late thread", "started"],
    "exits": ["item"],
    "raises": ["item"],
    "is_terminated": ["item"],
    "ends_within_the_flush_of_a_kept_worker": [*"01234", "first", "of an exit function"],
    "forks": [
        "child",
        "parent after",
        "parent before",
        "parent submitted",
        (
            "the receipt of 'parent submitted' belongs to the parent of this process; "
            "it cannot be used in the child of a fork"
        ),
    ],
    "forks_within_a_stream": [
        *"0123",
        "<BatchStream 'numbers'",
        "belongs to the parent of this process; it cannot be used in the child of a fork",
    ],
    "forks_within_flush_fn": ["child", "forks", "parent"],
    "forks_from_a_flush_that_returns": ["forks False", "forks True", "parent True"],
    "is_forked_by_multiprocessing": ["parent", "worker"],
    "is_spawned_by_multiprocessing": ["worker"],
    "is_forked_by_a_server_of_multiprocessing": ["worker"],
    "drops_a_queue": ["delivered by then", "dropped"],
}

CODES = {"exits": 3, "raises": 1}


def run(name: str, path: Path, **environment: str) -> tuple[list[str], str]:
    """Run a program; return the items that it delivered, sorted, and its standard error."""
    command = [sys.executable, "-X", "dev", "-m", "tests.threads.programs", name, str(path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
        check=False,
    )
    assert CODES.get(name, 0) == done.returncode, done.stderr
    return sorted(path.read_text().splitlines()), done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_item_is_delivered_once(name: str, tmp_path: Path) -> None:
    """Every item is delivered once, however the program ends, and whatever it forks."""
    items, output = run(name, tmp_path / "items")
    assert PROGRAMS[name] == items
    assert "ERROR" not in output


def test_items_that_are_left_at_the_end_are_logged(tmp_path: Path) -> None:
    """An ERROR record counts the items left at the limit; the other queues are drained."""
    items, output = run("ends_with_a_flush_that_hangs", tmp_path / "items")
    assert ["fine"] == items
    assert "ERROR stuck: the interpreter ends with an open queue" in output
    assert "max_shutdown_wait=0.05 s (0 undelivered, 1 in doubt)" in output


@pytest.mark.parametrize("forks", [20, pytest.param(1_000, marks=pytest.mark.long)])
def test_forks_under_load(forks: int, tmp_path: Path) -> None:
    """Forks while threads are inside any call of the queue lose no item, repeat none, and end."""
    items, _ = run("forks_under_load", tmp_path / "items", FORKS=str(forks))
    counts = Counter(item.split()[0] for item in items)
    produced = [int(item.split()[1]) for item in items if item.startswith("produced")]
    assert (3 * forks, sum(produced)) == (counts["child"], counts["parent"])
    assert len(items) - len(produced) == len({item for item in items if "produced" not in item})


def test_flushq_alone_does_not_import_threads() -> None:
    """A program that uses asyncio alone does not import flushq.threads."""
    code = "import sys, flushq; assert not any('flushq.threads' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
