"""Celery tasks that store rows, many at a time.

    celery -A celery_tasks worker --concurrency 4

The queue is made once, when the module is imported. Each worker process that is forked afterwards
has it empty, with threads of its own from the first row on. Celery ends a worker process, also one
that ``--max-tasks-per-child`` replaces, by ``os._exit``, which is not the end of the interpreter:
what waits is stored because ``worker_process_shutdown`` closes the queue. That is so with
Redis and RabbitMQ; with a broker in memory or in files, Celery may kill a process that has replaced
another when the worker ends, before it has stored what waits.

What is acknowledged is not sent again. ``record`` is acknowledged before its row is stored, so if
its process is killed, the rows that wait are lost. ``record_all`` is acknowledged after its rows
are stored, so if its process is killed, it runs again, perhaps in vain: the table must recognise an
id that it has. As a process runs one task at a time, give such a task many rows.
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
    """Tell of a row that SQLite refuses."""
    logger.error("the row %a is refused: %s", row, error)


logger = logging.getLogger(__name__)
app = Celery("celery_tasks")  # the broker is that of CELERY_BROKER_URL
policy = IntervalPolicy(max_wait_seconds=2.0, max_records=500)
judge = sqlite_failures.handler(bury)
queue = FlushQueue(store, policy, max_shutdown_wait=10, on_failure=judge, name="events")

with closing(sqlite3.connect(DATABASE)) as database, database:
    database.execute(TABLE)
queue.start()


@app.task
def record(key: str, body: str) -> None:
    """Accept a row; if there is no room for 5 seconds, the task fails."""
    queue.enqueue((key, body), timeout=5)


@app.task(acks_late=True, reject_on_worker_lost=True)
def record_all(rows: list[Row]) -> None:
    """Store rows, together with those that wait; if one is not stored, the task fails."""
    receipts = [queue.submit((key, body), timeout=5) for key, body in rows]
    queue.flush()
    for receipt in receipts:
        receipt.result()


@worker_process_shutdown.connect
def drain(**_: object) -> None:
    """Store what waits; what is left after ``max_shutdown_wait`` is told in the log."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it would cut the drain short
    queue.close()
