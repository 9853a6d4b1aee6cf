"""The recipe of a service with Flask, under gunicorn with two workers that are forked."""

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"

GUNICORN = ["-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4", "--bind"]


@contextmanager
def service(database: Path) -> Iterator[int]:
    """Run the service on a port of its own; at the end it is told to end, and must do so well."""
    with subprocess.Popen(
        [sys.executable, *GUNICORN, "127.0.0.1:0", "flask_service:app"],
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
        assert "Traceback" not in said, said


def port_in(line: str) -> int | None:
    """The port that gunicorn says it listens at."""
    found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
    return int(found[1]) if found else None


def ask(port: int, method: str, path: str, *bodies: object) -> list[tuple[int, str]]:
    """Ask the service, and return the codes and texts of its answers."""
    answers = []
    for body in bodies:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body), headers)
            response = connection.getresponse()
            answers.append((response.status, response.read().decode()))
    return answers


def test_every_event_is_stored_once(tmp_path: Path) -> None:
    """Whichever worker got it, and although the service ends right after."""
    database = tmp_path / "events.db"
    clients = [[{"kind": kind, "user": user} for user in range(25)] for kind in "abcd"]
    with service(database) as port, ThreadPoolExecutor() as pool:
        answers = [*pool.map(lambda events: ask(port, "POST", "/events", *events), clients)]
        ((code, text),) = ask(port, "GET", "/health", None)
    assert {(202, "")} == {answer for each in answers for answer in each}
    assert (200, True) == (code, text.startswith("running: "))
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT kind, user FROM events").fetchall()
    assert sorted((kind, user) for kind in "abcd" for user in range(25)) == sorted(rows)
