"""Celery tasks that store rows, many rows at a time.

    celery -A celery_tasks worker --concurrency 4

The queue is created once, when the module is imported. In each worker process that is forked later
the queue is empty, and starts its own threads at the first row. Celery ends each worker process
(also if ``--max-tasks-per-child`` replaces it) by ``os._exit``, and this skips the exit functions.
So ``worker_process_shutdown`` closes the queue, and this stores the rows that wait. This works with
Redis and RabbitMQ. With a broker in memory or in files, Celery may kill a replacement process at
the end of the worker, before the rows that wait in this process are stored.

Celery does not send an acknowledged task again. ``record`` is acknowledged before its row is
stored: if its process is killed, the rows that wait are lost. ``record_all`` is acknowledged after
its rows are stored: if its process is killed, the task runs again, and may repeat rows. So the
table must recognise an id that it has. A process runs one task at a time: give a task many rows.
"""

import logging
import os
import signal
import sqlite3
from contextlib import closing

import sqlite_failures
from celery import Celery
from celery.signals import worker_process_shutdown

from flushq import IntervalPolicy
from flushq.threads import FlushQueue

DATABASE = os.environ.get("EVENTS_DATABASE", "events.db")
TABLE = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT NOT NULL)"

Row = tuple[str, str]


def store(rows: list[Row]) -> None:
    """Insert a batch, in one transaction."""
    with closing(sqlite3.connect(DATABASE, timeout=1)) as database, database:
        database.executemany("INSERT INTO events VALUES (?, ?) ON CONFLICT DO NOTHING", rows)


def bury(row: Row, error: BaseException) -> None:
    """Log a row that SQLite refuses."""
    logger.error("the row %a is refused: %s", row, error)


logger = logging.getLogger(__name__)
app = Celery("celery_tasks")  # CELERY_BROKER_URL names the broker
policy = IntervalPolicy(max_wait_seconds=2.0, max_records=500)
judge = sqlite_failures.handler(bury)
queue = FlushQueue(store, policy, max_shutdown_wait=10, on_failure=judge, name="events")

with closing(sqlite3.connect(DATABASE)) as database, database:
    database.execute(TABLE)
queue.start()


@app.task
def record(key: str, body: str) -> None:
    """Enqueue a row; the task fails if the queue has no room for 5 seconds."""
    queue.enqueue((key, body), timeout=5)


@app.task(acks_late=True, reject_on_worker_lost=True)
def record_all(rows: list[Row]) -> None:
    """Store rows, together with the rows that wait; the task fails if a row is not stored."""
    receipts = [queue.submit((key, body), timeout=5) for key, body in rows]
    queue.flush()
    for receipt in receipts:
        receipt.result()


@worker_process_shutdown.connect
def drain(**_: object) -> None:
    """Store the rows that wait; the log says how many are left after ``max_shutdown_wait``."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # SIGTERM would cut the drain short
    queue.close()
