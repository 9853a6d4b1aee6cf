"""An HTTP service with aiohttp that stores events in SQLite, in batches.

    EVENTS=events.db python tests/recipes/aiohttp_service.py PORT

POST /events answers 202 when the event is accepted, 400 if the body is not an event, and 503 if
the client should try again later. After SIGTERM the service stores the events that wait, and ends.
If the queue fails, the service ends by itself. Events that could not be stored are kept in the file
events.db.left, and the service stores them at its next start.
"""

import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiosqlite
import sqlite
from aiohttp import web

from flushq import FlushqError, FlushQueue, IntervalPolicy, services

QUEUE = web.AppKey("queue", FlushQueue[sqlite.Row])


async def queue_of_events(app: web.Application) -> AsyncIterator[None]:
    """Run a queue as long as the service lives; at the end the queue drains."""
    policy = IntervalPolicy(max_wait_seconds=0.1, max_records=500)
    database = os.environ["EVENTS"]
    async with aiosqlite.connect(database) as db:
        await db.executescript(sqlite.TABLES)
        store, judge = partial(sqlite.store, db), sqlite.handler(db)
        app[QUEUE] = queue = FlushQueue(store, policy, max_shutdown_wait=10.0, on_failure=judge)
        async with services.running(queue, Path(f"{database}.left")):
            yield


async def read_event(request: web.Request) -> sqlite.Row:
    """Return the event of a request. A client may send an event twice, with the same id."""
    try:
        event = await request.json()
    except (ValueError, LookupError, RecursionError, web.RequestPayloadError) as error:
        # The body is not JSON, has an unknown encoding, or is nested or compressed wrongly.
        refusal = web.HTTPBadRequest(text=str(error))
        refusal.force_close()  # aiohttp may close the connection, so tell the client
        raise refusal from error
    match event:
        case {"id": str(name), "body": str(body)}:
            return name, body
    raise web.HTTPBadRequest(text="an event is an object with the strings id and body")


async def take(request: web.Request) -> web.Response:
    """Enqueue an event, or answer 503 if the queue does not accept it."""
    row = await read_event(request)
    try:
        request.app[QUEUE].enqueue_nowait(row)
    except FlushqError as error:
        return web.Response(status=503, text=type(error).__name__, headers={"Retry-After": "1"})
    return web.Response(status=202)


def make_app() -> web.Application:
    """Return the service."""
    app = web.Application()
    app.cleanup_ctx.append(queue_of_events)
    app.add_routes([web.post("/events", take)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))
