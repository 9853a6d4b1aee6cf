"""The recipe of Celery tasks, in a worker with forked processes."""

import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from threading import Timer

import psutil
import pytest

from tests.field.conftest import RECIPES, Start
from tests.field.servers import PATIENCE

SENDS = """
import os
import signal
import sqlite3
import sys

import flushq
from celery import platforms
from celery.signals import worker_ready
from flushq.threads import FlushQueue
from kombu.transport.memory import Transport

never = flushq.IntervalPolicy(float("inf"))
flushq.IntervalPolicy = lambda **_: never
sys.path.insert(0, os.environ["RECIPES"])
from celery_tasks import app, queue, record, record_all

platforms.set_pdeathsig = lambda _: None  # it kills a process when the thread that forked it ends
drain, connect = Transport.drain_events, sqlite3.connect
Transport.polling_interval = 0.01  # of the main process, which handles signals between polls
Transport.drain_events = lambda transport, connection, timeout: drain(transport, connection, 0.1)

def connect_amid_signals(*args, **options):
    if queue.state == "closing":
        os.kill(os.getpid(), signal.SIGTERM)
    return connect(*args, **options)

sqlite3.connect = connect_amid_signals

@worker_ready.connect
def send(**_):
    record_all.delay([["00", "together"], ["01", "together"]])
    for number in range(2, 27):
        record.delay(f"{number:02}", "alone")
"""

DIES = """
app.conf.worker_lost_wait = 0.1
submit = FlushQueue.submit

def submit_and_die_once(queue, row, timeout):
    receipt = submit(queue, row, timeout)
    if not os.path.exists("died"):
        open("died", "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt

FlushQueue.submit = submit_and_die_once
"""

ROWS = [("00", "together"), ("01", "together"), *((f"{key:02}", "alone") for key in range(2, 27))]

Worker = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def worker(start: Start, tmp_path: Path) -> Iterator[Worker]:
    """A function that starts a worker of two processes, which sends itself 26 tasks."""
    late = Timer(2 * PATIENCE, lambda: kill(processes.pop()))
    processes: list[subprocess.Popen[str]] = []

    def work(program: str, *options: str) -> subprocess.Popen[str]:
        (tmp_path / "shop.py").write_text(program)
        command = ["-m", "celery", "-A", "shop", "worker", "--loglevel", "INFO"]
        variables = {"RECIPES": str(RECIPES), "CELERY_BROKER_URL": "memory://"}
        processes.append(start(*command, "--concurrency", "2", *options, **variables))
        late.start()
        return processes[0]

    yield work
    late.cancel()
    for process in processes:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a worker with all its processes, if it has not ended."""
    if process.poll() is None:
        main = psutil.Process(process.pid)
        for each in [*main.children(), main]:
            each.kill()


def successes(process: subprocess.Popen[str], count: int) -> list[str]:
    """Wait until so many tasks have succeeded, and return the name of the process of each."""
    assert process.stderr is not None
    found = (re.search(r"/(\S+)\] Task \S+ succeeded", line) for line in process.stderr)
    names = [match[1] for match in islice(filter(None, found), count)]
    assert count == len(names)
    return names


def rows(folder: Path) -> list[tuple[str, str]]:
    """Return all stored rows, sorted."""
    with closing(sqlite3.connect(folder / "events.db")) as database:
        stored: list[tuple[str, str]] = database.execute("SELECT * FROM events").fetchall()
        return sorted(stored)


def end(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM to a worker, and check that it ends without an error."""
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=PATIENCE)
    assert (0, False) == (process.returncode, "Traceback" in log), log


@pytest.mark.long
def test_every_row_is_stored_once(worker: Worker, tmp_path: Path) -> None:
    """Processes that are replaced, and the last ones, store each row once, even amid SIGTERM."""
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        database.execute("CREATE TABLE events (id TEXT, body TEXT)")  # it accepts a row twice
    process = worker(SENDS, "--max-tasks-per-child", "10")
    assert len(set(successes(process, 26))) > 2
    end(process)
    assert ROWS == rows(tmp_path)


@pytest.mark.long
def test_a_task_whose_process_is_killed_comes_again(worker: Worker, tmp_path: Path) -> None:
    """A task such as record_all, which is acknowledged after its rows are stored, runs again."""
    process = worker(SENDS + DIES)
    successes(process, 26)
    assert (tmp_path / "died").exists()
    end(process)
    assert ROWS == rows(tmp_path)
