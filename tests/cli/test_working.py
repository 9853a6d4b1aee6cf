"""A worker in this process, with a fake server and a fake table."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Self, cast

import pytest

from flushq import FlushFailed
from flushq.cli import working
from flushq.cli.jetstream import Consumer
from flushq.cli.messages import IdOf
from flushq.cli.postgres import PostgresTable
from flushq.cli.working import Source, Work
from tests.cli.consumers import Server

pytestmark = pytest.mark.usefixtures("handlers")


class Table:
    """A fake table that calls a function with the rows of each batch.

    Args:
        store: The function that is called with the rows.
    """

    stored = 0
    known = 0
    batches = 0

    def __init__(self, store: Callable[[list[Any]], Awaitable[None]]) -> None:
        self.store = store

    def __str__(self) -> str:
        return "the table"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Make a fake server, to which the worker connects, and return it."""
    server = Server()

    async def ensure_consumer(*_: object) -> Consumer:
        return Consumer("S", "c")

    monkeypatch.setattr(working, "connected", lambda *_: nullcontext(server))
    monkeypatch.setattr(working, "ensure_consumer", ensure_consumer)
    return server


def start(
    store: Callable[[list[Any]], Awaitable[None]], *, by_subject: bool = False
) -> "asyncio.Task[int]":
    """Start a worker, and return its task."""
    work = Work(
        Source("", "S", "c"),
        cast(PostgresTable, Table(store)),
        id_of=IdOf(),
        by_subject=by_subject,
        max_in_flight=2 if by_subject else 1,
        throttle=None,
        address=None,
        max_shutdown_wait=3600.0,
    )
    return asyncio.create_task(work.run())


async def nothing(_: list[Any]) -> None:
    """Return without storing the rows."""


async def test_a_second_signal_while_messages_are_on_their_way(server: Server) -> None:
    """A second signal ends the wait for messages; a later message is returned with a NAK."""
    server.drained.clear()
    worker = start(nothing)
    await server.subscribed.wait()
    await server.deliver(1)
    for _ in range(2):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.01)

    assert 143 == await worker

    await server.deliver(1)
    assert [b"", b"-NAK"] == server.answers


async def test_messages_on_their_way_are_waited_for_a_while(server: Server) -> None:
    """At the end the worker waits at most two seconds for messages; others are resent."""
    server.drained.clear()
    worker = start(nothing)
    await server.subscribed.wait()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)
    assert 0 == await worker
    assert 2.0 == asyncio.get_running_loop().time()


async def test_what_waits_is_bounded_by_its_size(server: Server) -> None:
    """A message that exceeds the limit on the size waits until there is room."""
    stored = asyncio.Event()
    batches: list[int] = []

    async def store(rows: list[Any]) -> None:
        batches.append(len(rows))
        await stored.wait()

    worker = start(store)
    await server.subscribed.wait()
    half = b"x" * (working.MAX_WEIGHT // 2)
    delivering = asyncio.create_task(server.deliver(5, half))
    await asyncio.sleep(1)
    assert ([2], False) == (batches, delivering.done())
    stored.set()
    await delivering
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)
    assert 0 == await worker
    assert [2, 2, 1] == batches


async def test_an_unforeseen_error(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """An unforeseen error is raised, and the summary is printed all the same."""

    async def fail(_: list[Any]) -> None:
        raise ZeroDivisionError

    worker = start(fail)
    await server.subscribed.wait()
    await server.deliver(1)
    with pytest.raises(FlushFailed) as failed:
        await worker
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert "left 1, flushes 1 (1 natural)" in capsys.readouterr().out


async def test_figures_that_cannot_be_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 1 if the summary cannot be written, although all is stored."""
    monkeypatch.setattr(sys, "stdout", None)
    worker = start(nothing)
    await server.subscribed.wait()
    signal.raise_signal(signal.SIGTERM)
    assert 1 == await worker


async def test_an_outage_of_the_database(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first ten retries and the end of an outage are reported; so is the next outage."""
    left = [11, 1]

    async def store(_: list[Any]) -> None:
        if left[0]:
            left[0] -= 1
            raise ConnectionError("reset by peer")

    worker = start(store)
    await server.subscribed.wait()
    for _ in range(2):
        await server.deliver(1)
        await asyncio.sleep(3600.0)
        left.pop(0)
        left.append(0)
    signal.raise_signal(signal.SIGTERM)
    assert 0 == await worker

    trouble = "cannot write to the table: PostgreSQL cannot be reached: reset by peer; trying again"
    pauses = [f"{trouble} in {tenths / 10:g} s" for tenths in range(1, 11)]
    back = "the table can be written to again"
    told = [*pauses, "further retries are not reported", back, pauses[0], back]
    assert told == capsys.readouterr().err.splitlines()


async def test_an_outage_that_ends_for_one_subject_first(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of an outage is reported when it has ended for every subject."""
    away = {"a", "b"}

    async def store(rows: list[Any]) -> None:
        if rows[0][1] in away:
            raise ConnectionError

    worker = start(store, by_subject=True)
    await server.subscribed.wait()
    for subject in sorted(away):
        await server.deliver(1, subject.encode(), subject)
    told = []
    for subject in sorted(away):
        away.remove(subject)
        await asyncio.sleep(60.0)
        told.append("can be written to again" in capsys.readouterr().err)
    assert [False, True] == told
    signal.raise_signal(signal.SIGTERM)
    assert 0 == await worker
