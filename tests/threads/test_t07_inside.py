"""T7 and T12: calls inside flush_fn and the handlers; the account from any thread at any time."""

import contextvars
from functools import partial
from typing import Any

import pytest

from flushq import Drop, NaturalPolicy, QueueFull, QueueStats
from flushq.threads import Batched
from tests.threads.stage import Stage, play
from tests.threads.support import Sink, queue_of


def error_of(call: Any) -> str:
    """Return the name of the exception that a call raises, or "none"."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "none"


def errors_of_calls(queue: Any, receipt: Any) -> list[str]:
    """Return the errors of all calls that may raise inside, in a queue with room for one item."""
    calls = [queue.flush, queue.close, partial(queue.deliver, 9), receipt.result]
    errors = [error_of(call) for call in (*calls, lambda: queue.__exit__(None, None, None))]
    queue.enqueue("inside")
    return [*errors, *(error_of(partial(call, 1)) for call in (queue.enqueue, queue.submit))]


@pytest.mark.parametrize("where", ["flush_fn", "on_failure", "on_report"])
def test_what_waits_for_the_queue_is_refused_inside(where: str) -> None:
    """Inside, flush(), close(), deliver() and result() raise RuntimeError; enqueue is allowed."""
    errors: list[str] = []

    def body(stage: Stage) -> None:
        def ask(here: str) -> None:
            if here == where and not errors:
                errors.extend(errors_of_calls(queue, receipt))

        def sink(batch: list[Any]) -> None:
            ask("flush_fn")
            assert where != "on_failure" or batch != ["item"]

        def judge(_: Any) -> type[Drop]:
            ask("on_failure")
            return Drop

        errors.clear()
        queue = queue_of(
            sink, on_failure=judge, on_report=lambda _: ask("on_report"), max_queue_size=1
        )
        receipt = queue.submit("item")
        with queue:
            queue.flush()
            stage.sleep(1)
        assert 2 == queue.stats().accepted

    for seed in range(5):
        play(body, seed)
        result = "none" if where == "on_report" else "RuntimeError"
        refused = ["RuntimeError"] * 3
        assert [*refused, result, "RuntimeError", "QueueFull", "QueueFull"] == errors


def test_a_loader_that_asks_itself() -> None:
    """A loader that calls its own Batched gets RuntimeError, and its key is not accepted."""

    def body(_: Stage) -> None:
        def load(keys: list[int]) -> list[str]:
            return [error_of(lambda: load_one(0)) for _ in keys]

        with Batched(load, NaturalPolicy(), name="users") as load_one:
            assert "RuntimeError" == load_one(1)
            assert 1 == load_one.queue.stats().accepted
            assert "<Batched <function" in repr(load_one)

    play(body)


def test_a_thread_that_inherits_the_context_is_inside() -> None:
    """A thread with the context of flush_fn gets QueueFull where waiting could never end."""

    def body(stage: Stage) -> None:
        def sink(batch: list[str]) -> None:
            if batch == ["item"]:
                context = contextvars.copy_context()
                queue.enqueue_nowait("fills")
                task = stage.spawn(lambda: context.run(enqueue_more))
                task.join()

        def enqueue_more() -> None:
            with pytest.raises(QueueFull, match="waits for room"):
                queue.enqueue("more")

        with queue_of(sink, NaturalPolicy(), max_queue_size=1) as queue:
            queue.enqueue("item")
        assert 2 == queue.stats().delivered

    play(body)


def test_a_finalizer_in_a_worker_does_not_wait() -> None:
    """In a finalizer that a worker runs, calls that would wait for this worker raise."""
    errors: list[str] = []

    def body(_: Stage) -> None:
        kept: contextvars.ContextVar[Any] = contextvars.ContextVar("kept")

        class Item:
            def __del__(self) -> None:
                calls = queue.close, queue.flush, *[partial(queue.enqueue, "more")] * 2
                errors.extend(map(error_of, calls))

        def sink(batch: list[Any]) -> None:
            kept.set(batch[0])  # until its worker lets the context go

        with queue_of(sink, max_queue_size=1) as queue:
            queue.enqueue(Item())
            queue.flush()
        assert 2 == queue.stats().delivered

    play(body)
    assert ["RuntimeError", "RuntimeError", "none", "QueueFull"] == errors


def test_a_flush_is_not_inside_another_queue() -> None:
    """flush_fn may wait for another queue, as in a pipeline."""

    def body(_: Stage) -> None:
        sink = Sink()
        with queue_of(sink, NaturalPolicy()) as second:

            def relay(batch: list[int]) -> None:
                for item in batch:
                    second.deliver(item)

            with queue_of(relay) as first:
                for item in range(3):
                    first.enqueue(item)
        assert [0, 1, 2] == sink.items

    play(body)


def adds_up(stats: QueueStats) -> bool:
    """Return whether the account adds up."""
    ends = stats.delivered, stats.dropped, stats.undelivered, stats.in_doubt
    return stats.accepted == stats.duplicates + sum(ends) + stats.pending + stats.in_flight


def test_a_flush_that_ends_while_the_queue_is_shown() -> None:
    """The repr works without the lock while a flush ends."""

    class Ending:
        @property
        def unended(self) -> int:
            """End the flush while it is counted, and return 1."""
            running.clear()
            return 1

    queue = queue_of(Sink())
    running = queue._core.batcher.running  # noqa: SLF001 - another thread changes it
    running.update({Ending(): None, Ending(): None})
    assert "2 in flight" in repr(queue)


def test_the_account_adds_up_at_every_moment() -> None:
    """The account adds up in every thread while others enqueue, flush and drop items."""

    def body(stage: Stage) -> None:
        def sink(batch: list[int]) -> None:
            stage.sleep(0.1)
            if len(batch) % 2:
                raise OSError

        def produce() -> None:
            for item in range(5):
                queue.enqueue(item)
                seen.append(queue.stats())

        seen: list[QueueStats] = []
        with queue_of(
            sink, NaturalPolicy(3), max_queue_size=4, max_in_flight=2, on_failure=lambda _: Drop
        ) as queue:
            tasks = [stage.spawn(produce) for _ in range(3)]
            while not all(task.is_over for task in tasks):
                seen.append(queue.stats())
                stage.sleep(0.01)
        seen.append(queue.stats())
        assert all(map(adds_up, seen))
        assert (15, 0) == (seen[-1].accepted, seen[-1].pending)

    for seed in range(10):
        play(body, seed)
    for seed in range(5):
        play(body, seed, preempt=0.02)
