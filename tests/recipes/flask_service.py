"""A Flask view that stores what it gets, many rows at a time.

    gunicorn --preload --workers 2 --threads 8 flask_service:app

The queue is made once, when the module is imported. Each worker that is forked afterwards has it
empty, with threads of its own from the first event on; and when it ends, on SIGTERM too, what waits
is stored. A view answers 202 when its event was accepted, and 503 if there is no room for a second.
"""

import os
import sqlite3
from contextlib import closing

from flask import Flask, Response, request

from flushq import Drop, Failure, FlushqError, IntervalPolicy, Retry, Verdict
from flushq.threads import FlushQueue

DATABASE = os.environ.get("EVENTS_DATABASE", "events.db")
TABLE = "CREATE TABLE IF NOT EXISTS events (kind TEXT NOT NULL, user INTEGER NOT NULL)"

Event = tuple[str, int]


def store(events: list[Event]) -> None:
    """Insert a batch, in one transaction."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        database.executemany("INSERT INTO events VALUES (?, ?)", events)


def judge(failure: Failure[Event]) -> Verdict:
    """Wait for a database that is locked or gone; what it refuses for good is dropped, and told."""
    if isinstance(failure.error, sqlite3.OperationalError) and failure.attempt < 5:
        return Retry(after=1.0)
    app.logger.error("%d events are dropped", len(failure.items), exc_info=failure.error)
    return Drop()


app = Flask(__name__)
policy = IntervalPolicy(max_wait_seconds=0.5, max_records=500)
queue = FlushQueue(store, policy, max_shutdown_wait=10, on_failure=judge, name="events")

with closing(sqlite3.connect(DATABASE)) as database, database:
    database.execute(TABLE)
queue.start()


@app.post("/events")
def event() -> Response:
    """Accept an event."""
    body = request.get_json()
    queue.enqueue((str(body["kind"]), int(body["user"])), timeout=1)
    return Response(status=202)


@app.get("/health")
def health() -> Response:
    """Whether events are accepted, and how many wait."""
    stats = queue.stats()
    text = f"{queue.state}: {stats.pending} wait, {stats.delivered} stored, {stats.dropped} dropped"
    return Response(text, status=200 if queue.state == "running" else 503)


@app.errorhandler(TimeoutError)
@app.errorhandler(FlushqError)
def no_room(error: Exception) -> Response:
    """Nothing was accepted: the client may try again."""
    return Response(str(error), status=503)
