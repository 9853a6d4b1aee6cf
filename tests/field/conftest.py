"""The servers, one of each for all tests; a database for each test; the recipes as programs."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.field.servers import Nats, Postgres

ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.Popen[str]]

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server; who stops it starts it again."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    """The URL of a new schema, as good as a new database."""
    return postgres_server.create(f"field_{next(_numbers)}")


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Nats]:
    """A NATS server with JetStream."""
    server = Nats()
    yield server
    server.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts a recipe as a program, with pipes from it."""
    processes: list[subprocess.Popen[str]] = []

    def run(recipe: str, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "recipes" / recipe, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=_environment() | variables,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def _environment() -> dict[str, str]:
    """That of the tests, with their checkout; the coverage is measured elsewhere."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return environment
