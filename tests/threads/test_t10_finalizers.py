"""T10 and T11: finalizers and signal handlers that interrupt a call; no needless wakeups."""

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any

import pytest

from flushq import IntervalPolicy, QueueFull
from flushq.threads import FlushQueue
from tests.threads.stage import Stage, all_orders, play
from tests.threads.support import Sink, at_every_step, queue_of

CALLS: dict[str, Callable[[Any], object]] = {
    "enqueue": lambda queue: queue.enqueue("item"),
    "submit": lambda queue: queue.submit("item"),
    "stats": lambda queue: queue.stats(),
    "start": lambda queue: queue.start(),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "keys": {"dedupe_key": lambda item: item, "weigh": lambda _: 1},
    "partitions": {"partition_key": lambda item: item[0] == "i"},
}
LONG = pytest.mark.long
SAME_STEPS = ("submit", "keys"), ("submit", "partitions")  # as enqueue, or as submit alone


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, marks=[LONG] if (name, options) in SAME_STEPS else [])
        for name in CALLS
        for options in OPTIONS
    ],
)
def test_a_finalizer_at_any_step(name: str, options: str) -> None:
    """An enqueue_nowait that interrupts a call does not hang, and its item is delivered once."""

    def play_once(make: Callable[..., None]) -> None:
        sink, calls = Sink(), list[Any]()
        queue = queue_of(sink, max_queue_size=5, **OPTIONS[options])

        def act() -> None:
            queue.enqueue_nowait("finalized")
            calls.append("finalized")

        finalize[0] = act
        queue.enqueue("before")
        make(lambda: CALLS[name](queue))
        queue.close()
        enqueued = ["item"] if name in {"enqueue", "submit"} else []
        assert sorted(["before", *enqueued, *calls]) == sorted(sink.items)
        assert queue.stats().accepted == len(sink.items)

    finalize: list[Callable[[], object]] = [int]
    assert at_every_step(lambda: finalize[0](), play_once) >= 1  # noqa: PLW0108 - it changes


def test_a_finalizer_at_any_step_of_an_item_that_is_displaced() -> None:
    """Both items are displaced, each once, at whichever step the finalizer runs."""

    def play_once(make: Callable[..., None]) -> None:
        sink, calls = Sink(), list[Any]()
        queue = queue_of(sink, max_queue_size=1, when_full="drop_newest")

        def act() -> None:
            queue.enqueue_nowait("finalized")
            calls.append("finalized")

        finalize[0] = act
        queue.enqueue("before")
        make(lambda: queue.enqueue("item"))
        queue.close()
        stats = queue.stats()
        assert (["before"], 1 + len(calls)) == (sink.items, stats.displaced)
        assert 1 + stats.displaced == stats.accepted

    finalize: list[Callable[[], object]] = [int]
    assert at_every_step(lambda: finalize[0](), play_once) >= 1  # noqa: PLW0108 - it changes


@pytest.mark.parametrize("more", [{}, {"dedupe_key": abs, "merge": max}], ids=["items", "merges"])
def test_a_finalizer_at_any_step_keeps_to_the_weight(more: dict[str, Any]) -> None:
    """Only the first of two items is accepted if the weight allows one."""

    def play_once(make: Callable[..., None]) -> None:
        sink, calls = Sink(), list[Any]()
        queue = queue_of(sink, weigh=abs, max_queue_weight=10, **more)

        def act() -> None:
            with suppress(QueueFull):
                queue.enqueue_nowait(7)
                calls.append(7)

        def call() -> None:
            with suppress(TimeoutError):
                queue.enqueue(6, 0)
                calls.append(6)

        finalize[0] = act
        make(call)
        queue.close()
        assert ([calls[0]], 1) == (sink.items, len(calls))

    finalize: list[Callable[[], object]] = [int]
    assert at_every_step(lambda: finalize[0](), play_once) > 10  # noqa: PLW0108 - it changes


def test_a_receipt_that_a_finalizer_interrupts() -> None:
    """The receipt belongs to the item of the call, at whichever step the finalizer runs."""

    def play_once(make: Callable[..., None]) -> None:
        queue, receipts = queue_of(Sink()), list[Any]()
        queue.enqueue("gets credit")  # the finalizer uses it up
        queues.append(queue)
        make(lambda: receipts.append(queue.submit("item")))
        queue.enqueue("after")
        watchers = queue._core.receipts.watchers  # noqa: SLF001 - its item is not public
        at = [n for n, watcher in watchers.items() if watcher is receipts[0]._completion]  # noqa: SLF001 - the same
        assert ["item"] == [queue._core.buffer[number] for number in at]  # noqa: SLF001 - the same
        queue.close()
        receipts[0].result()

    queues: list[Any] = []
    steps = at_every_step(lambda: queues[-1].enqueue_nowait("finalized"), play_once)
    assert steps > 5


WRONG: dict[str, tuple[list[str], str, str]] = {
    "merge raises": (["1"], "1!", "ZeroDivisionError('told to')"),
    "the merged item is too heavy": (["1"], "1234", "ItemTooLarge("),
    "there is no room for the added weight": (["1", "222"], "12", "QueueFull("),
}


@pytest.mark.parametrize("reason", WRONG)
def test_an_item_of_a_finalizer_that_cannot_be_merged(
    reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A finalizer's item that cannot be merged later is displaced; a record says why."""

    def merge(waiting: str, new: str) -> str:
        if "!" in new:
            raise ZeroDivisionError("told to")
        return waiting + new + new

    def within() -> None:
        for item in ("1", text, "1"):
            queue.enqueue_nowait(item)

    before, text, why = WRONG[reason]
    queue = queue_of(
        sink := Sink(), dedupe_key=itemgetter(0), weigh=len, merge=merge, max_queue_weight=9
    )
    for item in before:
        queue.enqueue(item)
    queue._entrance.locked(within)  # noqa: SLF001 - a call that a finalizer interrupts
    stats = queue.stats()
    assert (len(before), 2, 1) == (stats.pending, stats.duplicates, stats.displaced)
    assert len(before) + 3 == stats.accepted
    queue.close()
    assert ["11111", *before[1:]] == sink.items
    assert f"signal handler was displaced: {why}" in caplog.records[0].getMessage()
    assert 1 == len(caplog.records)


def test_other_calls_that_interrupt_a_call() -> None:
    """flush, close, stats and submit raise RuntimeError, enqueue_nowait without room QueueFull."""
    seen: list[str] = []

    def key(item: Any) -> Any:
        for call in (queue.flush, queue.close, queue.stats, lambda: queue.submit(1)):
            with pytest.raises(RuntimeError, match="interrupted another call"):
                queue._entrance.locked(call)  # noqa: SLF001 - as a call that a finalizer interrupts
            seen.append("refused")
        with pytest.raises(QueueFull):
            queue._entrance.locked(queue.enqueue_nowait, "no room")  # noqa: SLF001 - the same
        return item

    queue: Any = queue_of(Sink(), max_queue_size=1)
    key("item")
    assert 4 == len(seen)
    queue.close()


def test_an_item_of_a_finalizer_when_the_queue_fails() -> None:
    """An item that a finalizer enqueued is undelivered after a failure."""

    class Policy(IntervalPolicy):
        """A policy that interrupts a pass, and raises."""

        def decide(self, now: float) -> Any:
            """Enqueue an item, and raise."""
            queues[0].enqueue_nowait("finalized")
            raise ZeroDivisionError

        def __deepcopy__(self, _: object) -> "Policy":
            return Policy(1.0)

    queues: list[Any] = []

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(), Policy(1.0))
        queues[:] = [queue]
        queue.start()
        queue.enqueue("item")
        stage.sleep(1)
        with pytest.raises(Exception, match="2 undelivered"):
            queue.close()
        assert ["item", "finalized"] == queue.undelivered

    play(body)


class Circle:
    """Cyclic garbage whose finalizer enqueues an item."""

    def __init__(self, queue: FlushQueue[str], done: list[str]) -> None:
        self.me, self.queue, self.done = self, queue, done

    def __del__(self) -> None:
        self.queue.enqueue_nowait("finalized")
        self.done.append("finalized")


@contextmanager
def much_garbage(handler: Any) -> Iterator[None]:
    """Let the garbage collector run very often, and handle SIGUSR1."""
    thresholds, before = gc.get_threshold(), signal.signal(signal.SIGUSR1, handler)
    gc.set_threshold(20)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        signal.signal(signal.SIGUSR1, before)


def test_real_finalizers_and_signals() -> None:
    """Finalizers interrupt calls of several threads, a signal handler those of the main thread."""
    sink, done = Sink(), list[str]()
    queue: FlushQueue[str] = FlushQueue(sink, IntervalPolicy(0.01, 50))

    def on_signal(*_: object) -> None:
        queue.enqueue_nowait("signalled")
        done.append("signalled")

    def produce() -> None:
        for number in range(300):
            Circle(queue, done)
            queue.submit("item")
            if number % 10 == 0 and threading.current_thread() is threading.main_thread():
                signal.raise_signal(signal.SIGUSR1)

    with much_garbage(on_signal), queue:
        threads = [threading.Thread(target=produce) for _ in range(3)]
        for thread in threads:
            thread.start()
        produce()
        for thread in threads:
            thread.join()
        gc.collect()
    assert sorted(["item"] * 1200 + done) == sorted(sink.items)
    assert (1200, 30) == (done.count("finalized"), done.count("signalled"))


def test_an_idle_queue_wakes_up_for_nothing() -> None:
    """T11: no thread wakes before the first item or after the last flush; a burst wakes one."""

    def body(stage: Stage) -> None:
        with queue_of(Sink(), IntervalPolicy(10.0, 100)) as queue:
            stage.sleep(1e6)
            assert 1 == len(stage.tasks)
            queue.enqueue(0)
            stage.sleep(1)
            wakeups = stage.wakeups.copy()
            for item in range(50):
                queue.enqueue(item)
            stage.sleep(1)
            woken = {name: n - wakeups.get(name, 0) for name, n in stage.wakeups.items()}
            assert woken.get("flushq", 0) <= 1
            stage.sleep(100)
            wakeups = stage.wakeups.copy()
            assert 51 == queue.stats().delivered
            stage.sleep(1e6)
            wakeups["main"] += 1
            assert wakeups == stage.wakeups

    play(body, next(all_orders(0)))


def test_a_timer_that_moves() -> None:
    """A flush starts at its time although the timer moved; the keeper does not wake early."""

    def body(stage: Stage) -> None:
        sink = Sink()
        with queue_of(sink, IntervalPolicy(10.0)) as queue:
            began = stage.now
            queue.enqueue(1)
            stage.sleep(4)
            queue.flush()
            queue.enqueue(2)
            stage.sleep(9.9)
            assert [[1]] == sink.batches
            stage.sleep(0.2)
            assert [[1], [2]] == sink.batches
            assert began + 14.1 == pytest.approx(stage.now)

    for seed in range(5):
        play(body, seed)
