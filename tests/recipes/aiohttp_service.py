"""The service with aiohttp: stores events in SQLite, in batches.

    EVENTS=events.db python tests/recipes/aiohttp_service.py PORT

POST /events answers 202 when the event waits. SIGTERM ends the service when all that it has taken
is stored.
"""

import os
import sys
from collections.abc import AsyncIterator
from functools import partial

import aiosqlite
import sqlite
from aiohttp import web

from flushq import FlushqError, FlushQueue, IntervalPolicy

QUEUE = web.AppKey("queue", FlushQueue[sqlite.Row])


async def queue_of_events(app: web.Application) -> AsyncIterator[None]:
    """Have a queue as long as the service lives; at the end it drains."""
    policy = IntervalPolicy(max_wait_seconds=0.1, max_records=500)
    async with aiosqlite.connect(os.environ["EVENTS"]) as db:
        await db.executescript(sqlite.TABLES)
        judge = partial(sqlite.judge, db)
        store = partial(sqlite.store, db)
        async with FlushQueue(store, policy, max_shutdown_wait=10.0, on_failure=judge) as queue:
            app[QUEUE] = queue
            yield


async def take(request: web.Request) -> web.Response:
    """Take an event, unless too many wait."""
    event = await request.json()
    try:
        request.app[QUEUE].enqueue_nowait((event["id"], event["body"]))
    except FlushqError as error:
        return web.Response(status=503, text=type(error).__name__, headers={"Retry-After": "1"})
    return web.Response(status=202)


def make_app() -> web.Application:
    """The service."""
    app = web.Application()
    app.cleanup_ctx.append(queue_of_events)
    app.add_routes([web.post("/events", take)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))
