"""Point 21: the name of a queue is in its repr, its messages and its log records."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flushq import (
    Batched,
    FlushQueue,
    IntervalPolicy,
    ItemFailed,
    ItemTooLarge,
    NaturalPolicy,
    QueueClosed,
    QueueFull,
    ShutdownTimeout,
)
from tests.contract.hostile import error_of
from tests.contract.support import HeldSink, Sink, enqueue_all, settle

NAMED = pytest.mark.parametrize(
    ("name", "shown", "label"),
    [(None, "", ""), ("50 %s", " '50 %s'", "50 %s: "), ("", " ''", ": ")],
)


# The repr and the names of tasks.


@NAMED
async def test_the_repr_shows_the_name(name: str | None, shown: str, label: str) -> None:
    """The repr shows the name and the state, and how many items are pending and in flight."""
    queue = FlushQueue(HeldSink[int](), NaturalPolicy(2), name=name, max_shutdown_wait=1.0)
    assert f"<FlushQueue{shown} new, 0 pending, 0 in flight>" == repr(queue)
    await queue.__aenter__()
    await enqueue_all(queue, [1, 2, 3])
    await settle()
    assert f"<FlushQueue{shown} running, 1 pending, 2 in flight>" == repr(queue)
    closer = asyncio.create_task(error_of(queue.aclose()))
    await settle()
    assert f"<FlushQueue{shown} closing, 1 pending, 2 in flight>" == repr(queue)
    await closer
    assert f"<FlushQueue{shown} closed, 0 pending, 0 in flight>" == repr(queue)


@pytest.mark.parametrize("bad", [7, b"users", True])
def test_a_name_must_be_a_str(bad: Any) -> None:
    """A name that is not a str is a TypeError that shows it."""
    with pytest.raises(TypeError, match=r"^name must be a str, not "):
        FlushQueue(Sink[int](), NaturalPolicy(), name=bad)


@NAMED
async def test_flushes_run_in_tasks_of_that_name(name: str | None, shown: str, label: str) -> None:
    """The name of the task of a flush has the name of the queue."""
    names: list[str] = []

    async def sink(batch: list[int]) -> None:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    async with FlushQueue(sink, NaturalPolicy(), name=name) as queue:
        await queue.enqueue(1)
    assert [f"flushq{shown} flush"] == names


# Exceptions.

Use = Callable[[FlushQueue[int]], Awaitable[object]]
Raise = Callable[[], Awaitable[BaseException | None]]


async def too_large() -> BaseException | None:
    """Return the error of an item that is too heavy for any batch."""
    policy = IntervalPolicy(1.0, max_weight=1)
    queue = FlushQueue(Sink[int](), policy, weigh=lambda item: item, name="users")
    return await error_of(queue.enqueue(2))


async def started_twice() -> BaseException | None:
    """Return the error of a second start."""
    async with FlushQueue(Sink[int](), NaturalPolicy(), name="users") as queue:
        return await error_of(queue.__aenter__())


async def never_started() -> BaseException | None:
    """Return the error of an exit without an entry."""
    queue = FlushQueue(Sink[int](), NaturalPolicy(), name="users")
    return await error_of(queue.__aexit__(None, None, None))


def closed(call: Use) -> Raise:
    """Return a function that makes this call of a closed queue."""

    async def make() -> BaseException | None:
        async with FlushQueue(Sink[int](), NaturalPolicy(), name="users") as queue:
            pass
        return await error_of(call(queue))

    return make


def inside(call: Use) -> Raise:
    """Return a function that makes this call inside flush_fn."""

    async def make() -> BaseException | None:
        async def sink(batch: list[int]) -> None:
            if batch == [1]:
                errors.append(await error_of(call(queue)))

        errors: list[BaseException | None] = []
        async with FlushQueue(sink, NaturalPolicy(1), max_queue_size=1, name="users") as queue:
            await enqueue_all(queue, [1, 2])
        return errors[0]

    return make


RAISED: dict[str, tuple[Raise, type[BaseException]]] = {
    "too large": (too_large, ItemTooLarge),
    "started twice": (started_twice, RuntimeError),
    "never started": (never_started, RuntimeError),
    "enqueue after the end": (closed(lambda queue: queue.enqueue(1)), QueueClosed),
    "deadlock": (inside(lambda queue: queue.enqueue(3)), QueueFull),
    "flush inside": (inside(lambda queue: queue.flush()), RuntimeError),
    "deliver inside": (inside(lambda queue: queue.deliver(3)), RuntimeError),
}


@pytest.mark.parametrize(("make", "kind"), RAISED.values(), ids=RAISED)
async def test_what_a_queue_raises_shows_the_name(make: Raise, kind: type[BaseException]) -> None:
    """Every error of a queue shows its name."""
    error = await make()
    assert kind is type(error)
    assert "users: " in str(error) or "<FlushQueue 'users' " in str(error)


@NAMED
async def test_messages_begin_with_the_name(name: str | None, shown: str, label: str) -> None:
    """A message that does not show the queue begins with the name, if there is one."""
    queue = FlushQueue(
        Sink[int](1.0), NaturalPolicy(1), max_queue_size=1, max_shutdown_wait=0, name=name
    )
    await queue.__aenter__()
    await queue.enqueue(1)
    with pytest.raises(QueueFull) as full:
        queue.enqueue_nowait(2)
    with pytest.raises(ShutdownTimeout) as timeout:
        await queue.aclose()
    assert str(full.value).startswith(f"{label}no room: 1 items wait")
    assert str(timeout.value).startswith(f"{label}closing took longer than max_shutdown_wait=0 s")


# Log records and notes.


@NAMED
async def test_a_loss_is_logged_with_the_name(
    name: str | None, shown: str, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If the block raises an exception, the record and the note about the loss show the name."""
    queue = FlushQueue(Sink[int](1.0), NaturalPolicy(), max_shutdown_wait=0, name=name)
    with pytest.raises(ZeroDivisionError) as caught:
        async with queue:
            await queue.enqueue(1)
            raise ZeroDivisionError
    loss = f"ShutdownTimeout: {label}closing took longer than max_shutdown_wait=0 s"
    (record,) = caplog.records
    assert ("flushq", logging.ERROR) == (record.name, record.levelno)
    assert record.getMessage().startswith(f"the queue ended with {loss}")
    assert caught.value.__notes__[0].startswith(f"flushq: the queue ended with {loss}")


async def test_a_batched_has_the_name_of_its_queue() -> None:
    """A Batched passes its name to the queue, and shows it if the loader fails."""

    async def load(keys: list[int]) -> list[int]:
        raise ZeroDivisionError

    async with Batched(load, NaturalPolicy(), name="users") as batched:
        assert "<FlushQueue 'users' running, 0 pending, 0 in flight>" in repr(batched)
        with pytest.raises(ItemFailed, match=r"^users: 7 failed: ZeroDivisionError\(\)$"):
            await batched(7)
