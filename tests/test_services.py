"""A queue that runs as long as a service: its end, and the items kept for the next start.

The tests with real servers, and the exit statuses of their processes, are in
`tests/field/test_services.py`.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from flushq import FlushFailed, FlushQueue, IntervalPolicy, NaturalPolicy, ShutdownTimeout, services

PATIENCE = 10.0


class Store:
    """A sink that stores items, or raises if one of them is "bad"."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    async def __call__(self, batch: list[Any]) -> None:
        """Store a batch."""
        if "bad" in batch:
            raise OSError("the table is missing")
        self.items.extend(batch)


async def hang(batch: list[Any]) -> None:
    """Never end."""
    await asyncio.Event().wait()


class Left:
    """The file of the items that are left.

    Attributes:
        path: The path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        """The text of the file."""
        return self.path.read_text()

    @text.setter
    def text(self, text: str) -> None:
        self.path.write_text(text)


def queue_of(store: Store, **options: Any) -> FlushQueue[Any]:
    """Return a queue whose items wait for a minute."""
    return FlushQueue(store, IntervalPolicy(60.0), **options)


@pytest.fixture
def left(tmp_path: Path) -> Left:
    """The file of the items that are left."""
    return Left(tmp_path / "left.json")


# The end of a service.


async def test_at_the_end_of_its_block_a_queue_drains() -> None:
    """The block gets the queue that was passed, and its items are stored at the end."""
    store = Store()
    queue = queue_of(store)
    async with services.running(queue) as same:
        await same.enqueue(1)
    assert ([1], "closed", queue) == (store.items, queue.state, same)


async def test_a_block_that_is_cancelled() -> None:
    """If the block is cancelled, the queue drains and the task stays cancelled."""
    store = Store()

    async def live() -> int:
        task = asyncio.current_task()
        assert task is not None
        with suppress(asyncio.CancelledError):
            async with services.running(queue_of(store)) as queue:
                await queue.enqueue(1)
                task.cancel()
                await asyncio.Event().wait()
        return task.cancelling()

    assert (1, [1]) == (await asyncio.create_task(live()), store.items)


async def hang_and_roll_back(batch: list[Any]) -> None:
    """Hang, and take another second after a cancellation."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(1.0)


async def test_a_drain_that_is_cancelled(left: Left) -> None:
    """A cancelled drain is aborted, CancelledError is raised, and the file has all items."""
    queue: FlushQueue[Any] = FlushQueue(hang_and_roll_back, NaturalPolicy(max_records=2))

    async def live() -> None:
        async with services.running(queue, left.path):
            for number in range(5):
                await queue.enqueue(number)
            await asyncio.sleep(1.0)

    task = asyncio.create_task(live())
    await asyncio.sleep(2.0)
    task.cancel()
    await asyncio.wait([task])
    assert (True, "closed", "[0, 1, 2, 3, 4]") == (task.cancelled(), queue.state, left.text)


async def test_a_scope_of_anyio_that_is_cancelled(left: Left) -> None:
    """A cancelled scope of anyio cancels again and again, but counts once: the queue drains."""
    stored: list[Any] = []

    async def store_slowly(batch: list[Any]) -> None:
        await asyncio.sleep(1.0)
        stored.extend(batch)

    with anyio.move_on_after(1.0):
        async with services.running(FlushQueue(store_slowly, IntervalPolicy(60.0)), left.path) as q:
            await q.enqueue(1)
            await asyncio.Event().wait()
    assert ([1], "[]") == (stored, left.text)


async def test_a_queue_that_is_closed_in_its_block() -> None:
    """A block continues after aclose(), since nothing was lost."""
    async with services.running(queue_of(store := Store())) as queue:
        await queue.enqueue(1)
        await queue.aclose()
        await asyncio.sleep(1.0)
        assert [1] == store.items


@pytest.mark.parametrize("turns", range(3))
async def test_a_block_that_ends_while_its_queue_fails(turns: int) -> None:
    """The block raises the error of the queue, and its task is not cancelled afterwards."""
    with pytest.raises(FlushFailed):
        async with services.running(FlushQueue(Store(), NaturalPolicy())) as queue:
            queue.enqueue_nowait("bad")
            for _ in range(turns):
                await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert 0 == task.cancelling()


async def test_a_queue_that_fails_ends_a_program_of_its_own() -> None:
    """If the queue fails, its block is cancelled at once and raises the error of the queue."""
    queue = FlushQueue(Store(), NaturalPolicy())
    with pytest.raises(FlushFailed):
        async with services.running(queue):
            await queue.enqueue("bad")
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert (0, False) == (task.cancelling(), is_blocked())


class Server:
    """A server that handles SIGTERM.

    Attributes:
        signals: The signals that have come.
        stop: An event that is set when a signal has come.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.stop = asyncio.Event()

    def handle(self, number: int, _: object) -> None:
        """Note a signal."""
        self.signals.append(number)
        self.stop.set()

    async def serve(self, queue: FlushQueue[Any], end: Callable[[], None]) -> BaseException | None:
        """Take an item, serve until a signal comes, call ``end``, and return the exception."""
        task = asyncio.create_task(self._live(queue, end))
        await asyncio.wait([task])
        return task.exception()

    async def _live(self, queue: FlushQueue[Any], end: Callable[[], None]) -> None:
        try:
            async with services.running(queue):
                await queue.enqueue("bad")
                await self.stop.wait()
        finally:
            end()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that handles SIGTERM."""
    server = Server()
    before = signal.signal(signal.SIGTERM, server.handle)
    yield server
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this discards a pending signal
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses that the process would have had."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    return statuses


def is_blocked() -> bool:
    """Return whether SIGTERM is blocked."""
    return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def raise_again() -> None:
    """Raise SIGTERM again with the default handler, like uvicorn at its end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


async def test_a_queue_that_fails_ends_its_server(server: Server, statuses: list[int]) -> None:
    """SIGTERM comes, and the status is 1 although the server raises SIGTERM again at its end."""
    error = await server.serve(FlushQueue(Store(), NaturalPolicy()), raise_again)
    assert isinstance(error, FlushFailed)
    assert ([signal.SIGTERM], [1]) == (server.signals, statuses)


async def test_a_server_that_leaves_something(server: Server, statuses: list[int]) -> None:
    """If the drain is cut short after an ordinary SIGTERM, the status is 1, too."""
    loop = asyncio.get_running_loop()
    loop.call_later(5.0, signal.raise_signal, signal.SIGTERM)
    queue = queue_of(Store(), max_shutdown_wait=0)
    error = await server.serve(queue, raise_again)
    assert isinstance(error, ShutdownTimeout)
    assert [1] == statuses


async def test_a_server_that_does_not_raise_the_signal_again(
    server: Server, statuses: list[int]
) -> None:
    """A server that does not raise the signal again is not killed, and SIGTERM is unblocked."""

    def end() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    error = await server.serve(FlushQueue(Store(), NaturalPolicy()), end)
    assert isinstance(error, FlushFailed)
    assert ([], False) == (statuses, is_blocked())


async def test_a_signal_that_the_program_handles(server: Server, statuses: list[int]) -> None:
    """The program's own handler is called when the server raises the signal again."""

    def raise_for_the_program() -> None:
        signal.raise_signal(signal.SIGTERM)
        assert [signal.SIGTERM] == server.signals

    await server.serve(FlushQueue(Store(), NaturalPolicy()), raise_for_the_program)
    assert ([signal.SIGTERM] * 2, [], False) == (server.signals, statuses, is_blocked())


@pytest.mark.usefixtures("server")
async def test_a_handler_that_raises() -> None:
    """If a handler raises, which would end the loop, the block is cancelled instead."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with pytest.raises(FlushFailed):
        async with services.running(FlushQueue(Store(), NaturalPolicy())) as queue:
            await queue.enqueue("bad")
            await asyncio.Event().wait()


@pytest.mark.usefixtures("server")
def test_a_service_in_another_thread() -> None:
    """The sleeping main thread is woken, and calls the handler."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    async def live() -> None:
        with suppress(FlushFailed):
            async with services.running(FlushQueue(Store(), NaturalPolicy())) as queue:
                await queue.enqueue("bad")
                await asyncio.to_thread(stop.wait, PATIENCE)

    thread = threading.Thread(target=asyncio.run, args=[live()])
    thread.start()
    assert stop.wait(PATIENCE)
    thread.join()


async def test_a_system_that_cannot_block_signals(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the system cannot block signals, a queue that fails still ends its server."""
    monkeypatch.delattr(signal, "pthread_sigmask")
    monkeypatch.delattr(signal, "pthread_kill")
    error = await server.serve(FlushQueue(Store(), NaturalPolicy()), lambda: None)
    assert isinstance(error, FlushFailed)


async def test_an_ordinary_end(server: Server) -> None:
    """If everything was stored, no signal is raised and SIGTERM is not blocked."""
    async with services.running(queue_of(Store())) as queue:
        await queue.enqueue("good")
    assert ([], False) == (server.signals, is_blocked())


# The items that are left, and the next start.


async def test_what_is_left_is_stored_at_the_next_start(
    left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    """Items that are left are kept in order of acceptance, logged, and stored before the block."""
    items = [("a", 1), {"b": 2}, "c", None]
    queue: FlushQueue[Any] = FlushQueue(hang, NaturalPolicy(max_records=2), max_shutdown_wait=0)
    with pytest.raises(ShutdownTimeout):
        async with services.running(queue, left.path):
            for item in items:
                await queue.enqueue(item)
            await asyncio.sleep(1.0)
    assert (items[:2], items[2:]) == (queue.in_doubt, queue.undelivered)
    assert [["a", 1], *items[1:]] == json.loads(left.text)

    store = Store()
    async with services.running(queue_of(store), left.path) as queue:
        assert (items, "[]") == (store.items, left.text)
        await queue.enqueue("d")
    assert ([*items, "d"], "[]") == (store.items, left.text)
    assert [f"the file {left.path} keeps 4 items for the next start"] == caplog.messages


async def test_a_start_that_fails_loses_nothing(left: Left) -> None:
    """If the start fails, all items stay in the file, also those that were not enqueued yet."""
    text = '["bad", "2", "3"]'
    left.text = text
    queue = FlushQueue(Store(), NaturalPolicy(max_records=1), max_queue_size=1)
    with pytest.raises(FlushFailed):
        async with services.running(queue, left.path):
            pytest.fail("the service has started")
    assert queue.stats().accepted < 3
    assert text == left.text


async def test_a_start_that_is_cancelled(left: Left) -> None:
    """If the start is cancelled, the cancellation is raised and no item is lost."""
    left.text = '["1", "2"]'
    queue: FlushQueue[Any] = FlushQueue(hang, NaturalPolicy(), max_shutdown_wait=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0), services.running(queue, left.path):
            pytest.fail("the service has started")
    assert ("closed", '["1", "2"]') == (queue.state, left.text)


async def test_a_file_that_cannot_be_written(left: Left) -> None:
    """If the file cannot be written, the service does not start: no item could be kept later."""
    left.path.with_name("left.json.new").mkdir()
    queue = queue_of(Store())
    with pytest.raises(IsADirectoryError):
        async with services.running(queue, left.path):
            pytest.fail("the service has started")
    assert "closed" == queue.state


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "Expecting property name"), ('{"a": 1}', r"left\.json must hold a JSON .* {'a': 1}")],
)
async def test_a_file_of_something_else(text: str, message: str, left: Left) -> None:
    """A file that does not hold a JSON array is refused, and does not change."""
    left.text = text
    with pytest.raises(ValueError, match=message):
        async with services.running(queue_of(Store()), left.path):
            pytest.fail("the service has started")
    assert text == left.text
