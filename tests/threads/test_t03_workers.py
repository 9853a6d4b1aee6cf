"""T3 and T4: the threads that run flush_fn, the order of producers, and calls without the lock."""

import contextvars
import threading
from functools import partial
from typing import Any

import pytest

import flushq
from flushq import Drop, FlushFailed, IntervalPolicy, NaturalPolicy
from flushq.threads import Batched, FlushQueue
from tests.threads.stage import Stage, play
from tests.threads.support import NEVER, Sink, queue_of


def test_workers_are_made_at_first_need_and_kept() -> None:
    """At most max_in_flight workers are made, named after the queue; a later flush makes none."""

    def body(stage: Stage) -> None:
        sink = Sink(stage, 1)
        with queue_of(sink, NaturalPolicy(1), max_in_flight=2, name="rows") as queue:
            assert ["main"] == [task.name for task in stage.tasks]
            for _ in range(2):
                queue.deliver("item")
            assert ["flushq 'rows'", "flushq 'rows' worker 0"] == sorted(
                task.name for task in stage.tasks[1:]
            )
            for item in range(6):
                queue.enqueue(item)
        assert 8 == len(sink.items)
        assert 4 == len(stage.tasks)
        assert all(task.is_over for task in stage.tasks[1:])

    for seed in range(10):
        play(body, seed)


def test_the_threads_are_daemons() -> None:
    """The threads of a queue are daemons, named after the queue, and end with its close."""
    seen: list[threading.Thread] = []
    before = threading.enumerate()
    with queue_of(lambda _: seen.append(threading.current_thread()), name="a") as queue:
        queue.enqueue(1)
        queue.flush()
        mine = [thread for thread in threading.enumerate() if thread not in before]
        assert ["flushq 'a'", "flushq 'a' worker 0"] == sorted(thread.name for thread in mine)
        assert all(thread.daemon for thread in mine)
    assert before == threading.enumerate()
    assert "flushq 'a' worker 0" == seen[0].name


def test_flush_fn_runs_in_the_context_of_the_start() -> None:
    """Each flush runs in a new copy of the context of the start, not in that of a producer."""
    variable = contextvars.ContextVar("variable", default="of nobody")
    seen: list[str] = []

    def sink(_: list[int]) -> None:
        seen.append(variable.get())
        variable.set("of a flush")

    variable.set("of the start")
    with FlushQueue(sink, NaturalPolicy()) as queue:
        variable.set("of a producer")
        for item in range(2):
            queue.deliver(item)
    assert ["of the start"] * 2 == seen


async def _async(_: Any) -> None:
    """Do nothing."""


class _AsyncCall:
    async def __call__(self, _: Any) -> None:
        """Do nothing."""


@pytest.mark.parametrize("function", [_async, partial(_async), _AsyncCall()])
def test_what_is_async_is_refused_at_once(function: Any) -> None:
    """An async flush_fn, handler or loader raises TypeError, which mentions flushq.FlushQueue."""
    makes: tuple[Any, ...] = (
        lambda: FlushQueue(function, NEVER),
        lambda: FlushQueue(print, NEVER, on_failure=function),
        lambda: Batched(function, NEVER),
        lambda: Batched(print, NEVER, on_failure=function),  # type: ignore[arg-type]  # on_failure is not called
    )
    for make in makes:
        with pytest.raises(TypeError, match=r"must not be async: .*flushq\.FlushQueue"):
            make()


@pytest.mark.parametrize("name", ["flush_fn", "on_failure", "on_report"])
def test_what_cannot_be_called_is_refused_at_once(name: str) -> None:
    """A flush_fn, on_failure or on_report that is not callable raises TypeError."""
    functions: dict[str, Any] = {"flush_fn": print, "on_failure": None, "on_report": None}
    functions[name] = 7
    with pytest.raises(TypeError, match=f"{name} must be callable, not 7"):
        FlushQueue(functions.pop("flush_fn"), NEVER, **functions)


@pytest.mark.parametrize("make", [FlushQueue, Batched])
def test_the_class_of_a_verdict_is_not_a_handler(make: Any) -> None:
    """A class as on_failure raises TypeError, as its first failure would end the queue."""
    with pytest.raises(TypeError, match=r"^on_failure must be .* a verdict, not the class Drop$"):
        make(print, NEVER, on_failure=Drop)


def test_what_must_be_awaited_is_refused_when_it_comes() -> None:
    """A coroutine that flush_fn, a handler or a loader returns is a failure, and is closed."""
    queue = queue_of(lambda items: _async(items))  # noqa: PLW0108 - it does not look async
    queue.enqueue(1)
    with pytest.raises(FlushFailed) as failed:
        queue.close()
    assert "flush_fn must not be async: it returned" in str(failed.value.__cause__)
    queue = queue_of(lambda _: 1 / 0, on_failure=lambda failure: _async([failure]))
    queue.enqueue(1)
    with pytest.raises(FlushFailed) as failed:
        queue.close()
    assert "on_failure must return a verdict" in str(failed.value.__cause__)
    load: Any = lambda keys: _async(keys)  # noqa: E731, PLW0108 - it does not look async
    refused = pytest.raises(flushq.ItemFailed, match=r"the loader must not be async.*Batched")
    batched: Batched[int, int] = Batched(load, NaturalPolicy())
    with batched as load_one, refused:
        load_one(1)


async def test_the_error_of_a_plain_flush_fn_for_asyncio_names_this_queue() -> None:
    """The error of a plain flush_fn in an asyncio queue mentions flushq.threads."""
    plain: Any = len
    with pytest.raises(FlushFailed, match=r"for a function that blocks, use flushq\.threads"):
        async with flushq.FlushQueue(plain, NaturalPolicy()) as queue:
            await queue.enqueue(1)


def test_room_is_given_in_the_order_of_the_line() -> None:
    """Producers get room in the order of the line; one that times out is skipped."""

    def body(stage: Stage) -> None:
        sink = Sink(stage, 1)
        with queue_of(sink, NaturalPolicy(1), max_queue_size=1) as queue:
            queue.enqueue("running")
            stage.sleep(0.1)
            queue.enqueue("waits")
            for number in range(4):
                stage.spawn(partial(enqueue_or_give_up, queue, number, 0.5 if number == 1 else 9))
                stage.sleep(0.01)
            assert 4 == queue.stats().waiting
            stage.sleep(8)
        assert ["running", "waits", 0, 2, 3] == sink.items

    for seed in range(20):
        play(body, seed)


def enqueue_or_give_up(queue: Any, item: Any, timeout: float) -> None:
    """Enqueue an item, or return after ``timeout`` seconds without room."""
    try:
        queue.enqueue(item, timeout)
    except TimeoutError:
        return


def test_newcomers_take_room_that_nobody_was_given() -> None:
    """A newcomer takes free room, although a producer that got room has not run yet."""

    def body(stage: Stage) -> None:
        sink = Sink()
        with queue_of(sink, IntervalPolicy(10.0), max_queue_size=2) as queue:
            queue.enqueue(1)
            queue.enqueue(2)
            waiter = stage.spawn(lambda: queue.enqueue("given room"))
            stage.sleep(1)
            assert [1, 2] == sink.items
            assert waiter.is_over
            queue.enqueue_nowait(3)
            with pytest.raises(flushq.QueueFull):
                queue.enqueue_nowait(4)
        assert sorted([1, 2, 3, "given room"], key=str) == sorted(sink.items, key=str)

    for seed in range(10):
        play(body, seed)


def test_no_lock_is_held_while_code_of_the_user_runs() -> None:
    """Another thread can use the queue while flush_fn, on_failure or on_report runs."""

    def body(stage: Stage) -> None:
        def ask() -> None:
            task = stage.spawn(lambda: (queue.enqueue_nowait("more"), queue.stats()))
            task.join()
            assert task.error is None

        def sink(batch: list[str]) -> None:
            if batch == ["item"]:
                ask()
                raise OSError

        def judge(_: Any) -> type[Drop]:
            ask()
            return Drop

        def report(_: Any) -> None:
            if queue.stats().flushes == {"flush": 1}:
                ask()

        with queue_of(sink, on_failure=judge, on_report=report) as queue:
            queue.enqueue("item")
            queue.flush()
            stage.sleep(1)
            assert 3 == queue.pending
        assert 3 == queue.stats().delivered

    for seed in range(10):
        play(body, seed)


def test_the_worker_that_ends_a_flush_starts_the_next_itself() -> None:
    """A thousand flushes in a row wake the keeper fewer than five times."""

    def body(stage: Stage) -> None:
        with queue_of(Sink(), NaturalPolicy(1), max_queue_size=2000) as queue:
            for item in range(1000):
                queue.enqueue(item)
            stage.sleep(1)
            assert 1000 == queue.stats().delivered
            assert stage.wakeups.get("flushq", 0) < 5
            assert stage.wakeups.get("flushq worker 0", 0) < 10

    play(body)
