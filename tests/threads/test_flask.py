"""The recipe of a service with Flask, alone and under gunicorn with forked workers."""

import atexit
import http.client
import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flushq import Drop, Fail, Failure, FlushFailed, Retry, Split

RECIPES = Path(__file__).parents[1] / "recipes"

GUNICORN = ["-m", "gunicorn", "--preload", "--threads", "4", "--bind", "127.0.0.1:0", "--workers"]

REFUSED = [("a", 2**70), ("\ud800", 1), (["a"], 1), ("a", None), ("a",), ("a" * 2000, 1)]


@contextmanager
def service(database: Path, workers: int = 2, tracebacks: int = 0) -> Iterator[int]:
    """Run the service on a free port, and yield the port; at the end SIGTERM must end it with 0."""
    with subprocess.Popen(
        [sys.executable, *GUNICORN, str(workers), "flask_service:app"],
        cwd=RECIPES,
        env={**os.environ, "EVENTS_DATABASE": str(database)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        port = next(filter(None, map(port_in, process.stderr)))
        try:
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
        assert 0 == process.wait(), said
        assert tracebacks == said.count("Traceback"), said


def port_in(line: str) -> int | None:
    """Return the port in a log line of gunicorn, or None if the line has none."""
    found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
    return int(found[1]) if found else None


def ask(port: int, method: str, path: str, *bodies: object) -> list[tuple[int, str]]:
    """Send requests to the service, and return the codes and texts of its answers."""
    answers = []
    for body in bodies:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body), headers)
            response = connection.getresponse()
            answers.append((response.status, response.read().decode()))
    return answers


def rows_of(database: Path) -> list[tuple[str, int]]:
    """Return the stored events, sorted."""
    with closing(sqlite3.connect(database)) as connection:
        return sorted(connection.execute("SELECT kind, user FROM events"))


def kept(database: Path, kind: str) -> list[list[Any]]:
    """Return the events that the processes have kept in files, sorted."""
    files = database.parent.glob(f"{database.name}.{kind}.*")
    return sorted(json.loads(line) for file in files for line in file.read_text().splitlines())


def test_every_event_is_stored_once(tmp_path: Path) -> None:
    """Every event is stored once, in whichever worker, although the service ends right after."""
    database = tmp_path / "events.db"
    clients = [[{"kind": kind, "user": user} for user in range(25)] for kind in "abcd"]
    with service(database) as port, ThreadPoolExecutor() as pool:
        answers = [*pool.map(lambda events: ask(port, "POST", "/events", *events), clients)]
        ((code, text),) = ask(port, "GET", "/health", None)
    assert {(202, "")} == {answer for each in answers for answer in each}
    assert (200, True) == (code, text.startswith("running: "))
    assert sorted((kind, user) for kind in "abcd" for user in range(25)) == rows_of(database)


def test_an_event_that_is_refused_costs_no_other(tmp_path: Path) -> None:
    """An event that SQLite refuses is kept in a file, with the reason; the others are stored."""
    database = tmp_path / "events.db"
    events: list[dict[str, Any]] = [{"kind": "good", "user": user} for user in range(60)]
    events[20:20] = [{"kind": "large", "user": 2**70}, {"kind": "\ud800", "user": 1}]
    with service(database, workers=1) as port:
        assert {(202, "")} == {*ask(port, "POST", "/events", *events)}
    assert [("good", user) for user in range(60)] == rows_of(database)
    (large, wrong) = kept(database, "refused")
    assert ["large", 2**70, "Python int too large to convert to SQLite INTEGER"] == large
    assert ["\ud800", 1, True] == [*wrong[:2], "surrogates not allowed" in wrong[2]]


def test_what_a_worker_cannot_store_is_kept(tmp_path: Path) -> None:
    """A missing table ends the queue of a worker, which is logged; the events are in a file."""
    database = tmp_path / "events.db"
    events = [{"kind": "kept", "user": user} for user in range(30)]
    with service(database, workers=1, tracebacks=1) as port:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("DROP TABLE events")
        accepted = [code for code, _ in ask(port, "POST", "/events", *events)].count(202)
    left = kept(database, "left")
    assert accepted == len(left) > 0
    assert [["kept", user] for user in range(accepted)] == left


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the recipe in this process, with its own database."""
    monkeypatch.setenv("EVENTS_DATABASE", str(tmp_path / "events.db"))
    monkeypatch.delitem(sys.modules, "flask_service", raising=False)
    module = importlib.import_module("flask_service")
    yield module
    module.end()
    atexit.unregister(module.end)


def failure_of(error: Exception, *items: tuple[Any, ...]) -> Failure[Any]:
    """Return the failure of a flush that has failed a hundred times."""
    return Failure([*items], error, None, attempt=100, reason="", seconds=0.0)


def error_of(act: Callable[..., object], *arguments: object) -> Exception:
    """Return the exception that SQLite, or its driver, raises."""
    try:
        act(*arguments)
    except Exception as error:
        return error
    raise AssertionError


def locked(path: str) -> Exception:
    """Return the error of a database that another connection has locked."""
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path, timeout=0)) as other:
        one.execute("BEGIN IMMEDIATE")
        return error_of(other.execute, "INSERT INTO events VALUES ('a', 1)")


def full(path: str) -> Exception:
    """Return the error of a database that is full."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA max_page_count = 1")
        return error_of(database.execute, "INSERT INTO events VALUES (zeroblob(100000), 1)")


def gone(path: str) -> Exception:
    """Return the error of a database whose folder is missing."""
    return error_of(sqlite3.connect, f"{path}/events.db")


def unreadable(path: str) -> Exception:
    """Return the error of a disk that cannot be read, which has an extended code."""
    error = sqlite3.OperationalError(path)
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    return error


def without_table(path: str) -> Exception:
    """Return the error of a missing table."""
    with closing(sqlite3.connect(path)) as database:
        return error_of(database.execute, "INSERT INTO nowhere VALUES (1)")


def closed(path: str) -> Exception:
    """Return the error of a closed connection, which no item has caused."""
    with closing(sqlite3.connect(path)) as database:
        pass
    return error_of(database.execute, "SELECT 1")


@pytest.mark.parametrize("make", [locked, full, gone, unreadable])
def test_a_temporary_error_is_always_retried(make: Callable[[str], Exception], recipe: Any) -> None:
    """A flush to a database that is locked, full or gone is retried every second."""
    assert Retry(after=1.0) == recipe.judge(failure_of(make(recipe.DATABASE), ("a", 1)))


@pytest.mark.parametrize("make", [without_table, closed])
def test_an_error_that_affects_every_event_ends_the_queue(
    make: Callable[[str], Exception], recipe: Any
) -> None:
    """An error that no event has caused ends the queue, and drops no event."""
    assert Fail() == recipe.judge(failure_of(make(recipe.DATABASE), ("a", 1)))


@pytest.mark.parametrize("values", REFUSED, ids=lambda values: ascii(values)[:20])
def test_what_is_refused_is_found_and_kept(values: tuple[Any, ...], recipe: Any) -> None:
    """A batch is split; a single event is kept in a file, or retried while the file fails."""
    with closing(sqlite3.connect(recipe.DATABASE)) as database:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        error = error_of(database.execute, "INSERT INTO events VALUES (?, ?)", values)
    file = Path(f"{recipe.DATABASE}.refused.{os.getpid()}")
    file.mkdir()
    assert Split() == recipe.judge(failure_of(error, ("good", 1), values))
    assert Retry(after=1.0) == recipe.judge(failure_of(error, values))
    file.rmdir()
    assert Drop() == recipe.judge(failure_of(error, values))
    assert [[*values, str(error)]] == kept(Path(recipe.DATABASE), "refused")


def test_a_flush_waits_for_a_lock_less_than_a_close(
    recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush waits a second for a lock; longer waits are pauses, which a close cuts short."""
    limits: list[float] = []
    connect = sqlite3.connect

    def note(path: str, timeout: float) -> sqlite3.Connection:
        limits.append(timeout)
        return connect(path)

    monkeypatch.setattr(sqlite3, "connect", note)
    recipe.store([("a", 1)])
    assert [1] == limits


def test_a_queue_that_has_ended_is_not_healthy(recipe: Any) -> None:
    """After a failure the service answers 503 to a health check, and to events."""
    with closing(sqlite3.connect(recipe.DATABASE)) as database:
        database.execute("DROP TABLE events")
    client = recipe.app.test_client()

    def answers() -> list[int]:
        event = client.post("/events", json={"kind": "a", "user": 1})
        return [event.status_code, client.get("/health").status_code]

    assert [202, 200] == answers()
    with pytest.raises(FlushFailed):
        recipe.queue.flush()
    assert [503, 503] == answers()
