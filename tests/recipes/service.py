"""An HTTP service that stores events in SQLite, in batches.

    EVENTS=events.db uvicorn --app-dir tests/recipes service:app

POST /events answers 202 when the event waits, and POST /orders 201 when the order is stored; 503
tells to come again. SIGTERM ends the service when all that it has taken is stored.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import aiosqlite
import sqlite
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from flushq import Fail, Failure, FlushqError, FlushQueue, IntervalPolicy, Verdict


class Event(BaseModel):
    """What a client sends, with an id of its own: it may come twice."""

    id: str
    body: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Have a queue as long as the service lives; at the end it drains."""

    async def judge(failure: Failure[sqlite.Row]) -> Verdict:
        verdict = await sqlite.judge(db, failure)
        if verdict == Fail():
            signal.raise_signal(signal.SIGTERM)  # for whoever starts it anew
        return verdict

    policy = IntervalPolicy(max_wait_seconds=0.1, max_records=500)
    async with aiosqlite.connect(os.environ["EVENTS"]) as db:
        await db.executescript(sqlite.TABLES)
        store = partial(sqlite.store, db)
        async with FlushQueue(store, policy, max_shutdown_wait=10.0, on_failure=judge) as queue:
            yield {"queue": queue}


async def queue_of(request: Request) -> FlushQueue[sqlite.Row]:
    """The queue of the service."""
    queue: FlushQueue[sqlite.Row] = request.state.queue
    return queue


Queue = Annotated[FlushQueue[sqlite.Row], Depends(queue_of)]

app = FastAPI(lifespan=lifespan)


@app.post("/events", status_code=202)
async def take(event: Event, queue: Queue) -> None:
    """Take an event, unless too many wait."""
    queue.enqueue_nowait((event.id, event.body))


@app.post("/orders", status_code=201)
async def store(order: Event, queue: Queue) -> None:
    """Store an order."""
    await queue.deliver((order.id, order.body))


@app.exception_handler(FlushqError)
async def refuse(request: Request, error: FlushqError) -> JSONResponse:
    """What was not accepted, or not stored, may come again."""
    return JSONResponse({"detail": type(error).__name__}, 503, {"Retry-After": "1"})
