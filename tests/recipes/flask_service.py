"""A Flask view that stores events, many events at a time.

    gunicorn --preload --workers 2 --threads 8 flask_service:app  # needs sqlite_failures.py

The queue is created once, when the module is imported. In each worker that is forked later the
queue is empty, and starts its own threads at the first event. A worker that ends (by SIGTERM, too)
stores the events that wait. Events that are left then are in events.db.left.PID (the first of them
may be stored, too). Events that SQLite refuses are in events.db.refused.PID, with reasons.
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
    """Append events to a file of this process, and log how many."""
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
    """Store the events that wait, and keep those that cannot be stored in a file."""
    with suppress(FlushqError):
        queue.close()
    if left := queue.in_doubt + queue.undelivered:
        keep("left", *left)


@app.post("/events")
def event() -> Response:
    """Enqueue an event."""
    body = request.get_json()
    queue.enqueue((str(body["kind"]), int(body["user"])), timeout=1)
    return Response(status=202)


@app.get("/health")
def health() -> Response:
    """Return the state of the queue and its counts, with 503 if it accepts no events."""
    return Response(f"{queue.state}: {queue.stats()}", 200 if queue.state == "running" else 503)


@app.errorhandler(TimeoutError)
@app.errorhandler(FlushqError)
def no_room(error: Exception) -> Response:
    """Answer 503: the event was not accepted, and the client may send it again."""
    return Response(str(error), status=503)
