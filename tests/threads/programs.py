"""Programs that tests run as processes: ``python -m tests.threads.programs NAME FILE``.

Each delivered item is written into the file as a line. A program may fork.
"""

import atexit
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from flushq import IntervalPolicy, NaturalPolicy
from flushq.threads import FlushQueue, batches

warnings.filterwarnings("ignore", message=".*fork.*")  # we fork with several threads on purpose
logging.basicConfig(format="%(levelname)s %(message)s")

PATH = sys.argv[2]
NEVER = IntervalPolicy(float("inf"))
PROGRAMS: dict[str, Callable[[], object]] = {}


def program(function: Callable[[], object]) -> Callable[[], object]:
    """Register a program by the name of its function."""
    PROGRAMS[function.__name__] = function
    return function


def store(batch: list[Any]) -> None:
    """Append a batch to the file, in one step."""
    lines = "".join(f"{item}\n" for item in batch)
    file = os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, lines.encode())
    os.close(file)


def child_of(work: Callable[[], object]) -> None:
    """Fork, call ``work`` in the child, end its interpreter, and wait for the child."""
    pid = os.fork()
    if pid == 0:
        work()
        sys.exit()
    assert 0 == os.waitpid(pid, 0)[1]


def open_queue(*items: Any, **options: Any) -> FlushQueue[Any]:
    """Return a started queue that has these items; the program does not close it."""
    queue = FlushQueue(store, options.pop("policy", NEVER), **options)
    queue.start()
    for item in items:
        queue.enqueue(item)
    return queue


# The end of the interpreter.


@program
def returns() -> None:
    """A return drains all open queues, after all threads that are no daemons have ended."""
    kept.append(open_queue("started", max_in_flight=2))
    new: FlushQueue[str] = FlushQueue(store, NEVER)
    new.enqueue("never started")
    late: FlushQueue[str] = open_queue()
    kept.extend([new, late])
    threading.Thread(target=enqueue_late, args=(late,)).start()


@program
def exits() -> None:
    """The program ends with sys.exit."""
    kept.append(open_queue("item"))
    sys.exit(3)


@program
def raises() -> None:
    """The program ends with an exception."""
    kept.append(open_queue("item"))
    raise OSError("no disk")


@program
def is_terminated() -> None:
    """The program gets SIGTERM, and its handler calls sys.exit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    kept.append(open_queue("item"))
    os.kill(os.getpid(), signal.SIGTERM)


@program
def ends_with_a_flush_that_hangs() -> None:
    """A flush that exceeds the limit is logged with numbers; the other queues are drained.

    The queue has a worker already: some versions of Python start no thread at the end, and then
    flush_fn would run in the thread that ends.
    """
    hangs = threading.Event()

    def sink(batch: list[int]) -> None:
        if batch != [0]:
            hangs.wait()

    kept.append(open_queue("fine"))
    kept.append(FlushQueue(sink, NEVER, max_shutdown_wait=0.05, name="stuck"))
    kept[-1].start()
    kept[-1].enqueue(0)
    kept[-1].flush()
    kept[-1].enqueue(1)


@program
def ends_within_the_flush_of_a_kept_worker() -> None:
    """Workers that exist run until the end, unlike those of Python's ThreadPoolExecutor."""
    queue = open_queue("first", policy=NaturalPolicy(1), max_in_flight=3)
    queue.flush()
    for item in range(5):
        queue.enqueue(item)
    kept.append(queue)
    atexit.register(lambda: queue.enqueue("of an exit function"))


def enqueue_late(queue: FlushQueue[str]) -> None:
    """Enqueue an item after the main thread has ended."""
    threading.main_thread().join()
    queue.enqueue("of a late thread")


kept: list[FlushQueue[Any]] = []


# Forks.


@program
def forks() -> None:
    """Each process delivers once the items that were enqueued in it."""
    queue = open_queue("parent before")
    receipt = queue.submit("parent submitted")

    def work() -> None:
        assert ("running", 0, 0) == (queue.state, queue.pending, queue.stats().accepted)
        assert 1 == threading.active_count()
        try:
            receipt.result()
        except RuntimeError as error:
            queue.enqueue(error)
        queue.enqueue("child")
        assert queue.policy is not policy

    policy = queue.policy
    child_of(work)
    queue.enqueue("parent after")
    queue.close()
    child_of(lambda: queue.state == "closed" or 1 / 0)


@program
def forks_within_a_stream() -> None:
    """The child cannot use the stream, and leaves its block; the parent continues the stream."""
    with batches(iter(range(4)), NaturalPolicy(2), name="numbers", max_queue_size=2) as stream:
        for batch in stream:
            store(batch)
            if batch == [0, 1] and os.fork() == 0:
                break
    if batch == [0, 1]:
        try:
            next(stream)
        except RuntimeError as error:
            store([str(error).partition(" of ")[0], str(error).partition("> ")[2]])
        sys.exit()
    assert 0 == os.wait()[1]


@program
def forks_within_flush_fn() -> None:
    """The child flushes its own item only, and the parent flushes its items as without a fork."""

    def sink(batch: list[str]) -> None:
        if batch == ["forks"] and os.fork() == 0:
            queue.enqueue("child")
            queue.flush()
            os._exit(0)
        store(batch)

    queue: FlushQueue[str] = FlushQueue(sink, NaturalPolicy(1))
    queue.start()
    for item in ("forks", "parent"):
        queue.enqueue(item)
    queue.flush()
    os.wait()


@program
def forks_from_a_flush_that_returns() -> None:
    """A child that returns from the parent's flush does not take the parent's next batch."""

    def sink(batch: list[str]) -> None:
        if batch == ["forks"]:
            os.fork()
        store([f"{batch[0]} {os.getpid() == parent}"])

    parent = os.getpid()
    queue: FlushQueue[str] = FlushQueue(sink, NaturalPolicy(1))
    for item in ("forks", "parent"):
        queue.enqueue(item)
    queue.close()


@program
def forks_under_load() -> None:
    """No lock is held in a child, although other threads are inside calls of the queue."""
    queue = open_queue(policy=IntervalPolicy(0.001, 50), max_queue_size=100, max_in_flight=2)
    over = threading.Event()
    threads = [threading.Thread(target=produce, args=(queue, name, over)) for name in range(4)]
    for thread in threads:
        thread.start()
    for number in range(int(os.environ["FORKS"])):
        pid = os.fork()
        if pid == 0:
            for item in range(3):
                queue.enqueue(f"child {number} {item}")
            queue.close()
            os._exit(0)
        assert 0 == os.waitpid(pid, 0)[1]
    over.set()
    for thread in threads:
        thread.join()
    queue.close()


def enqueue_and_ask(queue: FlushQueue[str], item: str) -> None:
    """Enqueue an item, and call ``stats``."""
    queue.enqueue(item)
    queue.stats()


def produce(queue: FlushQueue[str], name: int, over: threading.Event) -> None:
    """Enqueue items in every way until ``over``, with pauses that leave time to others."""
    ways: list[Callable[[str], object]] = [
        queue.enqueue,
        queue.submit,
        queue.deliver,
        partial(enqueue_and_ask, queue),
    ]
    number = 0
    while not over.wait(0.001):
        for way in ways:
            for _ in range(10):
                way(f"parent {name} {number}")
                number += 1
    store([f"produced {number}"])


# Workers of multiprocessing.


def work_in_a_pool(queue: FlushQueue[Any] | None) -> None:
    """Enqueue an item in a process of multiprocessing, and leave the queue open."""
    queue = queue or open_queue()
    queue.enqueue("worker")
    globals()["kept"].append(queue)


@program
def is_forked_by_multiprocessing() -> None:
    """The end of a worker of multiprocessing counts as the end of its interpreter."""
    queue = open_queue("parent")
    context: Any = multiprocessing.get_context("fork")
    process = context.Process(target=work_in_a_pool, args=(queue,))
    process.start()
    process.join()
    queue.close()


@program
def is_spawned_by_multiprocessing() -> None:
    """The same holds with spawn, where the worker creates its own queue."""
    process = multiprocessing.get_context("spawn").Process(target=work_in_a_pool, args=(None,))
    process.start()
    process.join()


@program
def is_forked_by_a_server_of_multiprocessing() -> None:
    """The same holds with a process that is forked before it has imported flushq."""
    process = multiprocessing.get_context("forkserver").Process(target=work_in_a_pool, args=(None,))
    process.start()
    process.join()


# Dropped queues.


@program
def drops_a_queue() -> None:
    """A queue without references delivers its items, and its threads end."""
    queue = open_queue("dropped")
    del queue
    while threading.active_count() > 1:
        time.sleep(0.001)
    store(["delivered by then"])


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]]()
