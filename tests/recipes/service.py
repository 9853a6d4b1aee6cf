"""An HTTP service that stores events in SQLite, in batches.

    EVENTS=events.db uvicorn --app-dir tests/recipes service:app

POST /events answers 202 when the event is accepted. POST /orders answers 201 when the order is
stored, 422 if it is refused, 202 if it still waits after two seconds. 503 means: try again later.
SIGTERM ends the service after a drain, a failure ends it at once. Items left go to events.db.left.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiosqlite
import sqlite
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from flushq import Dropped, FlushqError, FlushQueue, IntervalPolicy, services


class Event(BaseModel):
    """An event, or an order. A client may send it twice, with the same id."""

    id: str
    body: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, FlushQueue[sqlite.Row]]]:
    """Run a queue as long as the service lives; at the end the queue drains."""
    database = os.environ["EVENTS"]
    async with aiosqlite.connect(database) as db:
        await db.executescript(sqlite.TABLES)
        store, judge = partial(sqlite.store, db), sqlite.handler(db)
        queue = FlushQueue(store, IntervalPolicy(0.1, 500), max_shutdown_wait=10, on_failure=judge)
        async with services.running(queue, Path(f"{database}.left")):
            yield {"queue": queue}


app = FastAPI(lifespan=lifespan)


@app.post("/events", status_code=202)
async def take(event: Event, request: Request) -> None:
    """Enqueue an event, unless too many events wait."""
    request.state.queue.enqueue_nowait((event.id, event.body))


@app.post("/orders", status_code=201)
async def store(order: Event, request: Request, response: Response) -> None:
    """Store an order, or answer 202 if it still waits after two seconds."""
    async with asyncio.timeout(0.5):
        receipt = await request.state.queue.submit((order.id, order.body))
    try:
        await asyncio.wait_for(receipt, 2.0)
    except Dropped:
        response.status_code = 422
    except TimeoutError:
        response.status_code = 202


@app.exception_handler(TimeoutError)
@app.exception_handler(FlushqError)
async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Answer 503: the item was not accepted, or not stored, and may be sent again."""
    return JSONResponse({"detail": type(error).__name__}, 503, {"Retry-After": "1"})
