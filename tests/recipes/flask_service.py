"""A Flask view that stores what it gets, many rows at a time.

    gunicorn --preload --workers 2 --threads 8 flask_service:app  # beside sqlite_failures.py

The queue is made once, when the module is imported. Each worker that is forked afterwards has it
empty, with threads of its own from the first event on. When it ends, on SIGTERM too, what waits is
stored, and what cannot be stored is kept in the file events.db.left.PID (the first events of it may
be stored, too). An event that SQLite refuses is kept in events.db.refused.PID, with the reason.
"""

import atexit
import json
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import sqlite_failures
from flask import Flask, Response, request

from flushq import FlushqError, IntervalPolicy
from flushq.threads import FlushQueue

DATABASE = os.environ.get("EVENTS_DATABASE", "events.db")
TABLE = "CREATE TABLE IF NOT EXISTS events (kind TEXT NOT NULL, user INTEGER NOT NULL)"


def store(events: list[tuple[str, int]]) -> None:
    """Insert a batch, in one transaction."""
    with closing(sqlite3.connect(DATABASE, timeout=1)) as database, database:
        database.executemany("INSERT INTO events VALUES (?, ?)", events)


def keep(kind: str, *events: object) -> None:
    """Append events to a file of this process, and say so in the log."""
    file = Path(f"{DATABASE}.{kind}.{os.getpid()}")
    with file.open("a") as lines:
        lines.write("".join(f"{json.dumps(event)}\n" for event in events))
    app.logger.error("%d events are kept in %s", len(events), file)


app = Flask(__name__)
policy = IntervalPolicy(max_wait_seconds=0.5, max_records=500)
judge = sqlite_failures.handler(lambda event, error: keep("refused", [*event, str(error)]))
queue = FlushQueue(store, policy, max_shutdown_wait=10, on_failure=judge, name="events")

with closing(sqlite3.connect(DATABASE)) as database, database:
    database.execute(TABLE)
queue.start()


@atexit.register
def end() -> None:
    """Store what waits, and keep what cannot be stored."""
    with suppress(FlushqError):
        queue.close()
    if left := queue.in_doubt + queue.undelivered:
        keep("left", *left)


@app.post("/events")
def event() -> Response:
    """Accept an event."""
    body = request.get_json()
    queue.enqueue((str(body["kind"]), int(body["user"])), timeout=1)
    return Response(status=202)


@app.get("/health")
def health() -> Response:
    """Whether this worker accepts events, and its account."""
    return Response(f"{queue.state}: {queue.stats()}", 200 if queue.state == "running" else 503)


@app.errorhandler(TimeoutError)
@app.errorhandler(FlushqError)
def no_room(error: Exception) -> Response:
    """Nothing was accepted: the client may try again."""
    return Response(str(error), status=503)
