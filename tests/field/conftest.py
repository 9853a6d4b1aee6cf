"""Fixtures: one server of each kind for all tests, a database for each test, and programs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.field.servers import PATIENCE, Nats, Postgres

ROOT = Path(__file__).parents[2]

RECIPES = ROOT / "tests" / "recipes"

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.Popen[str]]

_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests that need a server in one process, which starts the servers."""
    for item in items:
        if {"postgres_server", "nats_server"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.xdist_group("servers"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server; a test that stops it must start it again."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    """The URL of a new schema, which serves as a new database."""
    return postgres_server.create(f"field_{next(_numbers)}")


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Nats]:
    """A NATS server with JetStream."""
    server = Nats()
    yield server
    server.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a Python program, with pipes for its output."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str | Path, pass_fds: Sequence[int] = (), **variables: str
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=_environment() | variables,
            pass_fds=pass_fds,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """A function that starts a recipe as a program."""
    return lambda recipe, *arguments: start(RECIPES / recipe, *arguments)


async def ended(program: subprocess.Popen[str]) -> tuple[str, str, int]:
    """Wait for the end of a program; return its standard output and error, and its exit code."""
    out, err = await asyncio.to_thread(program.communicate, timeout=PATIENCE)
    return out, err, program.returncode


def _environment() -> dict[str, str]:
    """Return the environment of the tests, with their checkout, and without coverage."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return environment
